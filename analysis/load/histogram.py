"""Response times in buckets of bounded relative width: small however many there are, and exact when merged.

Why our own: locust's statistics keep times rounded to two significant digits from 100 ms on (1,249 ms becomes
1,200 ms), and its percentiles are those rounded values. Here a time is kept to the microsecond below 1,024 us and
within 0.2 % above; nothing is interpolated.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

_BITS = 10
"""Leading bits of a time, in microseconds, that are kept: the width of a bucket is below 2^-9 of its value."""


class Histogram:
    """Counts of response times. Times are in milliseconds, the buckets' keys in microseconds."""

    __slots__ = ("buckets", "count", "longest")

    def __init__(self) -> None:
        self.buckets: dict[int, int] = {}
        """Upper edge of a bucket in microseconds -> how many times it holds."""
        self.count = 0
        self.longest = 0.0
        """The longest time, exact, in milliseconds."""

    def add(self, milliseconds: float) -> None:
        edge = _edge(milliseconds)
        self.buckets[edge] = self.buckets.get(edge, 0) + 1
        self.count += 1
        self.longest = max(self.longest, milliseconds)

    def merge(self, other: Histogram) -> None:
        for edge, count in other.buckets.items():
            self.buckets[edge] = self.buckets.get(edge, 0) + count
        self.count += other.count
        self.longest = max(self.longest, other.longest)

    def percentile(self, share: float) -> float:
        """The time (ms) that at least `share` (0..1) of all did not exceed: the nearest rank, upper edge; 0 for none."""
        rank = max(1, math.ceil(share * self.count))
        seen = 0
        for edge in sorted(self.buckets):
            seen += self.buckets[edge]
            if seen >= rank:
                return min(edge / 1000, self.longest)
        return 0.0

    def plain(self) -> dict[str, object]:
        """As data for a message; `from_plain` reads it."""
        return {
            "buckets": {str(edge): count for edge, count in self.buckets.items()},
            "longest": self.longest,
        }


def from_plain(data: Mapping[str, object]) -> Histogram:
    """A histogram that another process has sent."""
    found = Histogram()
    buckets, longest = data["buckets"], data["longest"]
    assert isinstance(buckets, Mapping)
    assert isinstance(longest, int | float)
    found.buckets = {int(edge): int(count) for edge, count in buckets.items()}
    found.count = sum(found.buckets.values())
    found.longest = float(longest)
    return found


def _edge(milliseconds: float) -> int:
    """The highest microsecond of the bucket that a time falls into."""
    value = max(0, math.ceil(milliseconds * 1000))
    shift = max(0, value.bit_length() - _BITS)
    return ((value >> shift) + 1 << shift) - 1
