"""Faults of the API as our controllers see it: crashes around a write, conflicts, server errors.

A fault is planned for the n-th write of our controllers, counted from 1 over the whole story.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from typing import Any, Literal

from rollout.errors import Conflict, Throttled, Unavailable
from rollout.runtime.kube import Kube
from rollout.runtime.wrap import Change, T, WrappedKube

Kind = Literal["crash-before", "crash-after", "conflict", "lost-reply", "unavailable", "throttled"]


class Faults:
    """What goes wrong at which write. `count` is how many writes have been asked for so far."""

    def __init__(self, plan: Mapping[int, Kind] | None = None) -> None:
        self.plan = dict(plan or {})
        self.count = 0

    def next(self) -> Kind | None:
        self.count += 1
        return self.plan.get(self.count)


class FaultyKube(WrappedKube):
    """A client whose writes fail as planned. A crash ends the caller there and then."""

    def __init__(self, kube: Kube, faults: Faults, crashed: asyncio.Event) -> None:
        super().__init__(kube)
        self._faults = faults
        self._crashed = crashed

    async def _change(self, change: Change, sent: Awaitable[T]) -> T:
        kind = self._faults.next()
        match kind:
            case "crash-before":
                _never(sent)
                await self._die()
            case "conflict":
                _never(sent)
                raise Conflict("planned: the object has been modified")
            case "unavailable":
                _never(sent)
                raise Unavailable("planned: no connection", sent=False)
            case "throttled":
                _never(sent)
                raise Throttled("planned: too many requests", after=1.0)
        result = await sent
        if kind == "crash-after":
            await self._die()
        if kind == "lost-reply":
            raise Unavailable("planned: the reply was lost", sent=True)
        return result

    async def _die(self) -> None:
        self._crashed.set()
        await asyncio.Event().wait()


def _never(sent: Awaitable[Any]) -> None:
    """The request that is not sent must not be left un-awaited."""
    if asyncio.iscoroutine(sent):
        sent.close()
