"""One watch: a position in a table's history and a filter, nothing else.

There is no queue per watcher, so a slow one costs no memory: when the history it has not read yet is
forgotten, it is cut off with Expired, as a client of kube-apiserver would be on its next attempt.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from rollout.runtime.kube import WatchEvent
from rollout.sandbox.storage.refusals import too_old
from rollout.sandbox.storage.selectors import Predicate
from rollout.sandbox.storage.table import Change, Table

Object = dict[str, Any]
INITIAL_EVENTS_END = "k8s.io/initial-events-end"


class Watcher:
    """Events in order, each exactly once. Read with `poll` until None; `wake` is then called at the next change.

    `wake` is called at most once between two reads that return None, from inside the write: it should only
    schedule a later `poll`.
    """

    def __init__(
        self,
        table: Table,
        *,
        api_version: str,
        kind: str,
        namespace: str | None,
        matches: Predicate | None,
        initial: Iterable[Object],
        position: int,
        version: int,
        current_version: Callable[[], int],
        mark_initial_end: bool,
        wake: Callable[[], None] | None,
    ) -> None:
        self._table = table
        self._api_version = api_version
        self._kind = kind
        self._namespace = namespace
        self._matches = matches
        self._position = position
        self._version = version
        self._current_version = current_version
        self._initial = deque(initial)
        self._mark_initial_end = mark_initial_end
        self._wake = wake
        self._waiting = False
        self._closed = False
        table.subscribe(self._changed)

    def poll(self) -> WatchEvent | None:
        """The next event, or None when there is none at the moment. Expired when this watcher was too slow."""
        if self._initial:
            return WatchEvent("ADDED", self._at_version(self._initial.popleft()))
        if self._mark_initial_end:
            self._mark_initial_end = False
            return self._bookmark(self._version, {INITIAL_EVENTS_END: "true"})
        if self._closed:
            return None
        table, end = self._table, self._table.end
        while self._position < end:
            change = table.change_at(self._position)
            if change is None:
                self.close()
                raise too_old(self._version, table.floor)
            self._position += 1
            self._version = change.version
            if (event := self._event(change)) is not None:
                return event
        if table.dropped:
            self.close()
        self._waiting = True
        return None

    def bookmark(self) -> WatchEvent:
        """A BOOKMARK at the newest version up to which this watcher has been told everything."""
        if not self._initial and self._position == self._table.end:
            self._version = max(self._version, self._current_version())
        return self._bookmark(self._version, {})

    def close(self) -> None:
        """Stop; further polls return None. May be called twice."""
        if not self._closed:
            self._closed = True
            self._table.unsubscribe(self._changed)

    @property
    def closed(self) -> bool:
        return self._closed

    def on_wake(self, wake: Callable[[], None] | None) -> None:
        """Set the wake-up callback after construction."""
        self._wake = wake

    def _changed(self) -> None:
        if self._waiting and self._wake is not None:
            self._waiting = False
            self._wake()

    def _event(self, change: Change) -> WatchEvent | None:
        """What this watcher is told of a change: a selector turns it into entering or leaving its set."""
        if self._namespace is not None and change.namespace != self._namespace:
            return None
        matches = self._matches
        if matches is None:
            return WatchEvent(change.type, self._at_version(change.object))
        was = change.old is not None and matches(change.old)
        now = change.type != "DELETED" and matches(change.object)
        if now:
            return WatchEvent("MODIFIED" if was else "ADDED", self._at_version(change.object))
        if not was or change.old is None:
            return None
        gone = change.object if change.type == "DELETED" else with_version(change.old, change.version)
        return WatchEvent("DELETED", self._at_version(gone))

    def _at_version(self, obj: Object) -> Object:
        return obj if obj["apiVersion"] == self._api_version else {**obj, "apiVersion": self._api_version}

    def _bookmark(self, version: int, annotations: dict[str, str]) -> WatchEvent:
        meta: dict[str, Any] = {"resourceVersion": str(version)}
        if annotations:
            meta["annotations"] = annotations
        return WatchEvent("BOOKMARK", {"kind": self._kind, "apiVersion": self._api_version, "metadata": meta})


def with_version(obj: Object, version: int) -> Object:
    """A copy of `obj` that carries resourceVersion `version`."""
    return {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(version)}}
