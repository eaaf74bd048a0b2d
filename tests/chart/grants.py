"""Roles as sets of what they allow, the requests of our code in the same words, and a `Kube` that obeys them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import aclosing, nullcontext
from typing import Any, NamedTuple

from rollout.api.resources import LEASES, PODS, Resource
from rollout.errors import Forbidden
from rollout.runtime.kube import Kube, ListPage, Object, WatchEvent
from rollout.runtime.wrap import Change, T, WrappedKube

VERBS = {"replace": "update"}
"""RBAC's words for our own, where they differ."""


class Grant(NamedTuple):
    """One verb on one resource (`pods/log`) of one group."""

    verb: str
    group: str
    resource: str

    def __str__(self) -> str:
        return f"{self.verb} {self.resource}{f'.{self.group}' if self.group else ''}"

    @classmethod
    def read(cls, text: str) -> Grant:
        """From `str(grant)`."""
        verb, _, rest = text.partition(" ")
        resource, _, group = rest.partition(".")
        return cls(verb, group, resource)


def grants(rules: Iterable[Mapping[str, Any]]) -> set[Grant]:
    """Everything that the rules of a role allow. (resourceNames are left out of account.)"""
    return {
        Grant(verb, group, resource)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


class ObedientKube(WrappedKube):
    """Lets through what is granted, and notes what was asked. What is not granted is Forbidden, as a server says it."""

    def __init__(self, kube: Kube, granted: set[Grant], note: Callable[[Grant], None]) -> None:
        super().__init__(kube)
        self._granted = granted
        self._note = note

    def _ask(self, verb: str, resource: Resource, subresource: str = "") -> None:
        plural = f"{resource.plural}/{subresource}" if subresource else resource.plural
        grant = Grant(VERBS.get(verb, verb), resource.group, plural)
        self._note(grant)
        if grant not in self._granted and resource is not LEASES:
            raise Forbidden(f'User "system:serviceaccount:surefoot" cannot {grant}')

    # The wrapper's hook for changes does not tell the subresource, so each call says it here.

    async def _change(self, change: Change, sent: Awaitable[T]) -> T:
        return await sent

    async def get(
        self, resource: Resource, namespace: str | None, name: str, *, subresource: str = ""
    ) -> Object:
        self._ask("get", resource, subresource)
        return await super().get(resource, namespace, name, subresource=subresource)

    async def list(self, resource: Resource, namespace: str | None = None, **how: Any) -> ListPage:
        self._ask("list", resource)
        return await super().list(resource, namespace, **how)

    async def watch(
        self, resource: Resource, namespace: str | None = None, **how: Any
    ) -> AsyncIterator[WatchEvent]:
        self._ask("watch", resource)
        events = super().watch(resource, namespace, **how)
        async with aclosing(events) if isinstance(events, AsyncGenerator) else nullcontext():
            async for event in events:
                yield event

    async def create(self, resource: Resource, namespace: str | None, obj: Object, **how: Any) -> Object:
        self._ask("create", resource)
        return await super().create(resource, namespace, obj, **how)

    async def replace(
        self, resource: Resource, namespace: str | None, name: str, obj: Object, *, subresource: str = ""
    ) -> Object:
        self._ask("replace", resource, subresource)
        return await super().replace(resource, namespace, name, obj, subresource=subresource)

    async def patch(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        patch: Any,
        *,
        subresource: str = "",
        **how: Any,
    ) -> Object:
        self._ask("patch", resource, subresource)
        return await super().patch(resource, namespace, name, patch, subresource=subresource, **how)

    async def delete(self, resource: Resource, namespace: str | None, name: str, **how: Any) -> None:
        self._ask("delete", resource)
        await super().delete(resource, namespace, name, **how)

    async def evict(self, namespace: str, name: str, **how: Any) -> None:
        self._ask("create", PODS, "eviction")
        await super().evict(namespace, name, **how)

    async def log(self, namespace: str, name: str, **how: Any) -> str:
        self._ask("get", PODS, "log")
        return await super().log(namespace, name, **how)
