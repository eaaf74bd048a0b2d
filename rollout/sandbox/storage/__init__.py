"""The storage of the sandbox's API server: the semantics of Kubernetes' API, without a wire."""

from rollout.sandbox.storage.admission import DeleteOptions, Options
from rollout.sandbox.storage.registry import ScalePaths, Served
from rollout.sandbox.storage.storage import Deleted, Storage
from rollout.sandbox.storage.watch import Watcher

__all__ = ["DeleteOptions", "Deleted", "Options", "ScalePaths", "Served", "Storage", "Watcher"]
