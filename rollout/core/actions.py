"""What a plan may do to the world: a closed union of frozen values, compared with ==.

`rollout.effects` carries them out with one match statement. Every action that follows from something that was
read carries the resourceVersion it was read at: a stale one fails with a conflict and is decided again.
"""

from __future__ import annotations

from typing import Any

import msgspec

from rollout.api.resources import Resource


class Value(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Base of the actions."""


class CreateReplicaSet(Value, frozen=True):
    """A new revision's ReplicaSet. Its name is computed, so "already exists" (and ours) means done."""

    object: dict[str, Any]


class PatchReplicaSet(Value, frozen=True):
    """Scale a ReplicaSet and/or change its annotations (None removes one)."""

    name: str
    resource_version: str
    replicas: int | None = None
    annotations: dict[str, str | None] | None = None


class DeleteReplicaSet(Value, frozen=True):
    """Forget an old revision that has no pods."""

    name: str
    uid: str
    resource_version: str


class PointService(Value, frozen=True):
    """Let a Service's selector name the pods of one pod-template hash."""

    name: str
    resource_version: str
    hash: str
    owner: str


class PatchRoute(Value, frozen=True):
    """JSON patch of a router's object; its first operations test what was read.

    `weight` (the canary's, in percent) and `binds` (canary hash, stable hash) say what the patch achieves, for
    the invariants and for people; None where it leaves that alone.
    """

    resource: Resource
    namespace: str
    name: str
    operations: tuple[dict[str, Any], ...]
    weight: int | None = None
    binds: tuple[str, str] | None = None


class Stamp(Value, frozen=True):
    """Write the number of our turn into an object, so that what others have decided from older versions fails."""

    resource: Resource
    namespace: str
    name: str
    resource_version: str
    value: str


class StartRun(Value, frozen=True):
    """A new AnalysisRun. Its name is computed, so "already exists" (and ours) means done."""

    object: dict[str, Any]


class RetireRun(Value, frozen=True):
    """End an AnalysisRun, if it still runs, and mark it as belonging to an attempt that is over."""

    name: str
    terminate: bool


class TerminateRun(Value, frozen=True):
    """Ask a running AnalysisRun to finish; its verdict still counts."""

    name: str


class DeleteRun(Value, frozen=True):
    name: str
    uid: str


class EvictPod(Value, frozen=True):
    """Restart a pod: evicted, so that disruption budgets hold."""

    name: str
    uid: str


class PatchRollout(Value, frozen=True):
    """The Rollout's own metadata or defaulted spec fields (its revision, replicas that nobody gave)."""

    resource_version: str
    patch: dict[str, Any]


class ScaleWorkload(Value, frozen=True):
    """Take pods from the workload that the Rollout's template is read from."""

    resource: Resource
    name: str
    resource_version: str
    replicas: int


Action = (
    CreateReplicaSet
    | PatchReplicaSet
    | DeleteReplicaSet
    | PointService
    | PatchRoute
    | Stamp
    | StartRun
    | RetireRun
    | TerminateRun
    | DeleteRun
    | EvictPod
    | PatchRollout
    | ScaleWorkload
)


class Event(msgspec.Struct, frozen=True, gc=False):
    """A Kubernetes Event about the Rollout, sent after the status that it tells of was saved."""

    reason: str
    message: str
    warning: bool = False
