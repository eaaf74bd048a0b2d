"""Measurements that last: what is in an AnalysisRun's status while a Job, a load test or a chaos run answers. Pure.

The record comes first: a Measurement of phase Running, with its number and start, is saved before anything is begun, and
replaced by the answer. Whatever may exist because of it is owed a clean-up, and that debt is in the record too (`cleanup:
pending`) from the beginning until the provider's `end` has succeeded. So a controller that is killed at any point finds
in the status what it has to do next, and does it with the same computed names.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Literal

import msgspec

from rollout.api.analysis import Measurement, MetricResult
from rollout.api.meta import micro_timestamp, time_of, timestamp

MAX_SECONDS = 24 * 3600.0
"""A measurement that lasts longer is an Error; providers have shorter deadlines of their own."""
LEAD_SECONDS = 3.0
"""How far ahead the common start of a `startGroup` is, so that all of it can be made ready."""

NUMBER, START_AT, BEGUN, PROGRESS, CLEANUP = "number", "start-at", "begun", "progress", "cleanup"
OWN_KEYS = frozenset({NUMBER, START_AT, BEGUN, PROGRESS, CLEANUP})
"""What the controller itself keeps in the metadata of a lasting measurement; all else is the provider's."""
_ONLY_WHILE_RUNNING = frozenset({BEGUN, PROGRESS})

Verb = Literal["begin", "look", "end"]


class Act(msgspec.Struct, frozen=True):
    """What to ask of a lasting provider now, about one measurement."""

    verb: Verb
    metric: str
    measurement: Measurement

    @property
    def number(self) -> int:
        return int((self.measurement.metadata or {})[NUMBER])

    @property
    def start_at(self) -> datetime:
        at = time_of((self.measurement.metadata or {}).get(START_AT) or self.measurement.started_at)
        assert at is not None, "a lasting measurement has its start from the first write on"
        return at


def opened(result: MetricResult, now: datetime, start_at: datetime) -> Measurement:
    """The record of the next measurement of a metric, before anything of it exists."""
    number = result.count + result.error + 1
    metadata = {NUMBER: str(number), START_AT: micro_timestamp(start_at), CLEANUP: "pending"}
    return Measurement(phase="Running", started_at=timestamp(now), metadata=metadata)


def begun(before: Measurement, told: Mapping[str, str], now: datetime) -> Measurement:
    """It exists now; `told` is what the provider wants remembered of it."""
    metadata = {**(before.metadata or {}), **_foreign(told), BEGUN: timestamp(now)}
    return msgspec.structs.replace(before, metadata=metadata)


def progressed(before: Measurement, message: str, told: Mapping[str, str]) -> Measurement:
    """No answer yet. The message of before goes when there is none any more."""
    metadata = {**(_without_progress(before).metadata or {}), **_foreign(told)}
    return msgspec.structs.replace(before, metadata={**metadata, PROGRESS: message} if message else metadata)


def answered(before: Measurement, answer: Measurement) -> Measurement:
    """`answer` in the place of the running measurement: its clean-up is still owed."""
    kept = {key: value for key, value in (before.metadata or {}).items() if key not in _ONLY_WHILE_RUNNING}
    metadata = {**kept, **_foreign(answer.metadata or {})}
    return msgspec.structs.replace(answer, started_at=before.started_at, metadata=metadata)


def cleaned(before: Measurement) -> Measurement:
    """Nothing is owed for it any more."""
    metadata = {key: value for key, value in (before.metadata or {}).items() if key != CLEANUP}
    return msgspec.structs.replace(before, metadata=metadata)


def only_progress(before: Measurement, after: Measurement) -> bool:
    """Whether nothing but the words for people has changed."""
    return after.phase == "Running" and _without_progress(before) == _without_progress(after)


def current(result: MetricResult) -> Measurement | None:
    """The measurement that lasts at this moment."""
    last = result.measurements[-1] if result.measurements else None
    return last if last is not None and last.phase == "Running" and _number(last) else None


def owing(result: MetricResult) -> Measurement | None:
    """The measurement that has its answer and is owed a clean-up. The next one waits for it, so it is the last."""
    last = result.measurements[-1] if result.measurements else None
    return last if last is not None and last.phase != "Running" and _owes(last) else None


def replaced(result: MetricResult, new: Measurement) -> tuple[MetricResult, bool]:
    """`new` in the place of the measurement of its number, and whether it is the answer to count.

    News that came too late change nothing: of another number, of one that was stopped meanwhile, or told before.
    """
    last = result.measurements[-1] if result.measurements else None
    if last is None or not _number(new) or _number(last) != _number(new):
        return result, False
    if last.phase != "Running" and new != cleaned(last):
        return result, False
    changed = msgspec.structs.replace(result, measurements=(*result.measurements[:-1], new))
    return changed, last.phase == "Running" and new.phase != "Running"


def overdue(measurement: Measurement, now: datetime) -> Measurement | None:
    """The Error that ends a measurement which lasts beyond all bounds."""
    if now < give_up_at(measurement, now):
        return None
    said = f"no answer within {MAX_SECONDS / 3600:g} h"
    error = Measurement(phase="Error", message=said, finished_at=timestamp(now))
    return answered(measurement, error)


def give_up_at(measurement: Measurement, now: datetime) -> datetime:
    return (time_of(measurement.started_at) or now) + timedelta(seconds=MAX_SECONDS)


def interrupted(measurement: Measurement, now: datetime) -> Measurement:
    """A measurement that was stopped before it had an answer proves nothing: Inconclusive."""
    stopped = Measurement(
        phase="Inconclusive", message="stopped before it had an answer", finished_at=timestamp(now)
    )
    return answered(measurement, stopped)


def act_for(name: str, result: MetricResult) -> Act | None:
    """What is next for a metric that lasts, from its record alone; None when nothing is open."""
    if (running := current(result)) is not None:
        return Act("look" if BEGUN in (running.metadata or {}) else "begin", name, running)
    if (left := owing(result)) is not None:
        return Act("end", name, left)
    return None


def _foreign(metadata: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in metadata.items() if key not in OWN_KEYS}


def _without_progress(measurement: Measurement) -> Measurement:
    metadata = {key: value for key, value in (measurement.metadata or {}).items() if key != PROGRESS}
    return msgspec.structs.replace(measurement, metadata=metadata)


def _owes(measurement: Measurement) -> bool:
    return CLEANUP in (measurement.metadata or {})


def _number(measurement: Measurement) -> str:
    return (measurement.metadata or {}).get(NUMBER, "")
