"""What every part of Surefoot asks of a Kubernetes API: one small protocol on plain dicts.

Two implementations: `rollout.runtime.client.HttpKube` (any real or sandbox API server) and
`rollout.sandbox.inmemory.StorageKube` (the sandbox's storage without HTTP, for stories and the
simulator). Both raise the classes of `rollout.errors`, and return objects that always carry
`apiVersion` and `kind`. Returned objects are shared and read-only: copy before changing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any, Literal, Protocol

import msgspec

from rollout.api.resources import Resource

Object = dict[str, Any]
PatchType = Literal["merge", "json", "strategic", "apply"]
Propagation = Literal["Background", "Foreground", "Orphan"]

PATCH_MEDIA_TYPES: dict[PatchType, str] = {
    "merge": "application/merge-patch+json",
    "json": "application/json-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "apply": "application/apply-patch+yaml",
}


class ListPage(msgspec.Struct, frozen=True):
    """A page of a list: its objects, the list's resourceVersion, and the token of the next page ("" at the end).

    `remaining` is how many objects come after this page, where the server says so.
    """

    items: Sequence[Object]
    resource_version: str
    continue_token: str = ""
    remaining: int | None = None


class WatchEvent(msgspec.Struct, frozen=True):
    """One line of a watch. BOOKMARK's object carries only a resourceVersion (and annotations)."""

    type: Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]
    object: Object


class Kube(Protocol):
    """The Kubernetes API as we use it. `namespace=None` means all namespaces (or cluster scope).

    Every method raises `rollout.errors.ApiError` subclasses. `subresource` is "", "status", "scale", or
    "ephemeralcontainers" (of pods).
    """

    async def get(
        self, resource: Resource, namespace: str | None, name: str, *, subresource: str = ""
    ) -> Object: ...

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
    ) -> ListPage: ...

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
        """Events after `resource_version`, bookmarks asked for. Ends quietly when the server ends it.

        Raises Expired when the version is too old. With `send_initial_events` the current objects come
        first as ADDED, then a BOOKMARK whose annotation `k8s.io/initial-events-end` is "true".
        """
        ...

    async def create(
        self, resource: Resource, namespace: str | None, obj: Object, *, dry_run: bool = False
    ) -> Object: ...

    async def replace(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        obj: Object,
        *,
        subresource: str = "",
    ) -> Object:
        """PUT. `obj.metadata.resourceVersion`, if set, is the precondition."""
        ...

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
        """PATCH. A `metadata.resourceVersion` inside a merge patch is the precondition (409 when stale)."""
        ...

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
    ) -> None: ...

    async def evict(
        self, namespace: str, name: str, *, uid: str = "", grace_seconds: int | None = None
    ) -> None:
        """Evict a pod (policy/v1). Throttled when a disruption budget forbids it at the moment."""
        ...

    async def bind(self, namespace: str, name: str, node: str) -> None:
        """Give an unscheduled pod to a node (pods/binding). Conflict when it has one already."""
        ...

    async def log(
        self,
        namespace: str,
        name: str,
        *,
        container: str = "",
        tail: int | None = None,
        limit: int | None = None,
    ) -> str:
        """What a container has written: the last `tail` lines of it, of these the first `limit` bytes."""
        ...

    async def close(self) -> None: ...
