"""Pods of a canary whose traffic is moved by pod numbers alone (study/argo-rollouts.md 1.4). Integers only."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from rollout.core.capacity import pods_for


class Count(msgspec.Struct, frozen=True):
    """What a ReplicaSet asks for and has available now, and what it should come to."""

    spec: int
    available: int
    target: int


def split(weight: int, replicas: int, surge: int) -> tuple[int, int]:
    """(canary, stable) pods whose share is nearest to `weight` percent.

    Candidates are ceil and floor of the exact canary count, at a total of `replicas` and, when surge allows,
    of `replicas` + 1. For weights 1..99 neither side may be empty, unless there is one replica and no surge.
    The smallest error wins, the first candidate wins a tie.
    """
    if replicas <= 0:
        return 0, 0
    if weight <= 0:
        return 0, replicas
    if weight >= 100:
        return replicas, 0
    best: tuple[int, int] | None = None
    best_error = 0.0
    for total in (replicas, replicas + 1) if surge > 0 else (replicas,):
        for canary in (pods_for(weight, total), weight * total // 100):
            stable = total - canary
            if (canary == 0 or stable == 0) and not (replicas == 1 and surge == 0):
                continue
            error = abs(canary * 100 - weight * total) / total
            if best is None or error < best_error:
                best, best_error = (canary, stable), error
    return best or (pods_for(weight, replicas), replicas - pods_for(weight, replicas))


def next_counts(
    counts: Mapping[str, Count], *, replicas: int, surge: int, unavailable: int, older: tuple[str, ...]
) -> dict[str, int]:
    """Each set's next replica count on the way to its target, by the names in `counts`.

    Growth takes only the room that `replicas` + `surge` leaves, in the order of `counts` (stable comes
    before new). Shrinking leaves `replicas` - `unavailable` pods available; sets in `older` go first, and as
    long as one of them has pods nothing else shrinks. Pods that are not available are free to go.
    """
    result = {name: count.spec for name, count in counts.items()}
    room = replicas + surge - sum(count.spec for count in counts.values())
    for name, count in counts.items():
        growth = min(max(0, count.target - count.spec), max(0, room))
        result[name] += growth
        room -= growth
    spare = sum(min(count.available, count.spec) for count in counts.values()) - (replicas - unavailable)
    old_pods = any(counts[name].spec > 0 for name in older)
    for name in older if old_pods else counts:
        count = counts[name]
        if count.target >= count.spec:
            continue
        excess = count.spec - count.target
        broken = min(excess, max(0, count.spec - count.available))
        healthy = min(excess - broken, max(0, spare))
        result[name] = count.spec - broken - healthy
        spare -= healthy
    return result
