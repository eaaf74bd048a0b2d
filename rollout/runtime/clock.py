"""The only place that reads clocks and draws random numbers.

Everything else takes a `Clock` (or a `now`). Stories run the same code on a virtual event loop:
`LoopClock` follows the loop's time, so `asyncio.sleep`, timeouts and wall-clock times move together.
"""

from __future__ import annotations

import random
import time
import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:  # keeps asyncio out of the command line's start-up
    import asyncio

_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""Linux's CLOCK_MONOTONIC stands still while the machine sleeps, and a leader would wake up sure of its lease."""


class Clock(Protocol):
    """Wall-clock time, monotonic time, and the randomness of one process."""

    random: random.Random

    def now(self) -> datetime:
        """The wall-clock time, aware, in UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds from an arbitrary start; never runs backwards. For durations inside one process.

        The time that a machine sleeps counts, where its clock can tell: a lease runs out meanwhile.
        """
        ...

    async def sleep(self, seconds: float) -> None: ...

    def uid(self) -> str:
        """A new random UUID, as the API server makes them."""
        ...


class SystemClock:
    """The machine's clock."""

    def __init__(self) -> None:
        self.random = random.Random()  # noqa: S311 - jitter and names, not secrets

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.clock_gettime(_CLOCK)

    async def sleep(self, seconds: float) -> None:
        import asyncio

        await asyncio.sleep(seconds)

    def uid(self) -> str:
        return str(uuid.uuid4())


class FastClock(SystemClock):
    """The machine's clock, running `speed` times as fast from the moment it is made: for rehearsals of schedules.

    What waits by it waits that much shorter. Never for anything whose time is also on other people's clocks.
    """

    def __init__(self, speed: float) -> None:
        super().__init__()
        if not speed > 0:
            raise ValueError(f"the speed of a clock must be more than 0, not {speed:g}")
        self._speed = speed
        self._start, self._origin = super().now(), super().monotonic()

    def now(self) -> datetime:
        return self._start + timedelta(seconds=(super().monotonic() - self._origin) * self._speed)

    def monotonic(self) -> float:
        return self._origin + (super().monotonic() - self._origin) * self._speed

    async def sleep(self, seconds: float) -> None:
        await super().sleep(seconds / self._speed)


class LoopClock:
    """A clock that follows an event loop's time from `start`; deterministic for a given `seed`."""

    def __init__(self, loop: asyncio.AbstractEventLoop, start: datetime, seed: int = 0) -> None:
        self.random = random.Random(seed)  # noqa: S311 - reproducible on purpose
        self._loop = loop
        self._start = start
        self._origin = loop.time()

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self._loop.time() - self._origin)

    def monotonic(self) -> float:
        return self._loop.time()

    async def sleep(self, seconds: float) -> None:
        import asyncio

        await asyncio.sleep(seconds)

    def uid(self) -> str:
        return str(uuid.UUID(int=self.random.getrandbits(128), version=4))
