"""Measures how late the event loop is, and ends a process whose loop hangs.

A loop that is blocked renews no lease and answers no probe. `LoopWatchdog` lives in the loop: it tells of the lag once the
loop goes on, and gives leadership up. `HangWatch` is a thread: it says where a loop hangs, and ends the process before the
lease's deadline, so that the next one begins at once.
"""

from __future__ import annotations

import asyncio
import faulthandler
import os
import sys
import threading
from collections import deque
from collections.abc import Callable

import structlog

from rollout.runtime.clock import Clock

log = structlog.get_logger()

LAG_BEAT_SECONDS = 0.5
WINDOW_SECONDS = 60.0
HANG_SECONDS = 10.0
"""Less than the 13 s after its last renewal at which a leader's lease is over."""
HANG_BEAT_SECONDS = THREAD_SECONDS = 1.0
STOOD_STILL_SECONDS = 3.0
HANG_CODE = 70
"""EX_SOFTWARE of sysexits.h: the process ended itself because its event loop hung."""


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

    def problem(self) -> str:
        """What /healthz says: the loop was blocked, in the last minute, for so long that a lease would be lost; or ""."""
        worst = self.worst
        return f"the event loop was blocked for {worst:.1f} s" if worst >= self._fatal else ""

    async def run(self) -> None:
        """Measure until cancelled."""
        while True:
            before = self._clock.monotonic()
            await self._clock.sleep(LAG_BEAT_SECONDS)
            now = self._clock.monotonic()
            self._note(now, now - before - LAG_BEAT_SECONDS)

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


class HangWatch:
    """A thread that ends the process when the loop has not beaten for `limit` seconds, or `end_within` is over.

    While the whole process stood still (a stopped container, a machine that slept), the loop had no chance to beat: that
    time does not count. `on_hang(reason)` is by default: say where each thread is, and exit with `HANG_CODE`.
    """

    def __init__(
        self, clock: Clock, *, limit: float = HANG_SECONDS, on_hang: Callable[[str], None] | None = None
    ) -> None:
        self._clock = clock
        self._limit = limit
        self._on_hang = on_hang or _end
        self._beat = self._looked = clock.monotonic()
        self._end: tuple[float, str] | None = None
        self._stopped = threading.Event()

    async def run(self) -> None:
        """Beat until cancelled; the thread runs meanwhile."""
        self._beat = self._looked = self._clock.monotonic()
        thread = threading.Thread(target=self._watch, name="hang watch", daemon=True)
        thread.start()
        try:
            while True:
                self._beat = self._clock.monotonic()
                await asyncio.sleep(HANG_BEAT_SECONDS)
        finally:
            self._stopped.set()

    def end_within(self, seconds: float, reason: str) -> None:
        """The process must have ended by then: a shutdown is bounded, whatever hangs."""
        self._end = self._clock.monotonic() + seconds, reason

    def look(self) -> str:
        """Why the process must end; "" when all is well. Called by the thread with each beat."""
        now = self._clock.monotonic()
        gap, self._looked = now - self._looked, now
        if gap > STOOD_STILL_SECONDS:
            self._beat = now
        if self._end is not None and now >= self._end[0]:
            return self._end[1]
        silent = now - self._beat
        return f"the event loop hangs since {silent:.1f} s" if silent >= self._limit else ""

    def _watch(self) -> None:
        while not self._stopped.wait(THREAD_SECONDS):
            if reason := self.look():
                self._on_hang(reason)
                return


def _end(reason: str) -> None:
    sys.stderr.write(f"{reason}; where every thread is:\n")
    faulthandler.dump_traceback(all_threads=True)
    sys.stderr.flush()
    os._exit(HANG_CODE)
