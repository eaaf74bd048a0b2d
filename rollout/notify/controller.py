"""Tells people: looks at every change of every object we know, and sends what is due, apart from all reconciles.

    notifier = NotificationController(kube, clock, namespace="surefoot", informers=..., fetch=guard.fetch)
    group.create_task(notifier.caches())   # always: a standby sees what happens, and keeps what is not told yet
    group.create_task(notifier.run())      # the leader: sends

What is due is decided by `due` when an informer shows a change; it waits in memory, per destination and in order, until
it was sent and recorded. After a restart the objects' states say again what has happened and the record what was told.
So a message is lost only if what it tells of was over before anybody looked, and doubled only by a crash between
sending and recording. Nothing here is awaited by a reconcile, and without subscriptions nothing is asked or written.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from typing import Any, Literal, Protocol

import msgspec
import structlog

from rollout.api.meta import Key, key_of, metadata, timestamp
from rollout.api.resources import (
    ANALYSIS_RUNS,
    CHAOS_SCHEDULES,
    CONFIG_MAPS,
    ROLLOUTS,
    Resource,
)
from rollout.api.rollout import INSTANCE_ID
from rollout.core.problem import Problem
from rollout.errors import ApiError
from rollout.notify import record
from rollout.notify.config import BARE, CONFIG_NAME, SECRET_NAME, Config, parse, references, reveal
from rollout.notify.due import Due, Seen, baseline, due
from rollout.notify.message import Answer, Note, Refused, Sent
from rollout.notify.metrics import NotificationMetrics
from rollout.notify.occurrences import KINDS, Occurrence, edges, occurrences
from rollout.notify.recording import Recording
from rollout.notify.rendering import note_of
from rollout.notify.secrets import Secrets
from rollout.notify.sending import Fetch, scrubbed, send
from rollout.notify.services import TYPES
from rollout.notify.services.base import Unusable
from rollout.notify.services.pagerduty import action_of, dedup_key
from rollout.notify.subscriptions import PREFIX, Destination, annotated
from rollout.notify.template import TemplateError
from rollout.runtime.clock import Clock
from rollout.runtime.informer import Informer, wait_synced
from rollout.runtime.kube import Kube, Object
from rollout.runtime.queue import Backoff

log = structlog.get_logger()

CAPACITY = 5000
"""Messages that wait at most; the oldest are dropped, said and counted."""
ATTEMPTS = 8
RETRY_BASE, RETRY_CAP = 1.0, 60.0
AT_ONCE = 4
"""Requests to one service at the same time, whatever the number of its recipients."""
DOUBT_SECONDS = 1.0
STOP_SECONDS = 3.0
REMEMBERED = 1000
BREATH = 50
"""Objects looked at in one go: others want the event loop, too."""
_OWNERS: Mapping[str, Resource] = {"Rollout": ROLLOUTS, "ChaosSchedule": CHAOS_SCHEDULES}


class Recorder(Protocol):
    def emit(self, about: Object, type: Literal["Normal", "Warning"], reason: str, message: str) -> None: ...


class _Waiting(msgspec.Struct, frozen=True):
    """A message that is due, and the object as it was then."""

    due: Due
    seen: Seen


class NotificationController:
    """`informers` are those of the controllers; `leading` says whether this process may act just now."""

    def __init__(
        self,
        kube: Kube,
        clock: Clock,
        *,
        namespace: str,
        informers: Mapping[Resource, Informer],
        fetch: Fetch,
        recorder: Recorder | None = None,
        leading: Callable[[], bool] = lambda: True,
        instance_id: str = "",
    ) -> None:
        self.metrics = NotificationMetrics(lambda: len(self._pending))
        self._clock = clock
        self._fetch = fetch
        self._recorder = recorder
        self._leading = leading
        self._instance_id = instance_id
        self._objects = {one: informer for one, informer in informers.items() if one.kind in KINDS}

        def named(resource: Resource, name: str) -> Informer:
            only = f"metadata.name={name}"
            return Informer(
                kube, resource, clock=clock, namespaces=(namespace,), fields=only, lacking=_lacking
            )

        self._config_map = named(CONFIG_MAPS, CONFIG_NAME)
        self._secrets = Secrets(kube, clock, namespace)
        self._told = named(CONFIG_MAPS, record.RECORD_NAME)
        self.informers = (self._config_map, self._told)
        self._record = Recording(kube, clock, namespace, self._told.store, self._evident)
        self._config: Config = BARE
        self._pending: dict[str, _Waiting] = {}
        self._queues: dict[Destination, deque[str]] = {}
        self._lanes: dict[Destination, asyncio.Task[None]] = {}
        self._slots: dict[str, asyncio.Semaphore] = {}
        self._backoff: Backoff[str] = Backoff(clock, base=RETRY_BASE, cap=RETRY_CAP)
        self._idle_keys: dict[str, None] = {}  # in order
        self._said: dict[str, None] = {}
        self._problems: list[Problem] = []
        self._running = False
        self._stopping = asyncio.Event()
        self._changes: asyncio.Queue[tuple[Config, list[Problem]]] = asyncio.Queue()
        self._config_map.on_change(lambda _, new: self._configure(new))
        self._told.on_change(lambda _, new: self._forget_told(new))
        for informer in self._objects.values():
            informer.on_change(self._look)

    def lacks(self) -> list[str]:
        """What is forbidden, and therefore nobody is told of anything, with the Role that would grant it."""
        return [f"{one.resource}: {' '.join(one.lack.split())}" for one in self.informers if one.lack]

    # --- running ----------------------------------------------------------------------------------

    async def caches(self) -> None:
        """Follow the configuration and the record until cancelled."""
        async with asyncio.TaskGroup() as group:
            for informer in self.informers:
                group.create_task(informer.run())

    async def run(self) -> None:
        """Send what is due until `stop` (what is being sent is finished and recorded) or cancelled. Never raises: a
        defect here is logged, and is no reason to give up leading."""
        while not self._stopping.is_set():
            try:
                await self._lead()
            except Exception:
                log.exception("notifications have stopped; beginning again", seconds=RETRY_CAP)
                await self._unless_stopped(self._clock.sleep(RETRY_CAP))

    async def _lead(self) -> None:
        # Kinds of chaos may be forbidden to us, or not installed: what comes of them later is looked at then.
        objects = [self._objects[one] for one in (ROLLOUTS, ANALYSIS_RUNS) if one in self._objects]
        await self._unless_stopped(wait_synced(*self.informers, *objects))
        if self._stopping.is_set():
            return
        writer = asyncio.create_task(self._record.run(), name="notification record")
        changes = asyncio.create_task(self._follow_changes(), name="notification configuration")
        try:
            await self._begin()
            await self._until_stopped(writer, changes)
            self._running = False
            if self._lanes:
                await asyncio.wait(self._lanes.values(), timeout=STOP_SECONDS)
            await self._record.drain(STOP_SECONDS)
        finally:
            self._running = False
            left = [writer, changes, *self._lanes.values()]
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)
            self._lanes.clear()

    async def _until_stopped(self, *tasks: asyncio.Task[None]) -> None:
        """Wait for `stop`; what ends before that has failed, and its error is raised."""
        stopped = asyncio.create_task(self._stopping.wait())
        try:
            done, _ = await asyncio.wait({stopped, *tasks}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            stopped.cancel()

    async def _unless_stopped(self, waiting: Coroutine[Any, Any, None]) -> None:
        """Wait for something, or for `stop`."""
        tasks = [asyncio.create_task(waiting), asyncio.create_task(self._stopping.wait())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def stop(self) -> None:
        self._stopping.set()

    async def _begin(self) -> None:
        """From now on we are the one who tells: also what a predecessor has left."""
        self._running = True
        self._say_problems()
        if self._config.services:
            self._record.begin()
        await self._look_at_all()
        for destination in list(self._queues):
            self._start(destination)

    # --- looking ----------------------------------------------------------------------------------

    def _configure(self, obj: Object | None) -> None:
        """A new configuration (the handler of its informer)."""
        found = parse((obj or {}).get("data") or {}) if obj is not None else (BARE, [])
        if self._running:
            self._changes.put_nowait(found)
        else:
            self._config, self._problems = found

    async def _follow_changes(self) -> None:
        """Take new configurations up. Who is subscribed by one is told of what happens from then on."""
        while True:
            config, problems = await self._changes.get()
            async for one in self._all():
                seen, happened = self._seen(one), occurrences(one)
                old = self._due(happened, seen, self._config)
                self._record.note(baseline(old, self._due(happened, seen, config)), "before")
            self._config, self._problems = config, problems
            self._say_problems()
            if config.services:
                self._record.begin()
            await self._look_at_all()

    def _say_problems(self) -> None:
        about = next(iter(self._config_map.store.list()), None)
        for problem in self._problems:
            self._say(about, "NotificationConfigInvalid", str(problem))

    def _look(self, old: Object | None, new: Object | None) -> None:
        """An object has changed (the handler of informers): what is due waits from now on."""
        if new is None or not self._config.services or not self._told.synced() or not self._ours(new):
            return
        seen = self._seen(new)
        if not self._config.subscriptions and not annotated(seen.object) and not annotated(seen.root):
            return
        happened = occurrences(new)
        if old is not None:
            if _annotations(old) != _annotations(new):
                past, was = occurrences(old), self._seen(old)
                before = self._due(past, was, self._config)
                self._record.note(baseline(before, self._due(past, seen, self._config)), "before")
            happened += edges(old, new)
        self._take(seen, self._due(happened, seen, self._config, say=True))

    async def _look_at_all(self) -> None:
        async for obj in self._all():
            self._look(None, obj)

    async def _all(self) -> AsyncIterator[Object]:
        """Every object, with a breath now and then: there may be many thousands."""
        for informer in self._objects.values():
            for number, key in enumerate(informer.store.keys()):
                if number % BREATH == BREATH - 1:
                    await asyncio.sleep(0)
                if (obj := informer.store.get(key)) is not None:
                    yield obj

    def _due(
        self, happened: list[Occurrence], seen: Seen, config: Config, *, say: bool = False
    ) -> tuple[Due, ...]:
        decided = due(happened, seen, config, self._clock.now(), told=self._record, since=self._record.since)
        for problem in decided.problems if say else ():
            self._say(dict(seen.root), "NotificationNotPossible", problem)
        return decided.messages

    def _take(self, seen: Seen, messages: tuple[Due, ...]) -> None:
        for one in messages:
            if one.key in self._pending or one.key in self._idle_keys:
                continue
            if len(self._pending) >= CAPACITY:
                self._drop(next(iter(self._pending)))
            self._pending[one.key] = _Waiting(one, seen)
            self._queues.setdefault(one.destination, deque()).append(one.key)
            self._start(one.destination)

    def _seen(self, obj: Object) -> Seen:
        owner = None
        for ref in metadata(obj).get("ownerReferences") or ():
            resource = _OWNERS.get(str(ref.get("kind"))) if ref.get("controller") else None
            informer = self._objects.get(resource) if resource is not None else None
            found = (
                informer.store.get(Key(key_of(obj).namespace, ref["name"])) if informer is not None else None
            )
            if found is not None and metadata(found).get("uid") == ref.get("uid"):
                owner = found
        root, runs = owner if owner is not None else obj, self._objects.get(ANALYSIS_RUNS)
        mine: list[Object] = []
        if root.get("kind") == ROLLOUTS.kind and runs is not None:
            mine = list(runs.store.owned_by(str(metadata(root).get("uid"))))
        return Seen(obj, owner, tuple(mine))

    def _ours(self, obj: Object) -> bool:
        label = (metadata(obj).get("labels") or {}).get(INSTANCE_ID, "")
        return bool(label == self._instance_id) or obj.get("kind") == "ChaosSwitch"

    async def _evident(self) -> set[str]:
        """The keys of all messages that the present states give rise to; asked when the record is tidied."""
        keys: set[str] = set()
        async for obj in self._all():
            decided = due(occurrences(obj), self._seen(obj), self._config, self._clock.now())
            keys |= {one.key for one in decided.messages}
        return keys

    def _forget_told(self, new: Object | None) -> None:
        """Somebody (we, or the leader while we stand by) has told these, or has begun to tell later than we thought."""
        self._record.seen()
        if new is None and self._running and self._config.services:
            self._record.begin()  # somebody has deleted it: better nothing of the past than all of it again
        since = self._record.since
        for key, waiting in list(self._pending.items()):
            if key in self._record or (since is not None and waiting.due.at < since):
                self._pending.pop(key, None)

    # --- sending ----------------------------------------------------------------------------------

    def _start(self, destination: Destination) -> None:
        if self._running and destination not in self._lanes:
            lane = asyncio.create_task(self._drain(destination), name=f"notify {destination}")
            self._lanes[destination] = lane

    async def _drain(self, destination: Destination) -> None:
        """Send to one recipient, one message after the other, while there are any."""
        queue = self._queues[destination]
        try:
            while queue and self._running:
                waiting = self._pending.get(queue[0])
                if waiting is not None and queue[0] not in self._record:
                    with structlog.contextvars.bound_contextvars(notify=str(destination)):
                        await self._safely(waiting)
                self._pending.pop(queue.popleft(), None)
        finally:
            self._lanes.pop(destination, None)
            if not queue:
                self._queues.pop(destination, None)

    async def _safely(self, waiting: _Waiting) -> None:
        """A defect of ours in one message must not keep the next from being sent."""
        try:
            await self._until_over(waiting)
        except Exception:
            log.exception("a notification failed", notification=waiting.due.key)
            self._give_up(waiting, Refused("a defect of the controller; its log says more"))

    async def _until_over(self, waiting: _Waiting) -> None:
        """Try until it is sent, refused for good, or tried often enough; then record it."""
        one = waiting.due
        for attempt in range(1, ATTEMPTS + 1):
            while not self._leading():
                await self._clock.sleep(DOUBT_SECONDS)
            answer = await self._try(waiting)
            if isinstance(answer, Sent):
                self._backoff.forget(one.key)
                return
            if not answer.again or attempt == ATTEMPTS:
                self._backoff.forget(one.key)
                self._give_up(waiting, answer)
                return
            log.info("a notification will be tried again", error=answer.why, attempt=attempt)
            await self._clock.sleep(max(answer.after or 0.0, self._backoff.next(one.key)))

    async def _try(self, waiting: _Waiting) -> Answer:
        """Send once and, when it has arrived, note it in the record."""
        one, started = waiting.due, self._clock.monotonic()
        service = self._config.services.get(one.destination.service)
        if service is None:
            return Refused(f"there is no notification service {one.destination.service} any more")
        names = references(service.options)
        try:
            everything = await self._secrets.all(names)
        except ApiError as error:
            return self._counted(
                one, started, Refused(f"the Secret {SECRET_NAME} cannot be read: {error}", again=True)
            )
        try:
            secrets = {name: everything[name] for name in sorted(names)}
            note = note_of(one, waiting.seen, self._config, everything)
            kind = TYPES[service.type]
            change = self._incident(note, one) if kind.incidents else {}
            if change is None:
                self._leave(one.key)
                return Sent()
            place = record.thread(note.group, str(one.destination)) if kind.threads else ""
            joined = record.thread_of(self._record.get(place)) if place else ""
            post = kind.post(note, reveal(service.options, secrets), one.destination.recipient, joined)
        except (TemplateError, Unusable) as error:
            return self._counted(one, started, Refused(scrubbed(str(error), everything.values())))
        except KeyError as error:
            why = f"the Secret {SECRET_NAME} has no {error.args[0]!r}"
            return self._counted(one, started, Refused(why, again=True))
        async with self._slots.setdefault(service.name, asyncio.Semaphore(AT_ONCE)):
            answer = await send(post, kind, self._fetch, everything.values())
        if isinstance(answer, Sent):
            change |= record.told(one.key, self._clock.now())
            if place and answer.thread and not joined:
                change[place] = f"{timestamp(self._clock.now())} {answer.thread}"
            self._record.write(change)
        return self._counted(one, started, answer)

    def _incident(self, note: Note, one: Due) -> record.Change | None:
        """What sending does to the record of open incidents; None when there is nothing to resolve."""
        action = action_of(note)
        place = record.incident(dedup_key(note), str(one.destination))
        is_open = bool(self._record.get(place))
        if action == "trigger":
            return {place: timestamp(self._clock.now())}
        if action in {"resolve", "acknowledge"} and not is_open:
            return None
        return {place: None} if action == "resolve" else {}

    def _counted(self, one: Due, started: float, answer: Answer) -> Answer:
        seconds = self._clock.monotonic() - started
        self.metrics.tried(one.destination.service, one.trigger, seconds, good=isinstance(answer, Sent))
        if isinstance(answer, Sent):
            log.info("notified", trigger=one.trigger, notification=one.key)
        return answer

    def _give_up(self, waiting: _Waiting, answer: Refused) -> None:
        one = waiting.due
        said = f"{one.trigger} could not be sent to {one.destination}: {answer.why}"
        log.warning("a notification was given up", error=said, notification=one.key)
        self._record.write(record.told(one.key, self._clock.now(), "failed"))
        self.metrics.given_up(one.destination.service, one.trigger)
        if self._recorder is not None:
            self._recorder.emit(dict(waiting.seen.object), "Warning", "NotificationFailed", said)

    def _leave(self, key: str) -> None:
        """Nothing was open that this message would have closed. It is not asked again; the record need not know."""
        self._idle_keys[key] = None
        if len(self._idle_keys) > REMEMBERED:
            del self._idle_keys[next(iter(self._idle_keys))]

    def _drop(self, key: str) -> None:
        waiting = self._pending.pop(key)
        self.metrics.given_up(waiting.due.destination.service, waiting.due.trigger)
        log.warning("too many notifications wait; the oldest was dropped", to=str(waiting.due.destination))

    # --- saying things once -----------------------------------------------------------------------

    def _say(self, about: Object | None, reason: str, text: str) -> None:
        """A complaint of the leader about configuration: once per object and text, not at each look."""
        if not self._running:
            return
        key = f"{metadata(about or {}).get('uid')} {text}"
        if key in self._said:
            return
        self._said[key] = None
        if len(self._said) > REMEMBERED:
            del self._said[next(iter(self._said))]
        log.warning("notifications", object=str(key_of(about or {})), problem=text)
        if self._recorder is not None and about is not None:
            self._recorder.emit(dict(about), "Warning", reason, text)


def _lacking(verb: str, resource: Resource) -> str:
    return (
        f"notifications wait: the controller may not {verb} {resource} by name; the Role 'notifications' grants it, "
        "of notifications.enabled (docs/install.md, Rights)"
    )


def _annotations(obj: Object) -> Mapping[str, Any]:
    return {
        name: value
        for name, value in (metadata(obj).get("annotations") or {}).items()
        if name.startswith(PREFIX)
    }
