"""OpenAPI v3 documents: what kubectl needs to explain kinds, to merge lists by key, and to see which verbs and
parameters there are. https://kubernetes.io/docs/concepts/overview/kubernetes-api/#openapi-interface-definition
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from rollout.sandbox.http.version import GIT_VERSION
from rollout.sandbox.schema import kinds
from rollout.sandbox.storage.registry import Served

Object = dict[str, Any]

_INFO = {"title": "Kubernetes", "version": GIT_VERSION}
_STRATEGIC = "application/strategic-merge-patch+json"
_PATCHES = (
    "application/json-patch+json",
    "application/merge-patch+json",
    _STRATEGIC,
    "application/apply-patch+yaml",
)
_CUSTOM_PATCHES = tuple(one for one in _PATCHES if one != _STRATEGIC)
"""Custom resources cannot be patched strategically: `kubectl apply` would try where it is told that they can."""
_BODIES = ("application/json", "application/yaml")


def document(served: Iterable[Served], group: str, version: str) -> Object | None:
    """The OpenAPI v3 document of one group version; None when it is not served."""
    members = [m for m in served if m.resource.group == group and m.resource.version == version]
    if not members:
        return None
    return {
        "openapi": "3.0.0",
        "info": _INFO,
        "paths": {path: item for member in members for path, item in _paths(member)},
        "components": {"schemas": _definitions(members, group, version)},
    }


_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
_LIST_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta"
_TEXT = {"type": "string"}


def _definitions(members: Iterable[Served], group: str, version: str) -> Object:
    found = kinds.definitions(group, version)
    custom = [member for member in members if not member.builtin]
    if custom:
        found = found | kinds.closure([_META, _LIST_META])
    for member in custom:
        found |= _custom(member)
    return found


def _custom(member: Served) -> Object:
    """The published schemas of a custom resource and its list, named as kube-apiserver names them."""
    resource = member.resource
    prefix = ".".join([*reversed(resource.group.split(".")), resource.version])
    schema = dict(member.schema or {"type": "object", "x-kubernetes-preserve-unknown-fields": True})
    own = {"apiVersion": _TEXT, "kind": _TEXT, "metadata": {"allOf": [_reference(_META)]}}
    items = {"type": "array", "items": _reference(f"{prefix}.{resource.kind}")}
    listed = {
        "type": "object",
        "description": f"{member.list_kind} is a list of {resource.kind}",
        "required": ["items"],
        "properties": {
            "apiVersion": _TEXT,
            "kind": _TEXT,
            "metadata": _reference(_LIST_META),
            "items": items,
        },
    }
    return {
        f"{prefix}.{resource.kind}": schema
        | {"properties": {**(schema.get("properties") or {}), **own}}
        | _of_kind(resource.group, resource.version, resource.kind),
        f"{prefix}.{member.list_kind}": listed | _of_kind(resource.group, resource.version, member.list_kind),
    }


def _of_kind(group: str, version: str, kind: str) -> Object:
    return {"x-kubernetes-group-version-kind": [{"group": group, "version": version, "kind": kind}]}


def _reference(name: str) -> Object:
    return {"$ref": f"#/components/schemas/{name}"}


def _paths(member: Served) -> Iterator[tuple[str, Object]]:
    resource = member.resource
    scope = "{namespace}" if resource.namespaced else None
    if resource.namespaced and "list" in member.verbs:
        yield resource.path(), {"get": _operation(member, "list")}
    collection = _item(member, {"get": "list", "post": "create", "delete": "deletecollection"})
    if collection:
        yield resource.path(scope), collection
    single = _item(member, {"get": "get", "put": "update", "patch": "patch", "delete": "delete"})
    if single:
        yield resource.path(scope, "{name}"), single
    if member.has_status:
        verbs = {"get": "get", "put": "update", "patch": "patch"}
        yield resource.path(scope, "{name}", "status"), _item(member, verbs)


def _item(member: Served, methods: dict[str, str]) -> Object:
    return {method: _operation(member, verb) for method, verb in methods.items() if verb in member.verbs}


_ACTIONS = {"create": "post", "update": "put"}
_WRITES = frozenset({"create", "update", "patch"})


def _operation(member: Served, verb: str) -> Object:
    resource = member.resource
    operation: Object = {
        "tags": [f"{resource.group or 'core'}_{resource.version}"],
        "operationId": f"{verb}{resource.group.title().replace('.', '')}{resource.version.title()}{resource.kind}",
        "parameters": [_parameter(name, kind) for name, kind in _parameters(verb)],
        "responses": {"200": {"description": "OK"}},
        "x-kubernetes-action": _ACTIONS.get(verb, verb),
        "x-kubernetes-group-version-kind": {
            "group": resource.group,
            "version": resource.version,
            "kind": resource.kind,
        },
    }
    if verb in _WRITES:
        patches = _PATCHES if member.builtin else _CUSTOM_PATCHES
        types = patches if verb == "patch" else _BODIES
        operation["requestBody"] = {"content": {one: {"schema": {"type": "object"}} for one in types}}
    return operation


def _parameters(verb: str) -> Iterator[tuple[str, str]]:
    yield "pretty", "string"
    if verb in _WRITES:
        yield from (("dryRun", "string"), ("fieldManager", "string"), ("fieldValidation", "string"))
    if verb == "patch":
        yield "force", "boolean"
    if verb in {"list", "deletecollection"}:
        for name in ("labelSelector", "fieldSelector", "continue", "resourceVersion", "resourceVersionMatch"):
            yield name, "string"
        yield from (("limit", "integer"), ("timeoutSeconds", "integer"))
    if verb == "list":
        yield from (
            ("watch", "boolean"),
            ("allowWatchBookmarks", "boolean"),
            ("sendInitialEvents", "boolean"),
        )
    if verb in {"delete", "deletecollection"}:
        yield from (("dryRun", "string"), ("propagationPolicy", "string"), ("gracePeriodSeconds", "integer"))


def _parameter(name: str, kind: str) -> Object:
    return {"name": name, "in": "query", "schema": {"type": kind, "uniqueItems": True}}
