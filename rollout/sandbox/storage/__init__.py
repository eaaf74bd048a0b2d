"""The storage of the sandbox's API server: the semantics of Kubernetes' API, without a wire."""

from rollout.sandbox.storage.admission import DeleteOptions, Options
from rollout.sandbox.storage.journal import SqliteJournal
from rollout.sandbox.storage.registry import ScalePaths, Served
from rollout.sandbox.storage.storage import Storage
from rollout.sandbox.storage.watch import Watcher
from rollout.sandbox.storage.writer import Deleted

__all__ = [
    "DeleteOptions",
    "Deleted",
    "Options",
    "ScalePaths",
    "Served",
    "SqliteJournal",
    "Storage",
    "Watcher",
]
