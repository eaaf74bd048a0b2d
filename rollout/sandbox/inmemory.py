"""`Kube` over the storage, without HTTP: for stories and the simulator.

Every call first yields to the event loop, so that other tasks come in between as they would over a network.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from rollout.api.resources import Resource
from rollout.errors import NotFound
from rollout.runtime.kube import ListPage, Object, PatchType, Propagation, WatchEvent
from rollout.sandbox.storage import DeleteOptions, Options, Storage

LogHook = Callable[[str, str, str, int | None], Awaitable[str]]
BOOKMARK_SECONDS = 60.0


class StorageKube:
    """A client of `storage`. `manager` is its field manager; `user` says who it is (nothing here checks rights).

    `log` answers `log()`: called with namespace, pod, container and tail.
    """

    def __init__(
        self,
        storage: Storage,
        *,
        manager: str = "storage-kube",
        user: str = "system:admin",
        log: LogHook | None = None,
    ) -> None:
        self.storage = storage
        self.manager = manager
        self.user = user
        self._log = log

    async def get(
        self, resource: Resource, namespace: str | None, name: str, *, subresource: str = ""
    ) -> Object:
        await asyncio.sleep(0)
        return self.storage.get(resource, namespace, name, subresource=subresource)

    async def list(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        labels: str = "",
        fields: str = "",
        limit: int = 0,
        continue_token: str = "",
        resource_version: str = "",
    ) -> ListPage:
        await asyncio.sleep(0)
        return self.storage.list(
            resource,
            namespace,
            labels=labels,
            fields=fields,
            limit=limit,
            continue_token=continue_token,
            resource_version=resource_version,
        )

    async def watch(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        labels: str = "",
        fields: str = "",
        resource_version: str = "",
        send_initial_events: bool = False,
        timeout_seconds: int = 0,
    ) -> AsyncIterator[WatchEvent]:
        """As the protocol says; a bookmark comes every minute and before the watch ends by its time-out."""
        await asyncio.sleep(0)
        changed = asyncio.Event()
        watcher = self.storage.watch(
            resource,
            namespace,
            labels=labels,
            fields=fields,
            resource_version=resource_version,
            send_initial_events=send_initial_events,
            wake=changed.set,
        )
        time = asyncio.get_running_loop().time
        end = time() + timeout_seconds if timeout_seconds else float("inf")
        bookmark_at = time() + BOOKMARK_SECONDS
        try:
            while True:
                while (event := watcher.poll()) is not None:
                    yield event
                if watcher.closed:
                    return
                changed.clear()
                try:
                    async with asyncio.timeout_at(min(end, bookmark_at)):
                        await changed.wait()
                except TimeoutError:
                    yield watcher.bookmark()
                    bookmark_at = time() + BOOKMARK_SECONDS
                    if time() >= end:
                        return
        finally:
            watcher.close()

    async def create(
        self, resource: Resource, namespace: str | None, obj: Object, *, dry_run: bool = False
    ) -> Object:
        await asyncio.sleep(0)
        return self.storage.create(
            resource, namespace, obj, options=Options(manager=self.manager, dry_run=dry_run)
        )

    async def replace(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        obj: Object,
        *,
        subresource: str = "",
    ) -> Object:
        await asyncio.sleep(0)
        return self.storage.replace(
            resource, namespace, name, obj, subresource=subresource, options=Options(manager=self.manager)
        )

    async def patch(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        patch: Any,
        *,
        type: PatchType = "merge",
        subresource: str = "",
        force: bool = False,
        dry_run: bool = False,
    ) -> Object:
        await asyncio.sleep(0)
        return self.storage.patch(
            resource,
            namespace,
            name,
            patch,
            type=type,
            subresource=subresource,
            options=Options(manager=self.manager, force=force, dry_run=dry_run),
        )

    async def delete(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        *,
        uid: str = "",
        resource_version: str = "",
        propagation: Propagation = "Background",
        grace_seconds: int | None = None,
    ) -> None:
        await asyncio.sleep(0)
        self.storage.delete(
            resource,
            namespace,
            name,
            options=DeleteOptions(
                uid=uid,
                resource_version=resource_version,
                propagation=propagation,
                grace_seconds=grace_seconds,
            ),
        )

    async def bind(self, namespace: str, name: str, node: str) -> None:
        await asyncio.sleep(0)
        self.storage.bind(namespace, name, node)

    async def evict(
        self, namespace: str, name: str, *, uid: str = "", grace_seconds: int | None = None
    ) -> None:
        await asyncio.sleep(0)
        self.storage.evict(namespace, name, options=DeleteOptions(uid=uid, grace_seconds=grace_seconds))

    async def log(
        self,
        namespace: str,
        name: str,
        *,
        container: str = "",
        tail: int | None = None,
        limit: int | None = None,
    ) -> str:
        await asyncio.sleep(0)
        if self._log is None:
            raise NotFound("the server could not find the requested resource")
        whole = await self._log(namespace, name, container, tail)
        return whole if limit is None else whole.encode()[:limit].decode(errors="replace")

    async def close(self) -> None:
        """Nothing to close: the storage belongs to whoever made it."""
