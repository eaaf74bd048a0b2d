"""Everything that happens to the objects of a namespace, by watches; and the stories' rules applied to it afterwards.

One etcd stands behind all kinds, so the versions of objects of different kinds say in which order they were written.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import NamedTuple

from rollout.api.meta import Key, key_of, metadata
from rollout.api.resources import (
    ANALYSIS_RUNS,
    DECISION_RECORDS,
    REPLICA_SETS,
    ROLLOUTS,
    SERVICES,
    Resource,
)
from rollout.errors import Timeout
from rollout.runtime.client import HttpKube
from rollout.runtime.clock import SystemClock
from rollout.runtime.kube import ListPage, Object
from tests.stories.rules import Rules

KINDS = (ROLLOUTS, REPLICA_SETS, SERVICES, ANALYSIS_RUNS, DECISION_RECORDS)
PATIENCE = 600.0
CLOCK = SystemClock()


class Happening(NamedTuple):
    """An object became `new` (None: it is gone) by the write of this version; `at` is when we heard of it."""

    version: int
    at: datetime
    resource: Resource
    key: Key
    new: Object | None


class Recording:
    """`happenings` since the beginning, and `store`: the objects as they are now, as far as we have heard."""

    def __init__(self, kube: HttpKube, namespace: str, *more: Resource) -> None:
        self.kube, self.namespace = kube, namespace
        self.kinds = (*KINDS, *more)
        self.happenings: list[Happening] = []
        self.promoted: list[Object] = []
        """A Rollout as it was each time before a person promoted it."""
        self.store: dict[Resource, dict[Key, Object]] = {kind: {} for kind in self.kinds}
        self._changed = asyncio.Event()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Recording]:
        """Watches all its kinds until the end of the block. A watch that fails fails what waits in `until`."""
        pages = [await self.kube.list(kind, self.namespace) for kind in self.kinds]
        for kind, page in zip(self.kinds, pages, strict=True):
            for obj in page.items:
                self._heard(kind, obj, gone=False)
        self._watches = [
            asyncio.create_task(self._watch(kind, page.resource_version))
            for kind, page in zip(self.kinds, pages, strict=True)
        ]
        try:
            yield self
        finally:
            for one in self._watches:
                one.cancel()
            await asyncio.gather(*self._watches, return_exceptions=True)

    async def until(
        self, holds: Callable[[], bool], what: str, seconds: float = PATIENCE, told: Callable[[], str] = str
    ) -> None:
        """Waits for something that happens and makes `holds` true; AssertionError with what `told` says instead."""
        try:
            async with asyncio.timeout(seconds):
                while not holds():
                    for one in self._watches:
                        if one.done():
                            one.result()
                    self._changed.clear()
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self._changed.wait(), 1.0)
        except TimeoutError:
            raise AssertionError(f"waited {seconds:.0f} s in vain until {what}; {told()}") from None

    async def complete(self) -> None:
        """Returns when all that was written before this call has been heard."""
        for kind in self.kinds:
            page = await self.kube.list(kind, self.namespace)
            there = {key_of(one): _version(one) for one in page.items}

            def is_heard(kind: Resource = kind, there: dict[Key, int] = there) -> bool:
                mine = {key: _version(one) for key, one in self.store[kind].items()}
                return all(mine.get(key, 0) >= version for key, version in there.items())

            await self.until(is_heard, f"the watch of {kind} has caught up")

    async def _watch(self, kind: Resource, version: str) -> None:
        while True:
            # Where nothing happens for long, the client takes the watch for a broken one.
            with suppress(Timeout):
                async with aclosing(
                    self.kube.watch(kind, self.namespace, resource_version=version)
                ) as events:
                    async for event in events:
                        version = metadata(event.object)["resourceVersion"]
                        if event.type != "BOOKMARK":
                            self._heard(kind, event.object, gone=event.type == "DELETED")

    def _heard(self, kind: Resource, obj: Object, *, gone: bool) -> None:
        key = key_of(obj)
        if gone:
            self.store[kind].pop(key, None)
        else:
            self.store[kind][key] = obj
        new = None if gone else obj
        self.happenings.append(Happening(_version(obj), CLOCK.now(), kind, key, new))
        self._changed.set()

    def broken(self) -> list[str]:
        """The rules of the stories (I1-I9, I16) that anything recorded has broken, by one controller at a time."""
        replay = Replay()
        rules = Rules(replay, replay)
        # The watches tell us when we were woken, not when it happened: how long a pause or a delay took is not judged here.
        rules.lag = PATIENCE
        rules.slack = PATIENCE
        said = sorted(self.promoted, key=_version, reverse=True)
        for one in sorted(self.happenings, key=lambda happening: happening.version):
            while said and _version(said[-1]) < one.version:
                rules.promoted(said.pop())
            rules.by_hand = by_hand(replay.current(one.resource, one.key), one)
            replay.write(one)
        return rules.broken


def _version(obj: Object) -> int:
    return int(metadata(obj)["resourceVersion"])


def by_hand(old: Object | None, happening: Happening) -> bool:
    """Whether a person made this write: of a Rollout's spec, which is never ours to change."""
    if happening.resource != ROLLOUTS or happening.new is None:
        return False
    generation = metadata(happening.new).get("generation")
    return old is None or metadata(old).get("generation") != generation


class Replay:
    """Storage and clock as the rules ask them, with what was recorded written to it again."""

    def __init__(self) -> None:
        self._objects: dict[Resource, dict[Key, Object]] = {}
        self._callbacks: list[Callable[[str, Resource, Object | None, Object | None], None]] = []
        self._now = datetime.min.replace(tzinfo=UTC)
        self.resource_version = ""

    def write(self, one: Happening) -> None:
        old = self.current(one.resource, one.key)
        self.resource_version, self._now = str(one.version), max(self._now, one.at)
        objects = self._objects.setdefault(one.resource, {})
        if one.new is None:
            objects.pop(one.key, None)
        else:
            objects[one.key] = one.new
        kind = "DELETED" if one.new is None else "ADDED" if old is None else "MODIFIED"
        for callback in self._callbacks:
            callback(kind, one.resource, old, one.new)

    def current(self, resource: Resource, key: Key) -> Object | None:
        return self._objects.get(resource, {}).get(key)

    # --- what the rules ask ---

    def on_write(self, callback: Callable[[str, Resource, Object | None, Object | None], None]) -> None:
        self._callbacks.append(callback)

    def list(self, resource: Resource, namespace: str | None = None) -> ListPage:
        objects = self._objects.get(resource, {}).items()
        found = [one for key, one in objects if namespace in (None, key.namespace)]
        return ListPage(found, self.resource_version)

    def exists(self, resource: Resource, namespace: str | None, name: str) -> bool:
        return self.current(resource, Key(namespace or "", name)) is not None

    def get(self, resource: Resource, namespace: str | None, name: str) -> Object:
        return self._objects[resource][Key(namespace or "", name)]

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._now.timestamp()
