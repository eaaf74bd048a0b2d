"""When a status that only reports is written: not while the release moves on, and then after a moment's calm.

Of a status some fields are decisions, which everything after rests on, and are written in the pass that makes them. The
others say what was seen (pods, weights, the phase of a run): they are computed anew from the caches in each pass, so
nothing is lost when a pass leaves them out, and one write tells what three would have told.
"""

from __future__ import annotations

from rollout.api.meta import Key
from rollout.runtime.clock import Clock

CALM_SECONDS = 0.3
"""How old a report may become while nothing is done."""
MOVING_SECONDS = 2.0
"""And while each pass does something, whose effect the next one sees."""


class Reports:
    """Since when each Rollout's status lags behind what was seen."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._since: dict[Key, float] = {}

    def wait(self, key: Key, *, moving: bool) -> float:
        """There is a report to write: the seconds until it should be, 0.0 when it is time."""
        now = self._clock.monotonic()
        since = self._since.setdefault(key, now)
        return max(0.0, since + (MOVING_SECONDS if moving else CALM_SECONDS) - now)

    def done(self, key: Key) -> None:
        """The status says what was seen, or the Rollout is gone."""
        self._since.pop(key, None)
