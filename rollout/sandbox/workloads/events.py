"""Events about objects, counted and written in the background."""

from __future__ import annotations

import asyncio

import structlog

from rollout.api.meta import Object, metadata, timestamp
from rollout.api.resources import EVENTS
from rollout.errors import ApiError
from rollout.runtime.clock import Clock
from rollout.runtime.kube import Kube
from rollout.sandbox.workloads.decision import Note

log = structlog.get_logger()

_REMEMBERED = 4096
_WAITING = 10_000


class Recorder:
    """Writes Events. `emit` never waits and never fails; the same event again raises its count."""

    def __init__(self, kube: Kube, clock: Clock, component: str, *, enabled: bool = True) -> None:
        self._kube, self._clock, self._component, self._enabled = kube, clock, component, enabled
        self._queue: asyncio.Queue[tuple[Object, Note]] = asyncio.Queue(_WAITING)
        self._seen: dict[tuple[str, str, str, str], tuple[str, int]] = {}

    def emit(self, about: Object, note: Note, field_path: str = "") -> None:
        if not self._enabled:
            return
        ref = _reference(about, field_path)
        try:
            self._queue.put_nowait((ref, note))
        except asyncio.QueueFull:
            log.warning("an event was lost: too many wait", reason=note.reason, message=note.message)

    async def run(self) -> None:
        """Writes what was emitted, until cancelled."""
        while True:
            ref, note = await self._queue.get()
            try:
                await self._write(ref, note)
            except ApiError as error:
                log.info("an event could not be written", reason=note.reason, error=str(error))

    async def _write(self, ref: Object, note: Note) -> None:
        key = (str(ref.get("uid")), str(ref.get("fieldPath")), note.reason, note.message)
        now = timestamp(self._clock.now())
        namespace = ref.get("namespace") or "default"
        if key in self._seen:
            name, count = self._seen[key]
            self._seen[key] = name, count + 1
            await self._kube.patch(EVENTS, namespace, name, {"count": count + 1, "lastTimestamp": now})
            return
        if len(self._seen) >= _REMEMBERED:
            self._seen.pop(next(iter(self._seen)))
        name = f"{ref['name']}.{self._clock.random.getrandbits(64):016x}"
        self._seen[key] = name, 1
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": namespace},
            "involvedObject": ref,
            "type": note.type,
            "reason": note.reason,
            "message": note.message,
            "count": 1,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "source": {"component": self._component},
            "reportingComponent": self._component,
            "reportingInstance": "",
        }
        await self._kube.create(EVENTS, namespace, event)


def _reference(about: Object, field_path: str) -> Object:
    meta = metadata(about)
    return {
        "apiVersion": about["apiVersion"],
        "kind": about["kind"],
        "name": meta["name"],
        "namespace": meta.get("namespace", ""),
        "uid": meta.get("uid", ""),
        "resourceVersion": meta.get("resourceVersion", ""),
        **({"fieldPath": field_path} if field_path else {}),
    }
