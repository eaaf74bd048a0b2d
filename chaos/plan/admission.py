"""Whether a run may begin: what forbids it, and for whom it waits. Pure.

What is missing in the world (an opt-in, a template, ready pods, a means of injection) is waited for only briefly, since
objects are applied in any order; for other runs it waits until its start deadline.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from chaos.faults.base import Kinds
from chaos.faults.pods import ready
from chaos.faults.receipts import kind_of, target_of
from chaos.observed import Observed, World
from chaos.plan.choose import Choice, choose_all, claims, merged
from chaos.plan.probes import plans
from chaos.plan.steps import planned_seconds
from chaos.plan.switch import active, caps, over_caps
from rollout.api.chaos import OPT_IN, OPT_IN_FROM, SWITCH_NAME, ChaosRun, Victim
from rollout.api.meta import metadata
from rollout.api.resources import NAMESPACES, PODS
from rollout.core.probes import Role
from rollout.errors import InvalidSpec

_ROLES: tuple[Role, ...] = ("start", "continuous", "during", "stop", "end")


class Admission(msgspec.Struct, frozen=True):
    """`victims` is whom it would be done to. `missing` lacks something in the world, `waiting` for other runs."""

    victims: tuple[Victim, ...] = ()
    missing: str = ""
    waiting: str = ""
    preflight: tuple[str, ...] = ()


def admit(seen: Observed, kinds: Kinds, seed: int) -> Admission:
    """How a pending run stands."""
    run = seen.run
    if said := _unmeasurable(seen):
        return Admission(missing=said)
    if run.spec.dry_run == "Probes":
        return Admission()
    if said := "; ".join(_shut(run, seen.world)):
        return Admission(missing=said)
    choices: list[Choice] = []
    for step in run.spec.steps:
        chosen, problem = choose_all(step.faults, run, seen.world, seed)
        if problem:
            return Admission(missing=problem)
        choices += chosen
    victims = merged((), choices)
    if obstacles := tuple(_obstacles(seen, kinds)):
        return Admission(victims=victims, missing="; ".join(obstacles), preflight=obstacles)
    if run.spec.dry_run == "Targets":
        return Admission(victims=victims)
    if said := _capped(seen, victims, ()):
        return Admission(victims=victims, missing=said)  # alone it is too much already
    return Admission(victims=victims, waiting=_beside(seen, victims))


def namespaces(run: ChaosRun) -> set[str]:
    """Where the run's targets are."""
    own = run.metadata.namespace
    faults = [fault for step in run.spec.steps for fault in step.faults]
    return {target_of(fault, run).namespace or own for fault in faults} or {own}


def _unmeasurable(seen: Observed) -> str:
    try:
        for role in _ROLES:
            plans(seen, role)
    except InvalidSpec as error:
        return "; ".join(error.problems)
    return ""


def _shut(run: ChaosRun, world: World) -> Iterator[str]:
    """The target namespaces that have not opted in."""
    for name in sorted(namespaces(run)):
        namespace = world.get(NAMESPACES, "", name)
        meta = metadata(namespace or {})
        if (meta.get("labels") or {}).get(OPT_IN) != "enabled":
            yield f"namespace {name} has not opted in: kubectl label namespace {name} {OPT_IN}=enabled"
            continue
        welcome = str((meta.get("annotations") or {}).get(OPT_IN_FROM, "")).split(",")
        if run.metadata.namespace not in {name, *(one.strip() for one in welcome)}:
            yield (
                f"namespace {name} does not let runs of {run.metadata.namespace} harm its pods: "
                f"it would say so in its annotation {OPT_IN_FROM}"
            )


def _obstacles(seen: Observed, kinds: Kinds) -> Iterator[str]:
    for step in seen.run.spec.steps:
        for fault in step.faults:
            name = kind_of(fault)
            kind = kinds.get(name)
            if kind is None:
                yield f"fault {fault.name}: this controller does not do {name} (docs/chaos.md)"
                continue
            for one in kind.obstacles(fault, seen.run, seen.world):
                yield f"fault {one.fault}: {one.reason}" + (
                    f"; instead: {one.instead}" if one.instead else ""
                )


def _beside(seen: Observed, victims: tuple[Victim, ...]) -> str:
    """What of the other runs stands in the way: caps over all of them, and what they hold."""
    said = _capped(seen, victims, seen.others)
    return said or _held(claims(seen.run, victims, seen.world), active(seen.others), seen.world)


def _capped(seen: Observed, victims: tuple[Victim, ...], others: Iterable[ChaosRun]) -> str:
    run, world = seen.run, seen.world
    counts = {name: sum(ready(pod) for pod in world.of(PODS, name)) for name in namespaces(run)}
    seconds = planned_seconds(run.spec)
    said = over_caps(run, victims, others, caps(seen.switches), counts, seconds=seconds)
    return f"{said} (spec.caps of ChaosSwitch {SWITCH_NAME})" if said else ""


def _held(wanted: set[tuple[str, str, str]], others: Iterable[ChaosRun], world: World) -> str:
    for other in others:
        for family, namespace, workload in sorted(wanted & claims(other, other.status.victims, world)):
            return (
                f"{workload} in {namespace} is under a fault of the family {family!r} by {other.metadata.key}"
            )
    return ""


def pods_named(victims: Iterable[Victim]) -> str:
    return ", ".join(f"{one.namespace}/{one.name}" for one in victims) or "nobody"
