"""Read your own writes: a key is not reconciled again until the caches show what its last reconcile wrote.

Deciding from a cache that is older than our own write is the largest class of controller bugs (things created twice,
pauses skipped). So each write made for a key is remembered by its resourceVersion, each deletion by its uid, and
`ready(key)` says whether the stores have come that far. Creations and changes are seen when the store's watch has
reached their version; deletions when the object is gone, marked as being deleted, or another one.

    fresh = Fresh([replica_sets.store, rollouts.store], clock=clock)
    runner = Runner("rollout", reconcile, ready=fresh.ready, ...)
    ...                                          # inside reconcile(key)
    kube = fresh.kube(key, kube)                 # records whatever is written through it
"""

from __future__ import annotations

from collections.abc import Awaitable, Hashable, Iterable
from typing import TypeVar

import msgspec
import structlog

from rollout.api.meta import Key, key_of, metadata
from rollout.api.resources import Resource
from rollout.errors import NotFound
from rollout.runtime.clock import Clock
from rollout.runtime.kube import Kube, Object
from rollout.runtime.store import Store, version_of
from rollout.runtime.wrap import Change, WrappedKube

log = structlog.get_logger()

T = TypeVar("T")

EXPIRY_SECONDS = 300.0
"""After this the cache is believed again, loudly: a watch that lags so far has been reported as stalled before."""


class _Pending(msgspec.Struct, frozen=True):
    """What the store of an object must show: a version, or (deleted) the absence of a uid."""

    since: float
    uid: str
    version: str = ""
    deleted: bool = False


class Fresh:
    """The barrier of one controller. Writes to resources that no store caches need no waiting and are not kept."""

    def __init__(self, stores: Iterable[Store], *, clock: Clock, expiry: float = EXPIRY_SECONDS) -> None:
        self.expired = 0
        """How often a write was not seen in time; for metrics."""
        self._stores = {store.resource: store for store in stores}
        self._clock = clock
        self._expiry = expiry
        self._pending: dict[Hashable, dict[tuple[Resource, Key], _Pending]] = {}

    def kube(self, key: Hashable, kube: Kube) -> Kube:
        """A client that records what is written through it, on behalf of `key`."""
        return RecordingKube(kube, self, key)

    def wrote(self, key: Hashable, resource: Resource, obj: Object) -> None:
        """`obj` is what the server answered to a create, replace or patch made for `key`."""
        meta = metadata(obj)
        version = str(meta.get("resourceVersion") or "")
        store = self._stores.get(resource)
        if store is None or not version:
            return
        pending = _Pending(self._clock.monotonic(), str(meta.get("uid") or ""), version)
        if not _seen(pending, store, key_of(obj)):
            self._pending.setdefault(key, {})[resource, key_of(obj)] = pending

    def deleted(self, key: Hashable, resource: Resource, target: Key, uid: str = "") -> None:
        """A deletion made for `key` was accepted. Without `uid`, the object that the store has now is meant."""
        store = self._stores.get(resource)
        if store is None:
            return
        uid = uid or str(metadata(store.get(target) or {}).get("uid") or "")
        pending = _Pending(self._clock.monotonic(), uid, deleted=True)
        if not _seen(pending, store, target):
            self._pending.setdefault(key, {})[resource, target] = pending

    def ready(self, key: Hashable) -> bool:
        """Whether the stores show all that was written for `key`."""
        waiting = self._pending.get(key)
        if not waiting:
            return True
        for (resource, target), pending in list(waiting.items()):
            if _seen(pending, self._stores[resource], target) or self._too_old(resource, target, pending):
                del waiting[resource, target]
        if waiting:
            return False
        del self._pending[key]
        return True

    def forget(self, key: Hashable) -> None:
        """`key` is gone: nothing is waited for any more."""
        self._pending.pop(key, None)

    def _too_old(self, resource: Resource, target: Key, pending: _Pending) -> bool:
        age = self._clock.monotonic() - pending.since
        if age < self._expiry:
            return False
        self.expired += 1
        log.error(
            "the cache has not shown our own write; going on without it",
            resource=str(resource),
            object=str(target),
            version=pending.version or "deletion",
            seconds=round(age),
            reached=self._stores[resource].reached(target.namespace),
        )
        return True


def _seen(pending: _Pending, store: Store, target: Key) -> bool:
    obj = store.get(target)
    if pending.deleted:
        meta = metadata(obj or {})
        return obj is None or bool(meta.get("deletionTimestamp")) or meta.get("uid") != pending.uid
    if not pending.version.isdecimal():
        return obj is not None and metadata(obj).get("resourceVersion") == pending.version
    version = int(pending.version)
    return store.reached(target.namespace) >= version or (obj is not None and version_of(obj) >= version)


class RecordingKube(WrappedKube):
    """Records successful writes in a `Fresh`."""

    def __init__(self, kube: Kube, fresh: Fresh, key: Hashable) -> None:
        super().__init__(kube)
        self._fresh = fresh
        self._key = key

    async def _change(self, change: Change, sent: Awaitable[T]) -> T:
        try:
            answer = await sent
        except NotFound:
            if change.deletes:
                # Gone already, but perhaps not in our cache: deciding again from it would find it once more.
                self._fresh.deleted(self._key, change.resource, change.key, change.uid)
            raise
        if change.deletes:
            self._fresh.deleted(self._key, change.resource, change.key, change.uid)
        elif isinstance(answer, dict) and not change.dry_run:
            self._fresh.wrote(self._key, change.resource, answer)
        return answer
