"""Facts about pods, read from plain objects. Times are aware datetimes, spans are seconds."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from rollout.api.meta import Object, metadata, time_of

HASH_LABEL = "pod-template-hash"
DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"


def status(pod: Object) -> Mapping[str, Any]:
    return pod.get("status") or {}


def spec(obj: Object) -> Mapping[str, Any]:
    return obj.get("spec") or {}


def phase(pod: Object) -> str:
    return status(pod).get("phase") or "Pending"


def is_terminating(obj: Object) -> bool:
    return bool(metadata(obj).get("deletionTimestamp"))


def is_finished(pod: Object) -> bool:
    return phase(pod) in {"Succeeded", "Failed"}


def is_active(pod: Object) -> bool:
    """Neither finished nor being deleted: it counts towards a controller's replicas."""
    return not is_finished(pod) and not is_terminating(pod)


def condition(obj: Object, type: str) -> Mapping[str, Any] | None:
    return next((item for item in status(obj).get("conditions") or () if item.get("type") == type), None)


def is_ready(pod: Object) -> bool:
    ready = condition(pod, "Ready")
    return ready is not None and ready.get("status") == "True"


def ready_since(pod: Object) -> datetime | None:
    ready = condition(pod, "Ready")
    return time_of(ready.get("lastTransitionTime")) if ready and ready.get("status") == "True" else None


def available_in(pod: Object, min_ready_seconds: int, now: datetime) -> float | None:
    """Seconds until the pod counts as available (0 when it does); None while it is not ready."""
    if not is_ready(pod):
        return None
    since = ready_since(pod)
    if not min_ready_seconds or since is None:
        return 0.0 if not min_ready_seconds else None
    return max(0.0, min_ready_seconds - (now - since).total_seconds())


def restarts(pod: Object) -> int:
    """The highest restart count among the pod's containers."""
    return max(
        (int(item.get("restartCount", 0)) for item in status(pod).get("containerStatuses") or ()), default=0
    )


def deletion_cost(pod: Object) -> int:
    """The annotation that asks for earlier (lower) or later deletion; 0 when absent or malformed."""
    try:
        return int((metadata(pod).get("annotations") or {}).get(DELETION_COST, "0"))
    except ValueError:
        return 0


def created(obj: Object) -> datetime | None:
    return time_of(metadata(obj).get("creationTimestamp"))
