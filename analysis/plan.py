"""What an AnalysisRun does next: pure, from its spec, its status and `now` alone, so a restart changes nothing.

Timing, limits, phases and messages: study/argo-rollouts.md 1.7. A due time is the start of the last measurement
plus the interval; a controller that was away takes one measurement, not all it has missed. A measurement that lasts
(`analysis.lasting`) holds the next one of its metric back until it is answered and cleaned up.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta

import msgspec

from analysis import lasting
from analysis.lasting import Act
from rollout.api.analysis import (
    BAD,
    COMPLETED,
    AnalysisRun,
    AnalysisRunSpec,
    AnalysisRunStatus,
    Measurement,
    Metric,
    MetricResult,
    Phase,
    RunSummary,
)
from rollout.api.meta import duration, micro_timestamp, time_of, timestamp
from rollout.core.checks import whole
from rollout.core.expr import regex

ERROR_RETRY_SECONDS = 10.0
DEFAULT_CONSECUTIVE_ERROR_LIMIT = 4
_HEAVY = frozenset({"chaos", "loadTest"})
"""Providers that are not tried again by themselves after an Error: faults and load are done once, or as often as asked for."""
DEFAULT_RETENTION = 10
_COUNTERS = {"Successful": "successful", "Failed": "failed", "Inconclusive": "inconclusive", "Error": "error"}


class Settings(msgspec.Struct, frozen=True):
    """A metric's numbers with their defaults. Seconds; `count` 0 means without end; `failure_limit` -1 means off."""

    interval: float | None
    initial_delay: float
    count: int
    failure_limit: int
    inconclusive_limit: int
    error_limit: int
    success_limit: int


def settings(metric: Metric) -> Settings:
    """The numbers of a metric whose spec was validated and substituted.

    One Error ends a metric of a start group: measured again alone, it would no more be beside the others.
    """
    interval = duration(metric.interval) if metric.interval else None
    count = whole(metric.count) or (1 if interval is None else 0)
    error_limit = 0 if metric.start_group else whole(metric.consecutive_error_limit)
    if error_limit is None:
        error_limit = 0 if _HEAVY & metric.provider.keys() else DEFAULT_CONSECUTIVE_ERROR_LIMIT
    return Settings(
        interval=interval,
        initial_delay=duration(metric.initial_delay) if metric.initial_delay else 0.0,
        count=count,
        failure_limit=whole(metric.failure_limit) or 0,
        inconclusive_limit=whole(metric.inconclusive_limit) or 0,
        error_limit=error_limit,
        success_limit=whole(metric.consecutive_success_limit) or 0,
    )


class Plan(msgspec.Struct, frozen=True):
    """The status to write, then what to do, and when to look again (None: when something changes).

    `due` are the metrics to measure at once; `acts` what to ask of providers whose measurements last.
    """

    status: AnalysisRunStatus
    due: tuple[str, ...] = ()
    acts: tuple[Act, ...] = ()
    wake: datetime | None = None


def plan(
    run: AnalysisRun,
    metrics: Sequence[Metric],
    now: datetime,
    finished: Mapping[str, Measurement] | None = None,
    in_flight: Collection[str] = (),
    *,
    slow: Collection[str] = (),
    not_before: Mapping[str, datetime] | None = None,
) -> Plan:
    """The next state of a run.

    `metrics` are the run's, with arguments substituted; `slow` the names of those whose measurements last. `finished`
    are measurements, by metric, that are not in the status yet; `in_flight` the metrics whose providers are being
    asked at this moment; `not_before` says when a lasting measurement is to be looked at again (absent: now).
    """
    before, taken = run.status, finished or {}
    known = {result.name: result for result in before.metric_results}
    if run.completed:
        after = [_taken(result, taken.get(result.name)) for result in before.metric_results]
        acts, wake = _acts(after, now, in_flight, slow, not_before or {})
        return Plan(msgspec.structs.replace(before, metric_results=tuple(after)), (), acts, wake)
    started = time_of(before.started_at) or now
    results = [
        _with_measurement(metric, known.get(metric.name), taken.get(metric.name), run.spec)
        for metric in metrics
    ]
    results = [_expired(result, now) for result in results]
    results = [_assessed(metric, result) for metric, result in zip(metrics, results, strict=True)]
    if run.spec.terminate or any(_ends_the_rest(result) for result in results):
        results = [_terminated(result, now) for result in results]
    due, next_due = _timetable(metrics, results, started, now, in_flight)
    results = [_begun(result) if result.name in due else result for result in results]
    groups = [metric.start_group for metric in metrics]
    results = [
        _opened(metric, result, run.spec, now, groups)
        if metric.name in slow and metric.name in due
        else result
        for metric, result in zip(metrics, results, strict=True)
    ]
    acts, next_act = _acts(results, now, in_flight, slow, not_before or {})
    wake = min((moment for moment in (next_due, next_act) if moment), default=None)
    at_once = tuple(name for name in due if name not in slow)
    return Plan(_status(run, results, started, now), at_once, acts, wake)


def refused(run: AnalysisRun, problems: Sequence[str], now: datetime) -> AnalysisRunStatus:
    """The status of a run whose spec cannot be acted on: Error at once, never a pass."""
    return msgspec.structs.replace(
        run.status,
        phase="Error",
        message="; ".join(problems),
        started_at=run.status.started_at or timestamp(now),
        completed_at=timestamp(now),
    )


def delete_at(run: AnalysisRun) -> datetime | None:
    """When ttlStrategy wants a completed run deleted; None for never. A specific time beats the general one."""
    strategy, completed = run.spec.ttl_strategy, time_of(run.status.completed_at)
    if strategy is None or completed is None or not run.completed:
        return None
    succeeded = run.status.phase == "Successful"
    specific = strategy.seconds_after_success if succeeded else strategy.seconds_after_failure
    seconds = strategy.seconds_after_completion if specific is None else specific
    return None if seconds is None else completed + timedelta(seconds=seconds)


# Results


def _with_measurement(
    metric: Metric, result: MetricResult | None, measurement: Measurement | None, spec: AnalysisRunSpec
) -> MetricResult:
    dry_run = any(regex.compile(rule.metric_name).search(metric.name) for rule in spec.dry_run)
    result = result or MetricResult(name=metric.name, phase="Pending", dry_run=dry_run)
    if measurement is None or lasting.NUMBER in (measurement.metadata or {}):
        return _taken(result, measurement)
    if result.completed or measurement in result.measurements:
        # (It is there already when a write succeeded whose reply was lost.)
        return result
    return _counted(_appended(result, measurement, spec), measurement)


def _appended(result: MetricResult, measurement: Measurement, spec: AnalysisRunSpec) -> MetricResult:
    kept = (*result.measurements, measurement)[-_retention(result.name, spec) :]
    return msgspec.structs.replace(result, phase="Running", measurements=kept)


def _counted(result: MetricResult, measurement: Measurement) -> MetricResult:
    """The counters after a measurement that has its final phase."""
    counter = _COUNTERS[measurement.phase]
    erred, succeeded = measurement.phase == "Error", measurement.phase == "Successful"
    told = {key: value for key, value in (measurement.metadata or {}).items() if key not in lasting.OWN_KEYS}
    counted = msgspec.structs.replace(
        result,
        count=result.count + (not erred),
        consecutive_error=result.consecutive_error + 1 if erred else 0,
        consecutive_success=result.consecutive_success + 1 if succeeded else 0,
        metadata=told or result.metadata,
    )
    return msgspec.structs.replace(counted, **{counter: getattr(result, counter) + 1})


def _taken(result: MetricResult, news: Measurement | None) -> MetricResult:
    """The result with news of its lasting measurement."""
    if news is None:
        return result
    result, is_answer = lasting.replaced(result, news)
    return _counted(result, news) if is_answer else result


def _expired(result: MetricResult, now: datetime) -> MetricResult:
    running = lasting.current(result)
    return _taken(result, lasting.overdue(running, now)) if running is not None else result


def _begun(result: MetricResult) -> MetricResult:
    return msgspec.structs.replace(result, phase="Running") if result.phase == "Pending" else result


def _opened(
    metric: Metric, result: MetricResult, spec: AnalysisRunSpec, now: datetime, groups: Sequence[str]
) -> MetricResult:
    """The result with the record of its next lasting measurement. `groups` are the start groups of all metrics."""
    together = metric.start_group and groups.count(metric.start_group) > 1
    lead = timedelta(seconds=lasting.LEAD_SECONDS if together else 0.0)
    opened = lasting.opened(result, now, now + lead)
    return _appended(result, msgspec.structs.replace(opened, started_at=begun_at(metric, now)), spec)


def _retention(name: str, spec: AnalysisRunSpec) -> int:
    limits = [
        rule.limit for rule in spec.measurement_retention if regex.compile(rule.metric_name).search(name)
    ]
    return max(1, *limits) if limits else DEFAULT_RETENTION


def _assessed(metric: Metric, result: MetricResult) -> MetricResult:
    """The result with its final phase when a limit or the count has been reached."""
    if result.completed or not result.measurements:
        return result
    limits = settings(metric)
    ended: tuple[Phase, str] | None = None
    if 0 <= limits.failure_limit < result.failed:
        ended = "Failed", f"failed ({result.failed}) > failureLimit ({limits.failure_limit})"
    elif result.inconclusive > limits.inconclusive_limit:
        rule = f"inconclusive ({result.inconclusive}) > inconclusiveLimit ({limits.inconclusive_limit})"
        ended = "Inconclusive", rule
    elif result.consecutive_error > limits.error_limit:
        rule = (
            f"consecutiveErrors ({result.consecutive_error}) > consecutiveErrorLimit ({limits.error_limit})"
        )
        ended = "Error", rule
    elif limits.success_limit and result.consecutive_success >= limits.success_limit:
        rule = f"consecutiveSuccess ({result.consecutive_success}) >= consecutiveSuccessLimit"
        ended = "Successful", f"{rule} ({limits.success_limit})"
    elif limits.count and result.count >= limits.count:
        if limits.success_limit:
            rule = f"count ({limits.count}) reached before consecutiveSuccessLimit ({limits.success_limit})"
            ended = "Inconclusive", rule
        else:
            ended = "Successful", f"count ({limits.count}) reached, failed ({result.failed}) within its limit"
    if ended is None:
        return result
    phase, reason = ended
    detail = result.measurements[-1].message
    if phase == "Error" and detail:
        reason = f'{reason}: "Error Message: {detail}"'
    return msgspec.structs.replace(result, phase=phase, message=reason)


def _ends_the_rest(result: MetricResult) -> bool:
    return not result.dry_run and result.completed and result.phase != "Successful"


def _terminated(result: MetricResult, now: datetime) -> MetricResult:
    """A metric that is stopped has not failed. Whether that is enough evidence is for the gate to decide.

    But one that is stopped in the middle of its first measurement is Inconclusive: it was begun, and nothing is known.
    """
    if result.completed:
        return result
    running = lasting.current(result)
    if running is None:
        return msgspec.structs.replace(result, phase="Successful", message="metric terminated")
    first = not result.count and not result.error
    result = _taken(result, lasting.interrupted(running, now))
    if first:
        said = "metric terminated before it had an answer"
        return msgspec.structs.replace(result, phase="Inconclusive", message=said)
    return msgspec.structs.replace(result, phase="Successful", message="metric terminated")


# Time


def _timetable(
    metrics: Sequence[Metric],
    results: Sequence[MetricResult],
    started: datetime,
    now: datetime,
    in_flight: Collection[str],
) -> tuple[tuple[str, ...], datetime | None]:
    due: list[str] = []
    later: list[datetime] = []
    waiting: set[str] = set()
    for metric, result in zip(metrics, results, strict=True):
        if result.completed:
            continue
        if metric.name in in_flight or lasting.current(result) or lasting.owing(result):
            waiting.add(metric.start_group)
            continue
        moment = _due_at(settings(metric), result, started)
        if moment <= now:
            due.append(metric.name)
        else:
            waiting.add(metric.start_group)
            later.append(moment)
    groups = {metric.name: metric.start_group for metric in metrics}
    held = {name for name in due if groups[name] and groups[name] in waiting}
    return tuple(name for name in due if name not in held), min(later, default=None)


def _acts(
    results: Sequence[MetricResult],
    now: datetime,
    in_flight: Collection[str],
    slow: Collection[str],
    not_before: Mapping[str, datetime],
) -> tuple[tuple[Act, ...], datetime | None]:
    """What to ask of lasting providers now, and when to see about it again."""
    acts: list[Act] = []
    later: list[datetime] = []
    for result in results:
        act = lasting.act_for(result.name, result) if result.name in slow else None
        if act is None:
            continue
        if act.verb != "end":
            later.append(lasting.give_up_at(act.measurement, now))
        if result.name in in_flight:
            continue
        moment = not_before.get(result.name, now)
        if moment <= now:
            acts.append(act)
        else:
            later.append(moment)
    return tuple(acts), min(later, default=None)


def _due_at(limits: Settings, result: MetricResult, started: datetime) -> datetime:
    if not result.measurements:
        return started + timedelta(seconds=limits.initial_delay)
    last = result.measurements[-1]
    if last.phase == "Error":
        return (time_of(last.finished_at) or started) + timedelta(seconds=ERROR_RETRY_SECONDS)
    begun = time_of(last.started_at) or started
    return begun + timedelta(seconds=limits.interval or 0.0)


def begun_at(metric: Metric, moment: datetime) -> str:
    """A measurement's `startedAt`: whole seconds, as metav1.Time is written, where the interval is made of those.

    Otherwise with its fraction: the next one is due an interval after it, and cut off it would be due too early.
    """
    return timestamp(moment) if (settings(metric).interval or 0.0).is_integer() else micro_timestamp(moment)


# The run


def _status(
    run: AnalysisRun, results: Sequence[MetricResult], started: datetime, now: datetime
) -> AnalysisRunStatus:
    counting = [result for result in results if not result.dry_run]
    dry = [result for result in results if result.dry_run]
    completed = all(result.completed for result in results)
    phase: Phase = "Running"
    message = ""
    if completed:
        phase = _worst(counting)
        message = _message(counting, phase) or ("Run Terminated" if run.spec.terminate else "")
    return AnalysisRunStatus(
        phase=phase,
        message=message,
        started_at=timestamp(started),
        completed_at=timestamp(now) if completed else None,
        metric_results=tuple(results),
        run_summary=_summary(counting),
        dry_run_summary=_summary(dry) if dry else None,
    )


def _worst(results: Sequence[MetricResult]) -> Phase:
    phases = {result.phase for result in results}
    return next((phase for phase in BAD if phase in phases), "Successful")


def _message(results: Sequence[MetricResult], phase: Phase) -> str:
    """Which metric decided a run that has not succeeded, and by which limit."""
    if phase == "Successful":
        return ""
    decisive = next(result for result in results if result.phase == phase)
    return f'Metric "{decisive.name}" assessed {phase} due to {decisive.message}'


def _summary(results: Sequence[MetricResult]) -> RunSummary:
    phases = [result.phase for result in results]
    return RunSummary(
        count=len(results),
        successful=phases.count("Successful"),
        failed=phases.count("Failed"),
        inconclusive=phases.count("Inconclusive"),
        error=phases.count("Error"),
    )


# Events


class Happened(msgspec.Struct, frozen=True):
    """One transition, as an Event tells it."""

    reason: str
    message: str
    warning: bool


def transitions(before: AnalysisRunStatus, after: AnalysisRunStatus) -> tuple[Happened, ...]:
    """The metrics that have ended between two states of a run, then the run's own new phase."""
    known = {result.name: result.phase for result in before.metric_results}
    happened = [
        Happened(
            f"Metric{result.phase}",
            f"Metric '{result.name}' Completed. Result: {result.phase}"
            + (f" ({result.message})" if result.message else ""),
            result.phase in {"Failed", "Error"},
        )
        for result in after.metric_results
        if result.completed and known.get(result.name) != result.phase
    ]
    if after.phase != before.phase and after.phase == "Running":
        happened.append(Happened("AnalysisRunRunning", "Analysis Running", warning=False))
    if after.phase != before.phase and after.phase in COMPLETED:
        message = f"Analysis Completed. Result: {after.phase}" + (
            f": {after.message}" if after.message else ""
        )
        happened.append(Happened(f"AnalysisRun{after.phase}", message, after.phase in {"Failed", "Error"}))
    return tuple(happened)
