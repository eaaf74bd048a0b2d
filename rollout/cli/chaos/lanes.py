"""The timeline: what acted when, as lanes of characters side by side, one column for each slice of time. Pure.

Lanes: the run's own phases, one for each fault, one for each probe, and the load where there is one. All lanes share
their columns, so that a bad sample stands below the fault that caused it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from rollout.api.analysis import AnalysisRun, Measurement
from rollout.api.chaos import ChaosRun, Receipt
from rollout.api.meta import time_of

_BARS = "▁▂▃▄▅▆▇█"
ACTIVE, GOOD, BAD, ERROR, NOTHING = "█", "·", "✖", "!", " "
LEAST_SECONDS = 10.0
_JUST_UNDER_A_SECOND = timedelta(microseconds=999_999)


class Second(msgspec.Struct, frozen=True):
    """One second of a load test: requests/s, share of failed ones (0..1), p95 in ms."""

    at: datetime
    rps: float
    fail_ratio: float
    p95: float


class Lane(msgspec.Struct, frozen=True):
    """A name, one character for each slice of time, and a remark. `colour` is for the cells."""

    name: str
    cells: str
    note: str = ""
    colour: str = ""


class Timeline(msgspec.Struct, frozen=True):
    """All lanes between two moments."""

    start: datetime
    end: datetime
    lanes: tuple[Lane, ...]


def timeline(
    run: ChaosRun, probes: Iterable[AnalysisRun], load: Sequence[Second], now: datetime, width: int
) -> Timeline | None:
    """The run so far in `width` columns; None before it has begun."""
    start = time_of(run.status.started_at)
    if start is None:
        return None
    last = time_of(run.status.completed_at) or now
    end = max(last, start + timedelta(seconds=LEAST_SECONDS))
    slices = _Slices(start, end, max(width, 10))
    lanes = [
        _phases(run, slices, last),
        *_faults(run, slices, last),
        *_probes(run, probes, slices),
        *_load(load, slices),
    ]
    return Timeline(start, end, tuple(lanes))


class _Slices:
    """Moments to columns and back."""

    def __init__(self, start: datetime, end: datetime, width: int) -> None:
        self.start, self.width = start, width
        self._seconds = (end - start).total_seconds() / width

    def column(self, moment: datetime) -> int:
        place = int((moment - self.start).total_seconds() / self._seconds)
        return min(max(place, 0), self.width - 1)

    def fill(self, cells: list[str], begin: datetime, end: datetime, sign: str) -> None:
        for place in range(self.column(begin), self.column(end) + 1):
            cells[place] = sign

    def empty(self) -> list[str]:
        return [NOTHING] * self.width


def _phases(run: ChaosRun, slices: _Slices, end: datetime) -> Lane:
    status, cells = run.status, slices.empty()
    injected, undone = time_of(status.injected_at), time_of(status.ended_at)
    slices.fill(cells, slices.start, injected or end, "░")
    if injected is not None:
        slices.fill(cells, injected, undone or end, "▓")
    if undone is not None:
        slices.fill(cells, undone, end, "▒")
    return Lane("run", "".join(cells), "░ checks  ▓ faults  ▒ recovery", "grey")


def _faults(run: ChaosRun, slices: _Slices, end: datetime) -> Iterable[Lane]:
    for index, step in enumerate(run.spec.steps):
        for fault in step.faults:
            own = [one for one in run.status.receipts if one.fault == fault.name and one.step == index]
            cells = slices.empty()
            for one in own:
                if begun := time_of(one.injected_at):
                    slices.fill(cells, begun, time_of(one.reverted_at) or end, ACTIVE)
            yield Lane(fault.name, "".join(cells), _fault_note(own), "red")


def _fault_note(own: Sequence[Receipt]) -> str:
    if not own:
        return "not yet"
    states: dict[str, int] = {}
    for one in own:
        states[one.state] = states.get(one.state, 0) + 1
    return ", ".join(f"{count} {state.lower()}" for state, count in states.items())


_RANK = {NOTHING: 0, GOOD: 1, ERROR: 2, BAD: 3}
_SIGNS = {"Successful": GOOD, "Failed": BAD, "Error": ERROR, "Inconclusive": ERROR}


def _probes(run: ChaosRun, analyses: Iterable[AnalysisRun], slices: _Slices) -> Iterable[Lane]:
    taken = _measurements(analyses)
    for probe in run.spec.probes:
        cells = slices.empty()
        for one in taken.get(probe.name, ()):
            sign, moment = _SIGNS.get(one.phase, NOTHING), time_of(one.finished_at or one.started_at)
            if moment is not None:
                place = slices.column(moment)
                cells[place] = max(cells[place], sign, key=lambda found: _RANK[found])
        result = next((one for one in run.status.probes if one.name == probe.name), None)
        note = probe.mode.lower()
        if result is not None and result.ratio is not None:
            note = f"{result.ratio * 100:.1f} % good, {probe.mode.lower()}"
        yield Lane(probe.name, "".join(cells), note, "green")


def _measurements(analyses: Iterable[AnalysisRun]) -> Mapping[str, list[Measurement]]:
    """By probe: a metric of the probe's name, or of an analysis template that the probe names (`probe/metric`)."""
    found: dict[str, list[Measurement]] = {}
    for run in analyses:
        for result in run.status.metric_results:
            found.setdefault(result.name.partition("/")[0], []).extend(result.measurements)
    return found


def _load(load: Sequence[Second], slices: _Slices) -> Iterable[Lane]:
    if not load:
        return
    rates: list[list[Second]] = [[] for _ in range(slices.width)]
    for one in load:
        if one.at >= slices.start:
            for place in range(slices.column(one.at), slices.column(one.at + _JUST_UNDER_A_SECOND) + 1):
                rates[place].append(one)
    rps = [_mean([one.rps for one in group]) for group in rates]
    p95 = [max((one.p95 for one in group), default=None) for group in rates]
    failed = sum(one.rps * one.fail_ratio for one in load) / max(sum(one.rps for one in load), 1e-9)
    yield Lane("requests/s", _bars(rps), f"up to {_top(rps):g}", "cyan")
    yield Lane("p95 ms", _bars(p95), f"up to {_top(p95):g}, {failed * 100:.2f} % failed", "yellow")


def _bars(values: Sequence[float | None]) -> str:
    top = _top(values)
    return "".join(
        NOTHING
        if value is None
        else _BARS[min(int(value / top * len(_BARS)), len(_BARS) - 1)]
        if top
        else _BARS[0]
        for value in values
    )


def _top(values: Sequence[float | None]) -> float:
    return round(max((value for value in values if value is not None), default=0.0), 1)


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def course(kept: Mapping[str, Any]) -> list[Second]:
    """The course of a load test that has ended, as its ConfigMap keeps it: rows with `t` in seconds after `start`."""
    start = float(kept.get("start") or 0)
    return [_second(start + float(row["t"]), row) for row in kept.get("rows") or ()]


def progress(lines: Iterable[Mapping[str, Any]], start: datetime) -> list[Second]:
    """The course of a load test that goes on, from what it has said so far."""
    return [_second(start.timestamp() + float(one["seconds"]), one) for one in lines]


def _second(at: float, row: Mapping[str, Any]) -> Second:
    moment = datetime.fromtimestamp(at, UTC)
    return Second(moment, float(row["rps"]), float(row["failRatio"]), float(row["p95"]))
