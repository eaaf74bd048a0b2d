"""The versioned contents of one resource: current objects, and a bounded history to watch and look back in.

Objects are stored once and shared read-only with every reader: a write puts a new dict in place, it never
changes one that has been handed out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Literal

import msgspec

from rollout.api.resources import Resource

Object = dict[str, Any]
ObjectKey = tuple[str, str]
"""(namespace, name); namespace is "" for cluster-scoped objects."""


class Change(msgspec.Struct, frozen=True):
    """One committed write. `object` is what watchers see: for a deletion, the last state at the new version."""

    version: int
    namespace: str
    name: str
    type: Literal["ADDED", "MODIFIED", "DELETED"]
    object: Object
    old: Object | None


class Table:
    """All objects of one resource, at its storage version.

    `history` bounds the changes kept. `floor` is the version of the newest change that was forgotten: what
    happened after any version >= floor is known completely.
    """

    def __init__(self, resource: Resource, history: int) -> None:
        self.resource = resource
        self.floor = 0
        self.dropped = False
        self._spaces: dict[str, dict[str, Object]] = {}
        self._ordered: dict[str, list[str]] = {}
        self._changes: deque[Change] = deque(maxlen=history)
        self._count = 0
        self._wakes: list[Callable[[], None]] = []

    def get(self, namespace: str, name: str) -> Object | None:
        space = self._spaces.get(namespace)
        return space.get(name) if space is not None else None

    def count(self, namespace: str | None) -> int:
        """How many objects one namespace, or all (None), have."""
        if namespace is not None:
            return len(self._spaces.get(namespace, ()))
        return sum(len(space) for space in self._spaces.values())

    def namespaces(self) -> list[str]:
        """Those with objects, sorted."""
        return sorted(namespace for namespace, space in self._spaces.items() if space)

    def keys(self, namespace: str | None) -> list[ObjectKey]:
        """The keys of one namespace, or of all (None), in the order that lists have."""
        spaces = self.namespaces() if namespace is None else [namespace]
        return [(space, name) for space in spaces for name in self._names(space)]

    def objects(self, namespace: str | None) -> Iterator[Object]:
        """The objects of one namespace, or of all (None), in the order that lists have."""
        for space in self.namespaces() if namespace is None else [namespace]:
            objects = self._spaces.get(space, {})
            for name in self._names(space):
                yield objects[name]

    def _names(self, namespace: str) -> list[str]:
        ordered = self._ordered.get(namespace)
        if ordered is None:
            ordered = self._ordered[namespace] = sorted(self._spaces.get(namespace, ()))
        return ordered

    def load(self, namespace: str, name: str, obj: Object) -> None:
        """Put an object from durable state in place, without history."""
        self._put(namespace, name, obj)

    def revise(self, change: Callable[[Object], Object]) -> None:
        """Show the objects as `change` makes them, without a write: no new version, nothing for watchers."""
        for space in self._spaces.values():
            for name, obj in space.items():
                space[name] = change(obj)

    def commit(self, change: Change) -> None:
        if change.type == "DELETED":
            del self._spaces[change.namespace][change.name]
            self._ordered.pop(change.namespace, None)
        else:
            self._put(change.namespace, change.name, change.object)
        if len(self._changes) == self._changes.maxlen:
            self.floor = self._changes[0].version
        self._changes.append(change)
        self._count += 1
        for wake in tuple(self._wakes):
            wake()

    def drop(self) -> None:
        """The resource is served no longer: watches end."""
        self.dropped = True
        for wake in tuple(self._wakes):
            wake()

    def _put(self, namespace: str, name: str, obj: Object) -> None:
        space = self._spaces.setdefault(namespace, {})
        if name not in space:
            self._ordered.pop(namespace, None)
        space[name] = obj

    def snapshot(self, version: int, namespace: str | None) -> dict[ObjectKey, Object]:
        """The objects as they were at `version` (>= floor), in the order that lists have."""
        state: dict[ObjectKey, Object | None] = {}
        for change in reversed(self._changes):
            if change.version <= version:
                break
            if namespace is None or change.namespace == namespace:
                state[change.namespace, change.name] = change.old
        current = {key: self._spaces[key[0]][key[1]] for key in self.keys(namespace)}
        if not state:
            return current
        merged = current | state
        return {key: obj for key in sorted(merged) if (obj := merged[key]) is not None}

    # What watchers need: positions in the sequence of all changes ever made to this table.

    def position_after(self, version: int) -> int:
        """The position of the first change newer than `version` (>= floor)."""
        low, high = 0, len(self._changes)
        while low < high:
            middle = (low + high) // 2
            if self._changes[middle].version <= version:
                low = middle + 1
            else:
                high = middle
        return self._count - len(self._changes) + low

    @property
    def end(self) -> int:
        """The position that the next change will have."""
        return self._count

    def change_at(self, position: int) -> Change | None:
        """The change at `position` (< end), or None when it has been forgotten."""
        index = position - (self._count - len(self._changes))
        return self._changes[index] if index >= 0 else None

    def subscribe(self, wake: Callable[[], None]) -> None:
        self._wakes.append(wake)

    def unsubscribe(self, wake: Callable[[], None]) -> None:
        self._wakes.remove(wake)
