"""The objects of one resource in memory, with indexes. Read by anyone, written by its informer only.

Objects are the plain dicts that came over the wire: shared and read-only. Reads never wait.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from rollout.api.meta import Key, key_of, metadata
from rollout.api.resources import Resource
from rollout.runtime.kube import Object

Index = Callable[[Object], Iterable[str]]
"""The values under which an object is found in a named index."""

Change = tuple[Object | None, Object | None]
"""(before, after): (None, new) appeared, (old, new) changed, (old, None) vanished."""

Objects = list[Object]
Changes = list[Change]

Scope = str | None
"""What one list+watch covers: a namespace, or None for all (and for cluster-scoped resources)."""


def by_namespace(obj: Object) -> Iterable[str]:
    return (metadata(obj).get("namespace") or "",)


def by_owner(obj: Object) -> Iterable[str]:
    """The uids of the object's owners."""
    return [str(ref.get("uid")) for ref in metadata(obj).get("ownerReferences") or ()]


def version_of(obj: Object) -> int:
    """The resourceVersion as a number (comparable within one resource since KEP-5504); -1 if it is none."""
    text = str(metadata(obj).get("resourceVersion") or "")
    return int(text) if text.isdecimal() else -1


class _Table:
    """Objects by key, and keys by index value. Cheap to build anew, so that a relist can be swapped in whole."""

    def __init__(self, indexes: Mapping[str, Index]) -> None:
        self.indexes = indexes
        self.objects: dict[Key, Object] = {}
        self.found: dict[str, dict[str, dict[Key, Object]]] = {name: {} for name in indexes}

    def put(self, key: Key, obj: Object) -> None:
        self.drop(key)
        self.objects[key] = obj
        for name, index in self.indexes.items():
            for value in index(obj):
                self.found[name].setdefault(value, {})[key] = obj

    def drop(self, key: Key) -> None:
        old = self.objects.pop(key, None)
        if old is None:
            return
        for name, index in self.indexes.items():
            for value in index(old):
                bucket = self.found[name].get(value)
                if bucket is not None:
                    bucket.pop(key, None)
                    if not bucket:
                        del self.found[name][value]


class Store:
    """The cache of one resource. Indexes "namespace" and "owner" are always there."""

    def __init__(self, resource: Resource, indexes: Mapping[str, Index] | None = None) -> None:
        self.resource = resource
        self._indexes = {"namespace": by_namespace, "owner": by_owner, **(indexes or {})}
        self._table = _Table(self._indexes)
        self._versions: dict[Scope, int] = {}

    # --- reading ----------------------------------------------------------------------------------

    def get(self, key: Key) -> Object | None:
        return self._table.objects.get(key)

    def list(self, namespace: str | None = None) -> Objects:
        """All objects, or those of one namespace."""
        return list(self._table.objects.values()) if namespace is None else self.by("namespace", namespace)

    def by(self, index: str, value: str) -> Objects:
        """The objects that the named index finds under `value`. KeyError for an index that was not declared."""
        return list(self._table.found[index].get(value, {}).values())

    def owned_by(self, uid: str) -> Objects:
        """The objects that have an ownerReference to this uid."""
        return self.by("owner", uid)

    def snapshot(self) -> Mapping[Key, Object]:
        """All objects by key, as they are now: later changes do not show in it."""
        return dict(self._table.objects)

    def keys(self) -> Sequence[Key]:
        return list(self._table.objects)

    def __len__(self) -> int:
        return len(self._table.objects)

    def __iter__(self) -> Iterator[Object]:
        return iter(self.list())

    def reached(self, namespace: str) -> int:
        """The highest resourceVersion seen by the watch that covers `namespace`; -1 if none does.

        All changes of that resource up to this version are in the store.
        """
        version = self._versions.get(namespace)
        return version if version is not None else self._versions.get(None, -1)

    # --- writing (informers) ----------------------------------------------------------------------

    def apply(self, obj: Object, scope: Scope = None) -> Change | None:
        """Take an object as seen by a watch; None if it is older than what is here."""
        key, version = key_of(obj), version_of(obj)
        old = self._table.objects.get(key)
        self.reach(version, scope)
        if old is not None and 0 <= version < version_of(old):
            return None
        self._table.put(key, obj)
        return old, obj

    def delete(self, obj: Object, scope: Scope = None) -> Change | None:
        """Forget an object that a watch saw deleted; None if it was not here (or was made anew since)."""
        key, version = key_of(obj), version_of(obj)
        old = self._table.objects.get(key)
        self.reach(version, scope)
        if old is None or 0 <= version < version_of(old):
            return None
        self._table.drop(key)
        return old, None

    def replace(self, objects: Iterable[Object], version: int, scope: Scope = None) -> Changes:
        """Swap in the whole list of a scope at once; the changes against what was here, deletions first."""
        before = self._table
        after = _Table(self._indexes)
        for key, obj in before.objects.items():
            if scope is not None and key.namespace != scope:
                after.put(key, obj)
        kept = set(after.objects)
        for obj in objects:
            after.put(key_of(obj), obj)
        self._table = after
        self._versions[scope] = version
        gone: Changes = []
        come: Changes = []
        for key, old in before.objects.items():
            new = after.objects.get(key)
            if new is None or metadata(new).get("uid") != metadata(old).get("uid"):
                gone.append((old, None))
        for key, new in after.objects.items():
            if key in kept:
                continue
            earlier = before.objects.get(key)
            if earlier is None or metadata(new).get("uid") != metadata(earlier).get("uid"):
                come.append((None, new))
            elif metadata(new).get("resourceVersion") != metadata(earlier).get("resourceVersion"):
                come.append((earlier, new))
        return gone + come

    def reach(self, version: int, scope: Scope = None) -> None:
        """Note that the watch of a scope has come to `version`."""
        if version > self._versions.get(scope, -1):
            self._versions[scope] = version
