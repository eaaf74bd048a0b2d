"""The way of every write: read, change, admit, check, commit. One call is one transaction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from rollout.api import codec
from rollout.api.meta import timestamp
from rollout.api.resources import CRDS, NAMESPACES, PDBS, PODS, SERVICES, Resource
from rollout.errors import MethodNotAllowed, Unclassified
from rollout.runtime.clock import Clock
from rollout.runtime.kube import PatchType
from rollout.sandbox.schema import objectmeta
from rollout.sandbox.schema.apply import apply, track
from rollout.sandbox.schema.fields import FieldError
from rollout.sandbox.schema.rules import has_rules
from rollout.sandbox.schema.validation import UNCHECKED, blocked
from rollout.sandbox.storage import metadata, pods, refusals, scale
from rollout.sandbox.storage.admission import (
    DeleteOptions,
    Options,
    admit_shape,
    check_declared,
    check_kind,
    check_types,
    schema_of,
    shape_errors,
    with_known_parts,
)
from rollout.sandbox.storage.deletion import begin_deletion, may_go
from rollout.sandbox.storage.patching import appliable, fitting, patched
from rollout.sandbox.storage.registry import Served
from rollout.sandbox.storage.state import Batch, Place, State
from rollout.sandbox.storage.strategies import Check, Context, initial_status, strategy_of

Object = dict[str, Any]

CONTROLLER = "kube-controller-manager"
"""The field manager of what the garbage collector and the namespace controller write."""

_IMMORTAL = {"default", "kube-public", "kube-system"}
_NAME_ATTEMPTS = 8
_VERSION_ALWAYS = {
    ("coordination.k8s.io", "leases"),
    ("policy", "poddisruptionbudgets"),
    (CRDS.group, CRDS.plural),
}
"""Built-in kinds that refuse a PUT without resourceVersion, as all custom resources do."""
_MADE_BY_PUT = {("", "events"), ("", "services"), ("coordination.k8s.io", "leases")}
"""Built-in kinds of which a PUT makes what is not there."""


class Deleted(msgspec.Struct, frozen=True):
    """What a delete did: `gone`, or the object stays, marked, until its finalizers and grace period end."""

    object: Object
    gone: bool


class Writer:
    """`service_range` is where cluster IPs come from."""

    def __init__(self, state: State, clock: Clock, *, service_range: str) -> None:
        self._state = state
        self._clock = clock
        self._service_range = service_range

    def create(self, served: Served, namespace: str | None, obj: Object, options: Options) -> Object:
        check_kind(served, obj)
        obj, known = with_known_parts(served, _copy(obj))
        check_types(served, obj, known)
        return self._insert(served, namespace, obj, options, known=known, tracked=True)

    def _insert(
        self,
        served: Served,
        namespace: str | None,
        obj: Object,
        options: Options,
        *,
        known: Object | None = None,
        tracked: bool,
    ) -> Object:
        """Create from `obj`, which is ours; `tracked`: its fields become `options.manager`'s."""
        space, name = metadata.place(served, obj, namespace)
        given = obj.get("metadata") or {}
        if given.get("resourceVersion"):
            raise Unclassified("resourceVersion should not be set on objects to be created")
        prefix = "" if name else given.get("generateName") or ""
        self._check_home(served, space, name or prefix)
        table = self._state.table(served.bucket)
        for _ in range(_NAME_ATTEMPTS if prefix else 1):
            chosen = metadata.generated_name(prefix, self._clock) if prefix else name
            if table.get(space, chosen) is None:
                break
        uid, now = self._clock.uid(), self._clock.now()
        new = metadata.for_create(served, obj, space, chosen, uid=uid, now=now)
        new, errors = self._shaped(served, initial_status(served, new), None, options, known)
        if tracked:
            new = self._tracked_as_given(served, new, options)
        new = self._prepared(served, new, None, errors)
        self._refuse_invalid(served, new, None, errors, strategy_of(served).check)
        if table.get(space, chosen) is not None:
            raise refusals.already_exists(served.resource, chosen, generated=bool(prefix))
        return new if options.dry_run else self._state.commit(served.bucket, None, new)

    def _check_home(self, served: Served, namespace: str, name: str) -> None:
        """An object needs a namespace that stays, and a definition that stays."""
        if not served.builtin:
            resource = served.resource
            crd = self._state.get(Place(CRDS.group, CRDS.plural, "", str(resource)))
            if crd is None or crd["metadata"].get("deletionTimestamp"):
                raise MethodNotAllowed("create not allowed while custom resource definition is terminating")
        if not served.resource.namespaced:
            return
        found = self._state.get(Place("", "namespaces", "", namespace))
        if found is None:
            raise refusals.not_found(NAMESPACES, namespace)
        if found["metadata"].get("deletionTimestamp"):
            raise refusals.namespace_terminating(served.resource, name, namespace)

    def replace(
        self,
        served: Served,
        namespace: str | None,
        name: str,
        obj: Object,
        *,
        subresource: str,
        options: Options,
    ) -> Object:
        if subresource == "scale":
            return self._scale(served, namespace, name, lambda _: obj, options)
        check_types(served, obj)
        metadata.place(served, obj, namespace, name)
        if (
            not subresource
            and served.bucket in _MADE_BY_PUT
            and not self._state.holds(served, namespace, name)
        ):
            return self.create(served, namespace, obj, options)
        self._state.find(served, namespace, name)
        strict = not served.builtin or served.bucket in _VERSION_ALWAYS
        if strict and not obj["metadata"].get("resourceVersion"):
            raise refusals.version_required(served.resource, name)
        return self._update(
            served, namespace, name, lambda _: _copy(obj), subresource=subresource, options=options
        )

    def patch(
        self,
        served: Served,
        namespace: str | None,
        name: str,
        patch: Any,
        *,
        type: PatchType,
        subresource: str,
        options: Options,
    ) -> Object:
        patch = _copy(patch)
        if type == "apply":
            return self._apply(served, namespace, name, patch, subresource=subresource, options=options)

        def make(live: Object) -> Object:
            return patched(served, live, patch, type)

        if subresource == "scale":
            return self._scale(served, namespace, name, make, options)
        return self._update(
            served,
            namespace,
            name,
            lambda live: fitting(served, live, patch, make(live)),
            subresource=subresource,
            options=options,
        )

    def _apply(
        self,
        served: Served,
        namespace: str | None,
        name: str,
        applied: Any,
        *,
        subresource: str,
        options: Options,
    ) -> Object:
        """Server-side apply: creates what is missing."""
        if subresource == "scale":
            applied = scale.appliable(served, applied, namespace or "", name)
        else:
            check_types(served, applied)
            metadata.place(served, applied, namespace, name)
            check_declared(served, applied)
            applied = appliable(served, applied, subresource)
        now, schema = self._clock.now(), schema_of(served)

        def make(live: Object | None) -> Object:
            return apply(
                live,
                applied,
                manager=options.manager,
                force=options.force,
                schema=schema,
                subresource=subresource,
                now=now,
            )

        if subresource or self._state.holds(served, namespace, name):
            made = self._update(
                served, namespace, name, make, subresource=subresource, options=options, tracked=False
            )
            return scale.scale_of(served, made) if subresource == "scale" else made
        return self._insert(served, namespace, make(None), options, tracked=False)

    def _tracked(
        self, served: Served, live: Object | None, new: Object, *, subresource: str, options: Options
    ) -> Object:
        """`new` with the fields that changed owned by the manager who changed them."""
        return track(
            live,
            new,
            manager=options.manager,
            schema=schema_of(served),
            subresource=subresource,
            now=self._clock.now(),
        )

    def _tracked_as_given(self, served: Served, new: Object, options: Options) -> Object:
        """A new object whose fields are owned by its creator: those he gave, not what the server makes of them."""
        given = {key: value for key, value in new.items() if key != "status" or not served.has_status}
        owned = self._tracked(served, None, given, subresource="", options=options)
        return {**new, "metadata": owned["metadata"]}

    def _update(
        self,
        served: Served,
        namespace: str | None,
        name: str,
        make: Callable[[Object], Object],
        *,
        subresource: str,
        options: Options,
        tracked: bool = True,
    ) -> Object:
        """Read, change with `make` (which never touches its argument), check, write."""
        served.check_subresource(subresource)
        old = self._state.find(served, namespace, name)
        live = at_version(served, old)
        made = make(live)
        new = metadata.for_update(served, made, live)
        new = metadata.sharing(self._within(served, new, live, subresource), live)
        new, errors = self._shaped(served, new, live, options)
        new = metadata.sharing(self._prepared(served, new, live, errors), live)
        if tracked:
            new = self._tracked(served, live, new, subresource=subresource, options=options)
        if not errors and metadata.unchanged(new, live):
            return live
        new = metadata.bump_generation(served, new, live)
        check = pods.ephemeral_errors if subresource == pods.EPHEMERAL else strategy_of(served).check
        self._refuse_invalid(served, new, live, errors, check)
        if options.dry_run:
            return new
        if may_go(served.resource, new):
            self._state.commit(served.bucket, old, None)
            return new
        return at_version(served, self._state.commit(served.bucket, old, new))

    @staticmethod
    def _within(served: Served, new: Object, live: Object, subresource: str) -> Object:
        """`new` with everything that this subresource does not write taken from `live`."""
        if subresource == "finalize":
            return {**live, "spec": new.get("spec") or {}}
        if served.bucket == ("", "namespaces"):
            new = {**new, "spec": live.get("spec") or {}}
        if subresource == pods.EPHEMERAL:
            meta = metadata.with_meta(live, managedFields=new["metadata"].get("managedFields"))
            return pods.with_ephemeral(meta, new)
        if subresource == "status":
            meta = metadata.with_meta(live, managedFields=new["metadata"].get("managedFields"))
            return _with_status(meta, new)
        return _with_status(new, live) if served.has_status else new

    @staticmethod
    def _shaped(
        served: Served,
        new: Object,
        live: Object | None,
        options: Options,
        known: Object | None = None,
    ) -> tuple[Object, list[FieldError]]:
        """The object as its schema completes it, and what the schema has against it."""
        new = admit_shape(served, new, live, options, known)
        errors = shape_errors(served, new, live or known or None)
        read = strategy_of(served).read
        return (read(new) if read is not None and not errors else new), errors

    def _prepared(self, served: Served, new: Object, live: Object | None, errors: list[FieldError]) -> Object:
        """The object as its kind completes it. Strategies rely on the types, so they see only what the schema accepts."""
        prepare = strategy_of(served).prepare
        return new if prepare is None or errors else prepare(new, live, self._context())

    def _context(self) -> Context:
        return Context(
            service_range=self._service_range,
            addresses_in_use=self._cluster_addresses,
            now=timestamp(self._clock.now()),
        )

    def _cluster_addresses(self) -> set[str]:
        services = self._state.table((SERVICES.group, SERVICES.plural)).objects(None)
        return {service["spec"].get("clusterIP", "") for service in services}

    @staticmethod
    def _refuse_invalid(
        served: Served, new: Object, live: Object | None, shape: list[FieldError], check: Check | None
    ) -> None:
        """Invalid (422) when anything is wrong with the object; `shape` is what the schema found, `check` what
        the kind has against it."""
        meta = new["metadata"]
        core = served.builtin and served.bucket != (CRDS.group, CRDS.plural)
        errors = objectmeta.check(meta, served.check_name, namespaced=served.resource.namespaced, core=core)
        if live is not None:
            # Kubernetes' own kinds are checked twice; the causes say so
            errors += metadata.update_errors(new, live) * (2 if core else 1)
        errors += shape
        if blocked(errors) and not shape and not served.builtin and has_rules(schema_of(served) or {}):
            errors.append(UNCHECKED)
        if check is not None and not shape:
            errors += check(new, live)
        if served.scale is not None and not served.builtin and (problem := scale.problem(served, new)):
            errors.append(problem)
        if errors:
            name = (live or new)["metadata"].get("name") or ""
            raise refusals.invalid(served.resource, name, errors)

    def _scale(
        self,
        served: Served,
        namespace: str | None,
        name: str,
        make: Callable[[Object], Object],
        options: Options,
    ) -> Object:
        served.check_subresource("scale")

        def change(live: Object) -> Object:
            return scale.scaled(served, live, make(scale.scale_of(served, live)))

        made = self._update(served, namespace, name, change, subresource="scale", options=options)
        return scale.scale_of(served, made)

    def delete(self, served: Served, namespace: str | None, name: str, options: DeleteOptions) -> Deleted:
        obj = self._state.find(served, namespace, name)
        if served.bucket == ("", "namespaces") and name in _IMMORTAL:
            raise refusals.forbidden(served.resource, name, "this namespace may not be deleted")
        return self.remove(served.resource, obj, options)

    def remove(self, resource: Resource, old: Object, options: DeleteOptions) -> Deleted:
        """Delete an object that was just looked up."""
        outcome = begin_deletion(resource, old, options, self._clock.now())
        if options.dry_run or (outcome.object is old and not outcome.gone):
            return Deleted(outcome.object, outcome.gone)
        new = None if outcome.gone else outcome.object
        written = self._state.commit((resource.group, resource.plural), old, new)
        return Deleted(outcome.object if outcome.gone else written, outcome.gone)

    def amend(self, resource: Resource, old: Object, new: Object) -> None:
        """Write what the server's own controllers change; an object that was only held by what is gone now goes."""
        bucket = (resource.group, resource.plural)
        now = self._clock.now()  # no schema: metadata has its own, and nothing below a list changes elsewhere
        new = track(old, new, manager=CONTROLLER, schema=None, now=now)
        self._state.commit(bucket, old, None if may_go(resource, new) else new)

    def evict(self, namespace: str, name: str, options: DeleteOptions) -> Deleted:
        """Delete a pod if its disruption budget allows; the budget counts it in the same transaction.

        As in kube-apiserver, neither this nor `bind` makes anybody the owner of a field.
        """
        served = self._state.serving(PODS)
        pod = self._state.find(served, namespace, name)
        now = self._clock.now()
        begin_deletion(PODS, pod, options, now)  # refuses when a precondition fails
        budgets = self._state.table((PDBS.group, PDBS.plural))
        budget = pods.budget_after(pod, budgets.objects(namespace), timestamp(now))
        if options.dry_run:
            return self.remove(PODS, pod, options)
        batch = Batch(self._state)
        if budget is not None:
            before = budgets.get(namespace, budget["metadata"]["name"])
            batch.write((PDBS.group, PDBS.plural), before, budget)
        marked = pods.marked_for_eviction(pod, timestamp(now))
        if marked is not pod:
            pod = batch.write(served.bucket, pod, marked)
        met = msgspec.structs.replace(options, uid="", resource_version="")
        outcome = begin_deletion(PODS, pod, met, now)
        if outcome.gone or outcome.object is not pod:
            pod = batch.write(served.bucket, pod, None if outcome.gone else outcome.object)
        batch.commit()
        return Deleted(pod, outcome.gone)

    def bind(self, namespace: str, name: str, node: str) -> Object:
        pod = self._state.find(self._state.serving(PODS), namespace, name)
        placed = pods.bound(pod, node, timestamp(self._clock.now()))
        return self._state.commit(("", "pods"), pod, placed)


def _copy(value: Any) -> Any:
    """A deep copy of what a caller gave us: the caller may go on changing his own."""
    return codec.decode(codec.encode(value))


def at_version(served: Served, obj: Object) -> Object:
    """`obj` as this version shows it: conversion None changes apiVersion and nothing else."""
    wanted = served.resource.api_version
    return obj if obj["apiVersion"] == wanted else {**obj, "apiVersion": wanted}


def _with_status(obj: Object, source: Object) -> Object:
    """`obj` with the status of `source`, or without one when that has none."""
    if "status" in source:
        return {**obj, "status": source["status"]}
    return {key: value for key, value in obj.items() if key != "status"}
