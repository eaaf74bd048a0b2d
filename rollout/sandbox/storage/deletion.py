"""What a delete does to one object: pure, given the object, the options and the time.

Source: https://kubernetes.io/docs/concepts/architecture/garbage-collection/ and
https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-termination.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import msgspec

from rollout.api.meta import time_of, timestamp
from rollout.api.resources import Resource
from rollout.sandbox.storage.admission import DeleteOptions
from rollout.sandbox.storage.metadata import with_meta
from rollout.sandbox.storage.refusals import delete_uid_conflict, delete_version_conflict

Object = dict[str, Any]

FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"
DEFAULT_GRACE_SECONDS = 30


class Outcome(msgspec.Struct, frozen=True):
    """`gone`: nothing holds the object, remove it; otherwise it stays as `object` (the same one when unchanged)."""

    object: Object
    gone: bool


def begin_deletion(resource: Resource, obj: Object, options: DeleteOptions, now: datetime) -> Outcome:
    """The object after a delete request. Conflict when a precondition fails."""
    meta = obj["metadata"]
    if options.uid and options.uid != meta["uid"]:
        raise delete_uid_conflict(resource, meta["name"], options.uid, meta["uid"])
    if options.resource_version and options.resource_version != meta["resourceVersion"]:
        raise delete_version_conflict(
            resource, meta["name"], options.resource_version, meta["resourceVersion"]
        )
    is_namespace = (resource.group, resource.plural) == ("", "namespaces")
    finalizers = _finalizers(meta.get("finalizers") or [], options)
    grace = _grace(resource, obj, options)
    marked = with_meta(obj, finalizers=finalizers or None)
    if not meta.get("deletionTimestamp"):
        generation = meta.get("generation")
        marked = with_meta(
            marked,
            deletionTimestamp=timestamp(now + timedelta(seconds=grace)),
            deletionGracePeriodSeconds=None if is_namespace else grace,
            generation=generation + 1 if generation else None,
        )
    else:
        before = meta.get("deletionGracePeriodSeconds") or 0
        grace = min(grace, before)
        if grace < before:
            asked = time_of(meta["deletionTimestamp"])
            assert asked is not None
            sooner = asked - timedelta(seconds=before - grace)
            marked = with_meta(marked, deletionTimestamp=timestamp(sooner), deletionGracePeriodSeconds=grace)
    if is_namespace:
        marked = {**marked, "status": {**(marked.get("status") or {}), "phase": "Terminating"}}
    return Outcome(obj if marked == obj else marked, may_go(resource, marked))


def may_go(resource: Resource, obj: Object) -> bool:
    """Whether an object that is being deleted has nothing left to wait for."""
    meta = obj["metadata"]
    if not meta.get("deletionTimestamp") or meta.get("finalizers"):
        return False
    if (resource.group, resource.plural) == ("", "namespaces"):
        return not (obj.get("spec") or {}).get("finalizers")
    return not meta.get("deletionGracePeriodSeconds")


def _finalizers(have: list[str], options: DeleteOptions) -> list[str]:
    """The finalizers for the garbage collector that the propagation policy asks for, and the others."""
    if options.propagation is None:
        return have
    others = [name for name in have if name not in {FOREGROUND, ORPHAN}]
    match options.propagation:
        case "Foreground":
            return [*others, FOREGROUND]
        case "Orphan":
            return [*others, ORPHAN]
        case "Background":
            return others


def _grace(resource: Resource, obj: Object, options: DeleteOptions) -> int:
    """Seconds. Only pods that were given to a node, and have not ended, get any."""
    if (resource.group, resource.plural) != ("", "pods"):
        return 0
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    if not spec.get("nodeName") or status.get("phase") in {"Succeeded", "Failed"}:
        return 0
    if options.grace_seconds is not None:
        return max(options.grace_seconds, 0)
    seconds = spec.get("terminationGracePeriodSeconds")
    if seconds is None:
        return DEFAULT_GRACE_SECONDS
    return int(seconds) if seconds >= 0 else 1
