"""The pure semantics of a Kubernetes API server: what every request does to the objects, without a wire.

Synchronous and deterministic: one call is one transaction, time and chance come from the `Clock` given.
Returned objects are shared and read-only. The HTTP server, the stories and the simulator all stand on this class.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import msgspec

from rollout.api import codec
from rollout.api.meta import timestamp
from rollout.api.resources import CRDS, NAMESPACES, SERVICES, Resource
from rollout.errors import BadRequest
from rollout.runtime.clock import Clock
from rollout.runtime.kube import ListPage, PatchType
from rollout.sandbox.schema.fields import INVALID, FieldError
from rollout.sandbox.storage import crds, lists, metadata, names, refusals, scale
from rollout.sandbox.storage.admission import (
    DEFAULT_DELETE_OPTIONS,
    DEFAULT_OPTIONS,
    DeleteOptions,
    Options,
    admit_shape,
    check_types,
    shape_errors,
)
from rollout.sandbox.storage.deletion import begin_deletion, may_go
from rollout.sandbox.storage.patching import patched
from rollout.sandbox.storage.registry import Served, builtins
from rollout.sandbox.storage.selectors import Predicate, compile_selector
from rollout.sandbox.storage.strategies import Context, initial_status, strategy_of
from rollout.sandbox.storage.table import Change, Table
from rollout.sandbox.storage.watch import Watcher, with_version

Object = dict[str, Any]
ChangeType = Literal["ADDED", "MODIFIED", "DELETED"]
OnWrite = Callable[[ChangeType, Resource, Object | None, Object | None], None]

INITIAL_NAMESPACES = ("default", "kube-node-lease", "kube-public", "kube-system")
_IMMORTAL = {"default", "kube-public", "kube-system"}
_NAME_ATTEMPTS = 8
_OWN = Options(manager="kube-apiserver")
_VERSION_REQUIRED = FieldError(
    INVALID, "metadata.resourceVersion", "Invalid value: 0x0: must be specified for an update"
)
_VERSION_ALWAYS = {
    ("coordination.k8s.io", "leases"),
    ("policy", "poddisruptionbudgets"),
    (CRDS.group, CRDS.plural),
}
"""Built-in kinds that refuse a PUT without resourceVersion, as all custom resources do."""


class Deleted(msgspec.Struct, frozen=True):
    """What a delete did: `gone`, or the object stays, marked, until its finalizers and grace period end."""

    object: Object
    gone: bool


class Storage:
    """All objects, and every request on them.

    `history` is the number of changes kept per resource for watches and consistent pages; `service_range` where
    cluster IPs come from. Methods raise the classes of `rollout.errors` in kube-apiserver's words.
    """

    def __init__(self, clock: Clock, *, history: int = 4096, service_range: str = "10.96.0.0/16") -> None:
        self._clock = clock
        self._history = history
        self._service_range = service_range
        self._version = 0
        self._served: dict[tuple[str, str, str], Served] = {}
        self._tables: dict[tuple[str, str], Table] = {}
        self._callbacks: list[OnWrite] = []
        for served in builtins():
            self._add_served(served)
            self._tables[served.bucket] = Table(served.resource, history)
        for name in INITIAL_NAMESPACES:
            self.create(NAMESPACES, None, {"metadata": {"name": name}}, options=_OWN)

    # What is served

    def resources(self) -> tuple[Served, ...]:
        """Everything that is served, built-in kinds first."""
        return tuple(self._served.values())

    def served(self, group: str, version: str, plural: str) -> Served | None:
        """The entry of a resource at one version, or None when it is not served."""
        return self._served.get((group, version, plural))

    def _serving(self, resource: Resource) -> Served:
        served = self._served.get((resource.group, resource.version, resource.plural))
        if served is None:
            raise refusals.not_served()
        return served

    def _add_served(self, served: Served) -> None:
        resource = served.resource
        self._served[resource.group, resource.version, resource.plural] = served

    def _table(self, served: Served) -> Table:
        return self._tables[served.bucket]

    @property
    def resource_version(self) -> str:
        """The version of the newest write."""
        return str(self._version)

    def on_write(self, callback: OnWrite) -> Callable[[], None]:
        """Call `callback(type, resource, old, new)` after each committed write; returns how to stop that.

        `resource` is at its storage version; `new` is None for DELETED, `old` for ADDED.
        """
        self._callbacks.append(callback)
        return lambda: self._callbacks.remove(callback)

    # Reading

    def exists(self, resource: Resource, namespace: str | None, name: str) -> bool:
        served = self._serving(resource)
        return self._table(served).get(_space(served, namespace), name) is not None

    def get(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        *,
        subresource: str = "",
        resource_version: str = "",
    ) -> Object:
        served = self._serving(resource)
        if (wanted := lists.parse_version(resource_version)) > self._version:
            raise refusals.too_new(wanted, self._version)
        self._check_subresource(served, subresource)
        obj = self._find(served, namespace, name)
        return scale.scale_of(served, obj) if subresource == "scale" else _at_version(served, obj)

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
        served = self._serving(resource)
        query = lists.Query(
            namespace=namespace if resource.namespaced else None,
            matches=self._selector(served, labels, fields),
            limit=limit,
            continue_token=continue_token,
            resource_version=resource_version,
            match=resource_version_match,
        )
        page = lists.page(self._table(served), query, self._version)
        if served.builtin:
            return page
        return msgspec.structs.replace(page, items=[_at_version(served, obj) for obj in page.items])

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
        served = self._serving(resource)
        table = self._table(served)
        space = namespace if resource.namespaced else None
        matches = self._selector(served, labels, fields)
        version = lists.parse_version(resource_version)
        if version > self._version:
            raise refusals.too_new(version, self._version)
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
            version=self._version if initial else version,
            current_version=lambda: self._version,
            mark_initial_end=send_initial_events,
            wake=wake,
        )

    def _selector(self, served: Served, labels: str, fields: str) -> Predicate | None:
        if not labels and not fields:
            return None
        return compile_selector(labels, fields, served.bucket, served.selectable)

    def _find(self, served: Served, namespace: str | None, name: str) -> Object:
        obj = self._table(served).get(_space(served, namespace), name)
        if obj is None:
            raise refusals.not_found(served.resource, name)
        return obj

    @staticmethod
    def _check_subresource(served: Served, subresource: str) -> None:
        if subresource and subresource not in served.subresources:
            raise refusals.not_served()

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
        return self._create(self._serving(resource), namespace, obj, options)

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
        served = self._serving(resource)
        if subresource == "scale":
            return self._scale(served, namespace, name, lambda _: obj, options)
        check_types(served, obj)
        metadata.place(served, obj, namespace, name)
        if (not served.builtin or served.bucket in _VERSION_ALWAYS) and not obj["metadata"].get(
            "resourceVersion"
        ):
            raise refusals.invalid(resource, name, [_VERSION_REQUIRED])
        return self._update(
            served, namespace, name, lambda _: _copy(obj), subresource=subresource, options=options
        )

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
        served = self._serving(resource)
        patch = _copy(patch)

        def make(live: Object) -> Object:
            return patched(served, live, patch, type)

        if subresource == "scale":
            return self._scale(served, namespace, name, make, options)
        return self._update(served, namespace, name, make, subresource=subresource, options=options)

    def delete(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        *,
        options: DeleteOptions = DEFAULT_DELETE_OPTIONS,
    ) -> Deleted:
        served = self._serving(resource)
        obj = self._find(served, namespace, name)
        if served.bucket == ("", "namespaces") and name in _IMMORTAL:
            raise refusals.forbidden(resource, name, "this namespace may not be deleted")
        deleted = self._delete(served, obj, options)
        return Deleted(_at_version(served, deleted.object), deleted.gone)

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
        served = self._serving(resource)
        items = self.list(resource, namespace, labels=labels, fields=fields).items
        for obj in items:
            meta = obj["metadata"]
            self._delete(served, self._find(served, meta.get("namespace"), meta["name"]), options)
        return items

    def _create(self, served: Served, namespace: str | None, obj: Object, options: Options) -> Object:
        check_types(served, obj)
        obj = _copy(obj)
        given = obj.get("metadata") or {}
        space, name = metadata.place(served, obj, namespace)
        if given.get("resourceVersion"):
            raise BadRequest("resourceVersion should not be set on objects to be created")
        prefix = "" if name else given.get("generateName") or ""
        self._check_namespace(served, space, name or prefix)
        table = self._table(served)
        for _ in range(_NAME_ATTEMPTS if prefix else 1):
            chosen = metadata.generated_name(prefix, self._clock) if prefix else name
            if table.get(space, chosen) is None:
                break
        uid, now = self._clock.uid(), self._clock.now()
        new = metadata.for_create(served, obj, space, chosen, uid=uid, now=now)
        new = self._prepare(served, initial_status(served, new), None, options)
        self._refuse_invalid(served, new, None, chosen)
        if table.get(space, chosen) is not None:
            raise refusals.already_exists(served.resource, chosen, generated=bool(prefix))
        if options.dry_run:
            return _at_version(served, new)
        return _at_version(served, self._commit(served, None, new))

    def _check_namespace(self, served: Served, namespace: str, name: str) -> None:
        if not served.resource.namespaced:
            return
        found = self._tables["", "namespaces"].get("", namespace)
        if found is None:
            raise refusals.not_found(NAMESPACES, namespace)
        if found["metadata"].get("deletionTimestamp"):
            raise refusals.namespace_terminating(served.resource, name, namespace)

    def _update(
        self,
        served: Served,
        namespace: str | None,
        name: str,
        make: Callable[[Object], Object],
        *,
        subresource: str,
        options: Options,
    ) -> Object:
        """Read, change with `make` (which never touches its argument), check, write."""
        self._check_subresource(served, subresource)
        old = self._find(served, namespace, name)
        live = _at_version(served, old)
        made = make(live)
        check_types(served, made)
        new = metadata.for_update(served, made, live)
        new = self._within(served, new, live, subresource)
        new = self._prepare(served, new, live, options)
        if metadata.unchanged(new, live):
            return live
        new = metadata.bump_generation(served, new, live)
        self._refuse_invalid(served, new, live, name)
        if options.dry_run:
            return new
        if may_go(served, new):
            self._remove(served, old)
            return new
        return _at_version(served, self._commit(served, old, new))

    @staticmethod
    def _within(served: Served, new: Object, live: Object, subresource: str) -> Object:
        """`new` with everything that this subresource does not write taken from `live`."""
        if subresource == "finalize":
            return {**live, "spec": new.get("spec") or {}}
        if subresource:
            meta = metadata.with_meta(live, managedFields=new["metadata"].get("managedFields"))
            return _with_status(meta, new)
        return _with_status(new, live) if served.has_status else new

    def _prepare(self, served: Served, new: Object, live: Object | None, options: Options) -> Object:
        """Pruned, defaulted, and with what the kind itself fills in."""
        new = admit_shape(served, new, options)
        prepare = strategy_of(served).prepare
        return prepare(new, live, self._context()) if prepare else new

    def _context(self) -> Context:
        return Context(
            service_range=self._service_range,
            addresses_in_use=self._cluster_addresses,
            now=timestamp(self._clock.now()),
        )

    def _cluster_addresses(self) -> set[str]:
        services = self._tables[SERVICES.group, SERVICES.plural].objects(None)
        return {service["spec"].get("clusterIP", "") for service in services}

    def _refuse_invalid(self, served: Served, new: Object, live: Object | None, name: str) -> None:
        """Invalid (422) when anything is wrong with the object."""
        meta = new["metadata"]
        errors = names.check_metadata(meta, served.check_name, namespaced=served.resource.namespaced)
        if live is not None:
            errors += metadata.update_errors(new, live)
        errors += shape_errors(served, new, live)
        check = strategy_of(served).check
        if check is not None and not errors:
            errors += check(new, live)
        if errors:
            raise refusals.invalid(served.resource, name, errors)

    def _scale(
        self,
        served: Served,
        namespace: str | None,
        name: str,
        make: Callable[[Object], Object],
        options: Options,
    ) -> Object:
        self._check_subresource(served, "scale")

        def change(live: Object) -> Object:
            return scale.scaled(served, live, make(scale.scale_of(served, live)))

        return scale.scale_of(
            served, self._update(served, namespace, name, change, subresource="", options=options)
        )

    def _delete(self, served: Served, old: Object, options: DeleteOptions) -> Deleted:
        outcome = begin_deletion(served, old, options, self._clock.now())
        if options.dry_run or (outcome.object is old and not outcome.gone):
            return Deleted(outcome.object, outcome.gone)
        if outcome.gone:
            return Deleted(self._remove(served, old), gone=True)
        return Deleted(self._commit(served, old, outcome.object), gone=False)

    def _remove(self, served: Served, old: Object) -> Object:
        return self._commit(served, old, None)

    def _commit(self, served: Served, old: Object | None, new: Object | None) -> Object:
        """Make one write happen: everything before this only looked."""
        table = self._table(served)
        kept = new if new is not None else old
        assert kept is not None
        meta = kept["metadata"]
        version = self._version + 1
        stored = with_version(kept, version)
        if stored["apiVersion"] != table.resource.api_version:
            stored["apiVersion"] = table.resource.api_version
        type: ChangeType = "ADDED" if old is None else "DELETED" if new is None else "MODIFIED"
        change = Change(version, meta.get("namespace", ""), meta["name"], type, stored, old)
        self._version = version
        if served.resource == CRDS:
            self._register(change)
        table.commit(change)
        for callback in tuple(self._callbacks):
            callback(type, table.resource, old, stored if new is not None else None)
        return stored

    def _register(self, change: Change) -> None:
        """Serve what a CustomResourceDefinition says from this moment on, or no longer."""
        if change.old is not None:
            for served in crds.served_versions(change.old):
                resource = served.resource
                self._served.pop((resource.group, resource.version, resource.plural), None)
        resource = crds.storage_resource(change.object)
        bucket = (resource.group, resource.plural)
        if change.type == "DELETED":
            if (table := self._tables.pop(bucket, None)) is not None:
                table.drop()
            return
        for served in crds.served_versions(change.object):
            self._add_served(served)
        if (table := self._tables.get(bucket)) is None:
            self._tables[bucket] = Table(resource, self._history)
        else:
            table.resource = resource


def _space(served: Served, namespace: str | None) -> str:
    return (namespace or "") if served.resource.namespaced else ""


def _copy(value: Any) -> Any:
    """A deep copy of what a caller gave us: the caller may go on changing his own."""
    return codec.decode(codec.encode(value))


def _at_version(served: Served, obj: Object) -> Object:
    """`obj` as this version shows it: conversion None changes apiVersion and nothing else."""
    wanted = served.resource.api_version
    return obj if obj["apiVersion"] == wanted else {**obj, "apiVersion": wanted}


def _with_status(obj: Object, source: Object) -> Object:
    """`obj` with the status of `source`, or without one when that has none."""
    if "status" in source:
        return {**obj, "status": source["status"]}
    return {key: value for key, value in obj.items() if key != "status"}
