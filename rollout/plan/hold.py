"""A release that must not begin now: planned as if its template had not been changed yet.

So everything else goes on as before: a release that is under way and its abort, scaling, traffic, restarts. What is
held is a new version only. Going back to the stable version, or to one within the rollback window, is never held,
nor the first deployment, nor the retry of a release that had begun: these are how people repair things.
"""

from __future__ import annotations

import msgspec

from rollout.core.actions import Event
from rollout.core.observed import Observed
from rollout.plan.lifecycle import why_skip
from rollout.plan.plan import Plan


def without_new(seen: Observed) -> Observed | None:
    """The snapshot without the version that would begin; None when none would."""
    status, sets = seen.rollout.status, seen.sets
    if status.current_pod_hash in ("", sets.hash) or why_skip(seen):
        return None
    before = sets.by_hash(status.current_pod_hash) or sets.stable
    if before is None:
        return None
    spec = msgspec.structs.replace(seen.rollout.spec, template=before.spec.template)
    return msgspec.structs.replace(seen, rollout=msgspec.structs.replace(seen.rollout, spec=spec))


def told(decision: Plan, seen: Observed, why: str) -> Plan:
    """The plan, saying that a new version waits and `why`. A Rollout that is at rest otherwise is Paused by that."""
    status = decision.status
    phase, message = (
        ("Paused", why)
        if status.phase == "Healthy"
        else (status.phase, "; ".join(filter(None, (status.message, why))))
    )
    news = (
        () if why in seen.rollout.status.message else (Event("ReleaseHeld", f"No new version begins: {why}"),)
    )
    return msgspec.structs.replace(
        decision,
        status=msgspec.structs.replace(status, phase=phase, message=message),
        events=(*decision.events, *news),
        hold=decision.hold or why,
    )
