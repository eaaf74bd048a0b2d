"""Whom a fault is done to: a seeded sample of the ready pods that its target means, and how far it may go.

The same seed and the same pods give the same victims, however often it is asked. Rounding is explicit, and more than
the limits allow is refused, never quietly made less.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import msgspec

from chaos.faults.pods import ready, spec
from chaos.faults.receipts import kind_of, target_of
from chaos.faults.targets import candidates
from chaos.observed import World
from chaos.plan.workloads import owner_name, ready_below, ready_of, root_name
from rollout.api.chaos import ChaosRun, Fault, Limits, Target, Victim
from rollout.api.meta import Object, key_of, metadata
from rollout.api.resources import PODS
from rollout.core.validate_chaos import FAMILY

Claim = tuple[str, str, str]
"""(family, namespace, what controls the pods): what a run holds while it is at work."""


class Choice(msgspec.Struct, frozen=True):
    """The victims of one fault, or why it may not be done."""

    fault: Fault
    victims: tuple[Victim, ...] = ()
    problem: str = ""


def choose(fault: Fault, run: ChaosRun, world: World, seed: int) -> Choice:
    """The pods for one fault, within the run's limits."""
    target = target_of(fault, run)
    pods = [pod for pod in candidates(target, run.metadata.namespace, world) if ready(pod)]
    if not pods:
        return Choice(fault, problem="no ready pod is what the target means")
    number = wanted(target, len(pods))
    if number > len(pods):
        return Choice(fault, problem=f"{number} pods are wanted, and only {len(pods)} ready ones are meant")
    chosen = tuple(_victim(pod, fault.name) for pod in sample(pods, number, seed))
    return Choice(fault, chosen, beyond(run.spec.limits, fault, chosen, world))


def sample(pods: Sequence[Object], number: int, seed: int) -> list[Object]:
    """`number` of the pods, the same for the same seed: those with the least hash of seed and name."""
    return sorted(pods, key=lambda pod: _rank(pod, seed))[:number]


def wanted(target: Target, there: int) -> int:
    """How many of `there` ready pods the target wants; at least one."""
    if target.percent is not None:
        share = there * target.percent
        rounded = {"Down": share // 100, "Up": -(-share // 100), "Nearest": (share + 50) // 100}
        return max(1, rounded[target.rounding])
    return 1 if target.count is None else target.count


def merged(victims: Iterable[Victim], choices: Iterable[Choice]) -> tuple[Victim, ...]:
    """The victim list with those of the chosen faults anew; each pod once, with all the faults it is for."""
    found: dict[tuple[str, str, str], Victim] = {}
    fresh = list(choices)
    again = {one.fault.name for one in fresh}
    kept = [msgspec.structs.replace(one, faults=_others(one, again)) for one in victims]
    chosen = [victim for choice in fresh for victim in choice.victims]
    for victim in (*(one for one in kept if one.faults), *chosen):
        place = victim.namespace, victim.name, victim.uid
        before = found.get(place)
        faults = victim.faults if before is None else (*before.faults, *victim.faults)
        found[place] = msgspec.structs.replace(victim, faults=tuple(dict.fromkeys(faults)))
    return tuple(found.values())


def claims(run: ChaosRun, victims: Iterable[Victim]) -> set[Claim]:
    """What the run holds, or would hold, with these victims."""
    families = {fault.name: FAMILY[kind_of(fault)] for step in run.spec.steps for fault in step.faults}
    return {
        (families[name], victim.namespace, victim.workload)
        for victim in victims
        for name in victim.faults
        if name in families
    }


# --- limits -------------------------------------------------------------------------------------------


def floor(limits: Limits) -> int:
    """Ready pods that each harmed workload keeps."""
    return 0 if limits.allow_total else max(1, limits.min_ready)


def beyond(limits: Limits, fault: Fault, victims: Sequence[Victim], world: World) -> str:
    """Which limit harming these pods would break; "" for none."""
    if FAMILY[kind_of(fault)] == "pods" and (said := _too_few_left(limits, fault, victims, world)):
        return said
    if limits.max_pods is not None and len(victims) > limits.max_pods:
        return f"{len(victims)} pods would be harmed, limits.maxPods is {limits.max_pods}"
    places = {(one.namespace, root) for one in victims if (root := _root(one, world))}
    there = sum(len(ready_below(namespace, root, world)) for namespace, root in places)
    harmed = there - _scaled(fault, there) if fault.scale_down is not None else len(victims)
    if harmed * 100 > limits.max_percent * there:
        share = f"{harmed} of {there} ready pods would be harmed"
        return f"{share}, limits.maxPercent is {limits.max_percent}; raise it if that is what you want"
    return ""


def _too_few_left(limits: Limits, fault: Fault, victims: Sequence[Victim], world: World) -> str:
    least = floor(limits)
    one_by_one = fault.pod_delete is not None and fault.pod_delete.sequence == "serial"
    for namespace, owner in sorted({(one.namespace, one.workload) for one in victims}):
        there = len(ready_of(namespace, owner, world))
        of_it = sum((one.namespace, one.workload) == (namespace, owner) for one in victims)
        taken = 1 if one_by_one else of_it
        left = _scaled(fault, there) if fault.scale_down is not None else there - taken
        if left < least:
            if left <= 0:
                return f"{owner} would lose its last ready pod; limits.allowTotal allows that"
            return f"{owner} would keep {left} of {there} ready pods, limits.minReady is {least}"
    return ""


def _scaled(fault: Fault, there: int) -> int:
    how = fault.scale_down
    assert how is not None
    return how.replicas if how.replicas is not None else there - there * (how.percent or 0) // 100


def _root(victim: Victim, world: World) -> str:
    pod = world.get(PODS, victim.namespace, victim.name)
    return root_name(pod, world) if pod is not None else ""


def _others(victim: Victim, names: set[str]) -> tuple[str, ...]:
    return tuple(name for name in victim.faults if name not in names)


def _victim(pod: Object, fault: str) -> Victim:
    meta = metadata(pod)
    return Victim(
        kind="Pod",
        namespace=meta["namespace"],
        name=meta["name"],
        uid=str(meta.get("uid", "")),
        node=str(spec(pod).get("nodeName") or ""),
        faults=(fault,),
        workload=owner_name(pod),
    )


def _rank(pod: Object, seed: int) -> str:
    return hashlib.sha256(f"{seed}/{key_of(pod)}".encode()).hexdigest()
