"""The steps of a run while it injects: which fault is due, in which round, on whom; and when a step is over."""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec

from chaos.faults.base import Context, Refusal
from chaos.faults.pods import alive, pod_of
from chaos.faults.receipts import kind_of, receipt_id
from chaos.plan.choose import Choice, beyond, choose, choose_all, merged
from chaos.plan.draft import OVER, Draft, moment, whole_seconds
from chaos.plan.workloads import missing
from rollout.api.chaos import ChaosRunSpec, Fault, Receipt, Victim
from rollout.api.meta import duration, time_of, timestamp

MAX_RECEIPTS = 400
"""Receipts of one run: beyond that no further round begins. They live in one object of at most 1.5 MB."""


def seconds_of(spec: ChaosRunSpec, fault: Fault) -> float:
    """How long a fault lasts."""
    return duration(fault.duration or spec.duration)


def step_seconds(spec: ChaosRunSpec, step: int) -> float:
    """From the beginning of a step to the end of its last fault."""
    faults = spec.steps[step].faults
    return max((duration(one.start_after or "0s") + seconds_of(spec, one) for one in faults), default=0.0)


def planned_seconds(spec: ChaosRunSpec) -> float:
    """From the first fault to the end of the last one, as the spec has it."""
    pauses = sum(duration(step.pause or "0s") for step in spec.steps[:-1])
    return pauses + sum(step_seconds(spec, index) for index in range(len(spec.steps)))


def begin_step(draft: Draft, index: int) -> str:
    """Choose the victims of a step anew and begin it; or say why it may not begin."""
    faults = draft.spec.steps[index].faults
    choices, problem = choose_all(faults, draft.run, draft.seen.world, draft.status.seed or 0)
    if problem:
        return problem
    draft.set(
        step=index,
        step_started_at=timestamp(whole_seconds(draft.now)),
        victims=merged(draft.status.victims, choices),
    )
    for one in choices:
        names = ", ".join(victim.name for victim in one.victims)
        draft.tell("TargetsFrozen", f"step {index}, fault {one.fault.name}: {names}")
    return ""


def plan_faults(draft: Draft) -> None:
    """Write receipts for the faults of the present step that are due. They are acted upon once they are saved."""
    step = draft.status.step
    started = moment(draft.status.step_started_at, draft.now)
    for fault in draft.spec.steps[step].faults:
        begin = started + timedelta(seconds=duration(fault.start_after or "0s"))
        end = whole_seconds(begin + timedelta(seconds=seconds_of(draft.spec, fault)))
        if begin <= draft.now < end:
            _plan_round(draft, fault, begin, end)


def step_over(draft: Draft) -> datetime | None:
    """When the present step was over: its time, and all that it did undone. None while it is not."""
    step = draft.status.step
    started = moment(draft.status.step_started_at, draft.now)
    end = started + timedelta(seconds=step_seconds(draft.spec, step))
    mine = [one for one in draft.status.receipts if one.step == step]
    if draft.now < end or any(one.state not in OVER for one in mine):
        return None
    return max([end, *(when for one in mine if (when := time_of(one.reverted_at)))])


def _plan_round(draft: Draft, fault: Fault, begin: datetime, end: datetime) -> None:
    every = _interval(fault)
    number = int((draft.now - begin).total_seconds() // every) if every else 0
    step = draft.status.step
    here = [
        one for one in draft.status.receipts if (one.fault, one.step, one.round) == (fault.name, step, number)
    ]
    serial = fault.pod_delete is not None and fault.pod_delete.sequence == "serial"
    if here and not serial:
        return
    if len(draft.status.receipts) >= MAX_RECEIPTS:
        draft.note(
            "NoMoreRounds", f"fault {fault.name}: {MAX_RECEIPTS} receipts are as many as one run holds"
        )
        return
    pool = [one for one in draft.status.victims if fault.name in one.faults]
    if number and not here:
        pool = _again(draft, fault, pool, number)
    if serial:
        pool = _next_one(draft, here, pool)
    if pool:
        _write(draft, fault, pool, number, end)


def _again(draft: Draft, fault: Fault, pool: list[Victim], number: int) -> list[Victim]:
    """Whom a later round is about: those of the frozen list that are still there, or a new sample."""
    target = fault.target or draft.spec.target
    world = draft.seen.world
    if target.retarget == "Frozen":
        return [one for one in pool if (pod := pod_of(one, world)) is not None and alive(pod)]
    choice = choose(fault, draft.run, world, (draft.status.seed or 0) + number)
    if problem := choice.problem or beyond(draft.spec.limits, [choice, *_beside(draft, fault)], world):
        draft.note("RoundSkipped", f"fault {fault.name}: {problem}")
        return []
    draft.set(victims=merged(draft.status.victims, [choice]))
    return list(choice.victims)


def _beside(draft: Draft, fault: Fault) -> list[Choice]:
    """What the other faults of the step are doing."""
    others = [one for one in draft.spec.steps[draft.status.step].faults if one.name != fault.name]
    return [
        Choice(other, tuple(one for one in draft.status.victims if other.name in one.faults))
        for other in others
    ]


def _next_one(draft: Draft, here: list[Receipt], pool: list[Victim]) -> list[Victim]:
    """One after the other: the next one when the last is gone and its workload is whole again."""
    world = draft.seen.world
    for receipt in here:
        kind = draft.kinds.get(receipt.kind)
        if receipt.state != "Refused" and (kind is None or not kind.gone(receipt, world)):
            return []
    done = {one.victim.uid for one in here}
    waiting = {(one.namespace, one.workload) for one in pool if one.uid in done}
    if any(missing(namespace, workload, world) for namespace, workload in waiting):
        return []
    return [one for one in pool if one.uid not in done][:1]


def _write(draft: Draft, fault: Fault, pods: list[Victim], number: int, end: datetime) -> None:
    world = draft.seen.world
    name = kind_of(fault)
    kind = draft.kinds.get(name)
    context = Context(
        run=draft.run,
        fault=fault,
        step=draft.status.step,
        round=number,
        begin_at=draft.now,
        deadline=end,
        seed=draft.status.seed or 0,
    )
    if kind is None:
        draft.note("FaultRefused", f"fault {fault.name}: there is no kind {name}")
        return
    for victim in kind.victims(context, pods, world):
        made = kind.receipt(context, victim, world)
        if isinstance(made, Refusal):
            draft.tell("FaultRefused", f"fault {fault.name}: {made.reason}", warning=True)
            made = Receipt(
                id=receipt_id(context, victim),
                fault=fault.name,
                kind=name,
                step=context.step,
                round=number,
                victim=victim,
                state="Refused",
                deadline=timestamp(end),
                message=made.reason,
            )
        else:
            made = msgspec.structs.replace(made, state="Planned")
            whom = f"{victim.kind} {victim.namespace}/{victim.name}"
            draft.tell("FaultPlanned", f"{made.id}: {name} on {whom} until {made.deadline}")
        draft.put(made)


def _interval(fault: Fault) -> float:
    for one in (fault.pod_delete, fault.container_kill):
        if one is not None and one.interval:
            return duration(one.interval)
    return 0.0
