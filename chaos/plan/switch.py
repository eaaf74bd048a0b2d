"""The cluster's halt and its caps, as functions of what the cache holds. Pure.

Any engaged ChaosSwitch halts; caps come from the one named "default" (without it: the defaults of `Caps`).
Who decides must decide from a cache that is filled: an unsynced cache is not "no switch".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from rollout.api.chaos import SWITCH_NAME, Caps, ChaosRun, ChaosSwitch, ChaosSwitchStatus, Victim
from rollout.api.meta import duration

ACTIVE = frozenset({"Checking", "Injecting", "Reverting", "Recovering"})
"""Phases in which a run takes its place in the caps: from before its checks until its targets are whole again."""


def engaged(switches: Iterable[ChaosSwitch]) -> str:
    """Why no chaos may be at work now, for people; "" when no switch is engaged."""
    return _said((one for one in switches if one.spec.engaged), "is engaged")


def releases_held(switches: Iterable[ChaosSwitch]) -> str:
    """Why no release may begin now, for people ("held by ChaosSwitch default: REASON"); "" when none is held."""
    return _said((one for one in switches if one.spec.hold_releases), "", before="held by ")


def _said(switches: Iterable[ChaosSwitch], verb: str, *, before: str = "") -> str:
    one = min(switches, key=lambda one: one.metadata.name, default=None)
    if one is None:
        return ""
    what = " ".join(part for part in (f"{before}ChaosSwitch {one.metadata.name}", verb) if part)
    return f"{what}: {one.spec.reason or 'no reason given'}"


def caps(switches: Iterable[ChaosSwitch]) -> Caps:
    """How much all runs together may harm."""
    return next((one.spec.caps for one in switches if one.metadata.name == SWITCH_NAME), Caps())


def active(runs: Iterable[ChaosRun]) -> list[ChaosRun]:
    """The runs that take a place in the caps."""
    return [run for run in runs if run.status.phase in ACTIVE]


def switch_status(switch: ChaosSwitch, runs: Iterable[ChaosRun]) -> ChaosSwitchStatus:
    """What a switch says of itself: how many runs of the cluster are at work, and what it does about them."""
    number = len(active(runs))
    words = []
    if switch.spec.engaged:
        words.append(f"halted; {number} run(s) are being undone" if number else "halted; no run is at work")
    if switch.spec.hold_releases:
        words.append("no release begins")
    return ChaosSwitchStatus(
        observed_generation=switch.metadata.generation, runs_active=number, message="; ".join(words)
    )


Harmed = tuple[ChaosRun, Sequence[Victim]]
"""A run, and whom it harms."""


def over_caps(
    run: ChaosRun,
    victims: Sequence[Victim],
    others: Iterable[ChaosRun],
    limit: Caps,
    ready: Mapping[str, int],
    *,
    seconds: float = 0.0,
) -> str:
    """Why `run` may not begin to harm `victims` (pods) beside the other active runs; "" when it may.

    `ready` has the number of ready pods of each namespace that `victims` are in, `seconds` is how long the run means
    to last. A namespace's runs are counted where their victims are (before they have any: where the run is). Pods
    that two runs harm count once. Both the pods of other runs and the run's own count towards each cap.
    """
    beside = [one for one in active(others) if one.metadata.uid != run.metadata.uid]
    mine = {one.namespace for one in victims} or {run.metadata.namespace}
    if seconds > duration(limit.max_duration):
        return f"it would last {seconds:g} s, the cap is {limit.max_duration}"
    if _exceeds(len(beside) + 1, limit.runs_per_cluster):
        return (
            f"{_names(beside)} at work already, and the cap is {limit.runs_per_cluster} run(s) in the cluster"
        )
    for namespace in sorted(mine):
        there = [one for one in beside if namespace in places(one)]
        if _exceeds(len(there) + 1, limit.runs_per_namespace):
            cap = f"{limit.runs_per_namespace} run(s) in the namespace {namespace}"
            return f"{_names(there)} at work already, and the cap is {cap}"
        if why := _too_many_pods(
            namespace, [(run, victims), *_victims(beside)], limit, ready.get(namespace, 0)
        ):
            return why
    total = len(_pods([(run, victims), *_victims(beside)]))
    if _exceeds(total, limit.pods_per_cluster):
        return f"{total} pods would be harmed at one time, the cap is {limit.pods_per_cluster} in the cluster"
    return ""


def _too_many_pods(namespace: str, harmed: Iterable[Harmed], limit: Caps, ready: int) -> str:
    pods = _pods((run, [one for one in some if one.namespace == namespace]) for run, some in harmed)
    if _exceeds(len(pods), limit.pods_per_namespace):
        cap = f"{limit.pods_per_namespace} in the namespace {namespace}"
        return f"{len(pods)} pods would be harmed at one time, the cap is {cap}"
    if len(pods) * 100 > limit.percent_per_namespace * ready:
        cap = f"{limit.percent_per_namespace} % in the namespace {namespace}"
        return f"{len(pods)} of {ready} ready pods would be harmed at one time, the cap is {cap}"
    return ""


def places(run: ChaosRun) -> set[str]:
    """The namespaces in which a run harms something."""
    return {one.namespace for one in run.status.victims} or {
        run.spec.target.namespace or run.metadata.namespace
    }


def _victims(runs: Iterable[ChaosRun]) -> list[Harmed]:
    return [(run, run.status.victims) for run in runs]


def _pods(harmed: Iterable[Harmed]) -> set[str]:
    """The pods, each once; but those of a scaleDown stand for others, which nobody knows before: they count beside,
    those of each scaleDown for themselves, as in the run's own limits."""
    found = set()
    for run, victims in harmed:
        scales = {one.name for step in run.spec.steps for one in step.faults if one.scale_down is not None}
        for one in victims:
            name = one.uid or f"{one.namespace}/{one.name}"
            if one.kind == "Pod" and (not one.faults or set(one.faults) - scales):
                found.add(name)
            if one.kind == "Pod":
                found |= {f"{run.metadata.uid} {fault} scales {name}" for fault in scales & set(one.faults)}
    return found


def _exceeds(number: int, cap: int | None) -> bool:
    return cap is not None and number > cap


def _names(runs: Sequence[ChaosRun]) -> str:
    names = sorted(str(one.metadata.key) for one in runs)
    shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return f"{shown or 'nothing'} {'are' if len(names) > 1 else 'is'}"
