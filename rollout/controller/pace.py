"""How often one Rollout may be written to: a brake for quarrels that we have not foreseen.

Two controllers with caches of different age, or somebody who undoes each of our writes, must not turn into a storm
on the API server. Ordinary releases never feel it.
"""

from __future__ import annotations

from rollout.api.meta import Key
from rollout.runtime.clock import Clock

BURST = 60.0
PER_SECOND = 2.0
LEAST_WAIT = 0.1


class Pace:
    """A token bucket per Rollout: `BURST` passes that write at once, `PER_SECOND` for ever after."""

    def __init__(self, clock: Clock, *, burst: float = BURST, per_second: float = PER_SECOND) -> None:
        self._clock = clock
        self._burst = burst
        self._rate = per_second
        self._left: dict[Key, tuple[float, float]] = {}

    def wait(self, key: Key) -> float:
        """Take a token: 0.0 when there was one, else the seconds until there is."""
        now = self._clock.monotonic()
        left, since = self._left.get(key, (self._burst, now))
        left = min(self._burst, left + (now - since) * self._rate)
        if left < 1.0:
            self._left[key] = (left, now)
            return max(LEAST_WAIT, (1.0 - left) / self._rate)
        self._left[key] = (left - 1.0, now)
        return 0.0

    def forget(self, key: Key) -> None:
        self._left.pop(key, None)
