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


class Clock(Protocol):
    """Wall-clock time, monotonic time, and the randomness of one process."""

    random: random.Random

    def now(self) -> datetime:
        """The wall-clock time, aware, in UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds from an arbitrary start; never runs backwards. For durations inside one process."""
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
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        import asyncio

        await asyncio.sleep(seconds)

    def uid(self) -> str:
        return str(uuid.uuid4())


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
