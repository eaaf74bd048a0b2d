"""From a wanted world to ordered actions: the one place that holds the ordering rule.

Capacity before weight, in both directions; move traffic, see that it has moved, only then shrink; nothing that
any route, selector or subset names is scaled to zero. A pass does as much as it may without looking again:

1. grow: create and scale up;
2. evidence: analysis runs;
3. traffic: either bind destinations to pods, or move weight, never both at once;
4. shrink: only when step 3 had nothing left to do in this snapshot.
"""

from __future__ import annotations

from collections.abc import Iterator

from rollout.api.rollout import DESIRED_REPLICAS, SCALE_DOWN_DEADLINE
from rollout.api.workload import ReplicaSet
from rollout.core.actions import (
    Action,
    CreateReplicaSet,
    PatchReplicaSet,
    RetireRun,
    StartRun,
    TerminateRun,
)
from rollout.core.capacity import least_ready, surge_and_unavailable
from rollout.core.desired import Desired
from rollout.core.observed import Observed, available, hash_label
from rollout.traffic.base import Live, Router
from rollout.traffic.services import point, selected_hash


def diff(desired: Desired, seen: Observed, router: Router | None, live: Live | None) -> tuple[Action, ...]:
    """The actions of this pass, in order."""
    traffic = tuple(_traffic(desired, seen, router, live))
    return (
        *_grow(desired, seen),
        *_evidence(desired, seen),
        *traffic,
        *(() if traffic else _shrink(desired, seen, live)),
        *desired.chores,
    )


def _grow(desired: Desired, seen: Observed) -> Iterator[Action]:
    if desired.create is not None:
        yield CreateReplicaSet(object=desired.create)
    for one in seen.sets.all:
        pod_hash = hash_label(one)
        replicas = desired.replicas.get(pod_hash, one.spec.replicas)
        deadline = _deadline_change(desired, one)
        if replicas > one.spec.replicas:
            yield _patch(seen, one, replicas, deadline)
        elif deadline is not None and replicas == one.spec.replicas:
            yield _patch(seen, one, None, deadline)


def _evidence(desired: Desired, seen: Observed) -> Iterator[Action]:
    for name in desired.retire:
        run = seen.run(name)
        yield RetireRun(name=name, terminate=run is not None and not run.completed)
    yield from (TerminateRun(name=name) for name in desired.terminate if name not in desired.retire)
    yield from (StartRun(object=obj) for obj in desired.start)


def _traffic(desired: Desired, seen: Observed, router: Router | None, live: Live | None) -> Iterator[Action]:
    services = [
        action for name, pod_hash in desired.services.items() for action in point(seen, name, pod_hash)
    ]
    wanted = desired.traffic
    if router is None or live is None or wanted is None:
        yield from services
        return
    weight = router.set_weight(seen, wanted.weight)
    if not live.settled:
        # What was written last does not work yet: nothing is built on it. Going home does not wait.
        yield from weight if wanted.weight < live.high else ()
        return
    bind = (*services, *router.retarget(seen, wanted.canary_hash, wanted.stable_hash))
    if not bind:
        yield from weight
        return
    canary_moves = bool(wanted.canary_hash) and live.canary_hash != wanted.canary_hash
    if not (canary_moves and live.high > 0 and weight):
        yield from bind
    elif wanted.stable_hash and live.stable_hash not in ("", wanted.stable_hash):
        # Traffic is about to come home: the stable destination must be there first.
        canary = seen.rollout.spec.strategy.canary
        yield from (one for one in services if canary is None or one.name != canary.canary_service)
        yield from router.retarget(seen, "", wanted.stable_hash)
    else:
        # A destination that carries traffic is emptied before it is bound to other pods.
        yield from weight


def _shrink(desired: Desired, seen: Observed, live: Live | None) -> Iterator[Action]:
    for one in seen.sets.all:
        replicas = desired.replicas.get(hash_label(one), one.spec.replicas)
        if replicas < one.spec.replicas and _may_shrink(seen, one, replicas, live):
            gone: dict[str, str | None] = {SCALE_DOWN_DEADLINE: None}
            yield _patch(seen, one, replicas, gone if one.metadata.annotation(SCALE_DOWN_DEADLINE) else None)


def _may_shrink(seen: Observed, one: ReplicaSet, replicas: int, live: Live | None) -> bool:
    pod_hash = hash_label(one)
    if seen.rollout.replicas == 0:
        return True
    if replicas == 0:
        bound = any(selected_hash(seen, name) == pod_hash for name in seen.services)
        if bound or (live is not None and live.names(pod_hash)):
            return False
    if live is None:
        return True
    if not live.settled:
        return False
    _, unavailable = surge_and_unavailable(seen.rollout)
    need = least_ready(live.weight_of(pod_hash), seen.rollout.replicas, unavailable)
    # Pods that are not available are the first to go: fewer of them hurt nobody.
    return min(available(one), replicas) >= need or (replicas >= need and available(one) <= replicas)


def _deadline_change(desired: Desired, one: ReplicaSet) -> dict[str, str | None] | None:
    pod_hash = hash_label(one)
    if pod_hash not in desired.deadlines:
        return None
    deadline = desired.deadlines[pod_hash]
    if (one.metadata.annotation(SCALE_DOWN_DEADLINE) or None) == deadline:
        return None
    return {SCALE_DOWN_DEADLINE: deadline}


def _patch(
    seen: Observed, one: ReplicaSet, replicas: int | None, annotations: dict[str, str | None] | None
) -> PatchReplicaSet:
    changes = dict(annotations or {})
    if replicas is not None and one.metadata.annotation(DESIRED_REPLICAS) != str(seen.rollout.replicas):
        changes[DESIRED_REPLICAS] = str(seen.rollout.replicas)
    return PatchReplicaSet(
        name=one.metadata.name,
        resource_version=one.metadata.resource_version,
        replicas=replicas,
        annotations=changes or None,
    )
