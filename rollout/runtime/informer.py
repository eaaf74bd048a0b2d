"""An informer: keeps a `Store` equal to the server's objects, and tells handlers what changed.

A thin asyncio driver around `watch.Reflector`. It never gives up: errors are logged, counted and backed off from
with jitter. Handlers get (old, new) only to enqueue keys; what to do is decided later, from the store.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from typing import Literal

import structlog

from rollout.api.features import lacking
from rollout.api.meta import metadata
from rollout.api.resources import Resource
from rollout.errors import ApiError, Forbidden, NotFound, Throttled, Unavailable
from rollout.runtime.clock import Clock
from rollout.runtime.kube import Kube, Object
from rollout.runtime.queue import Backoff
from rollout.runtime.store import Change, Index, Scope, Store
from rollout.runtime.watch import Applied, AskPage, AskWatch, Deleted, Reached, Reflector, Replaced, Seen

log = structlog.get_logger()

Handler = Callable[[Object | None, Object | None], None]
State = Literal["followed", "waiting", "not served", "not granted", "left out"]
"""How an informer stands. "not granted": the server forbids the list or watch, whether we can do without it or not."""

WATCH_SECONDS = (300, 600)
"""The server is asked to end each watch after a time drawn from this range, so that they do not all end at once."""
RETRY_BASE, RETRY_CAP = 0.8, 30.0
ABSENT_SECONDS = 30.0
"""How often to look for a resource that the server does not have (its CRD is not installed yet), or does not grant."""


def strip(obj: Object) -> Object:
    """The object without managedFields, which are a third of its size and which nobody here reads."""
    meta = obj.get("metadata")
    if not meta or "managedFields" not in meta:
        return obj
    return {**obj, "metadata": {name: value for name, value in meta.items() if name != "managedFields"}}


class Informer:
    """List+watch of one resource in some namespaces (default, and for cluster-scoped ones always: all) into `store`.

    `optional`: a resource that the server does not know counts as an empty list until it appears (CRDs that are
    installed later). `forgo`: so does one that we may not list or watch, until that is granted; but what was seen before
    a right was taken away is kept, for nothing says that it is gone. Otherwise `synced` stays False and `problem` says
    why. `left_out` is why a resource is not asked for at all: it counts as an empty list at once. `lacking` says, of a verb
    and the resource, who would grant what is refused.
    """

    def __init__(
        self,
        kube: Kube,
        resource: Resource,
        *,
        clock: Clock,
        namespaces: Sequence[str] = (),
        labels: str = "",
        fields: str = "",
        indexes: Mapping[str, Index] | None = None,
        optional: bool = False,
        forgo: bool = False,
        left_out: str = "",
        streaming: bool = True,
        transform: Callable[[Object], Object] = strip,
        lacking: Callable[[str, Resource], str] = lacking,
    ) -> None:
        self.store = Store(resource, indexes)
        self.resource = resource
        self.relists = 0
        """How often a whole list was swapped in; for metrics and tests."""
        self.errors = 0
        self._kube = kube
        self._clock = clock
        self._scopes: tuple[Scope, ...] = (tuple(namespaces) if resource.namespaced else ()) or (None,)
        self._labels = labels
        self._fields = fields
        self._optional = optional
        self._forgo = forgo
        self._left_out = left_out
        self._streaming = streaming
        self._transform = transform
        self._lacking = lacking
        self._handlers: list[Handler] = []
        self._synced: set[Scope] = set()
        self._all_synced = asyncio.Event()
        self._absent: set[Scope] = set()
        self._refused: dict[Scope, str] = {}
        self._problems: dict[Scope, str] = {}
        self._heard: dict[Scope, float] = {}

    def on_change(self, handler: Handler) -> None:
        """Have `handler(old, new)` called after each change of the store, and now for what is already there."""
        self._handlers.append(handler)
        for obj in self.store.list():
            self._call(handler, None, obj)

    def synced(self) -> bool:
        """Whether the store has been filled once; from then on it is never empty by accident."""
        return self._all_synced.is_set()

    async def wait_synced(self) -> None:
        await self._all_synced.wait()

    @property
    def served(self) -> bool:
        """Whether the server knows the resource and lets us see it; an `optional` one that it does not counts as empty."""
        return not self._absent and not self._left_out

    @property
    def state(self) -> State:
        """How it stands, for metrics and people."""
        if self._left_out:
            return "left out"
        if self._refused:
            return "not granted"
        if self._absent:
            return "not served"
        return "followed" if self.synced() else "waiting"

    @property
    def lack(self) -> str:
        """Why nothing is seen of the resource, as far as the operator can change it: not granted or left out; or ""."""
        return self._left_out or "; ".join(dict.fromkeys(self._refused.values()))

    @property
    def problem(self) -> str:
        """Why the list or watch does not work at the moment, or ""."""
        return "; ".join(self._problems.values())

    def age(self) -> float:
        """Seconds since the server last said anything (event, bookmark, list) on the quietest watch.

        A healthy server sends a bookmark about once a minute; minutes of silence are a stall.
        """
        now = self._clock.monotonic()
        return max((now - heard for heard in self._heard.values()), default=0.0)

    async def run(self) -> None:
        """Follow the server until cancelled."""
        if self._left_out:
            for scope in self._scopes:
                self._take(Replaced([], "0"), scope)
            return
        async with asyncio.TaskGroup() as group:
            for scope in self._scopes:
                group.create_task(self._follow(scope), name=f"informer {self.resource} {scope or '*'}")

    # --- the driver -------------------------------------------------------------------------------

    async def _follow(self, scope: Scope) -> None:
        reflector = Reflector(streaming=self._streaming)
        backoff: Backoff[str] = Backoff(self._clock, base=RETRY_BASE, cap=RETRY_CAP)
        self._heard[scope] = self._clock.monotonic()
        while True:
            wait = 0.0
            try:
                await self._exchange(reflector, scope)
            except ApiError as error:
                verb = "list" if reflector.state == "paging" else "watch"
                reflector.on_error(error)
                wait = self._failed(scope, reflector, error, verb)
            except Exception as error:
                # Credentials that cannot be read, or a defect of ours: either way the cache must come back.
                log.exception("list or watch failed", resource=str(self.resource), scope=scope or "*")
                reflector.on_error(Unavailable(f"{type(error).__name__}: {error}"))
                self._failed(scope, reflector, Unavailable(str(error)), "watch")
            if reflector.failures:
                await self._clock.sleep(max(wait, backoff.next("")))
            else:
                backoff.forget("")
                # A server that ends every watch at once must not starve the others.
                await asyncio.sleep(0)

    async def _exchange(self, reflector: Reflector, scope: Scope) -> None:
        match reflector.ask():
            case AskPage(continue_token=token, limit=limit):
                page = await self._kube.list(
                    self.resource,
                    scope,
                    labels=self._labels,
                    fields=self._fields,
                    limit=limit,
                    continue_token=token,
                )
                self._hear(scope)
                if replaced := reflector.on_page(page):
                    self._take(replaced, scope)
            case AskWatch(resource_version=version, initial=initial):
                started = self._clock.monotonic()
                events = self._kube.watch(
                    self.resource,
                    scope,
                    labels=self._labels,
                    fields=self._fields,
                    resource_version=version,
                    send_initial_events=initial,
                    timeout_seconds=self._clock.random.randint(*WATCH_SECONDS),
                )
                try:
                    async for event in events:
                        self._hear(scope)
                        if seen := reflector.on_event(event):
                            self._take(seen, scope)
                finally:
                    if isinstance(events, AsyncGenerator):
                        await events.aclose()  # ends the connection now, not when the collector comes by
                reflector.on_end(self._clock.monotonic() - started)

    def _hear(self, scope: Scope) -> None:
        self._heard[scope] = self._clock.monotonic()
        self._problems.pop(scope, None)
        if self._refused.pop(scope, None):
            log.info("granted", resource=str(self.resource), scope=scope or "*")

    def _failed(self, scope: Scope, reflector: Reflector, error: ApiError, verb: str) -> float:
        """Note an error; the least seconds to wait because of it."""
        if reflector.failures == 0:
            return 0.0  # a refused streaming list: paging follows at once
        if isinstance(error, NotFound) and self._optional:
            self._take(Replaced([], "0"), scope)
            self._hear(scope)
            self._absent.add(scope)
            return ABSENT_SECONDS
        if isinstance(error, Forbidden):
            return self._forbidden(scope, error, verb)
        self.errors += 1
        text = f"cannot list or watch {self.resource}: {error}"
        if self._problems.get(scope) != text:
            log.warning("watch failed", resource=str(self.resource), scope=scope or "*", error=str(error))
        self._problems[scope] = text
        return (error.after or 0.0) if isinstance(error, Throttled) else 0.0

    def _forbidden(self, scope: Scope, error: Forbidden, verb: str) -> float:
        """The server does not grant it. Said once; looked at again, so that granting it later needs no restart."""
        self.errors += 1
        unseen = scope not in self._synced or scope in self._absent
        text = f"{self._lacking(verb, self.resource)}: {error}"
        if scope not in self._refused:
            say = log.warning if self._forgo and unseen else log.error
            say("not granted", verb=verb, resource=str(self.resource), scope=scope or "*", error=text)
        self._refused[scope] = text
        if self._forgo and unseen:
            self._take(Replaced([], "0"), scope)
            self._heard[scope] = self._clock.monotonic()
            self._absent.add(scope)
        else:
            self._problems[scope] = text
        return ABSENT_SECONDS

    # --- the store --------------------------------------------------------------------------------

    def _take(self, seen: Seen, scope: Scope) -> None:
        changes: list[Change] = []
        match seen:
            case Replaced(objects=objects, resource_version=version):
                number = int(version) if version.isdecimal() else -1
                changes = self.store.replace(map(self._transform, objects), number, scope)
                self.relists += 1
                self._synced.add(scope)
                self._absent.discard(scope)
            case Applied(object=obj):
                if change := self.store.apply(self._transform(obj), scope):
                    changes = [change]
            case Deleted(object=obj):
                if change := self.store.delete(obj, scope):
                    changes = [change]
            case Reached(resource_version=version):
                self.store.reach(int(version) if version.isdecimal() else -1, scope)
        for old, new in changes:
            for handler in self._handlers:
                self._call(handler, old, new)
        if len(self._synced) == len(self._scopes):
            self._all_synced.set()

    def _call(self, handler: Handler, old: Object | None, new: Object | None) -> None:
        try:
            handler(old, new)
        except Exception:
            meta = metadata(new or old or {})
            log.exception(
                "an event handler failed; the key may be missed until the next resync",
                resource=str(self.resource),
                namespace=meta.get("namespace"),
                name=meta.get("name"),
            )


async def wait_synced(*informers: Informer, freeze: bool = False) -> None:
    """Wait until all caches are filled; with `freeze`, take what they hold out of the garbage collector's rounds.

    Long-lived dicts by the thousand make every full collection slow and are never garbage as a cycle.
    """
    for informer in informers:
        await informer.wait_synced()
    if freeze:
        gc.collect()
        gc.freeze()
