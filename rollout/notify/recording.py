"""Keeps the record of what was told on the server: what is noted counts at once, and is written soon, together."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime

import structlog

from rollout.api.meta import Key, timestamp
from rollout.api.resources import CONFIG_MAPS
from rollout.errors import AlreadyExists, ApiError, NotFound
from rollout.notify.record import RECORD_NAME, SINCE, TOLD, Change, pruned, since_of, told
from rollout.runtime.clock import Clock
from rollout.runtime.kube import Kube
from rollout.runtime.queue import Backoff
from rollout.runtime.store import Store

log = structlog.get_logger()

GAP_SECONDS = 0.25
"""Between two writes: what is sent meanwhile goes into the next one."""
TIDY_SECONDS = 3600.0


class Recording:
    """What the server says (`store`) and, above it, what we have noted and it does not show yet."""

    def __init__(
        self,
        kube: Kube,
        clock: Clock,
        namespace: str,
        store: Store,
        evident: Callable[[], Awaitable[set[str]]],
    ) -> None:
        self._kube = kube
        self._clock = clock
        self._namespace = namespace
        self._store = store
        self._evident = evident
        self._mine: Change = {}
        self._dirty: set[str] = set()
        self._wake = asyncio.Event()
        self._clean = asyncio.Event()
        self._clean.set()
        self._backoff: Backoff[str] = Backoff(clock, base=0.5, cap=30.0)
        self._tidy_at = 0.0

    # --- reading ----------------------------------------------------------------------------------

    def __contains__(self, key: object) -> bool:
        return bool(self.get(f"{TOLD}{key}"))

    def get(self, name: str) -> str:
        """An entry, "" without one."""
        if name in self._mine:
            return self._mine[name] or ""
        return self._data().get(name, "")

    @property
    def since(self) -> datetime | None:
        """From when on things are told; None when nobody has begun to."""
        return since_of(self.get(SINCE))

    # --- noting -----------------------------------------------------------------------------------

    def begin(self) -> None:
        """Tell what happens from now on, unless somebody has begun before."""
        if not self.get(SINCE):
            self.write({SINCE: timestamp(self._clock.now())})

    def note(self, keys: Iterable[str], how: str) -> None:
        """These need not be told."""
        for key in keys:
            if key not in self:
                self.write(told(key, self._clock.now(), how))

    def write(self, change: Change) -> None:
        """Have entries set (or, with None, taken away). They count from now on."""
        self._mine |= change
        self._dirty |= change.keys()
        self._clean.clear()
        self._wake.set()

    def seen(self) -> None:
        """The store has changed: it may show what we have written."""
        data = self._data()
        for name in [
            name for name in self._mine if name not in self._dirty and self._mine[name] == data.get(name)
        ]:
            del self._mine[name]

    # --- writing ----------------------------------------------------------------------------------

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._dirty:
                change = {name: self._mine[name] for name in sorted(self._dirty)}
                self._dirty.clear()
                try:
                    await self._put(change)
                except ApiError as error:
                    self._dirty |= change.keys()
                    log.warning("what was notified cannot be recorded; trying again", error=str(error))
                    await self._clock.sleep(self._backoff.next(""))
                else:
                    self._backoff.forget("")
                    self.seen()
                    if not self._dirty:
                        self._clean.set()
                    await self._clock.sleep(GAP_SECONDS)

    async def drain(self, seconds: float) -> None:
        """Wait until everything is written, at most so long; with `run` running."""
        try:
            async with asyncio.timeout(seconds):
                await self._clean.wait()
        except TimeoutError:
            log.warning("what was notified could not be recorded in time", entries=len(self._dirty))

    async def _put(self, change: Change) -> None:
        """One merge patch: keys are computed, so writes of others are neither lost nor fought."""
        if self._clock.monotonic() >= self._tidy_at:
            self._tidy_at = self._clock.monotonic() + TIDY_SECONDS
            if pruned(self._data(), self._clock.now(), ()):
                evident = await self._evident()
                change = pruned(self._data(), self._clock.now(), evident) | change
        patch = {"data": change}
        try:
            await self._kube.patch(CONFIG_MAPS, self._namespace, RECORD_NAME, patch)
        except NotFound:
            data = {name: value for name, value in change.items() if value is not None}
            try:
                await self._kube.create(
                    CONFIG_MAPS, self._namespace, {"metadata": {"name": RECORD_NAME}, "data": data}
                )
            except AlreadyExists:
                await self._kube.patch(CONFIG_MAPS, self._namespace, RECORD_NAME, patch)

    def _data(self) -> dict[str, str]:
        found = self._store.get(Key(self._namespace, RECORD_NAME))
        return (found or {}).get("data") or {}
