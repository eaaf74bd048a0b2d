"""The pure semantics of a Kubernetes API server: what every request does to the objects, without a wire.

Synchronous and deterministic: one call is one transaction, time and chance come from the `Clock` given.
Returned objects are shared and read-only. The HTTP server, the stories and the simulator all stand on this class.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from rollout.api.resources import NAMESPACES, Resource
from rollout.runtime.clock import Clock
from rollout.runtime.kube import ListPage, PatchType
from rollout.sandbox.storage import lists, refusals, scale
from rollout.sandbox.storage.admission import (
    DEFAULT_DELETE_OPTIONS,
    DEFAULT_OPTIONS,
    DeleteOptions,
    Options,
)
from rollout.sandbox.storage.expiry import Expiry
from rollout.sandbox.storage.garbage import Collector
from rollout.sandbox.storage.journal import SqliteJournal
from rollout.sandbox.storage.registry import Served
from rollout.sandbox.storage.selectors import Predicate, compile_selector
from rollout.sandbox.storage.state import OnWrite, State
from rollout.sandbox.storage.watch import Watcher
from rollout.sandbox.storage.writer import Deleted, Writer, at_version

Object = dict[str, Any]

INITIAL_NAMESPACES = ("default", "kube-node-lease", "kube-public", "kube-system")
_OWN = Options(manager="kube-apiserver")


class Storage:
    """All objects, and every request on them.

    `history` is the number of changes kept per resource for watches and consistent pages; `service_range` where
    cluster IPs come from. Methods raise the classes of `rollout.errors` in kube-apiserver's words.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        history: int = 4096,
        service_range: str = "10.96.0.0/16",
        journal: SqliteJournal | None = None,
    ) -> None:
        self._journal = journal
        self._state = State(history=history, journal=journal)
        if journal is not None:
            self._state.restore(journal.read())
        self._writer = Writer(self._state, clock, service_range=service_range)
        self._collector = Collector(self._state, self._writer)
        self._expiry = Expiry(self._state, clock)
        for name in INITIAL_NAMESPACES:
            if not self.exists(NAMESPACES, None, name):
                self.create(NAMESPACES, None, {"metadata": {"name": name}}, options=_OWN)

    def close(self) -> None:
        """Let go of the journal's files, if there is one."""
        if self._journal is not None:
            self._journal.close()

    # What is served

    def resources(self) -> tuple[Served, ...]:
        """Everything that is served, built-in kinds first."""
        return self._state.resources()

    def served(self, group: str, version: str, plural: str) -> Served | None:
        """The entry of a resource at one version, or None when it is not served."""
        return self._state.served(group, version, plural)

    @property
    def resource_version(self) -> str:
        """The version of the newest write."""
        return str(self._state.version)

    def on_write(self, callback: OnWrite) -> Callable[[], None]:
        """Call `callback(type, resource, old, new)` after each committed write; returns how to stop that.

        `resource` is at its storage version; `new` is None for DELETED, `old` for ADDED.
        """
        return self._state.on_write(callback)

    # Reading

    def exists(self, resource: Resource, namespace: str | None, name: str) -> bool:
        served = self._state.serving(resource)
        return self._state.holds(served, namespace, name)

    def get(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        *,
        subresource: str = "",
        resource_version: str = "",
    ) -> Object:
        served = self._state.serving(resource)
        if (wanted := lists.parse_version(resource_version)) > self._state.version:
            raise refusals.too_new(wanted, self._state.version)
        served.check_subresource(subresource)
        obj = self._state.find(served, namespace, name)
        return scale.scale_of(served, obj) if subresource == "scale" else at_version(served, obj)

    def list(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        labels: str = "",
        fields: str = "",
        limit: int = 0,
        continue_token: str = "",
        resource_version: str = "",
        resource_version_match: str = "",
    ) -> ListPage:
        served = self._state.serving(resource)
        query = lists.Query(
            namespace=namespace if resource.namespaced else None,
            matches=self._selector(served, labels, fields),
            limit=limit,
            continue_token=continue_token,
            resource_version=resource_version,
            match=resource_version_match,
        )
        page = lists.page(self._state.table(served.bucket), query, self._state.version)
        if served.builtin:
            return page
        return msgspec.structs.replace(page, items=[at_version(served, obj) for obj in page.items])

    def watch(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        labels: str = "",
        fields: str = "",
        resource_version: str = "",
        send_initial_events: bool = False,
        wake: Callable[[], None] | None = None,
    ) -> Watcher:
        """Events after `resource_version`; from "" or "0" the current objects come first as ADDED.

        `send_initial_events`: the current objects first, then a bookmark that says so.
        Expired when the version is older than the history. Close the watcher when done.
        """
        served = self._state.serving(resource)
        table = self._state.table(served.bucket)
        space = namespace if resource.namespaced else None
        matches = self._selector(served, labels, fields)
        version = lists.parse_version(resource_version)
        if version > self._state.version:
            raise refusals.too_new(version, self._state.version)
        initial = send_initial_events or version == 0
        if not initial and version < table.floor:
            raise refusals.too_old(version, table.floor)
        objects = table.objects(space) if initial else ()
        return Watcher(
            table,
            api_version=resource.api_version,
            kind=resource.kind,
            namespace=space,
            matches=matches,
            initial=[obj for obj in objects if matches is None or matches(obj)],
            position=table.end if initial else table.position_after(version),
            version=self._state.version if initial else version,
            current_version=lambda: self._state.version,
            mark_initial_end=send_initial_events,
            wake=wake,
        )

    def _selector(self, served: Served, labels: str, fields: str) -> Predicate | None:
        if not labels and not fields:
            return None
        return compile_selector(
            labels, fields, served.bucket, builtin=served.builtin, selectable=served.selectable
        )

    # Writing

    def create(
        self,
        resource: Resource,
        namespace: str | None,
        obj: Object,
        *,
        options: Options = DEFAULT_OPTIONS,
    ) -> Object:
        """POST. A missing name is made from `metadata.generateName`."""
        served = self._state.serving(resource)
        return at_version(served, self._writer.create(served, namespace, obj, options))

    def replace(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        obj: Object,
        *,
        subresource: str = "",
        options: Options = DEFAULT_OPTIONS,
    ) -> Object:
        """PUT. A resourceVersion or uid in the object is a precondition; custom resources must have the first."""
        served = self._state.serving(resource)
        return self._writer.replace(served, namespace, name, obj, subresource=subresource, options=options)

    def patch(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        patch: Any,
        *,
        type: PatchType = "merge",
        subresource: str = "",
        options: Options = DEFAULT_OPTIONS,
    ) -> Object:
        """PATCH of any of the four types. A resourceVersion that the patch sets is a precondition."""
        served = self._state.serving(resource)
        return self._writer.patch(
            served, namespace, name, patch, type=type, subresource=subresource, options=options
        )

    def delete(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        *,
        options: DeleteOptions = DEFAULT_DELETE_OPTIONS,
    ) -> Deleted:
        served = self._state.serving(resource)
        deleted = self._writer.delete(served, namespace, name, options)
        return Deleted(at_version(served, deleted.object), deleted.gone)

    def delete_collection(
        self,
        resource: Resource,
        namespace: str | None,
        *,
        labels: str = "",
        fields: str = "",
        options: DeleteOptions = DEFAULT_DELETE_OPTIONS,
    ) -> Sequence[Object]:
        """Delete everything that matches; returns the objects as they were."""
        served = self._state.serving(resource)
        if "deletecollection" not in served.verbs:
            raise refusals.not_allowed(resource, "deletecollection")
        items = self.list(resource, namespace, labels=labels, fields=fields).items
        for obj in items:
            meta = obj["metadata"]
            self._writer.delete(served, meta.get("namespace"), meta["name"], options)
        return items

    def evict(self, namespace: str, name: str, *, options: DeleteOptions = DEFAULT_DELETE_OPTIONS) -> Deleted:
        """Delete a pod unless a disruption budget forbids it (Throttled)."""
        return self._writer.evict(namespace, name, options)

    def bind(self, namespace: str, name: str, node: str) -> Object:
        """Put a pod on a node. Conflict when it is on one already."""
        return self._writer.bind(namespace, name, node)

    # Garbage

    @property
    def has_garbage(self) -> bool:
        """Whether `collect_garbage` would look at anything."""
        return self._collector.has_work or self._expiry.is_due

    def collect_garbage(self, limit: int | None = None) -> int:
        """Do what earlier writes and time entail (see `garbage`, `expiry`), at most `limit` steps; returns how many
        were done.

        Without a limit nothing is left to do afterwards.
        """
        expired = self._expiry.expire(limit)
        return expired + self._collector.collect(None if limit is None else limit - expired)

    def trust(self, authority: str) -> None:
        """Say which certificate authority (PEM) clients are to trust: each namespace gets it as the ConfigMap
        kube-root-ca.crt when garbage is collected next."""
        self._collector.trust(authority)
