"""Records core/v1 Events about objects: in order per object, from a bounded buffer, never in the way of a reconcile.

The same event again within a window raises `count` on the same Event object instead of making another. Names follow
from the content and the window, so a restarted process goes on counting where its predecessor was.

In a crowd (many releases at once) Events keep back for a few seconds, behind the writes that move the releases, and
those that wait of one object are told together: one Event with all their reasons and messages, under the reason of the
last, and with their number as its `count`. A Warning is never told with one of another reason.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict, deque
from collections.abc import Mapping
from datetime import datetime
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
HOLD_SECONDS = 5.0
"""How long an Event keeps back in a crowd."""
_LOOK_SECONDS = 0.25
ATTEMPTS = 4
RETRY_SECONDS = 1.0
MAX_MESSAGE = 1024
"""The API server refuses longer notes (events.k8s.io) and kubectl cannot show them well."""


class _Note(msgspec.Struct):
    """What waits to be sent about one object: one event, or in a crowd several, each a (reason, message)."""

    involved: dict[str, str]
    type: str
    told: list[tuple[str, str]]
    annotations: dict[str, str]
    since: datetime
    due: float
    at: datetime
    times: int = 1

    @property
    def reason(self) -> str:
        return self.told[-1][0]

    @property
    def text(self) -> str:
        text = _text(self.told)
        return text if len(text) <= MAX_MESSAGE else text[: MAX_MESSAGE - 1] + "…"

    def joined(self, type: str, told: tuple[str, str], annotations: Mapping[str, str], at: datetime) -> bool:
        """Tell another event with it, if that can be done whole."""
        if (type, annotations) != (self.type, self.annotations) or (
            type == "Warning" and told[0] != self.reason
        ):
            return False
        # The reason is that of the last, also when it has been said before.
        all = [one for one in self.told if one != told] + [told]
        if len(_text(all)) > MAX_MESSAGE:
            return False
        self.told, self.times, self.at = all, self.times + 1, at
        return True


def _text(told: list[tuple[str, str]]) -> str:
    """All messages; with their reasons, where there are several."""
    several = len({reason for reason, _ in told}) > 1
    return "; ".join(f"{reason}: {message}" if several else message for reason, message in told)


class _Lane:
    """Events of some objects that wait for one sender. `open` are those that others may still join, by uid."""

    def __init__(self) -> None:
        self.notes: deque[_Note] = deque()
        self.open: dict[str, _Note] = {}
        self.filled = asyncio.Event()


class Recorder:
    """Emits events about objects as `component`. `run` sends them: those of one object one after the other, those
    of different objects side by side, since one at a time cannot keep up with hundreds of releases.

    `senders` is how many at a time; more than `crowd` that wait are a crowd.
    """

    def __init__(
        self,
        kube: Kube,
        clock: Clock,
        *,
        component: str = "surefoot",
        window: float = WINDOW_SECONDS,
        capacity: int = CAPACITY,
        senders: int = SENDERS,
        crowd: int = CAPACITY,
    ) -> None:
        self.dropped = 0
        """Events lost because the buffer was full or the server refused them; for metrics."""
        self._kube = kube
        self._clock = clock
        self._component = component
        self._window = window
        self._capacity = capacity
        self._crowd = crowd
        self._lanes = [_Lane() for _ in range(senders)]
        self._waiting = 0
        self._draining = False
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
        meta, now = metadata(about), self._clock.now()
        lane = self._lanes[crc32(str(meta.get("uid")).encode()) % len(self._lanes)]
        uid, told, more = str(meta.get("uid")), (reason, message), dict(annotations or {})
        waiting = lane.open.get(uid) if self._waiting > self._crowd else None
        if waiting is not None and waiting.joined(type, told, more, now):
            return
        if self._waiting >= self._capacity:
            self._drop("the buffer is full", reason)
            return
        due = self._clock.monotonic() + HOLD_SECONDS
        note = _Note(_involved(about), type, [told], more, now, due, now)
        lane.notes.append(note)
        lane.open[uid] = note
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
                note = lane.notes[0]
                while (left := self._keeps_back(note)) > 0:
                    await self._clock.sleep(min(left, _LOOK_SECONDS))
                uid = note.involved["uid"]
                if lane.open.get(uid) is note:
                    del lane.open[uid]
                await self._send(self._made(note))
                lane.notes.popleft()
                self._waiting -= 1
                if self._waiting == 0:
                    self._empty.set()
            lane.filled.clear()

    def _keeps_back(self, note: _Note) -> float:
        """How many seconds it waits for others of its object; 0.0 and less when it is time."""
        if self._draining or self._waiting <= self._crowd:
            return 0.0
        return note.due - self._clock.monotonic()

    async def drain(self, seconds: float = 5.0) -> bool:
        """Wait until all events are sent, at most so long; whether they are. For shutdown, with `run` running."""
        self._draining = True
        try:
            async with asyncio.timeout(seconds):
                await self._empty.wait()
        except TimeoutError:
            log.warning("events were not sent in time", events=self._waiting)
            return False
        finally:
            self._draining = False
        return True

    # --- making -----------------------------------------------------------------------------------

    def _made(self, note: _Note) -> Object:
        """The Event as it is sent."""
        message, involved, type, reason = note.text, note.involved, note.type, note.reason
        window = int(note.since.timestamp() // self._window)
        told = "\0".join((involved["uid"], type, reason, message, self._component, str(window)))
        digest = hashlib.sha256(told.encode()).hexdigest()[:16]
        name = f"{involved['name'][:230]}.{digest}"
        # Events about cluster-scoped objects live in "default", as everybody's do.
        namespace = involved["namespace"] or "default"
        own: dict[str, Any] = {"name": name, "namespace": namespace}
        if note.annotations:
            own["annotations"] = note.annotations
        return {
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
            "firstTimestamp": timestamp(note.since),
            "lastTimestamp": timestamp(note.at),
            "count": note.times,
        }

    # --- sending ----------------------------------------------------------------------------------

    async def _send(self, event: Object) -> None:
        """Send one event, with a few attempts; what cannot be sent is dropped and said."""
        error: Exception | None = None
        for attempt in range(ATTEMPTS):
            try:
                await self._put(event)
            except (Throttled, Unavailable) as failed:
                error = failed
                after = failed.after if isinstance(failed, Throttled) else None
                if attempt + 1 < ATTEMPTS:
                    await self._clock.sleep(after or RETRY_SECONDS * 2**attempt)
            except ApiError as refused:
                error = refused  # for example: the namespace is being deleted
                break
            except Exception as defect:
                log.exception("an event could not be sent", name=event["metadata"]["name"])
                error = defect
                break
            else:
                return
        self._drop(str(error), str(event["reason"]))

    async def _put(self, event: Object) -> None:
        namespace, name = key = event["metadata"]["namespace"], event["metadata"]["name"]
        count = self._counts.get(key)
        if count is None:
            try:
                await self._kube.create(EVENTS, namespace, event)
            except AlreadyExists:
                # A predecessor of this process, or a write of ours whose answer was lost.
                there = await self._kube.get(EVENTS, namespace, name)
                count = int(there.get("count") or 1)
            else:
                self._remember(key, event["count"])
                return
        try:
            change = {"count": count + event["count"], "lastTimestamp": event["lastTimestamp"]}
            await self._kube.patch(EVENTS, namespace, name, change)
        except NotFound:
            # Events expire on the server. Then it is the first again.
            await self._kube.create(EVENTS, namespace, event)
            count = 0
        self._remember(key, count + event["count"])

    def _remember(self, key: tuple[str, str], count: int) -> None:
        self._counts[key] = count
        self._counts.move_to_end(key)
        if len(self._counts) > REMEMBERED:
            self._counts.popitem(last=False)

    def _drop(self, why: str, reason: str) -> None:
        self.dropped += 1
        log.warning("an event was dropped", reason=reason, error=why)


def _involved(about: Object) -> dict[str, str]:
    """The reference to an object; small, for the object itself would be kept alive by it."""
    meta = metadata(about)
    named = {name: str(meta.get(name) or "") for name in ("name", "namespace", "uid", "resourceVersion")}
    return {"apiVersion": str(about.get("apiVersion") or ""), "kind": str(about.get("kind") or ""), **named}
