"""Records core/v1 Events about objects: in order per object, from a bounded buffer, never in the way of a reconcile.

The same event again within a window raises `count` on the same Event object instead of making another. Names follow
from the content and the window, so a restarted process goes on counting where its predecessor was.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict, deque
from collections.abc import Mapping
from typing import Any, Literal
from zlib import crc32

import msgspec
import structlog

from rollout.api.meta import metadata, timestamp
from rollout.api.resources import EVENTS
from rollout.errors import AlreadyExists, ApiError, NotFound, Throttled, Unavailable
from rollout.runtime.clock import Clock
from rollout.runtime.kube import Kube, Object

log = structlog.get_logger()

WINDOW_SECONDS = 600.0
CAPACITY = 10_000
"""Events that wait at most (about 2 KB each): a release of hundreds of Rollouts at once makes thousands in seconds."""
SENDERS = 8
REMEMBERED = 4096
ATTEMPTS = 4
RETRY_SECONDS = 1.0
MAX_MESSAGE = 1024
"""The API server refuses longer notes (events.k8s.io) and kubectl cannot show them well."""


class _Note(msgspec.Struct, frozen=True):
    name: str
    namespace: str
    event: Object
    at: str


class _Lane:
    """Events of some objects that wait for one sender. The first is being sent."""

    def __init__(self) -> None:
        self.notes: deque[_Note] = deque()
        self.filled = asyncio.Event()


class Recorder:
    """Emits events about objects as `component`. `run` sends them: those of one object one after the other, those
    of different objects side by side, since one at a time cannot keep up with hundreds of releases."""

    def __init__(
        self,
        kube: Kube,
        clock: Clock,
        *,
        component: str = "surefoot",
        window: float = WINDOW_SECONDS,
        capacity: int = CAPACITY,
    ) -> None:
        self.dropped = 0
        """Events lost because the buffer was full or the server refused them; for metrics."""
        self._kube = kube
        self._clock = clock
        self._component = component
        self._window = window
        self._capacity = capacity
        self._lanes = [_Lane() for _ in range(SENDERS)]
        self._waiting = 0
        self._empty = asyncio.Event()
        self._empty.set()
        self._counts: OrderedDict[tuple[str, str], int] = OrderedDict()  # (namespace, name) -> count

    def emit(
        self,
        about: Object,
        type: Literal["Normal", "Warning"],
        reason: str,
        message: str,
        *,
        annotations: Mapping[str, str] | None = None,
    ) -> None:
        """Have an event about an object recorded. Returns at once and never raises."""
        if self._waiting >= self._capacity:
            self._drop("the buffer is full", reason)
            return
        lane = self._lanes[crc32(str(metadata(about).get("uid")).encode()) % SENDERS]
        lane.notes.append(self._note(about, type, reason, message, annotations))
        lane.filled.set()
        self._waiting += 1
        self._empty.clear()

    async def run(self) -> None:
        """Send events until cancelled."""
        async with asyncio.TaskGroup() as group:
            for lane in self._lanes:
                group.create_task(self._send_forever(lane))

    async def _send_forever(self, lane: _Lane) -> None:
        while True:
            await lane.filled.wait()
            while lane.notes:
                await self._send(lane.notes[0])
                lane.notes.popleft()
                self._waiting -= 1
                if self._waiting == 0:
                    self._empty.set()
            lane.filled.clear()

    async def drain(self, seconds: float = 5.0) -> bool:
        """Wait until all events are sent, at most so long; whether they are. For shutdown, with `run` running."""
        try:
            async with asyncio.timeout(seconds):
                await self._empty.wait()
        except TimeoutError:
            log.warning("events were not sent in time", events=self._waiting)
            return False
        return True

    # --- making -----------------------------------------------------------------------------------

    def _note(
        self,
        about: Object,
        type: str,
        reason: str,
        message: str,
        annotations: Mapping[str, str] | None,
    ) -> _Note:
        meta, now = metadata(about), self._clock.now()
        message = message if len(message) <= MAX_MESSAGE else message[: MAX_MESSAGE - 1] + "…"
        involved = {
            "apiVersion": about.get("apiVersion", ""),
            "kind": about.get("kind", ""),
            "name": meta.get("name", ""),
            "namespace": meta.get("namespace", ""),
            "uid": meta.get("uid", ""),
            "resourceVersion": meta.get("resourceVersion", ""),
        }
        window = int(now.timestamp() // self._window)
        told = "\0".join((str(involved["uid"]), type, reason, message, self._component, str(window)))
        digest = hashlib.sha256(told.encode()).hexdigest()[:16]
        name = f"{str(involved['name'])[:230]}.{digest}"
        # Events about cluster-scoped objects live in "default", as everybody's do.
        namespace = str(involved["namespace"] or "default")
        at = timestamp(now)
        own: dict[str, Any] = {"name": name, "namespace": namespace}
        if annotations:
            own["annotations"] = dict(annotations)
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": own,
            "involvedObject": {key: value for key, value in involved.items() if value},
            "type": type,
            "reason": reason,
            "message": message,
            "source": {"component": self._component},
            "reportingComponent": self._component,
            "reportingInstance": "",
            "firstTimestamp": at,
            "lastTimestamp": at,
            "count": 1,
        }
        return _Note(name, namespace, event, at)

    # --- sending ----------------------------------------------------------------------------------

    async def _send(self, note: _Note) -> None:
        """Send one event, with a few attempts; what cannot be sent is dropped and said."""
        error: Exception | None = None
        for attempt in range(ATTEMPTS):
            try:
                await self._put(note)
            except (Throttled, Unavailable) as failed:
                error = failed
                after = failed.after if isinstance(failed, Throttled) else None
                if attempt + 1 < ATTEMPTS:
                    await self._clock.sleep(after or RETRY_SECONDS * 2**attempt)
            except ApiError as refused:
                error = refused  # for example: the namespace is being deleted
                break
            except Exception as defect:
                log.exception("an event could not be sent", name=note.name)
                error = defect
                break
            else:
                return
        self._drop(str(error), str(note.event["reason"]))

    async def _put(self, note: _Note) -> None:
        key = note.namespace, note.name
        count = self._counts.get(key)
        if count is None:
            try:
                await self._kube.create(EVENTS, note.namespace, note.event)
            except AlreadyExists:
                # A predecessor of this process, or a write of ours whose answer was lost.
                there = await self._kube.get(EVENTS, note.namespace, note.name)
                count = int(there.get("count") or 1)
            else:
                self._remember(key, 1)
                return
        try:
            change = {"count": count + 1, "lastTimestamp": note.at}
            await self._kube.patch(EVENTS, note.namespace, note.name, change)
        except NotFound:
            # Events expire on the server. Then it is the first again.
            await self._kube.create(EVENTS, note.namespace, note.event)
            count = 0
        self._remember(key, count + 1)

    def _remember(self, key: tuple[str, str], count: int) -> None:
        self._counts[key] = count
        self._counts.move_to_end(key)
        if len(self._counts) > REMEMBERED:
            self._counts.popitem(last=False)

    def _drop(self, why: str, reason: str) -> None:
        self.dropped += 1
        log.warning("an event was dropped", reason=reason, error=why)
