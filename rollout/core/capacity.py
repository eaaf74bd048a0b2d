"""How many ready pods a share of the traffic needs. Integers only; one formula for plan and invariants."""

from __future__ import annotations

from functools import lru_cache

from rollout.api.meta import IntOrPercent, scaled
from rollout.api.rollout import DEFAULT_SURGE, DEFAULT_UNAVAILABLE, Rollout


def surge_and_unavailable(rollout: Rollout) -> tuple[int, int]:
    """(maxSurge, maxUnavailable) in pods: surge rounded up, unavailable down; both 0 makes unavailable 1.

    Never all pods: one must go on serving (I3), so a single pod is replaced by way of a second one, whatever the
    two numbers say.
    """
    canary = rollout.spec.strategy.canary
    surge = canary.max_surge if canary else DEFAULT_SURGE
    unavailable = canary.max_unavailable if canary else 0
    return _in_pods(
        DEFAULT_SURGE if surge is None else surge,
        DEFAULT_UNAVAILABLE if unavailable is None else unavailable,
        rollout.replicas,
    )


@lru_cache(maxsize=1024)
def _in_pods(surge: IntOrPercent, unavailable: IntOrPercent, replicas: int) -> tuple[int, int]:
    up, down = scaled(surge, replicas, round_up=True), scaled(unavailable, replicas, round_up=False)
    down = down if up or down else 1
    if down < replicas or replicas <= 0:
        return up, down
    return (up, replicas - 1) if up or replicas > 1 else (1, 0)


def pods_for(weight: int, replicas: int) -> int:
    """Pods that `weight` percent of the traffic of `replicas` pods amounts to, rounded up."""
    return -(-replicas * weight // 100)


def least_ready(weight: int, replicas: int, unavailable: int) -> int:
    """The ready pods below which a version must not carry `weight` percent (reliability.md 8.2, I2).

    ceil(weight/100 x (replicas - maxUnavailable)), but at least one for any traffic at all.
    """
    if weight <= 0 or replicas <= 0:
        return 0
    return max(1, pods_for(weight, max(0, replicas - unavailable)))
