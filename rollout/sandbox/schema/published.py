"""Schemas that CRDs bring: whether they are structural, and what they look like complete.

Rules: https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions
(specifying a structural schema). The words are kube-apiserver's; the cost of CEL rules is not estimated.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rollout.sandbox.schema import rules
from rollout.sandbox.schema.correlate import map_keys
from rollout.sandbox.schema.fields import FieldError, forbidden, invalid, not_supported, required
from rollout.sandbox.schema.formats import is_pattern
from rollout.sandbox.schema.structural import METADATA, Schema, default, prune
from rollout.sandbox.schema.validation import validate

Errors = Iterator[FieldError]

_PRESERVE = "x-kubernetes-preserve-unknown-fields"
_INT_OR_STRING = "x-kubernetes-int-or-string"
_EMBEDDED = "x-kubernetes-embedded-resource"
_LIST_TYPE = "x-kubernetes-list-type"
_LIST_KEYS = "x-kubernetes-list-map-keys"
_MAP_TYPE = "x-kubernetes-map-type"
_RULES = "x-kubernetes-validations"

_TYPES = ("array", "boolean", "integer", "number", "object", "string")
_UNSUPPORTED = ("$ref", "additionalItems", "definitions", "dependencies", "id", "patternProperties")
_JUNCTORS = ("allOf", "anyOf", "oneOf")
_NOT_IN_JUNCTORS = (
    "default",
    "description",
    "title",
    "nullable",
    "additionalProperties",
    _PRESERVE,
    _EMBEDDED,
    _LIST_TYPE,
    _LIST_KEYS,
    _MAP_TYPE,
    _RULES,
)


def complete(schema: Schema) -> Schema:
    """A CRD's schema with apiVersion, kind and all of metadata: what objects of the kind look like."""
    text = {"type": "string"}
    properties = {"apiVersion": text, "kind": text, **(schema.get("properties") or {}), "metadata": METADATA}
    return {**schema, "properties": properties}


def schema_errors(schema: Any, path: str) -> list[FieldError]:
    """What keeps `schema` (at `path` of a CRD, such as `spec.versions[0].schema.openAPIV3Schema`) from being
    a structural schema whose rules compile and whose defaults are valid. Never raises."""
    if not isinstance(schema, dict):
        return [required(path, "schemas are required")]
    try:
        return list(_root(schema, path))
    except RecursionError:
        return [invalid(path, "", "the schema is nested too deeply")]


def _root(schema: Schema, path: str) -> Errors:
    if not schema.get("type"):
        yield required(f"{path}.type", "must not be empty at the root")
    elif schema["type"] != "object":
        yield invalid(f"{path}.type", schema["type"], "must be object at the root")
    if schema.get("additionalProperties"):
        yield forbidden(f"{path}.additionalProperties", "must not be used at the root")
    if schema.get("nullable"):
        yield forbidden(f"{path}.nullable", "nullable cannot be true at the root")
    yield from _node(schema, path)


def _node(schema: Any, path: str) -> Errors:
    """The rules for every part of a schema. That a type is there is the caller's to ask."""
    if not isinstance(schema, dict):
        return
    for keyword in _UNSUPPORTED:
        if keyword in schema:
            yield forbidden(f"{path}.{keyword}", f"{keyword} is not supported")
    if schema.get("uniqueItems") is True:
        yield forbidden(
            f"{path}.uniqueItems",
            "uniqueItems cannot be set to true since the runtime complexity becomes quadratic",
        )
    if (kind := schema.get("type")) and kind not in _TYPES:
        yield not_supported(f"{path}.type", kind, _TYPES)
    yield from _regular(schema, path)
    yield from _extensions(schema, path)
    yield from _list(schema, path)
    yield from _children(schema, path)
    yield from _rules(schema, path)
    yield from _default(schema, path)
    for keyword in _JUNCTORS:
        branches = schema.get(keyword)
        for index, branch in enumerate(branches if isinstance(branches, list) else ()):
            yield from _branch(branch, f"{path}.{keyword}[{index}]", loose=bool(schema.get(_INT_OR_STRING)))
    if "not" in schema:
        yield from _branch(schema["not"], f"{path}.not", loose=False)


def _regular(schema: Schema, path: str) -> Errors:
    pattern = schema.get("pattern")
    if isinstance(pattern, str) and pattern and not is_pattern(pattern):
        yield invalid(
            f"{path}.pattern", pattern, "must be a valid regular expression, but isn't: RE2 refuses it"
        )


def _extensions(schema: Schema, path: str) -> Errors:
    if schema.get(_INT_OR_STRING):
        for keyword in (_PRESERVE, _EMBEDDED):
            if schema.get(keyword):
                yield invalid(f"{path}.{keyword}", True, f"must be false if {_INT_OR_STRING} is true")
    if schema.get(_EMBEDDED) and schema.get("type") != "object":
        yield required(f"{path}.type", f"must be object if {_EMBEDDED} is true")
    if schema.get(_EMBEDDED) and not schema.get("properties") and not schema.get(_PRESERVE):
        yield required(f"{path}.properties", f"must not be empty if {_EMBEDDED} is true without {_PRESERVE}")
    if (kind := schema.get(_MAP_TYPE)) is not None and kind not in ("atomic", "granular"):
        yield not_supported(f"{path}.{_MAP_TYPE}", kind, ("atomic", "granular"))


def _list(schema: Schema, path: str) -> Errors:
    kind, keys = schema.get(_LIST_TYPE), schema.get(_LIST_KEYS)
    items = schema.get("items") if isinstance(schema.get("items"), dict) else None
    if schema.get("type") == "array" and items is None:
        yield required(f"{path}.items", "must be specified")
    if kind is not None and kind not in ("atomic", "set", "map"):
        yield not_supported(f"{path}.{_LIST_TYPE}", kind, ("atomic", "set", "map"))
    if kind is not None and schema.get("type") != "array":
        yield required(f"{path}.type", f"must be array if {_LIST_TYPE} is specified")
    if keys and kind != "map":
        yield required(f"{path}.{_LIST_TYPE}", f"must be map if {_LIST_KEYS} is non-empty")
    if kind == "map":
        yield from _map_list(items or {}, map_keys(schema), path)


def _map_list(items: Schema, keys: list[str], path: str) -> Errors:
    if not keys:
        yield required(f"{path}.{_LIST_KEYS}", f"must not be empty if {_LIST_TYPE} is map")
    if items.get("type") != "object":
        detail = f"must be object if parent array's {_LIST_TYPE} is map"
        yield invalid(f"{path}.items.type", items.get("type") or "", detail)
    properties = items.get("properties") if isinstance(items.get("properties"), dict) else {}
    needed = items.get("required") if isinstance(items.get("required"), list) else []
    for key in keys:
        described = (properties or {}).get(key)
        if not isinstance(described, dict):
            yield invalid(f"{path}.{_LIST_KEYS}", keys, "entries must all be names of item properties")
        elif "default" not in described and key not in (needed or []):
            yield required(
                f"{path}.items.properties[{key}].default",
                f"this property is in {_LIST_KEYS}, so it must have a default or be a required property",
            )
    if len(set(keys)) < len(keys):
        yield invalid(f"{path}.{_LIST_KEYS}", keys, "must not contain duplicate entries")


def _children(schema: Schema, path: str) -> Errors:
    properties, others = schema.get("properties"), schema.get("additionalProperties")
    if properties and others not in (None, False):
        yield forbidden(
            f"{path}.additionalProperties", "additionalProperties and properties are mutual exclusive"
        )
    for key, below in properties.items() if isinstance(properties, dict) else ():
        yield from _typed(below, f"{path}.properties[{key}]", "object fields")
    if isinstance(others, dict):
        yield from _typed(others, f"{path}.additionalProperties", "object fields")
    if isinstance(items := schema.get("items"), dict):
        yield from _typed(items, f"{path}.items", "array items")
    elif items is not None:
        yield forbidden(f"{path}.items", "items must be a schema object and not an array")


def _typed(schema: Any, path: str, place: str) -> Errors:
    if isinstance(schema, dict):
        if not (schema.get("type") or schema.get(_INT_OR_STRING) or schema.get(_PRESERVE)):
            yield required(f"{path}.type", f"must not be empty for specified {place}")
        yield from _node(schema, path)


def _branch(schema: Any, path: str, *, loose: bool) -> Errors:
    """A branch may restrict, but not describe. `loose`: the two types of an int-or-string may be repeated."""
    if not isinstance(schema, dict):
        return
    if schema.get("type") and not loose:
        yield forbidden(f"{path}.type", "must be empty to be structural")
    for keyword in _NOT_IN_JUNCTORS:
        if schema.get(keyword) not in (None, False, "", [], {}):
            yield forbidden(f"{path}.{keyword}", "must be undefined to be structural")
    yield from _regular(schema, path)
    properties = schema.get("properties")
    for key, below in properties.items() if isinstance(properties, dict) else ():
        yield from _branch(below, f"{path}.properties[{key}]", loose=False)
    yield from _branch(schema.get("items"), f"{path}.items", loose=False)
    yield from _branch(schema.get("not"), f"{path}.not", loose=False)
    for keyword in _JUNCTORS:
        branches = schema.get(keyword)
        for index, branch in enumerate(branches if isinstance(branches, list) else ()):
            yield from _branch(branch, f"{path}.{keyword}[{index}]", loose=loose)


def _rules(schema: Schema, path: str) -> Errors:
    entries = schema.get(_RULES)
    for index, entry in enumerate(entries if isinstance(entries, list) else ()):
        if not isinstance(entry, dict):
            continue
        place, text = f"{path}.{_RULES}[{index}]", str(entry.get("rule") or "")
        if not text.strip():
            yield required(f"{place}.rule", "rule is not specified")
        elif problem := rules.compile_error(text):
            yield invalid(f"{place}.rule", entry, f"compilation failed: {problem}")
        message = entry.get("message")
        if isinstance(message, str) and "\n" in message:
            yield invalid(f"{place}.message", message, "must not contain line breaks")
        elif "\n" in text.strip() and not message:
            yield required(f"{place}.message", "message must be specified if rule contains line breaks")
        expression = entry.get("messageExpression")
        if expression and (problem := rules.compile_error(str(expression))):
            yield invalid(f"{place}.messageExpression", entry, f"compilation failed: {problem}")
        if (reason := entry.get("reason")) is not None and reason not in rules.REASONS:
            yield not_supported(f"{place}.reason", reason, rules.REASONS)


def _default(schema: Schema, path: str) -> Errors:
    """A default must itself be pruned and valid."""
    value = schema.get("default")
    if value is None:
        return
    wrapped = {"type": "object", "properties": {"default": schema}}
    filled = default({"default": value}, wrapped)
    if prune(filled, wrapped) != filled:
        yield invalid(f"{path}.default", value, "must not have unknown fields")
    for error in validate(filled, wrapped):
        where = error.field.removeprefix("default")
        yield FieldError(error.type, f"{path}.default{where}", error.message)
