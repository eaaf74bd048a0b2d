"""`plan`: what a ChaosSchedule does about its times, from one snapshot. Pure.

One time is never run twice. `status.lastScheduleTime` says up to which time everything is decided, and it is saved
(with its resourceVersion as the precondition, so by one of two controllers at most) *before* the run is created.
Created first and saved afterwards, a run that is deleted while the status cannot be written would be made again; saved
first, a crash between the two loses that time, which is said in `status.skipped`. The run's name is computed from the
schedule and the time, so that a creation whose answer was lost may be repeated within its pass.

A time is skipped, never put off, where something is in its way; only Replace waits, for the run before it to be undone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from chaos.actions import Delete, Event, Patch
from chaos.plan import calendar
from chaos.plan.calendar import Time
from chaos.plan.switch import engaged
from chaos.plan.template import bounded, label_value, run_object, spec_of
from rollout.api.chaos import (
    ChaosRun,
    ChaosSchedule,
    ChaosScheduleSpec,
    ChaosScheduleStatus,
    ChaosSwitch,
    Entry,
)
from rollout.api.meta import key_of, metadata, time_of, timestamp
from rollout.api.resources import CHAOS_RUNS
from rollout.api.rollout import INSTANCE_ID
from rollout.core import dates
from rollout.core.problem import Problem, raise_if_any
from rollout.core.validate_chaos import validate_run
from rollout.errors import InvalidSpec

SCHEDULE_LABEL = "surefoot.dev/chaos-schedule"
"""On the runs of a schedule: its name, cut to what a label can hold."""
SCHEDULED_AT = "surefoot.dev/scheduled-at"
"""Annotation of a run: the time (RFC 3339) it was made for."""
STARTING_DEADLINE_SECONDS = 300
"""How late a run may begin where the schedule does not say."""
NEXT_TIMES = 5
SKIPPED_LIMIT = 20


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """Everything known about one ChaosSchedule at `now`.

    `runs` are those it controls, `rollouts` the Rollouts of its namespace, `template` the ChaosTemplate that it names
    (None: there is none), `problems` what `validate_schedule` says. `raw` is the schedule as it came over the wire.
    """

    now: datetime
    schedule: ChaosSchedule
    raw: Mapping[str, Any]
    runs: tuple[ChaosRun, ...] = ()
    rollouts: tuple[Mapping[str, Any], ...] = ()
    switches: tuple[ChaosSwitch, ...] = ()
    template: Mapping[str, Any] | None = None
    problems: tuple[Problem, ...] = ()


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What to do, in this order: save `status`; create the run; the other actions; tell the events."""

    status: ChaosScheduleStatus
    create: dict[str, Any] | None = None
    actions: tuple[Patch | Delete, ...] = ()
    events: tuple[Event, ...] = ()
    wake_at: datetime | None = None


class _Skip(msgspec.Struct, frozen=True):
    """A time is not run. `reason` is an event's; `warning` where a person should do something."""

    reason: str
    message: str
    warning: bool = False


class _Wait(msgspec.Struct, frozen=True):
    """A time cannot be decided yet: `run` is in the way and has been told to end."""

    run: ChaosRun


def plan(seen: Seen) -> Plan:
    """The plan for one ChaosSchedule."""
    draft = _Draft(seen)
    draft.take_stock()
    if seen.problems:
        draft.status = msgspec.structs.replace(draft.status, next_times=(), message=_sentence(seen.problems))
        return draft.finished(wake_at=None)
    draft.decide()
    draft.tidy()
    return draft.finished(wake_at=draft.look_ahead())


def run_name(schedule: str, time: Time) -> str:
    """The name of the run of a time: the schedule's, and the time in minutes since 1970."""
    return bounded(schedule, str(int(time.nominal.timestamp()) // 60))


class _Draft:
    """One pass."""

    def __init__(self, seen: Seen) -> None:
        self.seen = seen
        self.spec: ChaosScheduleSpec = seen.schedule.spec
        self.status = msgspec.structs.replace(
            seen.schedule.status, observed_generation=seen.schedule.metadata.generation
        )
        self.create: dict[str, Any] | None = None
        self.actions: list[Patch | Delete] = []
        self.events: list[Event] = []
        self.waiting: ChaosRun | None = None
        self.uid = seen.schedule.metadata.uid

    def set(self, **changes: Any) -> None:
        self.status = msgspec.structs.replace(self.status, **changes)

    # --- its runs ---------------------------------------------------------------------------------

    def take_stock(self) -> None:
        """What has become of the runs."""
        before = self.status.active
        runs = {run.metadata.name: run for run in self.seen.runs}
        if before and before not in runs:
            self._gone(before)
        if before in runs:
            self.set(last_run=before)
        active = _newest(run for run in self.seen.runs if not run.completed)
        self.set(active=active.metadata.name if active is not None else "")
        self._verdicts()

    def _gone(self, name: str) -> None:
        """The run of a decided time does not exist. It is not made (again)."""
        if self.status.last_run == name:
            self.events.append(
                Event("ChaosRunGone", f"The ChaosRun {name} was deleted before it had completed")
            )
            return
        at = time_of(self.status.last_schedule_time) or self.seen.now
        message = f"the controller ended before it had made the ChaosRun {name}, or could not make it"
        self._skipped(at, _Skip("NotMade", message, warning=True))

    def _verdicts(self) -> None:
        """Tell how the run that was active has ended, once."""
        finished = [run for run in self.seen.runs if run.completed]
        ended = next((run for run in finished if run.metadata.name == self.seen.schedule.status.active), None)
        if ended is not None:
            self.set(last_verdict=ended.status.verdict)
            self._tell_end(ended)
        good = [run.status.completed_at or "" for run in finished if run.status.verdict == "Successful"]
        if latest := max([*good, self.status.last_successful_time or ""]):
            self.set(last_successful_time=latest)

    def _tell_end(self, run: ChaosRun) -> None:
        message = f"ChaosRun {run.metadata.name} is {run.status.verdict or 'without a verdict'}"
        if run.status.message:
            message = f"{message}: {run.status.message}"
        good = run.status.verdict == "Successful"
        self.events.append(
            Event("ChaosRunSucceeded" if good else "ChaosRunFailed", message, warning=not good)
        )

    def tidy(self) -> None:
        """Completed runs beyond the history limits go, oldest first; what they have shown is in the status by then."""
        finished = [run for run in self.seen.runs if run.completed and not run.metadata.deletion_timestamp]
        good = [run for run in finished if run.status.verdict == "Successful"]
        bad = [run for run in finished if run.status.verdict != "Successful"]
        for runs, limit in (
            (good, self.spec.successful_runs_history_limit),
            (bad, self.spec.failed_runs_history_limit),
        ):
            for run in sorted(runs, key=_age)[: max(0, len(runs) - limit)]:
                meta = run.metadata
                self.actions.append(
                    Delete(resource=CHAOS_RUNS, namespace=meta.namespace, name=meta.name, uid=meta.uid)
                )

    # --- its times --------------------------------------------------------------------------------

    def decide(self) -> None:
        """Decide all times that have come: the latest one alone may be run."""
        since = self.seen.now - self._deadline()
        past, complete = calendar.past_times(
            self.spec, self._decided(), self.seen.now, since=since, uid=self.uid
        )
        if not complete:
            message = f"more than {calendar.MANY} times were missed; the earliest of them are not told"
            self._skipped(self._decided(), _Skip("Missed", message))
            self.set(last_schedule_time=timestamp(since))
        if not past:
            return
        *missed, due = past
        for time in missed[-SKIPPED_LIMIT:]:
            self._skipped(time.at, self._why_missed())
        if missed:
            self.set(last_schedule_time=timestamp(missed[-1].nominal))
        match self._decision(due):
            case _Skip() as skip:
                self._skipped(due.at, skip)
                self.set(last_schedule_time=timestamp(due.nominal))
            case _Wait(run=run):
                self._replace(run)
            case dict() as run_made:
                self._start(due, run_made)

    def _decided(self) -> datetime:
        """Times up to this moment are decided, or were before there was a schedule."""
        created = time_of(self.seen.schedule.metadata.creation_timestamp)
        return time_of(self.status.last_schedule_time) or created or self.seen.now

    def _deadline(self) -> timedelta:
        given = self.spec.starting_deadline_seconds
        return timedelta(seconds=STARTING_DEADLINE_SECONDS if given is None else given)

    def _why_missed(self) -> _Skip:
        if self.spec.suspend:
            return _Skip("Suspended", "the schedule was suspended")
        return _Skip("Missed", "a later time came before it could be run")

    def _decision(self, due: Time) -> _Skip | _Wait | dict[str, Any]:
        """What to do about the latest time that has come."""
        if skip := self._in_the_way(due):
            return skip
        try:
            made = self._run(due)
        except InvalidSpec as error:
            return _Skip("InvalidSpec", "; ".join(error.problems), warning=True)
        active = _newest(run for run in self.seen.runs if not run.completed)
        if active is None:
            return made
        if self.spec.concurrency_policy == "Replace":
            return _Wait(active)
        return _Skip("StillRunning", f"the ChaosRun {active.metadata.name} has not completed")

    def _in_the_way(self, due: Time) -> _Skip | None:
        now, deadline = self.seen.now, self._deadline()
        if self.spec.suspend:
            return _Skip("Suspended", "the schedule was suspended")
        if now > due.at + deadline:
            late = int((now - due.at).total_seconds())
            rule = f"may begin {int(deadline.total_seconds())} s late at most (startingDeadlineSeconds)"
            return _Skip("Missed", f"it would begin {late} s late, and it {rule}")
        if self._unannounced(due):
            return _Skip("ScheduleChanged", "the schedule was changed after this time")
        if halt := engaged(self.seen.switches):
            return _Skip("Halted", halt)
        if not calendar.allows(self.spec, now):
            rule = f"windows, or after its end ({self.spec.not_after})" if self.spec.not_after else "windows"
            return _Skip("OutsideWindow", f"it would begin outside the schedule's {rule}")
        if self.spec.not_during_rollouts and (busy := _unsettled(self.seen.rollouts)):
            return _Skip("RolloutInProgress", busy)
        return None

    def _unannounced(self, due: Time) -> bool:
        """Whether the spec is new, and had it been so before, this time would have been its. Then it is no missed one."""
        before = self.seen.schedule.status
        return (
            before.observed_generation not in (0, self.seen.schedule.metadata.generation)
            and timestamp(due.at) not in before.next_times
        )

    def _run(self, due: Time) -> dict[str, Any]:
        """The run of a time. Raises InvalidSpec when there can be none."""
        spec = spec_of(self.spec.run, self.seen.template, "spec.run")
        made = scheduled_run(self.seen.raw, spec, due)
        raise_if_any(validate_run(made))
        return made

    def _start(self, due: Time, run: dict[str, Any]) -> None:
        name = run["metadata"]["name"]
        self.create = run
        self.set(active=name, last_schedule_time=timestamp(due.nominal))
        self.events.append(Event("ChaosRunStarted", f"Created ChaosRun {name} for {timestamp(due.at)}"))

    def _replace(self, run: ChaosRun) -> None:
        """Tell the run that is in the way to end. The time stays undecided until it is undone, or too late."""
        self.waiting = run
        if not run.spec.abort:
            meta = run.metadata
            self.actions.append(
                Patch(
                    resource=CHAOS_RUNS,
                    namespace=meta.namespace,
                    name=meta.name,
                    patch={"metadata": {"uid": meta.uid}, "spec": {"abort": True}},
                )
            )
            self.events.append(
                Event("ChaosRunReplaced", f"Aborted ChaosRun {meta.name}: the next time has come")
            )

    def _skipped(self, at: datetime, skip: _Skip) -> None:
        entry = Entry(at=timestamp(at), what=skip.reason, message=skip.message)
        self.set(skipped=(*self.status.skipped, entry)[-SKIPPED_LIMIT:])
        said = f"Started no ChaosRun for {entry.at}: {skip.message}"
        self.events.append(Event("ChaosRunSkipped", said, warning=skip.warning))

    # --- ahead ------------------------------------------------------------------------------------

    def look_ahead(self) -> datetime | None:
        """Put the next times into the status; when to look again at the latest."""
        ahead = calendar.next_times(self.spec, self._decided(), NEXT_TIMES, uid=self.uid)
        shown = () if self.spec.suspend else tuple(timestamp(time.at) for time in ahead)
        self.set(next_times=shown, message=self._message(ahead))
        moments = [time.at for time in ahead]
        if self.waiting is not None:
            moments += [moment + self._deadline() + timedelta(seconds=1) for moment in moments[:1]]
        return next((moment for moment in sorted(moments) if moment > self.seen.now), None)

    def _message(self, ahead: Sequence[Time]) -> str:
        if self.spec.suspend:
            return "suspended"
        if self.waiting is not None:
            return f"waiting until the ChaosRun {self.waiting.metadata.name}, which was aborted, is undone"
        if not ahead:
            return self._why_none()
        try:
            self._run(ahead[0])
        except InvalidSpec as error:
            return f"InvalidSpec: the next run could not be made: {'; '.join(error.problems)}"
        if self.status.active:
            return f"the ChaosRun {self.status.active} is at work"
        return f"next at {timestamp(ahead[0].at)}"

    def _why_none(self) -> str:
        if self.spec.not_after and self.seen.now >= dates.moment(self.spec.not_after):
            return f"over: no run begins after {self.spec.not_after} (notAfter)"
        return (
            "no time comes within the next five years; "
            "look at schedule, everyWeeks, windows, exclude, notBefore and notAfter, which leave none together"
        )

    def finished(self, *, wake_at: datetime | None) -> Plan:
        return Plan(
            status=self.status,
            create=self.create,
            actions=tuple(self.actions),
            events=tuple(self.events),
            wake_at=wake_at,
        )


def scheduled_run(raw: Mapping[str, Any], spec: Mapping[str, Any], due: Time) -> dict[str, Any]:
    """The ChaosRun of a time: the run's spec, with the schedule's checks among its probes.

    `raw` is the schedule as it came over the wire.
    """
    meta = metadata(raw)
    name, labels = str(meta["name"]), meta.get("labels") or {}
    return run_object(
        run_name(name, due),
        with_checks(spec, raw),
        owner=raw,
        labels={SCHEDULE_LABEL: label_value(name)}
        | ({INSTANCE_ID: labels[INSTANCE_ID]} if INSTANCE_ID in labels else {}),
        annotations={SCHEDULED_AT: timestamp(due.nominal)},
    )


def with_checks(spec: Mapping[str, Any], raw: Mapping[str, Any]) -> dict[str, Any]:
    """A run's spec with the checks of the schedule `raw` among its probes."""
    probes = [
        *(spec.get("probes") or ()),
        *({**check, "mode": "Start"} for check in raw["spec"].get("preChecks") or ()),
        *({**check, "mode": "End"} for check in raw["spec"].get("postChecks") or ()),
    ]
    return {**spec, "probes": probes} if probes else dict(spec)


def _age(run: ChaosRun) -> tuple[str, str, str]:
    """Runs in the order of the times they were made for."""
    meta = run.metadata
    return meta.annotation(SCHEDULED_AT), meta.creation_timestamp, meta.name


def _newest(runs: Iterable[ChaosRun]) -> ChaosRun | None:
    return max(runs, key=_age, default=None)


def _unsettled(rollouts: Iterable[Mapping[str, Any]]) -> str:
    """Which Rollout is not at rest, or not known to be; "" when all are."""
    for one in sorted(rollouts, key=lambda one: str(key_of(one))):
        meta, status = metadata(one), one.get("status") or {}
        phase = status.get("phase") or "without a phase"
        seen = str(status.get("observedGeneration") or "") == str(meta.get("generation") or "")
        if phase != "Healthy" or not seen:
            what = phase if seen else "not looked at since it was changed"
            return f"the Rollout {meta.get('name')} is {what}"
    return ""


def _sentence(problems: Iterable[Problem]) -> str:
    return f"InvalidSpec: {'; '.join(map(str, problems))}"
