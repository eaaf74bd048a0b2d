"""How many may do something at the same time; the number can change while they do."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from types import TracebackType


class Slots:
    """A semaphore whose size can be changed. First come, first served.

    async with slots:
        ...
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.busy = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    def resize(self, size: int) -> None:
        """From now on so many. Those who are at it stay; nobody begins until fewer are at it than `size`."""
        self.size = size
        self._wake()

    async def __aenter__(self) -> None:
        if self.busy < self.size and not self._waiting:
            self.busy += 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._leave()  # it was our turn already: somebody else's now
            else:
                with contextlib.suppress(ValueError):
                    self._waiting.remove(turn)
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave()

    def _leave(self) -> None:
        self.busy -= 1
        self._wake()

    def _wake(self) -> None:
        while self.busy < self.size and self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                self.busy += 1
                turn.set_result(None)
