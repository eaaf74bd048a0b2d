"""What a load test has counted: in all, by name of request, by second, and which errors there were.

A worker counts into one, sends what is new to the master (`plain`), which merges it (`merge_plain`).
Results are milliseconds, requests per second, and ratios 0..1.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

from analysis.load.histogram import Histogram, from_plain
from analysis.load.plan import REACHED, Plan

MAX_NAMES = 50
OTHERS = "(others)"
MAX_ERRORS = 200
"""Different errors that are told apart; texts come from the user's own locustfile, too."""
TOP_ERRORS = 5
MAX_ERROR_TEXT = 200
MAX_ROWS = 240
"""Rows of a timeline at most: the step between two grows with the duration."""
_RECENT = 5


class Counts:
    """Requests of one kind, or of one second."""

    __slots__ = ("failures", "times")

    def __init__(self) -> None:
        self.times = Histogram()
        self.failures = 0

    @property
    def requests(self) -> int:
        return self.times.count

    @property
    def ratio(self) -> float:
        """The share of failures, 0..1; 0 when there were no requests."""
        return self.failures / self.requests if self.requests else 0.0

    def merge(self, other: Counts) -> None:
        self.times.merge(other.times)
        self.failures += other.failures

    def summary(self, seconds: float) -> dict[str, Any]:
        """The numbers of a result, over `seconds`."""
        return {
            "rps": _rounded(self.requests / seconds),
            "requests": self.requests,
            "failures": self.failures,
            "failRatio": round(self.ratio, 6),
            "p50": _rounded(self.times.percentile(0.50)),
            "p95": _rounded(self.times.percentile(0.95)),
            "p99": _rounded(self.times.percentile(0.99)),
            "max": _rounded(self.times.longest),
        }


class Tally:
    """All counts of a test. Seconds are whole Unix seconds, so that those of several machines can be put together."""

    def __init__(self) -> None:
        self.total = Counts()
        self.names: dict[str, Counts] = {}
        self.seconds: dict[int, Counts] = {}
        self.errors: Counter[str] = Counter()
        self.late = Histogram()
        """How much later than due the arrivals of an open load were sent, ms."""
        self.dropped = 0
        """Arrivals of an open load that found no free user, or whose time was over."""

    def add(self, second: int, name: str, milliseconds: float, error: str = "") -> None:
        """One answer, or failure to get one (`error` says why)."""
        if name not in self.names and len(self.names) >= MAX_NAMES:
            name = OTHERS
        for counts in (
            self.total,
            self.names.setdefault(name, Counts()),
            self.seconds.setdefault(second, Counts()),
        ):
            counts.times.add(milliseconds)
            counts.failures += bool(error)
        if error:
            self._error(error, 1)

    def _error(self, text: str, count: int) -> None:
        one_line = " ".join(text.split())[:MAX_ERROR_TEXT]
        known = one_line in self.errors or len(self.errors) < MAX_ERRORS
        self.errors[one_line if known else OTHERS] += count

    def plain(self) -> dict[str, Any]:
        """As data for a message."""
        return {
            "names": {name: _plain(counts) for name, counts in self.names.items()},
            "seconds": {str(second): _plain(counts) for second, counts in self.seconds.items()},
            "errors": dict(self.errors),
            "late": self.late.plain(),
            "dropped": self.dropped,
        }

    def merge_plain(self, data: Mapping[str, Any]) -> None:
        """Add what another process has counted."""
        for name, item in data["names"].items():
            counts = _counts(item)
            self.total.merge(counts)
            place = name if name in self.names or len(self.names) < MAX_NAMES else OTHERS
            self.names.setdefault(place, Counts()).merge(counts)
        for second, item in data["seconds"].items():
            self.seconds.setdefault(int(second), Counts()).merge(_counts(item))
        for text, count in data["errors"].items():
            self._error(text, int(count))
        self.late.merge(from_plain(data["late"]))
        self.dropped += int(data["dropped"])

    # --- what is said -----------------------------------------------------------------------------

    def progress(self, plan: Plan, started: float, now: float, users: int, lag: int) -> dict[str, Any]:
        """How it goes: the latest whole seconds, and all so far. `lag` is how many seconds reports take to arrive."""
        end = math.floor(now) - lag
        begin = max(end - _RECENT, math.floor(started))
        recent = Counts()
        for second in range(begin, end):
            if (counts := self.seconds.get(second)) is not None:
                recent.merge(counts)
        return {
            "seconds": max(0, round(now - started)),
            "of": round(plan.duration),
            "users": users,
            "rps": _rounded(recent.requests / max(1, end - begin)),
            "p95": _rounded(recent.times.percentile(0.95)),
            "requests": self.total.requests,
            "failRatio": round(self.total.ratio, 6),
        }

    def result(self, plan: Plan, started: float, peak_users: int) -> dict[str, Any]:
        """What conditions are asked about."""
        seconds = plan.duration
        found = self.total.summary(seconds)
        found |= {
            "perName": {name: counts.summary(seconds) for name, counts in sorted(self.names.items())},
            "errors": [
                {"error": text, "count": count} for text, count in self.errors.most_common(TOP_ERRORS)
            ],
            "model": plan.model,
            "users": peak_users,
            "duration": seconds,
            "startedAt": round(started, 3),
        }
        if plan.model == "open":
            found |= {
                "wantedRps": plan.rate,
                "achievedRps": found["rps"],
                "reached": self.total.requests >= REACHED * round(plan.rate * seconds),
                "dropped": self.dropped,
                "late": _rounded(self.late.percentile(0.99)),
            }
        else:
            found |= {
                "wantedRps": None,
                "achievedRps": found["rps"],
                "reached": peak_users >= plan.users and self.total.requests > 0,
            }
        return found

    def timeline(self, plan: Plan, started: float) -> dict[str, Any]:
        """The course of the test in at most MAX_ROWS rows: from `t` seconds after the start, for `step` seconds."""
        first, last = math.floor(started), max(self.seconds, default=math.floor(started))
        step = max(1, math.ceil((last - first + 1) / MAX_ROWS))
        rows: list[dict[str, Any]] = []
        for begin in range(first, last + 1, step):
            counts = Counts()
            for second in range(begin, begin + step):
                if (one := self.seconds.get(second)) is not None:
                    counts.merge(one)
            rows.append(
                {
                    "t": begin - first,
                    "rps": _rounded(counts.requests / step),
                    "failRatio": round(counts.ratio, 4),
                    "p95": _rounded(counts.times.percentile(0.95)),
                }
            )
        return {"start": first, "step": step, "duration": plan.duration, "rows": rows}


def _plain(counts: Counts) -> dict[str, Any]:
    return {"times": counts.times.plain(), "failures": counts.failures}


def _counts(data: Mapping[str, Any]) -> Counts:
    counts = Counts()
    counts.times = from_plain(data["times"])
    counts.failures = int(data["failures"])
    return counts


def _rounded(number: float) -> float:
    """Two decimals are enough for milliseconds and for rates, and keep lines short."""
    return round(number, 2)
