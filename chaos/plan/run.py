"""`plan`: from a snapshot of one ChaosRun to everything that should be done about it now. Pure.

    Pending -> Checking -> Injecting -> Reverting -> Recovering -> Completed

What is done rests on the status that was saved before: receipts, the reason to stop, the verdict. So a controller that
is killed anywhere goes on where it was. Every phase has a deadline: nothing hangs, and a run that is deleted lets go
of its finalizer in time, said loudly when something could not be undone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from chaos.actions import Action, Event, SetFinalizer
from chaos.faults.base import Kinds
from chaos.observed import Observed
from chaos.plan import probes, receipts, steps, stopping
from chaos.plan.admission import admit, pods_named
from chaos.plan.draft import Draft, moment
from chaos.plan.verdict import verdict
from chaos.plan.workloads import missing
from rollout.api.chaos import FINALIZER, ChaosRunStatus, Recovery, RunPhase
from rollout.api.fields import INT32
from rollout.api.meta import duration, metadata, micro_timestamp, time_of, timestamp
from rollout.core.probes import Role, probes_of
from rollout.core.problem import Problem
from rollout.errors import InvalidSpec

TICK_SECONDS = 1.0
WAIT_SECONDS = 2.0
GRACE_SECONDS = 10.0
"""How long a run waits for what it needs in the world: objects are applied in any order."""
EARLY_SECONDS = 60.0
"""How long before `startAt` a run begins with its checks."""
ENDING_SECONDS = 15.0
"""How long AnalysisRuns may take to end when they are told to."""
LET_GO_SECONDS = 45.0
"""A deleted run that could not end within revertTimeout and this lets go of its finalizer all the same."""
REQUESTED_BY = "surefoot.dev/requested-by"
"""Annotation: who asked for the run, as whoever made it says."""
_DURING: tuple[Role, ...] = ("during", "stop")
_ALL: tuple[Role, ...] = ("start", "during", "continuous", "stop", "end")


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What to do: actions, then the status, then the events; and when to look again at the latest.

    `again`: look at once, the status holds a decision that comes before its acts. `remove`: the run's time to live is
    over.
    """

    status: ChaosRunStatus
    actions: tuple[Action, ...] = ()
    events: tuple[Event, ...] = ()
    wake: float | None = None
    again: bool = False
    remove: bool = False


def plan(seen: Observed, kinds: Kinds, problems: Sequence[Problem] = ()) -> Plan:
    """The plan for one run. `problems` are what `core.validate_chaos` says of its spec."""
    draft = Draft(seen, kinds)
    run = seen.run
    if run.metadata.deletion_timestamp and (gone := _let_go(draft)):
        return gone
    if run.completed:
        return _completed(draft)
    if run.status.phase in ("", "Pending"):
        return _pending(draft, problems)
    try:
        return _running(draft)
    except InvalidSpec as error:  # a template that was there when it began
        draft = Draft(seen, kinds)
        _stop(draft, f"Unmeasured: {'; '.join(error.problems)}")
        return _made(draft, again=True)


def _running(draft: Draft) -> Plan:
    run, phase = draft.run, draft.run.status.phase
    probes.read(draft)
    if not run.status.stopping and (why := stopping.reason(draft)):
        _stop(draft, why)
        return _made(draft, again=True)
    match phase:
        case "Checking":
            _checking(draft)
        case "Injecting":
            _injecting(draft)
        case "Reverting":
            _reverting(draft)
        case "Recovering":
            _recovering(draft)
    moved = draft.status.phase != phase or draft.status.stopping != run.status.stopping
    return _made(draft, again=moved)


def _made(draft: Draft, *, again: bool = False, wake: float = TICK_SECONDS) -> Plan:
    draft.set(observed_generation=draft.run.metadata.generation)
    draft.progress()
    return Plan(
        status=draft.status,
        actions=tuple(draft.actions),
        events=tuple(draft.events),
        wake=wake,
        again=again,
    )


def _stop(draft: Draft, why: str) -> None:
    """Decide that the run ends before its time. Saved before anything is done about it."""
    draft.set(stopping=why, stopping_at=timestamp(draft.now))
    draft.tell("Stopping", why, warning=True)


def _enter(draft: Draft, phase: RunPhase, message: str = "") -> None:
    draft.set(phase=phase, message=message)
    draft.note("Phase", phase)


# --- Pending ------------------------------------------------------------------------------------------


def _pending(draft: Draft, problems: Sequence[Problem]) -> Plan:
    seen = draft.seen
    seed = _seed(seen)
    if not draft.status.phase:
        who = requested_by(seen.raw)
        draft.set(phase="Pending", seed=seed, requested_by=who)
        draft.note("Accepted", f"asked for by {who or 'nobody known'}, seed {seed}")
    if said := stopping.word(seen):
        _stop(draft, said)
        return _finish(draft)
    if problems:
        return _refuse(draft, "InvalidSpec", "; ".join(map(str, problems)))
    start = _not_before(draft)
    wait_from = start - timedelta(seconds=EARLY_SECONDS)
    if draft.now < wait_from:
        draft.set(message=f"waits for {draft.spec.start_at}")
        return _made(draft, wake=min(WAIT_SECONDS * 30, (wait_from - draft.now).total_seconds()))
    admission = admit(seen, draft.kinds, seed)
    since = max(moment(draft.run.metadata.creation_timestamp or None, draft.now), wait_from)
    waited = (draft.now - since).total_seconds()
    draft.set(preflight=admission.preflight)
    limit = duration(draft.spec.start_deadline)
    if admission.missing and waited >= min(GRACE_SECONDS, limit):
        return _refuse(draft, "NotStarted", admission.missing)
    if admission.waiting and waited >= limit:
        late = f"not started within {draft.spec.start_deadline}: {admission.waiting}"
        return _refuse(draft, "NotStarted", late)
    if said := admission.missing or admission.waiting:
        if draft.status.message != said:
            draft.tell("Waiting", said)
        draft.set(message=said)
        return _made(draft, wake=WAIT_SECONDS)
    draft.set(victims=admission.victims, preflight=())
    if draft.spec.dry_run == "Targets":
        draft.tell("DryRun", f"these would be harmed: {pods_named(admission.victims)}")
        return _finish(draft)
    draft.set(started_at=timestamp(draft.now), spec_hash=stopping.hash_of(draft.spec))
    _enter(draft, "Checking")
    return _made(draft, again=True)


def _refuse(draft: Draft, cause: str, why: str) -> Plan:
    draft.set(stopping=f"{cause}: {why}", stopping_at=timestamp(draft.now))
    draft.tell(cause, why, warning=True)
    return _finish(draft)


def _not_before(draft: Draft) -> datetime:
    return time_of(draft.spec.start_at) or draft.now


def _seed(seen: Observed) -> int:
    """The spec's, or one drawn from the run's uid, so that it is the same however often it is asked for."""
    if seen.run.spec.seed is not None:
        return seen.run.spec.seed
    return int(hashlib.sha256(seen.run.metadata.uid.encode()).hexdigest()[:8], 16) % INT32


def requested_by(raw: Mapping[str, Any]) -> str:
    """Who made the run: as an annotation says, or the field manager of its first write."""
    meta = metadata(raw)
    if said := (meta.get("annotations") or {}).get(REQUESTED_BY):
        return str(said)
    managers = [one for one in meta.get("managedFields") or () if not one.get("subresource")]
    managers.sort(key=lambda one: str(one.get("time") or ""))
    return str(managers[0].get("manager") or "") if managers else ""


# --- Checking -----------------------------------------------------------------------------------------


def _checking(draft: Draft) -> None:
    status = draft.run.status
    if status.stopping:
        _enter(draft, "Reverting")
        return
    if FINALIZER not in draft.run.metadata.finalizers and not draft.spec.dry_run:
        version = draft.run.metadata.resource_version
        draft.act([SetFinalizer(present=True, resource_version=version)])
    started = moment(status.started_at, draft.now)
    waiting = _unchecked(draft)
    ramp_over = started + timedelta(seconds=duration(draft.spec.ramp or "0s"))
    begin = max(ramp_over, _not_before(draft))
    if not draft.status.stopping and not waiting:
        if draft.now >= begin:
            _begin(draft)
        else:
            draft.set(message=f"checked; waits until {timestamp(begin)}")
        return
    draft.set(message=waiting)
    limit = max(probes.seconds_for(draft.spec, "start"), probes.seconds_for(draft.spec, "continuous"))
    if not draft.status.stopping and draft.now > started + timedelta(seconds=limit):
        _stop(draft, f"Unmeasured: {waiting}")


def _unchecked(draft: Draft) -> str:
    """What must be measured before anything is injected and is not yet; a failure stops the run."""
    waiting = []
    probes.want(draft, "stop")
    if not probes.stop_ready(draft.seen):
        waiting.append("the stop conditions have not held yet")
    probes.want(draft, "continuous")
    sampled = {one.name for one in probes.results(draft, "continuous") if one.good or one.bad or one.errors}
    for _, probe in probes_of(draft.spec, "continuous"):
        if not any(probes.probe_named(draft.spec, name) == probe for name in sampled):
            waiting.append(f"probe {probe.name} was not measured yet")
    if not probes_of(draft.spec, "start"):
        return "; ".join(waiting)
    run = probes.want(draft, "start")
    if run is None or not run.completed:
        return "; ".join([*waiting, "the Start probes are being measured"])
    judged = probes.judged(draft, "start")
    _keep(draft, judged)
    bad = [one for one in judged if one.phase != "Successful"]
    if bad:
        cause = "ProbeFailed" if any(one.phase == "Failed" for one in bad) else "Unmeasured"
        said = "; ".join(f"probe {one.name}: {one.message}" for one in bad)
        _stop(draft, f"{cause}: before any fault: {said}")
    return "; ".join(waiting)


def _keep(draft: Draft, judged: Sequence[Any]) -> None:
    new = {(one.mode, one.name): one for one in judged}
    kept = tuple(new.pop((one.mode, one.name), one) for one in draft.status.probes)
    draft.set(probes=(*kept, *new.values()))


def _begin(draft: Draft) -> None:
    """The first step. A dry run of the probes goes through the same time without a fault."""
    if draft.spec.dry_run:
        draft.set(step_started_at=timestamp(draft.now))
    elif problem := steps.begin_step(draft, 0):
        _stop(draft, f"Refused: {problem}")
        return
    _enter(draft, "Injecting")


# --- Injecting and Reverting --------------------------------------------------------------------------


def _injecting(draft: Draft) -> None:
    status = draft.run.status
    if status.stopping:
        _enter(draft, "Reverting")
        return
    if draft.spec.dry_run:
        probes.want(draft, "during")
        started = moment(status.step_started_at, draft.now)
        if draft.now >= started + timedelta(seconds=steps.planned_seconds(draft.spec)):
            _enter(draft, "Reverting")
        return
    receipts.advance(draft, injecting=True)
    if draft.run.status.injected_at:
        probes.want(draft, "during")
    steps.plan_faults(draft)
    _next_step(draft)


def _next_step(draft: Draft) -> None:
    spec, step = draft.spec, draft.status.step
    started = moment(draft.status.step_started_at, draft.now)
    last = step == len(spec.steps) - 1
    if last and draft.now >= started + timedelta(seconds=steps.step_seconds(spec, step)):
        _enter(draft, "Reverting")
        return
    over = steps.step_over(draft)
    if last or over is None:
        return
    if draft.now >= over + timedelta(seconds=duration(spec.steps[step].pause or "0s")):
        problem = steps.begin_step(draft, step + 1)
        if problem:
            _stop(draft, f"Refused: {problem}")


def _reverting(draft: Draft) -> None:
    receipts.advance(draft, injecting=False)
    if not draft.over:
        left = [one.id for one in draft.status.receipts if one.state in {"Planned", "Injected", "Proved"}]
        draft.set(message=f"undoing {', '.join(left)}")
        return
    draft.set(ended_at=micro_timestamp(draft.now))  # to the fraction: the time to recover is counted from it
    _enter(draft, "Recovering")


# --- Recovering ---------------------------------------------------------------------------------------


def _recovering(draft: Draft) -> None:
    receipts.advance(draft, injecting=False)  # pods that are still to be evicted
    probes.end(draft, *_DURING)
    status = draft.run.status
    ended = moment(status.ended_at, draft.now)
    if not _recovered(draft, ended):
        return
    stopped = bool(status.stopping)
    base = max([ended, *_recovery_end(draft, ended)])
    ramp = 0.0 if stopped else duration(draft.spec.ramp or "0s")
    if draft.now < base + timedelta(seconds=ramp):
        return
    at_end = [] if stopped else probes_of(draft.spec, "end")
    limit = base + timedelta(seconds=ramp + probes.seconds_for(draft.spec, "end"))
    if at_end:
        run = probes.want(draft, "end")
        if (run is None or not run.completed) and draft.now < limit:
            draft.set(message="the End probes are being measured")
            return
        base = limit if run is None or not run.completed else _completed_at(run, draft.now)
    roles: tuple[Role, ...] = ("during", "continuous", "stop")
    if not probes.end(draft, *roles) and draft.now < base + timedelta(seconds=ramp + ENDING_SECONDS):
        return
    for role in ("during", "continuous", "end"):
        if probes_of(draft.spec, role) and not (stopped and not probes.results(draft, role)):
            _keep(draft, probes.judged(draft, role))
    probes.end(draft, *_ALL)
    _conclude(draft)


def _recovered(draft: Draft, ended: datetime) -> bool:
    """Whether the harmed workloads are whole again, or have not been within their time."""
    recovery = draft.status.recovery
    if recovery is not None and recovery.recovered_at:
        return True
    over = draft.now >= ended + timedelta(seconds=duration(draft.spec.recovery_timeout))
    waiting = _waits_for(draft)
    if waiting:
        draft.set(recovery=Recovery(waiting_for=waiting), message=f"recovering: {waiting}")
        if over:
            draft.tell("NotRecovered", f"{waiting} after {draft.spec.recovery_timeout}", warning=True)
        return over
    seconds = max(0.0, round((draft.now - ended).total_seconds(), 3))
    if draft.status.injected_at:
        draft.set(recovery=Recovery(recovered_at=timestamp(draft.now), seconds=seconds))
        draft.tell("Recovered", f"the harmed workloads are whole again after {seconds:g} s")
    return True


def _waits_for(draft: Draft) -> str:
    if not draft.status.injected_at:
        return ""
    places = sorted({(one.namespace, one.workload) for one in draft.status.victims if one.workload})
    world = draft.seen.world
    lacking = [said for namespace, name in places if (said := missing(namespace, name, world))]
    return "; ".join([*receipts.to_be_evicted(draft), *lacking])


def _recovery_end(draft: Draft, ended: datetime) -> list[datetime]:
    recovery = draft.status.recovery
    if recovery is None:
        return []
    late = ended + timedelta(seconds=duration(draft.spec.recovery_timeout))
    return [time_of(recovery.recovered_at) or late]


def _completed_at(run: Any, now: datetime) -> datetime:
    return time_of(run.status.completed_at) or now


# --- the end ------------------------------------------------------------------------------------------


def _conclude(draft: Draft) -> None:
    phase, message = verdict(draft.spec, draft.status)
    draft.set(verdict=phase, completed_at=timestamp(draft.now))
    _enter(draft, "Completed", message)
    draft.tell(f"Chaos{phase}", message, warning=phase in {"Error", "Failed"})


def _finish(draft: Draft) -> Plan:
    """The end of a run that has never begun."""
    _conclude(draft)
    return _made(draft, again=True)


def _completed(draft: Draft) -> Plan:
    """At rest: AnalysisRuns ended, the finalizer gone, and the run itself when its time to live is over."""
    run = draft.run
    ended = probes.end(draft, *_ALL)
    if FINALIZER in run.metadata.finalizers:
        draft.act([SetFinalizer(present=False, resource_version=run.metadata.resource_version)])
    ttl, completed = run.spec.ttl_seconds_after_finished, time_of(run.status.completed_at)
    wake: float | None = None if ended else WAIT_SECONDS
    remove = False
    if ttl is not None and completed is not None:
        left = (completed + timedelta(seconds=ttl) - draft.now).total_seconds()
        remove = left <= 0 and not run.metadata.deletion_timestamp
        wake = left if left > 0 else wake
    return Plan(status=draft.status, actions=tuple(draft.actions), wake=wake, remove=remove)


def _let_go(draft: Draft) -> Plan | None:
    """The end of a deleted run: all undone, or its time over. None while it is still to be undone."""
    run = draft.run
    if FINALIZER not in run.metadata.finalizers:
        return Plan(status=run.status) if draft.over else None  # others hold it
    release = SetFinalizer(present=False, resource_version=run.metadata.resource_version)
    if draft.over:
        receipts.advance(draft, injecting=False)  # pods that are still to be evicted
        return Plan(status=run.status, actions=(*draft.actions, release))
    deleted = moment(run.metadata.deletion_timestamp, draft.now)
    limit = duration(run.spec.revert_timeout) + LET_GO_SECONDS
    if draft.now < deleted + timedelta(seconds=limit):
        return None
    left = ", ".join(one.id for one in run.status.receipts if one.state in {"Planned", "Injected", "Proved"})
    said = f"deleted, and not shown to be undone within {limit:g} s: {left}; let go all the same"
    return Plan(
        status=run.status, actions=(release,), events=(Event(receipts.UNVERIFIED, said, warning=True),)
    )
