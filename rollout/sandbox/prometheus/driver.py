"""Keeps Prometheus' targets file equal to the API's Services, EndpointSlices and Pods."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

from rollout.api.codec import encode
from rollout.api.resources import ENDPOINT_SLICES, PODS, SERVICES, Resource
from rollout.runtime.clock import Clock
from rollout.runtime.informer import Informer
from rollout.runtime.kube import Object
from rollout.sandbox.prometheus.config import targets

GATHER_SECONDS = 0.1
WATCHED = (SERVICES, ENDPOINT_SLICES, PODS)


class TargetsDriver:
    """Writes `file` whenever what it is made from changed. Shares its informers with the mesh's driver."""

    def __init__(self, informers: Mapping[Resource, Informer], clock: Clock, file: Path) -> None:
        self._informers = {resource: informers[resource] for resource in WATCHED}
        self._clock, self._file = clock, file
        self._dirty = asyncio.Event()
        self._written = b""

    async def run(self) -> None:
        """Until cancelled. The informers are run by their owner."""
        for informer in self._informers.values():
            informer.on_change(self._changed)
            await informer.wait_synced()
        self._dirty.set()
        while True:
            await self._dirty.wait()
            await self._clock.sleep(GATHER_SECONDS)
            self._dirty.clear()
            stores = [self._informers[resource].store for resource in WATCHED]
            self.write(encode(targets(*stores)))

    def write(self, body: bytes) -> None:
        if body == self._written:
            return
        fresh = self._file.with_name(f".{self._file.name}.new")
        fresh.write_bytes(body)
        fresh.replace(self._file)
        self._written = body

    def _changed(self, _old: Object | None, _new: Object | None) -> None:
        self._dirty.set()
