"""PodDisruptionBudget status: how many pods may be evicted now.

Semantics: https://kubernetes.io/docs/tasks/run-application/configure-pdb/ . The eviction subresource
takes from `disruptionsAllowed` and notes the pod in `disruptedPods`; this controller counts anew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from rollout.api.meta import Object, metadata, scaled, time_of, timestamp
from rollout.api.resources import PDBS
from rollout.sandbox.workloads import pods as facts
from rollout.sandbox.workloads.decision import Decision, soonest, status_patch

DELETION_TIMEOUT = timedelta(minutes=2)
"""A pod whose eviction was allowed but that is still not being deleted by then counts as healthy again."""


def decide(budget: Object, pods: Sequence[Object], scales: Mapping[str, int], now: datetime) -> Decision:
    """What to write about one budget.

    `pods` are those that its selector matches, `scales` the replicas asked for by each of their controllers
    (every controller once, by its uid).
    """
    spec = facts.spec(budget)
    alive = [pod for pod in pods if not facts.is_finished(pod)]
    disrupted = _still_disrupted(facts.status(budget).get("disruptedPods") or {}, pods, now)
    healthy = sum(
        facts.is_ready(pod) and not facts.is_terminating(pod) and metadata(pod)["name"] not in disrupted
        for pod in alive
    )
    expected, desired = _expectation(spec, len(alive), sum(scales.values()))
    allowed = max(0, healthy - desired) if expected else 0
    status: dict[str, Any] = {
        "observedGeneration": metadata(budget).get("generation", 0),
        "currentHealthy": healthy,
        "desiredHealthy": desired,
        "expectedPods": expected,
        "disruptionsAllowed": allowed,
        **({"disruptedPods": disrupted} if disrupted else {}),
        "conditions": [_condition(budget, allowed, now)],
    }
    waits = [_left(since, now) for since in disrupted.values()]
    # The eviction subresource writes here too: never give back what it has just taken.
    return Decision(status_patch(PDBS, budget, status, exact=True), soonest(*waits))


def _expectation(spec: Mapping[str, Any], pods: int, scale: int) -> tuple[int, int]:
    """(expected pods, pods that must stay healthy)."""
    if spec.get("maxUnavailable") is not None:
        return scale, max(0, scale - scaled(spec["maxUnavailable"], scale, round_up=True))
    least = spec.get("minAvailable", 1)
    if isinstance(least, str):
        return scale, scaled(least, scale, round_up=True)
    return pods, int(least)


def _still_disrupted(noted: Mapping[str, str], pods: Sequence[Object], now: datetime) -> dict[str, str]:
    """The evictions that have not shown in their pods yet."""
    waiting = {metadata(pod)["name"] for pod in pods if not facts.is_terminating(pod)}
    return {name: since for name, since in noted.items() if name in waiting and _left(since, now) > 0}


def _left(since: str, now: datetime) -> float:
    moment = time_of(since)
    return (moment + DELETION_TIMEOUT - now).total_seconds() if moment else 0.0


def _condition(budget: Object, allowed: int, now: datetime) -> dict[str, Any]:
    status, reason = ("True", "SufficientPods") if allowed > 0 else ("False", "InsufficientPods")
    before = facts.condition(budget, "DisruptionAllowed") or {}
    same = before.get("status") == status
    return {
        "type": "DisruptionAllowed",
        "status": status,
        "reason": reason,
        "message": "",
        "observedGeneration": metadata(budget).get("generation", 0),
        "lastTransitionTime": before.get("lastTransitionTime") if same else timestamp(now),
    }
