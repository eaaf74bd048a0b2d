"""What the demo sees of the cluster: informers on the kinds it shows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime

from rollout.api.meta import Key
from rollout.api.resources import ANALYSIS_RUNS, PODS, REPLICA_SETS, ROLLOUTS, VIRTUAL_SERVICES, Resource
from rollout.cli.summary import rollout_of
from rollout.cli.tree import Tree, tree
from rollout.runtime.clock import Clock
from rollout.runtime.informer import Informer, wait_synced
from rollout.runtime.kube import Kube, Object

_KINDS = (ROLLOUTS, REPLICA_SETS, PODS, ANALYSIS_RUNS, VIRTUAL_SERVICES)


class View:
    """The present objects of the demo's namespaces."""

    def __init__(
        self, kube: Kube, clock: Clock, namespaces: tuple[str, ...], extra: tuple[Resource, ...] = ()
    ) -> None:
        self._informers: dict[Resource, Informer] = {
            resource: Informer(kube, resource, clock=clock, namespaces=namespaces)
            for resource in (*_KINDS, *extra)
        }
        self._clock = clock
        self._changed = asyncio.Event()
        for one in self._informers.values():
            one.on_change(lambda _old, _new: self._changed.set())

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for one in self._informers.values():
                group.create_task(one.run())

    async def ready(self) -> None:
        await wait_synced(*self._informers.values())

    def list(self, resource: Resource, namespace: str) -> list[Object]:
        return list(self._informers[resource].store.list(namespace))

    def rollout(self, key: Key) -> Object | None:
        return self._informers[ROLLOUTS].store.get(key)

    def status(self, key: Key) -> Object:
        return (self.rollout(key) or {}).get("status") or {}

    def tree(self, key: Key, now: datetime) -> Tree | None:
        raw = self.rollout(key)
        if raw is None:
            return None
        sets, pods, runs = (self.list(kind, key.namespace) for kind in (REPLICA_SETS, PODS, ANALYSIS_RUNS))
        return tree(rollout_of(raw), sets, pods, runs, now)

    def canary_weight(self, key: Key) -> int | None:
        """The live weight of the canary, from the VirtualService of the same name; None without one."""
        route = self._informers[VIRTUAL_SERVICES].store.get(key)
        if route is None:
            return None
        entries = route["spec"]["http"][0]["route"]
        return next((e.get("weight", 0) for e in entries if _canary(e["destination"])), None)

    async def until(self, holds: Callable[[], bool], seconds: float) -> bool:
        """Wait for a change that makes `holds` true; False when it has not come in time."""
        try:
            async with asyncio.timeout(seconds):
                while not holds():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return False
        return True

    async def tick(self, seconds: float) -> None:
        """Wait until something changes, but no longer than `seconds`."""
        self._changed.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            return


def _canary(destination: Object) -> bool:
    """Whether a route's destination is the canary's: its subset, or its Service."""
    return destination.get("subset") == "canary" or str(destination.get("host", "")).endswith("-canary")
