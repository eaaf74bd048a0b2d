"""Faults of the API as our controllers see it: crashes around a write, conflicts, server errors.

A fault is planned for the n-th write of our controllers, or for the n-th event of their watches, counted from 1 over
the whole story.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Literal

from rollout.api.resources import Resource
from rollout.errors import Conflict, Expired, Forbidden, Throttled, Unavailable
from rollout.runtime.kube import Kube, ListPage, Object, WatchEvent
from rollout.runtime.wrap import Change, T, WrappedKube

Kind = Literal["crash-before", "crash-after", "conflict", "lost-reply", "unavailable", "throttled", "late"]
WatchKind = Literal["drop", "gone", "end", "delay"]

DELAY_SECONDS = 20.0
"""How long a delayed watch keeps its events back."""
LATE_SECONDS = 25.0
"""How long a late write is on its way: its process was frozen meanwhile, or the network had it."""


class Faults:
    """What goes wrong at which write or event. `count` is how many writes have been asked for so far."""

    def __init__(
        self, plan: Mapping[int, Kind] | None = None, *, watch: Mapping[int, WatchKind] | None = None
    ) -> None:
        self.plan = dict(plan or {})
        self.watch = dict(watch or {})
        self.count = 0
        self.events = 0
        self.denied: set[Resource] = set()
        """What our controllers may neither read nor write, as a server with RBAC says it."""

    def check(self, verb: str, resource: Resource) -> None:
        """Raise Forbidden for what is denied."""
        if resource in self.denied:
            raise Forbidden(
                f'{resource} is forbidden: User "surefoot" cannot {verb} resource "{resource.plural}"'
            )

    def next(self) -> Kind | None:
        self.count += 1
        return self.plan.get(self.count)

    def next_event(self) -> WatchKind | None:
        self.events += 1
        return self.watch.get(self.events)

    def stop(self) -> None:
        """From now on nothing fails."""
        self.plan.clear()
        self.watch.clear()


class FaultyKube(WrappedKube):
    """A client whose writes fail as planned. A crash ends the caller there and then. `on_send` sees each write that
    is really sent, just before."""

    def __init__(
        self,
        kube: Kube,
        faults: Faults,
        crashed: asyncio.Event,
        *,
        on_send: Callable[[Change], None] = lambda _: None,
    ) -> None:
        super().__init__(kube)
        self._on_send = on_send
        self._faults = faults
        self._crashed = crashed

    async def _change(self, change: Change, sent: Awaitable[T]) -> T:
        try:
            self._faults.check(change.verb, change.resource)
        except Forbidden:
            _never(sent)
            raise
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
            case "late":
                await _on_its_way(sent)
        self._on_send(change)
        result = await sent
        if kind == "crash-after":
            await self._die()
        if kind == "lost-reply":
            raise Unavailable("planned: the reply was lost", sent=True)
        return result

    async def get(
        self, resource: Resource, namespace: str | None, name: str, *, subresource: str = ""
    ) -> Object:
        self._faults.check("get", resource)
        return await super().get(resource, namespace, name, subresource=subresource)

    async def list(self, resource: Resource, namespace: str | None = None, **how: Any) -> ListPage:
        self._faults.check("list", resource)
        return await super().list(resource, namespace, **how)

    async def watch(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        labels: str = "",
        fields: str = "",
        resource_version: str = "",
        send_initial_events: bool = False,
        timeout_seconds: int = 0,
    ) -> AsyncIterator[WatchEvent]:
        self._faults.check("watch", resource)
        events = super().watch(
            resource,
            namespace,
            labels=labels,
            fields=fields,
            resource_version=resource_version,
            send_initial_events=send_initial_events,
            timeout_seconds=timeout_seconds,
        )
        async for event in events:
            self._faults.check("watch", resource)
            match self._faults.next_event():
                case "drop":
                    raise Unavailable("planned: the watch broke")
                case "gone":
                    raise Expired("planned: too old resource version")
                case "end":
                    return
                case "delay":
                    await asyncio.sleep(DELAY_SECONDS)
            yield event

    async def _die(self) -> None:
        self._crashed.set()
        await asyncio.Event().wait()


async def _on_its_way(sent: Awaitable[Any]) -> None:
    try:
        await asyncio.sleep(LATE_SECONDS)
    except asyncio.CancelledError:
        _never(sent)
        raise


def _never(sent: Awaitable[Any]) -> None:
    """The request that is not sent must not be left un-awaited."""
    if asyncio.iscoroutine(sent):
        sent.close()
