"""Structural schemas at work: pruning, unknown fields, defaulting.

The rules are those of https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions
(field pruning, defaulting, nullable). A schema is a plain dict with everything inlined, no `$ref`.
Results share unchanged parts with their input: treat both as read-only.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rollout.sandbox.schema.fields import FieldError, child, clone
from rollout.sandbox.schema.validation import validate

__all__ = ["FieldError", "default", "metadata_schema", "prune", "unknown_fields", "validate"]

Schema = dict[str, Any]

_PRESERVE = "x-kubernetes-preserve-unknown-fields"
_EMBEDDED = "x-kubernetes-embedded-resource"

_STRING: Schema = {"type": "string"}
_STRINGS: Schema = {"type": "object", "additionalProperties": _STRING}
_OPEN: Schema = {"type": "object", _PRESERVE: True}

METADATA: Schema = {
    "type": "object",
    "properties": {
        "name": _STRING,
        "generateName": _STRING,
        "namespace": _STRING,
        "selfLink": _STRING,
        "uid": _STRING,
        "resourceVersion": _STRING,
        "generation": {"type": "integer", "format": "int64"},
        "creationTimestamp": {"type": "string", "format": "date-time", "nullable": True},
        "deletionTimestamp": {"type": "string", "format": "date-time", "nullable": True},
        "deletionGracePeriodSeconds": {"type": "integer", "format": "int64", "nullable": True},
        "labels": _STRINGS,
        "annotations": _STRINGS,
        "ownerReferences": {
            "type": "array",
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["uid"],
            "x-kubernetes-patch-merge-key": "uid",
            "x-kubernetes-patch-strategy": "merge",
            "items": {
                "type": "object",
                "x-kubernetes-map-type": "atomic",
                "properties": {
                    "apiVersion": _STRING,
                    "kind": _STRING,
                    "name": _STRING,
                    "uid": _STRING,
                    "controller": {"type": "boolean", "nullable": True},
                    "blockOwnerDeletion": {"type": "boolean", "nullable": True},
                },
            },
        },
        "finalizers": {
            "type": "array",
            "x-kubernetes-list-type": "set",
            "x-kubernetes-patch-strategy": "merge",
            "items": _STRING,
        },
        "managedFields": {
            "type": "array",
            "x-kubernetes-list-type": "atomic",
            "items": {
                "type": "object",
                "properties": {
                    "apiVersion": _STRING,
                    "fieldsType": _STRING,
                    "fieldsV1": _OPEN,
                    "manager": _STRING,
                    "operation": _STRING,
                    "subresource": _STRING,
                    "time": {"type": "string", "format": "date-time"},
                },
            },
        },
    },
}
"""ObjectMeta, as every object has it: metadata is pruned and merged by its own rules."""

_RESOURCE: dict[str, Schema] = {"apiVersion": _STRING, "kind": _STRING, "metadata": METADATA}


def metadata_schema() -> Schema:
    """The structural schema of ObjectMeta. Read-only."""
    return METADATA


def prune(obj: Any, schema: Schema) -> Any:
    """`obj` without the fields that `schema` does not name. Idempotent; the input is not changed."""
    return _prune(obj, schema, resource=True)


def unknown_fields(obj: Any, schema: Schema) -> list[str]:
    """One sentence of kube-apiserver's for each field that `prune` would drop: `unknown field "spec.foo"`."""
    return [f'unknown field "{path}"' for path in unknown_paths(obj, schema)]


def unknown_paths(obj: Any, schema: Schema) -> list[str]:
    """The fields that `prune` would drop, such as "spec.foo"."""
    return list(_unknown(obj, schema, "", resource=True))


def default(obj: Any, schema: Schema) -> Any:
    """`obj` with the schema's defaults filled in, and nulls dropped where the schema does not allow them."""
    if isinstance(obj, dict):
        return _default_properties(obj, schema)
    if isinstance(obj, list) and isinstance(items := schema.get("items"), dict):
        return _same_or([default(item, items) for item in obj], obj)
    return obj


def _properties(schema: Schema, *, resource: bool) -> dict[str, Any]:
    properties = schema.get("properties")
    known: dict[str, Any] = properties if isinstance(properties, dict) else {}
    return {**known, **_RESOURCE} if resource else known


def _prune(value: Any, schema: Schema, *, resource: bool = False) -> Any:
    if isinstance(value, list):
        items = schema.get("items")
        return _same_or([_prune(item, items) for item in value], value) if isinstance(items, dict) else value
    if not isinstance(value, dict):
        return value
    properties = _properties(schema, resource=resource or bool(schema.get(_EMBEDDED)))
    additional = schema.get("additionalProperties")
    others = additional if isinstance(additional, dict) else None
    keep = bool(schema.get(_PRESERVE)) or additional is True
    kept: dict[str, Any] = {}
    changed = False
    for key, inner in value.items():
        below = properties.get(key, others)
        if below is None:
            if keep:
                kept[key] = inner
            else:
                changed = True
            continue
        new = _prune(inner, below) if isinstance(inner, (dict, list)) else inner
        changed = changed or new is not inner
        kept[key] = new
    return kept if changed else value


def _unknown(value: Any, schema: Schema, path: str, *, resource: bool = False) -> Iterator[str]:
    if isinstance(value, list):
        items = schema.get("items")
        for index, item in enumerate(value if isinstance(items, dict) else ()):
            yield from _unknown(item, items or {}, f"{path}[{index}]")
    elif isinstance(value, dict):
        properties = _properties(schema, resource=resource or bool(schema.get(_EMBEDDED)))
        additional = schema.get("additionalProperties")
        others = additional if isinstance(additional, dict) else None
        keep = bool(schema.get(_PRESERVE)) or additional is True
        for key, inner in value.items():
            below = properties.get(key, others)
            if below is not None:
                yield from _unknown(inner, below, child(path, key))
            elif not keep:
                yield child(path, key)


def _default_properties(obj: dict[str, Any], schema: Schema) -> dict[str, Any]:
    properties = schema.get("properties")
    known: dict[str, Any] = properties if isinstance(properties, dict) else {}
    additional = schema.get("additionalProperties")
    result = dict(obj)
    for key, below in known.items():
        if not isinstance(below, dict):
            continue
        if key not in result or (result[key] is None and not below.get("nullable")):
            result.pop(key, None)
            if below.get("default") is not None:
                result[key] = clone(below["default"])
    for key, value in list(result.items()):
        below = known.get(key, additional)
        if not isinstance(below, dict):
            continue
        if value is None and not below.get("nullable"):
            del result[key]
        elif isinstance(value, (dict, list)):
            result[key] = default(value, below)
    unchanged = len(result) == len(obj) and all(key in obj and result[key] is obj[key] for key in result)
    return obj if unchanged else result


def _same_or(new: list[Any], old: list[Any]) -> list[Any]:
    """`old` itself when nothing in it changed, so that unchanged trees are shared."""
    return old if all(a is b for a, b in zip(new, old, strict=True)) else new
