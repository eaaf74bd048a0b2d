"""What is stored and what is served: all tables, the version counter, and the one place where a write happens."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, Protocol

import msgspec

from rollout.api.resources import CRDS, Resource
from rollout.sandbox.schema import structural
from rollout.sandbox.storage import crds, refusals
from rollout.sandbox.storage.registry import Served, builtins
from rollout.sandbox.storage.table import Change, Table
from rollout.sandbox.storage.watch import with_version

Object = dict[str, Any]
ChangeType = Literal["ADDED", "MODIFIED", "DELETED"]
OnWrite = Callable[[ChangeType, Resource, Object | None, Object | None], None]


class Place(msgspec.Struct, frozen=True, order=True):
    """Where an object is kept, whatever version it is asked for at."""

    group: str
    plural: str
    namespace: str
    name: str

    @property
    def bucket(self) -> tuple[str, str]:
        return self.group, self.plural


class Journal(Protocol):
    """Durable memory: what `append` has returned from survives the process."""

    def append(self, writes: Sequence[tuple[int, Place, Object | None]]) -> None:
        """Keep these writes, all or none: the object as it is from a version on, or None when it is gone."""
        ...


class Kept(msgspec.Struct, frozen=True):
    """What a journal gives back at the start: every object, and the newest version ever written."""

    version: int
    objects: tuple[tuple[Place, Object], ...]


class State:
    """Tables by (group, plural), and the served versions that show them."""

    def __init__(self, *, history: int, journal: Journal | None = None) -> None:
        self.version = 0
        self._history = history
        self._journal = journal
        self._served: dict[tuple[str, str, str], Served] = {}
        self._tables: dict[tuple[str, str], Table] = {}
        self._callbacks: list[OnWrite] = []
        for served in builtins():
            self._add_served(served)
            self._tables[served.bucket] = Table(served.resource, history)

    def restore(self, kept: Kept) -> None:
        """Take over what a journal kept; definitions of resources first, so that their objects have a table."""
        self.version = kept.version
        for place, obj in sorted(kept.objects, key=lambda item: item[0].bucket != _CRD_BUCKET):
            if place.bucket == _CRD_BUCKET:
                self._register(None, obj)
            self._tables[place.bucket].load(place.namespace, place.name, obj)
        for crd in list(self._tables[_CRD_BUCKET].objects(None)):
            self._complete(crd)
        for table in self._tables.values():
            table.floor = kept.version

    def resources(self) -> tuple[Served, ...]:
        return tuple(self._served.values())

    def served(self, group: str, version: str, plural: str) -> Served | None:
        return self._served.get((group, version, plural))

    def serving(self, resource: Resource) -> Served:
        """The entry of a resource at its version. NotFound when it is not served."""
        served = self._served.get((resource.group, resource.version, resource.plural))
        if served is None:
            raise refusals.not_served()
        return served

    def table(self, bucket: tuple[str, str]) -> Table:
        return self._tables[bucket]

    def get(self, place: Place) -> Object | None:
        table = self._tables.get(place.bucket)
        return table.get(place.namespace, place.name) if table is not None else None

    def find(self, served: Served, namespace: str | None, name: str) -> Object:
        """The object as it is stored. NotFound when there is none."""
        obj = self._tables[served.bucket].get(space_of(served, namespace), name)
        if obj is None:
            raise refusals.not_found(served.resource, name)
        return obj

    def holds(self, served: Served, namespace: str | None, name: str) -> bool:
        return self._tables[served.bucket].get(space_of(served, namespace), name) is not None

    def places(self, group: str, plural: str) -> Iterator[Place]:
        """Where the objects of one resource are."""
        table = self._tables.get((group, plural))
        for namespace, name in table.keys(None) if table is not None else ():
            yield Place(group, plural, namespace, name)

    def contents(self, namespace: str) -> Iterator[Place]:
        """Where everything in a namespace is."""
        for (group, plural), table in tuple(self._tables.items()):
            for _, name in table.keys(namespace):
                yield Place(group, plural, namespace, name)

    def all_objects(self) -> Iterator[tuple[tuple[str, str], Object]]:
        """(bucket, object) of everything."""
        for bucket, table in self._tables.items():
            for obj in table.objects(None):
                yield bucket, obj

    def on_write(self, callback: OnWrite) -> Callable[[], None]:
        self._callbacks.append(callback)
        return lambda: self._callbacks.remove(callback)

    def commit(self, bucket: tuple[str, str], old: Object | None, new: Object | None) -> Object:
        """Make one write happen: `old` is replaced by `new` (None: nothing). Returns it as stored."""
        batch = Batch(self)
        stored = batch.write(bucket, old, new)
        batch.commit()
        return stored

    def publish(self, writes: Sequence[Write]) -> None:
        """Make these writes happen, in order and together.

        First to the journal, so that nobody sees what a crash could still undo.
        """
        if self._journal is not None:
            self._journal.append([(write.version, write.place, write.kept) for write in writes])
        for write in writes:
            bucket, old, kept = write.place.bucket, write.old, write.kept
            table = self._tables[bucket]
            self.version = write.version
            if bucket == _CRD_BUCKET:
                self._register(old, kept)
            type: ChangeType = "ADDED" if old is None else "MODIFIED" if kept is not None else "DELETED"
            table.commit(
                Change(write.version, write.place.namespace, write.place.name, type, write.stored, old)
            )
            for callback in tuple(self._callbacks):
                callback(type, table.resource, old, kept)

    def _add_served(self, served: Served) -> None:
        resource = served.resource
        self._served[resource.group, resource.version, resource.plural] = served

    def _register(self, old: Object | None, new: Object | None) -> None:
        """Serve what a CustomResourceDefinition says from this moment on, or no longer."""
        for served in crds.served_versions(old) if old is not None else ():
            resource = served.resource
            self._served.pop((resource.group, resource.version, resource.plural), None)
        if new is None:
            assert old is not None
            self._tables.pop(crds.bucket(old)).drop()
            return
        for served in crds.served_versions(new):
            self._add_served(served)
        resource = crds.storage_resource(new)
        if (table := self._tables.get(crds.bucket(new))) is None:
            table = self._tables[crds.bucket(new)] = Table(resource, self._history)
            table.floor = self.version
        table.resource = resource
        if old is not None and crds.storage_schema(old) != crds.storage_schema(new):
            self._complete(new)

    def _complete(self, crd: Object) -> None:
        """Fill in the defaults that stored objects of this definition do not have yet: reading shows them."""
        schema = crds.storage_schema(crd)
        self._tables[crds.bucket(crd)].revise(lambda obj: structural.default(obj, schema))


class Write(msgspec.Struct, frozen=True):
    """One write: `stored` replaces `old`, or (`gone`) is what watchers see of it at last."""

    version: int
    place: Place
    stored: Object
    old: Object | None
    gone: bool

    @property
    def kept(self) -> Object | None:
        return None if self.gone else self.stored


class Batch:
    """Writes that happen together when `commit` is called; until then nothing has happened."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._writes: list[Write] = []

    def write(self, bucket: tuple[str, str], old: Object | None, new: Object | None) -> Object:
        """`old` will be replaced by `new` (None: nothing). Returns it as it will be stored."""
        subject = new if new is not None else old
        assert subject is not None
        version = self._state.version + len(self._writes) + 1
        stored = with_version(subject, version)
        api_version = self._state.table(bucket).resource.api_version
        if stored["apiVersion"] != api_version:
            stored["apiVersion"] = api_version
        meta = stored["metadata"]
        place = Place(*bucket, meta.get("namespace", ""), meta["name"])
        self._writes.append(Write(version, place, stored, old, new is None))
        return stored

    def commit(self) -> None:
        if self._writes:
            self._state.publish(self._writes)
            self._writes = []


_CRD_BUCKET = (CRDS.group, CRDS.plural)


def space_of(served: Served, namespace: str | None) -> str:
    return (namespace or "") if served.resource.namespaced else ""
