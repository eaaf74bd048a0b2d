"""What a fault has left behind: objects of ours whose time is over, or whose run has ended or is gone. Pure.

The last line of defence when a run could not undo something itself: it is asked soon after the start of every controller and
every half minute, of the server's own objects and not of a cache.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from chaos.actions import Delete
from chaos.faults.receipts import over_since, silenced
from chaos.plan.draft import OVER
from rollout.api.chaos import RECEIPT, RUN_UID, ChaosRunStatus
from rollout.api.meta import Object, key_of, metadata, time_of
from rollout.api.resources import Resource

LATE_SECONDS = 5.0
"""A lease that has been over for so long is not going to be renewed."""
SILENCED_SECONDS = 15.0
"""Somebody is undoing what was silenced, and waits for the proxies' word: so long, and the lease, it is left to them."""
NEW_SECONDS = 10.0
"""Objects younger than that may belong to a run that was listed before it was made."""


def litter(
    objects: Iterable[tuple[Resource, Object]],
    runs: Mapping[str, ChaosRunStatus],
    now: datetime,
    *,
    all_runs: bool = True,
) -> list[tuple[Delete, str]]:
    """What is to be deleted, and why. `runs` are the runs of the cluster by uid: all, or those that we may see."""
    found = []
    for resource, obj in objects:
        meta = metadata(obj)
        if why := _over(meta, obj, runs, now, all_runs):
            key = key_of(obj)
            delete = Delete(
                resource=resource,
                namespace=key.namespace,
                name=key.name,
                uid=str(meta.get("uid", "")),
                receipt=str((meta.get("annotations") or {}).get(RECEIPT, "")),
            )
            found.append((delete, why))
    return found


def _over(
    meta: Mapping[str, Any], obj: Object, runs: Mapping[str, ChaosRunStatus], now: datetime, all_runs: bool
) -> str:
    if meta.get("deletionTimestamp"):
        return ""
    over, patience = over_since(obj), SILENCED_SECONDS if silenced(obj) else LATE_SECONDS
    if over is not None and (now - over).total_seconds() > patience:
        return "its lease is over"
    made = time_of(meta.get("creationTimestamp"))
    if made is not None and (now - made).total_seconds() < NEW_SECONDS:
        return ""
    status = runs.get(str((meta.get("labels") or {}).get(RUN_UID, "")))
    if status is None:
        return "its run is gone" if all_runs else ""
    if status.phase == "Completed":
        return "its run has completed"
    receipt = (meta.get("annotations") or {}).get(RECEIPT)
    if any(one.id == receipt and one.state in OVER for one in status.receipts):
        return "its fault is over"
    return ""
