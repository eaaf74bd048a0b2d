"""Carries out what the workload controllers decide: caches, a queue per controller, and the only writes.

A key is decided about again only when the caches show all that was written for it before: what
kube-controller-manager keeps expectations for. So no stale cache makes it create a pod twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

import msgspec

from rollout.api.meta import Key, Object, key_of, metadata
from rollout.api.resources import Resource
from rollout.errors import AlreadyExists, ApiError, Conflict, NotFound
from rollout.runtime.clock import Clock
from rollout.runtime.events import Recorder
from rollout.runtime.fresh import Fresh
from rollout.runtime.informer import Informer
from rollout.runtime.kube import Kube
from rollout.runtime.runner import After, Runner
from rollout.runtime.store import Index, Store
from rollout.sandbox.workloads.decision import (
    SAFE_ALPHABET,
    Action,
    Create,
    Decision,
    Delete,
    Note,
    Patch,
    Suffix,
    controller_of,
)

Caches = Mapping[Resource, Store]


class Pass(msgspec.Struct, frozen=True):
    """What a controller decides from: the caches, the time, names, and why the pass before failed ("" if not)."""

    caches: Caches
    now: datetime
    suffix: Suffix
    failure: str = ""


class Controller(msgspec.Struct, frozen=True):
    """One controller: what it looks after, what wakes it, and how it decides.

    `wakes` maps an object of a watched resource to the keys of `resource` that it concerns.
    """

    name: str
    resource: Resource
    wakes: Mapping[Resource, Callable[[Object, Caches], Iterable[Key]]]
    decide: Callable[[Object, Pass], Decision]


class Driver:
    """Runs one controller. `run` ends when it is cancelled."""

    def __init__(
        self,
        controller: Controller,
        kube: Kube,
        clock: Clock,
        *,
        caches: Caches,
        recorder: Recorder | None,
        workers: int,
    ) -> None:
        self.controller = controller
        self._kube, self._clock, self._caches, self._recorder = kube, clock, caches, recorder
        self._fresh = Fresh(caches.values(), clock=clock)
        self._failures: dict[Key, str] = {}
        self._runner: Runner[Key] = Runner(
            controller.name,
            self._reconcile,
            clock=clock,
            workers=workers,
            keys=caches[controller.resource].keys,
            ready=self._fresh.ready,
        )

    def subscribe(self, informers: Mapping[Resource, Informer]) -> None:
        """Has keys added by changes in the caches."""
        informers[self.controller.resource].on_change(self._own_change)
        for resource, keys_of in self.controller.wakes.items():
            informers[resource].on_change(self._handler(keys_of))

    async def run(self) -> None:
        """Works until cancelled."""
        await self._runner.run()

    def _own_change(self, old: Object | None, new: Object | None) -> None:
        obj = new or old
        if obj is not None:
            self._runner.add(key_of(obj))

    def _handler(
        self, keys_of: Callable[[Object, Caches], Iterable[Key]]
    ) -> Callable[[Object | None, Object | None], None]:
        def changed(old: Object | None, new: Object | None) -> None:
            if old is not None and new is not None and _place(old) == _place(new):
                old = None  # it concerns the same keys as before
            for obj in (old, new):
                if obj is not None:
                    for key in keys_of(obj, self._caches):
                        self._runner.add(key)

        return changed

    async def _reconcile(self, key: Key) -> After | None:
        obj = self._caches[self.controller.resource].get(key)
        if obj is None:
            self._fresh.forget(key)
            self._failures.pop(key, None)
            return None
        now, failure = self._clock.now(), self._failures.get(key, "")
        decision = self.controller.decide(obj, Pass(self._caches, now, self._suffix, failure))
        kube = self._fresh.kube(key, self._kube)
        try:
            for action in decision.actions:
                await self._carry_out(kube, obj, action)
        except (Conflict, NotFound, AlreadyExists):
            raise  # the cache was behind: nothing that anybody has to be told of
        except ApiError as error:
            self._failures[key] = str(error)
            raise
        self._failures.pop(key, None)
        return None if decision.requeue is None else After(decision.requeue)

    def _suffix(self) -> str:
        return "".join(self._clock.random.choices(SAFE_ALPHABET, k=5))

    async def _carry_out(self, kube: Kube, about: Object, action: Action) -> None:
        match action:
            case Note():
                self._say(about, action)
            case Create():
                await self._create(kube, about, action)
            case Patch(resource, namespace, name, patch, subresource, note):
                await kube.patch(resource, namespace, name, patch, subresource=subresource)
                self._say(about, note)
            case Delete():
                await self._delete(kube, about, action)

    async def _create(self, kube: Kube, about: Object, action: Create) -> None:
        try:
            await kube.create(action.resource, metadata(action.obj)["namespace"], dict(action.obj))
        except ApiError as error:
            if not isinstance(error, (Conflict, AlreadyExists)):
                self._say(about, Note(action.failure, f"Error creating: {error}", "Warning"))
            raise
        self._say(about, action.note)

    async def _delete(self, kube: Kube, about: Object, action: Delete) -> None:
        try:
            await kube.delete(
                action.resource,
                action.namespace,
                action.name,
                uid=action.uid,
                propagation=action.propagation,
            )
        except (NotFound, Conflict):
            return  # gone already, or another object of that name
        except ApiError as error:
            self._say(about, Note(action.failure, f"Error deleting: {error}", "Warning"))
            raise
        self._say(about, action.note)

    def _say(self, about: Object, note: Note | None) -> None:
        if note is not None and self._recorder is not None:
            self._recorder.emit(dict(about), note.type, note.reason, note.message)


def _place(obj: Object) -> tuple[Any, Any]:
    """What decides whom an object concerns."""
    meta = metadata(obj)
    return meta.get("labels"), meta.get("ownerReferences")


def by_selector(obj: Object) -> Iterable[str]:
    """Index: one label that a Service asks for, with its namespace; none for a Service without a selector."""
    selector = (obj.get("spec") or {}).get("selector")
    if not selector or obj.get("kind") != "Service":
        return ()
    name = min(selector)
    return (f"{metadata(obj).get('namespace', '')}/{name}={selector[name]}",)


def by_label(obj: Object) -> Iterable[str]:
    """Index: every label of an object, with its namespace."""
    meta = metadata(obj)
    namespace = meta.get("namespace", "")
    return [f"{namespace}/{name}={value}" for name, value in (meta.get("labels") or {}).items()]


def orphans(obj: Object) -> Iterable[str]:
    """Index: the namespace of an object that no controller owns."""
    return (metadata(obj).get("namespace", ""),) if controller_of(obj) is None else ()


INDEXES: Mapping[str, Index] = {"label": by_label, "orphan": orphans, "selector": by_selector}


def select(store: Store, namespace: str, labels: Mapping[str, str]) -> list[Object]:
    """The objects of a namespace that have all `labels` (at least one)."""
    found = [store.by("label", f"{namespace}/{name}={value}") for name, value in labels.items()]
    smallest = min(found, key=len)
    return [obj for obj in smallest if _has(obj, labels)]


def _has(obj: Object, labels: Mapping[str, str]) -> bool:
    have: Mapping[str, Any] = metadata(obj).get("labels") or {}
    return all(have.get(name) == value for name, value in labels.items())
