"""Garbage collection: what must go, or be let go, because of a write that happened before.

Ownership (background, foreground, orphan), namespaces with their contents, CustomResourceDefinitions with their
objects; and what a namespace has from the start. Nothing runs by itself: each write leaves keys to look at, and `Collector.collect` works them off
through ordinary writes. Contract: https://kubernetes.io/docs/concepts/architecture/garbage-collection/.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from rollout.api.resources import CRDS, NAMESPACES, Resource
from rollout.sandbox.storage.admission import DeleteOptions, Options
from rollout.sandbox.storage.crds import CLEANUP
from rollout.sandbox.storage.deletion import FOREGROUND, ORPHAN
from rollout.sandbox.storage.furniture import PLACES, furniture
from rollout.sandbox.storage.metadata import with_meta
from rollout.sandbox.storage.state import Place, State
from rollout.sandbox.storage.writer import CONTROLLER, Writer

Object = dict[str, Any]

_NAMESPACES = (NAMESPACES.group, NAMESPACES.plural)
_CRDS = (CRDS.group, CRDS.plural)
_CONTROLLER = Options(manager=CONTROLLER)


class Collector:
    """Knows who owns what, and which objects deserve a look."""

    def __init__(self, state: State, writer: Writer) -> None:
        self._state = state
        self._writer = writer
        self._places: dict[str, Place] = {}
        self._dependents: dict[str, dict[Place, None]] = {}
        self._pending: dict[Place, None] = {}
        self._authority = ""
        for bucket, obj in state.all_objects():
            self._observe(bucket, None, obj)
        state.on_write(self._written)

    @property
    def has_work(self) -> bool:
        return bool(self._pending)

    def trust(self, authority: str) -> None:
        """Give every namespace this certificate authority (PEM), at the next `collect`."""
        self._authority = authority
        for place in self._state.places(*_NAMESPACES):
            self._pending[place] = None

    def _written(self, _: str, resource: Resource, old: Object | None, new: Object | None) -> None:
        self._observe((resource.group, resource.plural), old, new)

    def _observe(self, bucket: tuple[str, str], old: Object | None, new: Object | None) -> None:
        """Take note of a committed write; `old` None for a new object, `new` None for one that is gone."""
        obj = new if new is not None else old
        assert obj is not None
        meta = obj["metadata"]
        place = Place(*bucket, meta.get("namespace", ""), meta["name"])
        before = _owner_uids(old) if old is not None else set()
        after = _owner_uids(new) if new is not None else set()
        for uid in before - after:
            self._forget(uid, place)
        for uid in after - before:
            self._dependents.setdefault(uid, {})[place] = None
        if new is None:
            self._gone(place, meta, before)
            return
        self._places[meta["uid"]] = place
        born = old is None and (after or bucket == _NAMESPACES)
        if after != before or born or _wants_attention(bucket, meta):
            self._pending[place] = None

    def _gone(self, place: Place, meta: Object, owners: Iterable[str]) -> None:
        self._places.pop(meta["uid"], None)
        self._pending.pop(place, None)
        for dependent in self._dependents.get(meta["uid"], ()):
            self._pending[dependent] = None
        for uid in owners:
            self._look_again(self._places.get(uid))
        if place.namespace:
            home = Place(*_NAMESPACES, "", place.namespace)
            self._look_again(home)
            if (place.group, place.plural, place.name) in PLACES:
                self._pending[home] = None
        self._look_again(Place(*_CRDS, "", f"{place.plural}.{place.group}"))

    def _look_again(self, place: Place | None) -> None:
        """An object that is being deleted may have been waiting for this."""
        if place is not None:
            obj = self._state.get(place)
            if obj is not None and obj["metadata"].get("deletionTimestamp"):
                self._pending[place] = None

    def _forget(self, uid: str, place: Place) -> None:
        dependents = self._dependents.get(uid)
        if dependents is not None:
            dependents.pop(place, None)
            if not dependents:
                del self._dependents[uid]

    def collect(self, limit: int | None = None) -> int:
        """Work off what is pending, at most `limit` objects; returns how many were looked at."""
        looked = 0
        while self._pending and (limit is None or looked < limit):
            place = next(iter(self._pending))
            del self._pending[place]
            looked += 1
            obj = self._state.get(place)
            if obj is not None:
                self._look(place, obj)
        return looked

    def _look(self, place: Place, obj: Object) -> None:
        meta = obj["metadata"]
        finalizers = meta.get("finalizers") or ()
        if meta.get("deletionTimestamp"):
            if place.bucket == _NAMESPACES:
                self._empty_namespace(place, obj)
            elif place.bucket == _CRDS and CLEANUP in finalizers:
                self._empty_crd(place, obj)
            if ORPHAN in finalizers:
                self._orphan(place, obj)
                return
            if FOREGROUND in finalizers:
                self._foreground(place, obj)
                return
        elif place.bucket == _NAMESPACES:
            self._furnish(place.name)
        if meta.get("ownerReferences"):
            self._owned(place, obj)

    def _resource(self, place: Place) -> Resource:
        return self._state.table(place.bucket).resource

    def _amend(self, place: Place, **fields: Any) -> None:
        """Set metadata fields, or remove them where None."""
        obj = self._state.get(place)
        if obj is not None:
            self._writer.amend(self._resource(place), obj, with_meta(obj, **fields))

    def _discard(self, place: Place, options: DeleteOptions) -> None:
        obj = self._state.get(place)
        if obj is not None:
            self._writer.remove(self._resource(place), obj, options)

    def _furnish(self, namespace: str) -> None:
        for resource, wanted in furniture(self._authority):
            found = self._state.get(
                Place(resource.group, resource.plural, namespace, wanted["metadata"]["name"])
            )
            if found is None:
                self._writer.create(self._state.serving(resource), namespace, wanted, _CONTROLLER)
            elif found.get("data") != wanted.get("data"):
                self._writer.amend(resource, found, {**found, "data": wanted["data"]})

    # Owners that are being deleted

    def _orphan(self, place: Place, obj: Object) -> None:
        """Dependents lose their reference to this owner; then it may go."""
        uid = obj["metadata"]["uid"]
        for dependent, child in list(self._children(uid)):
            references = [ref for ref in child["metadata"]["ownerReferences"] if ref["uid"] != uid]
            self._amend(dependent, ownerReferences=references or None)
        self._drop_finalizer(place, ORPHAN)

    def _foreground(self, place: Place, obj: Object) -> None:
        """Dependents go first; the owner waits for those that block it."""
        uid = obj["metadata"]["uid"]
        blocking = False
        for dependent, child in list(self._children(uid)):
            if not child["metadata"].get("deletionTimestamp"):
                self._pending[dependent] = None
            blocking = blocking or _blocks(child, uid)
        if not blocking:
            self._drop_finalizer(place, FOREGROUND)

    def _children(self, uid: str) -> Iterator[tuple[Place, Object]]:
        for place in self._dependents.get(uid, ()):
            child = self._state.get(place)
            if child is not None:
                yield place, child

    def _drop_finalizer(self, place: Place, finalizer: str) -> None:
        obj = self._state.get(place)
        if obj is not None:
            left = [name for name in obj["metadata"].get("finalizers") or () if name != finalizer]
            self._amend(place, finalizers=left or None)

    # Dependents

    def _owned(self, place: Place, obj: Object) -> None:
        """Goes when all owners are gone; foreground when an owner waits for it; loses dangling references."""
        references = obj["metadata"]["ownerReferences"]
        solid: list[Object] = []
        waiting: list[Object] = []
        for reference in references:
            owner = self._owner(place, reference)
            if owner is None:
                continue
            held = FOREGROUND in (owner["metadata"].get("finalizers") or ())
            deleting = bool(owner["metadata"].get("deletionTimestamp")) and held
            (waiting if deleting else solid).append(reference)
        if solid:
            if len(solid) < len(references):
                self._amend(place, ownerReferences=solid)
            return
        if obj["metadata"].get("deletionTimestamp"):
            return
        uid = obj["metadata"]["uid"]
        has_blocking = waiting and any(_blocks(child, uid) for _, child in self._children(uid))
        self._discard(place, DeleteOptions(uid=uid, propagation="Foreground" if has_blocking else None))

    def _owner(self, place: Place, reference: Object) -> Object | None:
        """The owner, where the reference says it is: same namespace or cluster-wide, same uid, kind and name."""
        found = self._places.get(reference["uid"])
        if found is None or found.namespace not in {"", place.namespace}:
            return None
        owner = self._state.get(found)
        if owner is None or (owner["kind"], found.name) != (reference["kind"], reference["name"]):
            return None
        return owner

    # Containers of other objects

    def _empty_namespace(self, place: Place, obj: Object) -> None:
        """Delete the contents; when nothing is left, the namespace's own finalizer goes and it with it."""
        remaining = False
        for content in list(self._state.contents(place.name)):
            child = self._state.get(content)
            if child is None:
                continue
            if not child["metadata"].get("deletionTimestamp"):
                self._discard(content, DeleteOptions(propagation="Background"))
            remaining = remaining or self._state.get(content) is not None
        if not remaining:
            spec = obj.get("spec") or {}
            left = [name for name in spec.get("finalizers") or () if name != "kubernetes"]
            new = {**obj, "spec": {**spec, "finalizers": left}}
            self._writer.amend(self._resource(place), obj, new)

    def _empty_crd(self, place: Place, obj: Object) -> None:
        spec = obj["spec"]
        remaining = False
        for content in list(self._state.places(spec["group"], spec["names"]["plural"])):
            child = self._state.get(content)
            if child is not None and not child["metadata"].get("deletionTimestamp"):
                self._discard(content, DeleteOptions(propagation="Background"))
            remaining = remaining or self._state.get(content) is not None
        if not remaining:
            self._drop_finalizer(place, CLEANUP)


def _owner_uids(obj: Object) -> set[str]:
    return {reference["uid"] for reference in obj["metadata"].get("ownerReferences") or ()}


def _wants_attention(bucket: tuple[str, str], meta: Object) -> bool:
    """Whether this object itself is being deleted and waits for the collector."""
    if not meta.get("deletionTimestamp"):
        return False
    finalizers = meta.get("finalizers") or ()
    return bucket == _NAMESPACES or any(name in finalizers for name in (ORPHAN, FOREGROUND, CLEANUP))


def _blocks(child: Object, uid: str) -> bool:
    return any(
        reference["uid"] == uid and reference.get("blockOwnerDeletion")
        for reference in child["metadata"].get("ownerReferences") or ()
    )
