"""The built-in kinds: their schemas as Kubernetes publishes them, resolved for our own use.

The data comes from the OpenAPI v3 files of a Kubernetes release (tools/make_kinds.py, NOTICE).
"""

from __future__ import annotations

import gzip
from functools import cache
from importlib.resources import files
from typing import Any

from rollout.api.codec import decode
from rollout.sandbox.schema.defaulting import defaults
from rollout.sandbox.schema.semantics import validate
from rollout.sandbox.schema.structural import Schema

__all__ = ["GO_TYPE", "STRUCT", "closure", "defaults", "definitions", "release", "schema_of", "validate"]

_PREFIX = "#/components/schemas/"
_PRESERVE = "x-kubernetes-preserve-unknown-fields"
STRUCT = "x-surefoot-struct"
"""Marks fields that Kubernetes holds as values, not pointers: they exist even when nobody set them."""
MICRO = "x-surefoot-micro"
"""Marks times that are read with six digits of a second's fraction, no more and no fewer."""
GO_TYPE = "x-surefoot-go"
"""Kubernetes' own name of an object's type, such as `v1.PodSpec`; decoding errors print it."""


@cache
def _data() -> dict[str, Any]:
    packed = files("rollout.sandbox.schema").joinpath("kinds.json.gz").read_bytes()
    loaded: dict[str, Any] = decode(gzip.decompress(packed))
    return loaded


def release() -> str:
    """The Kubernetes release that the schemas come from, such as "v1.34.2"."""
    return str(_data()["kubernetes"])


@cache
def _index() -> dict[tuple[str, str], str]:
    """(apiVersion, kind) -> the schema's name."""
    found: dict[tuple[str, str], str] = {}
    for name, schema in _data()["schemas"].items():
        for one in schema.get("x-kubernetes-group-version-kind", ()):
            version = f"{one['group']}/{one['version']}" if one["group"] else one["version"]
            found[version, one["kind"]] = name
    return found


@cache
def schema_of(api_version: str, kind: str) -> Schema | None:
    """The schema of a built-in kind with every reference inlined; None for other kinds. Read-only.

    Parts are shared, never cyclic: where a schema contains itself (JSONSchemaProps) the inner one is open.
    Defaults that are only Go's zero values are left out.
    """
    name = _index().get((api_version, kind))
    return _resolved(name) if name else None


def definitions(group: str, version: str) -> dict[str, Any]:
    """The schemas of a group version as published, by name: its kinds and all that they refer to. Read-only."""
    api_version = f"{group}/{version}" if group else version
    return closure([name for (known, _), name in _index().items() if known == api_version])


def closure(names: list[str]) -> dict[str, Any]:
    """The published schemas with these names, and all that they refer to."""
    schemas, found, queue = _data()["schemas"], {}, list(names)
    while queue:
        name = queue.pop()
        if name not in found and name in schemas:
            found[name] = schemas[name]
            queue.extend(_references(schemas[name]))
    return found


def _references(value: Any) -> set[str]:
    if isinstance(value, dict):
        target = value.get("$ref")
        inner = set[str]().union(*map(_references, value.values()))
        return inner | {target.removeprefix(_PREFIX)} if isinstance(target, str) else inner
    return set[str]().union(*map(_references, value)) if isinstance(value, list) else set()


@cache
def _resolved(name: str, above: tuple[str, ...] = ()) -> Schema:
    if name in above:
        return {"type": "object", _PRESERVE: True}
    short = name.rpartition(".")[2]
    if short == "IntOrString":
        return {"x-kubernetes-int-or-string": True}
    if short == "Quantity":
        return {"format": "quantity"}
    if short == "MicroTime":
        return {"type": "string", "format": "date-time", MICRO: True}
    path = (*above, name) if _recursive(name) else above
    schema = _inlined(_data()["schemas"][name], path)
    return {**schema, GO_TYPE: ".".join(name.split(".")[-2:])} if "properties" in schema else schema


@cache
def _recursive(name: str) -> bool:
    """Whether a schema contains itself. Only those remember their way, so that all others are shared."""
    seen, queue = set[str](), list(_references(_data()["schemas"][name]))
    while queue:
        one = queue.pop()
        if one not in seen:
            seen.add(one)
            queue.extend(_references(_data()["schemas"][one]))
    return name in seen


def _inlined(schema: dict[str, Any], above: tuple[str, ...]) -> Schema:
    result = {k: v for k, v in schema.items() if k not in {"allOf", "$ref", "default", "description"}}
    targets = [one["$ref"] for one in schema.get("allOf", ()) if "$ref" in one]
    if "$ref" in schema:
        targets.append(schema["$ref"])
    for target in targets:
        result = {**_resolved(target.removeprefix(_PREFIX), above), **result}
    if schema.get("default") == {} and targets:
        result[STRUCT] = True
    elif isinstance(fallback := schema.get("default"), (str, int)) and fallback:
        result["default"] = fallback
    for keyword in ("items", "additionalProperties"):
        if isinstance(below := schema.get(keyword), dict):
            result[keyword] = _inlined(below, above)
    if isinstance(properties := schema.get("properties"), dict):
        result["properties"] = {key: _inlined(below, above) for key, below in properties.items()}
    is_open = result.get("type", "object") == "object" and not targets
    if is_open and not {"properties", "additionalProperties", "oneOf", "format"} & result.keys():
        result[_PRESERVE] = True
    return result
