"""Measures how late the event loop is: a loop that is blocked renews no lease and answers no probe."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import structlog

from rollout.runtime.clock import Clock

log = structlog.get_logger()

BEAT_SECONDS = 0.25
WINDOW_SECONDS = 60.0


class LoopWatchdog:
    """Sleeps in short beats and notes by how much it overslept.

    A lag above `warn_seconds` is logged; above `fatal_seconds`, `on_fatal(lag)` is called (give up the lease). With a
    15 s lease a quarter (3.75 s) and a half (7.5 s) of it are meant.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        warn_seconds: float = 3.75,
        fatal_seconds: float = 7.5,
        on_fatal: Callable[[float], None] | None = None,
    ) -> None:
        self._clock = clock
        self._warn = warn_seconds
        self._fatal = fatal_seconds
        self._on_fatal = on_fatal
        self._lags: deque[tuple[float, float]] = deque()

    @property
    def worst(self) -> float:
        """The longest lag of the last minute, in seconds."""
        self._forget(self._clock.monotonic())
        return max((lag for _, lag in self._lags), default=0.0)

    async def run(self) -> None:
        """Measure until cancelled."""
        while True:
            before = self._clock.monotonic()
            await self._clock.sleep(BEAT_SECONDS)
            now = self._clock.monotonic()
            self._note(now, now - before - BEAT_SECONDS)

    def _note(self, now: float, lag: float) -> None:
        self._forget(now)
        self._lags.append((now, max(0.0, lag)))
        if lag >= self._warn:
            log.warning("the event loop was blocked", seconds=round(lag, 3))
        if lag >= self._fatal and self._on_fatal is not None:
            self._on_fatal(lag)

    def _forget(self, now: float) -> None:
        while self._lags and self._lags[0][0] < now - WINDOW_SECONDS:
            self._lags.popleft()
