"""A tiny resource server with a history, and faults: what informers and the like are tried against."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

from rollout.api.meta import Key
from rollout.api.resources import Resource
from rollout.errors import ApiError, Expired, Invalid
from rollout.runtime.kube import ListPage, Object, WatchEvent


class FakeKube:
    """One resource. `fault(verb)` may return an error to raise before an answer; "event" asks before each watch event."""

    def __init__(self, *, streams: bool = True) -> None:
        self.version = 100
        self.objects: dict[Key, Object] = {}
        self.history: list[tuple[int, WatchEvent]] = []
        self.compacted = 100
        self.streams = streams
        self.calls: list[str] = []
        self.fault: Callable[[str], ApiError | None] = lambda verb: None
        self.end_watches = asyncio.Event()
        self._changed = asyncio.Event()

    # --- what happens on the server ---------------------------------------------------------------

    def put(self, name: str, namespace: str = "ns", **more: Any) -> Object:
        key = Key(namespace, name)
        self.version += 1
        old = self.objects.get(key)
        uid = old["metadata"]["uid"] if old else f"uid-{self.version}"
        meta = {"name": name, "namespace": namespace, "uid": uid, "resourceVersion": str(self.version)}
        self.objects[key] = {"metadata": meta | more.pop("metadata", {}), **more}
        self._record("MODIFIED" if old else "ADDED", self.objects[key])
        return self.objects[key]

    def remove(self, name: str, namespace: str = "ns") -> None:
        self.version += 1
        old = self.objects.pop(Key(namespace, name))
        self._record("DELETED", old | {"metadata": old["metadata"] | {"resourceVersion": str(self.version)}})

    def compact(self) -> None:
        """Forget the history and break all watches: who was behind must list again."""
        self.compacted = self.version
        self.history = []
        self.break_watches()

    def break_watches(self) -> None:
        self.end_watches.set()
        self.end_watches = asyncio.Event()
        self._wake()

    def bookmark(self) -> None:
        self.version += 1
        self._record("BOOKMARK", {"metadata": {"resourceVersion": str(self.version)}})

    def _record(self, kind: Any, obj: Object) -> None:
        self.history.append((self.version, WatchEvent(kind, obj)))
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    # --- the protocol, as far as informers use it -------------------------------------------------

    def _enter(self, verb: str) -> None:
        self.calls.append(verb)
        if error := self.fault(verb):
            raise error

    async def list(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        limit: int = 0,
        continue_token: str = "",
        **_: Any,
    ) -> ListPage:
        await asyncio.sleep(0.001)
        self._enter(f"list limit={limit} {continue_token}".strip())
        version, _, last = continue_token.partition("/")
        if version and int(version) < self.compacted:
            raise Expired("continue token too old")
        objects = [o for k, o in sorted(self.objects.items()) if namespace in {None, k.namespace}]
        if last:
            objects = [o for o in objects if o["metadata"]["name"] > last]
        page = objects[:limit] if limit else objects
        token = (
            f"{version or self.version}/{page[-1]['metadata']['name']}" if len(objects) > len(page) else ""
        )
        return ListPage(page, version or str(self.version), token)

    async def watch(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        resource_version: str = "",
        send_initial_events: bool = False,
        timeout_seconds: int = 0,
        **_: Any,
    ) -> AsyncIterator[WatchEvent]:
        await asyncio.sleep(0.001)
        self._enter("stream" if send_initial_events else f"watch {resource_version}")
        ended = self.end_watches
        at = self.version
        if send_initial_events:
            if not self.streams:
                raise Invalid("sendInitialEvents is forbidden")
            for key, obj in list(self.objects.items()):
                if namespace in {None, key.namespace}:
                    yield WatchEvent("ADDED", obj)
            note = {"annotations": {"k8s.io/initial-events-end": "true"}, "resourceVersion": str(at)}
            yield WatchEvent("BOOKMARK", {"metadata": note})
        elif int(resource_version) < self.compacted:
            raise Expired("too old resource version")
        else:
            at = int(resource_version)
        deadline = asyncio.get_running_loop().time() + (timeout_seconds or 3600)
        while not ended.is_set():
            changed = self._changed
            for version, event in [e for e in self.history if e[0] > at]:
                if error := self.fault("event"):
                    raise error
                at = version
                where = event.object["metadata"].get("namespace")
                if namespace is None or where is None or where == namespace:
                    yield event
            try:
                async with asyncio.timeout_at(deadline):
                    await changed.wait()
            except TimeoutError:
                return
