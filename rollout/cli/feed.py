"""Objects as they change: a list and a watch per resource, each in a thread of its own, into one queue.

For commands that look on (`get -w`, `status --wait`, `--wait`). A lost connection is made again; only errors that
waiting cannot heal end the feed.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Sequence
from typing import Any, NamedTuple

from rollout.api.meta import metadata
from rollout.api.resources import Resource
from rollout.cli.session import Session
from rollout.errors import Expired, SurefootError, Throttled, Unavailable

Object = dict[str, Any]
RETRY_SECONDS = 1.0


class Source(NamedTuple):
    """What is followed: one resource in the session's namespace, narrowed by selectors."""

    resource: Resource
    labels: str = ""
    fields: str = ""


class _Replaced(NamedTuple):
    resource: Resource
    items: Sequence[Object]


class _Changed(NamedTuple):
    resource: Resource
    gone: bool
    object: Object


class _Trouble(NamedTuple):
    error: SurefootError
    final: bool


class Feed:
    """The current objects of some sources. `wait` blocks until something changed, or `timeout` seconds."""

    def __init__(self, session: Session, sources: Sequence[Source]) -> None:
        self._queue: queue.SimpleQueue[_Replaced | _Changed | _Trouble] = queue.SimpleQueue()
        self._objects: dict[Resource, dict[str, Object]] = {source.resource: {} for source in sources}
        self._unseen = {source.resource for source in sources}
        self._stop = threading.Event()
        self.trouble: SurefootError | None = None
        self._said: SurefootError | None = None
        for source in sources:
            thread = threading.Thread(target=self._follow, args=(session, source), daemon=True)
            thread.start()

    def close(self) -> None:
        """Ask the threads to end; they are daemons, so nobody has to wait for their sockets."""
        self._stop.set()

    @property
    def ready(self) -> bool:
        """Whether every source was listed at least once."""
        return not self._unseen

    def interruption(self) -> str:
        """One line when the connection was lost since the last call, else ""."""
        said, self._said = self._said, self.trouble
        if self.trouble is None or said is not None:
            return ""
        return f"connection lost, trying again: {self.trouble}"

    def objects(self, resource: Resource) -> list[Object]:
        return list(self._objects[resource].values())

    def wait(self, timeout: float) -> bool:
        """Whether something changed within `timeout` seconds. Raises what cannot be healed by waiting."""
        try:
            self._take(self._queue.get(timeout=max(0.0, timeout)))
        except queue.Empty:
            return False
        while not self._queue.empty():
            self._take(self._queue.get())
        return True

    def _take(self, message: _Replaced | _Changed | _Trouble) -> None:
        match message:
            case _Replaced(resource, items):
                self._objects[resource] = {_uid(one): one for one in items}
                self._unseen.discard(resource)
                self.trouble = None
            case _Changed(resource, True, obj):
                self._objects[resource].pop(_uid(obj), None)
            case _Changed(resource, False, obj):
                self._objects[resource][_uid(obj)] = obj
            case _Trouble(error, final):
                if final:
                    raise error
                self.trouble = error

    def _follow(self, session: Session, source: Source) -> None:
        while not self._stop.is_set():
            try:
                with session.client() as kube:
                    self._list_and_watch(kube, session.namespace, source)
            except Expired:
                continue
            except (Unavailable, Throttled) as error:
                self._queue.put(_Trouble(error, final=False))
                self._stop.wait(RETRY_SECONDS)
            except SurefootError as error:
                self._queue.put(_Trouble(error, final=True))
                return

    def _list_and_watch(self, kube: Any, namespace: str, source: Source) -> None:
        page = kube.list(source.resource, namespace, labels=source.labels, fields=source.fields)
        self._queue.put(_Replaced(source.resource, page.items))
        version = page.resource_version
        while not self._stop.is_set():
            events = kube.watch(
                source.resource,
                namespace,
                labels=source.labels,
                fields=source.fields,
                resource_version=version,
            )
            for event in events:
                version = metadata(event.object).get("resourceVersion") or version
                if event.type != "BOOKMARK":
                    self._queue.put(_Changed(source.resource, event.type == "DELETED", event.object))
                if self._stop.is_set():
                    return


def _uid(obj: Object) -> str:
    return str(metadata(obj).get("uid", ""))
