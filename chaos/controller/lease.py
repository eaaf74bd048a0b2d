"""The lease of the faults that undo themselves: whether the run that they belong to is still carried on.

An injector in a victim's pod asks `GET /chaos/lease/<run uid>` once a period. 200: go on. 410: undo now. Anything else,
and no answer, is a missed beat; three in a row end the fault. So an injector outlives neither its run, nor its
controller, nor that controller's leadership.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from chaos.faults.netem import LEASE_PATH
from rollout.api.rollout import INSTANCE_ID
from rollout.runtime.kube import Object

__all__ = ["LEASE_PATH", "UNKNOWN", "answer"]
HELD, OVER, UNKNOWN = 200, 410, 503
_CARRIED = frozenset({"Checking", "Injecting"})


def answer(uid: str, runs: Iterable[Object], *, instance_id: str, working: bool) -> int:
    """The HTTP status for a run's uid. `working`: whether this process leads, with caches that are filled; one that
    does not cannot know, and neither holds a fault nor ends it."""
    if not working:
        return UNKNOWN
    return HELD if any(_is(run, uid) and _carried(run, instance_id) for run in runs) else OVER


def _is(run: Object, uid: str) -> bool:
    return bool(uid) and (run.get("metadata") or {}).get("uid") == uid


def _carried(run: Object, instance_id: str) -> bool:
    """Whether the run is this controller's, at work, and not ending."""
    meta: Mapping[str, Any] = run.get("metadata") or {}
    spec, status = run.get("spec") or {}, run.get("status") or {}
    if (meta.get("labels") or {}).get(INSTANCE_ID, "") != instance_id or meta.get("deletionTimestamp"):
        return False
    return status.get("phase") in _CARRIED and not status.get("stopping") and not spec.get("abort")
