"""A `Kube` around another one: reads are passed on, and subclasses step in at one place for all changes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable
from typing import Any, Literal, TypeVar

import msgspec

from rollout.api.meta import Key, metadata
from rollout.api.resources import PODS, Resource
from rollout.runtime.kube import Kube, ListPage, Object, PatchType, Propagation, WatchEvent

T = TypeVar("T")


class Change(msgspec.Struct, frozen=True):
    """What a call would change. `uid` is the precondition of a deletion, or ""."""

    verb: Literal["create", "replace", "patch", "delete", "evict", "bind"]
    resource: Resource
    key: Key
    uid: str = ""
    dry_run: bool = False

    @property
    def deletes(self) -> bool:
        return self.verb in {"delete", "evict"}


class WrappedKube(ABC):
    """Passes every read on to `kube`; every change goes through `_change`."""

    def __init__(self, kube: Kube) -> None:
        self._kube = kube

    @abstractmethod
    async def _change(self, change: Change, sent: Awaitable[T]) -> T:
        """Carry out `change`: awaiting `sent` does it and gives the server's answer."""

    async def get(
        self, resource: Resource, namespace: str | None, name: str, *, subresource: str = ""
    ) -> Object:
        return await self._kube.get(resource, namespace, name, subresource=subresource)

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
        return await self._kube.list(
            resource,
            namespace,
            labels=labels,
            fields=fields,
            limit=limit,
            continue_token=continue_token,
            resource_version=resource_version,
        )

    def watch(
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
        return self._kube.watch(
            resource,
            namespace,
            labels=labels,
            fields=fields,
            resource_version=resource_version,
            send_initial_events=send_initial_events,
            timeout_seconds=timeout_seconds,
        )

    async def create(
        self, resource: Resource, namespace: str | None, obj: Object, *, dry_run: bool = False
    ) -> Object:
        sent = self._kube.create(resource, namespace, obj, dry_run=dry_run)
        key = Key(namespace or "", str(metadata(obj).get("name") or ""))
        return await self._change(Change("create", resource, key, dry_run=dry_run), sent)

    async def replace(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        obj: Object,
        *,
        subresource: str = "",
    ) -> Object:
        sent = self._kube.replace(resource, namespace, name, obj, subresource=subresource)
        return await self._change(Change("replace", resource, Key(namespace or "", name)), sent)

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
        sent = self._kube.patch(
            resource,
            namespace,
            name,
            patch,
            type=type,
            subresource=subresource,
            force=force,
            dry_run=dry_run,
        )
        change = Change("patch", resource, Key(namespace or "", name), dry_run=dry_run)
        return await self._change(change, sent)

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
        sent = self._kube.delete(
            resource,
            namespace,
            name,
            uid=uid,
            resource_version=resource_version,
            propagation=propagation,
            grace_seconds=grace_seconds,
        )
        await self._change(Change("delete", resource, Key(namespace or "", name), uid), sent)

    async def evict(
        self, namespace: str, name: str, *, uid: str = "", grace_seconds: int | None = None
    ) -> None:
        sent = self._kube.evict(namespace, name, uid=uid, grace_seconds=grace_seconds)
        await self._change(Change("evict", PODS, Key(namespace, name), uid), sent)

    async def bind(self, namespace: str, name: str, node: str) -> None:
        sent = self._kube.bind(namespace, name, node)
        await self._change(Change("bind", PODS, Key(namespace, name)), sent)

    async def log(
        self,
        namespace: str,
        name: str,
        *,
        container: str = "",
        tail: int | None = None,
        limit: int | None = None,
    ) -> str:
        return await self._kube.log(namespace, name, container=container, tail=tail, limit=limit)

    async def close(self) -> None:
        await self._kube.close()
