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
from chaos.faults.scale_down import leaving
from chaos.faults.targets import candidates
from chaos.observed import World
from chaos.plan.workloads import owner_name, ready_below, ready_of, replicas_of, top
from rollout.api.chaos import ChaosRun, Fault, Limits, Target, Victim
from rollout.api.meta import Object, key_of, metadata
from rollout.core.validate_chaos import FAMILY

Claim = tuple[str, str, str]
"""(family, namespace, what controls the pods): what a run holds while it is at work."""


class Choice(msgspec.Struct, frozen=True):
    """The victims of one fault, or why it may not be done."""

    fault: Fault
    victims: tuple[Victim, ...] = ()
    problem: str = ""


def choose(fault: Fault, run: ChaosRun, world: World, seed: int) -> Choice:
    """The pods for one fault, within the run's limits. For a scaleDown as many as go: which ones, its owner decides."""
    target = target_of(fault, run)
    pods = [pod for pod in candidates(target, run.metadata.namespace, world) if ready(pod)]
    if not pods:
        return Choice(fault, problem="no ready pod is what the target means")
    if fault.scale_down is not None:
        number = max(1, min(len(pods), leaving(fault, run, world)))
    else:
        number = wanted(target, len(pods))
    if number > len(pods):
        return Choice(fault, problem=f"{number} pods are wanted, and only {len(pods)} ready ones are meant")
    choice = Choice(fault, tuple(_victim(pod, fault.name) for pod in sample(pods, number, seed)))
    return msgspec.structs.replace(choice, problem=beyond(run.spec.limits, [choice], world))


def choose_all(faults: Iterable[Fault], run: ChaosRun, world: World, seed: int) -> tuple[list[Choice], str]:
    """The pods for faults that act side by side, and what is wrong with them: one by one, then together."""
    choices = [choose(fault, run, world, seed) for fault in faults]
    said = next((f"fault {one.fault.name}: {one.problem}" for one in choices if one.problem), "")
    return choices, said or beyond(run.spec.limits, choices, world)


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


def claims(run: ChaosRun, victims: Iterable[Victim], world: World) -> set[Claim]:
    """What the run holds, or would hold, with these victims: for all versions of a workload, whose limits are one."""
    families = {fault.name: FAMILY[kind_of(fault)] for step in run.spec.steps for fault in step.faults}
    return {
        (families[name], victim.namespace, top(victim.namespace, victim.workload, world))
        for victim in victims
        for name in victim.faults
        if name in families
    }


# --- limits -------------------------------------------------------------------------------------------


def floor(limits: Limits) -> int:
    """Ready pods that each harmed workload keeps."""
    return 0 if limits.allow_total else max(1, limits.min_ready)


def beyond(limits: Limits, choices: Sequence[Choice], world: World) -> str:
    """Which limit harming these pods at one time would break; "" for none."""
    harm = [_Harm(one) for one in choices]
    if said := _too_few_left(limits, harm, world):
        return said
    number = _count(harm)
    if limits.max_pods is not None and number > limits.max_pods:
        return f"{number} pods would be harmed, limits.maxPods is {limits.max_pods}"
    return _too_much(limits, harm, world)


class _Harm:
    """What one fault does to how many pods."""

    def __init__(self, choice: Choice, victims: Sequence[Victim] | None = None) -> None:
        self.choice = choice
        self.victims = choice.victims if victims is None else tuple(victims)
        self.scales = choice.fault.scale_down is not None
        self.takes = FAMILY[kind_of(choice.fault)] == "pods"
        self.one_by_one = choice.fault.pod_delete is not None and choice.fault.pod_delete.sequence == "serial"

    def below(self, namespace: str, root: str, world: World) -> _Harm:
        mine = [
            one
            for one in self.victims
            if one.namespace == namespace and root in (one.workload, top(namespace, one.workload, world))
        ]
        return _Harm(self.choice, mine)


def _count(harm: Iterable[_Harm]) -> int:
    """How many pods are harmed. Which ones a scaleDown takes nobody knows before: it may be others than all the rest."""
    named, more = set(), 0
    for each in harm:
        if each.scales:
            more += len(each.victims)
        else:
            named |= {one.uid or f"{one.namespace}/{one.name}" for one in each.victims}
    return len(named) + more


def _taken(harm: Iterable[_Harm]) -> int:
    """How many pods are away at one time."""
    taking = [each for each in harm if each.takes and each.victims]
    return _count(each for each in taking if not each.one_by_one) + sum(each.one_by_one for each in taking)


def _too_much(limits: Limits, harm: Sequence[_Harm], world: World) -> str:
    """The share of all workloads together. Pods that they lack already count as away: rounds and steps do not add up."""
    tops = {(one.namespace, top(one.namespace, one.workload, world)) for each in harm for one in each.victims}
    there = sum(len(ready_below(*each, world)) for each in tops)
    number = _count(harm)
    if number * 100 > limits.max_percent * there:
        share = f"{number} of {there} ready pods would be harmed"
        return f"{share}, limits.maxPercent is {limits.max_percent}; raise it if that is what you want"
    whole = sum(max(len(ready_below(*each, world)), replicas_of(*each, world)) for each in tops)
    taken = _taken(harm)
    if taken and (whole - there + taken) * 100 > limits.max_percent * whole:
        share = f"{whole - there + taken} of {whole} pods would be away, {there} are ready now"
        return f"{share}; limits.maxPercent is {limits.max_percent}"
    return ""


def _too_few_left(limits: Limits, harm: Sequence[_Harm], world: World) -> str:
    least = floor(limits)
    owners = {(one.namespace, one.workload) for each in harm if each.takes for one in each.victims}
    tops = {(namespace, top(namespace, owner, world)) for namespace, owner in owners}
    for namespace, name in sorted(owners | tops):
        at_top = (namespace, name) in tops
        mine = [each.below(namespace, name, world) for each in harm if at_top or not each.scales]
        there = len((ready_below if at_top else ready_of)(namespace, name, world))
        left = there - _taken(mine)
        if left < least and left < there:
            if left <= 0:
                return f"{name} would lose its last ready pod; limits.allowTotal allows that"
            return f"{name} would keep {left} of {there} ready pods, limits.minReady is {least}"
    return ""


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
