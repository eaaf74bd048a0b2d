"""Requests at a constant, bounded rate, and who answers them: the load under which releases are tested."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Self, TypeVar

import aiohttp

SELF = TypeVar("SELF", bound="Flow")


class Flow:
    """Requests until the end of a block. How one is sent and what is counted, a subclass says in `_request`.

    `answers` counts what answered; `lost` counts reasons for requests that nobody answered as he should. `patience` is
    the time in seconds within which the wanted versions must answer.
    """

    patience: float

    def __init__(self, url: str, host: str, rate: float) -> None:
        self.answers: Counter[Any] = Counter()
        self.lost: Counter[str] = Counter()
        self._url, self._rate = url, rate
        self._headers = {"Host": host} if host else {}
        self._session: aiohttp.ClientSession

    def _connected(self) -> aiohttp.ClientSession:
        raise NotImplementedError

    async def _request(self) -> str:
        """Send one request and count it; the version that answered, "" for nobody."""
        raise NotImplementedError

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        async with self._connected() as self._session:
            task = asyncio.create_task(self._send_on())
            try:
                yield self
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    async def sample(self, requests: int, at_once: int = 20) -> Counter[str]:
        """Who answers a number of requests sent now: version -> count; "" for nobody."""
        found: Counter[str] = Counter()
        left = iter(range(requests))

        async def one() -> None:
            for _ in left:
                found[await self._request()] += 1

        await asyncio.gather(*(one() for _ in range(at_once)))
        return found

    async def answered_by(self, *versions: str) -> None:
        """Wait until exactly these versions answer."""
        seen: Counter[str] = Counter()
        try:
            async with asyncio.timeout(self.patience):
                while (seen := await self.sample(60)).keys() != set(versions):
                    await asyncio.sleep(0.1)
        except TimeoutError:
            raise AssertionError(f"{versions} should answer, not {dict(seen)}; lost {self.lost}") from None

    async def begun(self, *versions: str) -> None:
        """Wait until exactly these versions answer, and forget what was before: now it counts."""
        await self.answered_by(*versions)
        self.answers, self.lost = Counter(), Counter()

    async def _send_on(self) -> None:
        async with asyncio.TaskGroup() as group:
            while True:
                group.create_task(self._request())
                await asyncio.sleep(1 / self._rate)
