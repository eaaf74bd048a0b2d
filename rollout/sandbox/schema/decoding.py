"""What cannot be decoded into a built-in kind: kube-apiserver answers 400 before it validates anything.

The words are those of Go's encoding/json. Custom resources have no such step: their types are validated (422).
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any

from rollout.sandbox.schema.fields import compact
from rollout.sandbox.schema.formats import format_holds
from rollout.sandbox.schema.kinds import GO_TYPE, MICRO, schema_of
from rollout.sandbox.schema.quantity import parse
from rollout.sandbox.schema.structural import METADATA

Schema = Mapping[str, Any]

_KINDS: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "boolean": (bool,),
    "integer": (int, float),
    "number": (int, float),
    "array": (list,),
    "object": (dict,),
}
_LINE_ENDS = {10: None, 13: None}  # Go's decoder skips them
_RANGES = {"int32": 2**31, "int64": 2**63}


def problem(obj: Mapping[str, Any], api_version: str, kind: str) -> str:
    """Why `obj` is no object of this built-in kind, as in `<kind> in version "v1" cannot be handled as a
    <kind>: <problem>`; "" when it is one, or the kind is not built in."""
    schema = schema_of(api_version, kind)
    return _problem(obj, schema, "", "") if schema else ""


def metadata_problem(meta: Any) -> str:
    """The same for the metadata of any kind. Stricter than Go in one thing: null is no item and no value."""
    return _problem(meta, _OBJECT_META, "ObjectMeta", "metadata") or _nothing(meta or {})


_TIME = re.compile(r"[0-9T:-]{19}(\.[0-9]+|)(Z|[+-].*)")
_OBJECT_META: Schema = {**METADATA, GO_TYPE: "v1.ObjectMeta"}


def _nothing(meta: Mapping[str, Any]) -> str:
    for field, wanted in (("labels", "string"), ("annotations", "string")):
        if None in (meta.get(field) or {}).values():
            return f"json: cannot unmarshal null into Go struct field ObjectMeta.metadata.{field} of type {wanted}"
    for field in ("finalizers", "ownerReferences", "managedFields"):
        if None in (meta.get(field) or ()):
            return f"json: cannot unmarshal null into Go struct field ObjectMeta.metadata.{field}"
    return ""


def _problem(value: Any, schema: Schema, struct: str, path: str) -> str:
    if value is None:
        return ""
    wanted = schema.get("type")
    if schema.get("x-kubernetes-int-or-string"):
        return _int_or_string(value)
    if schema.get("format") == "quantity":
        return _quantity(value)
    if isinstance(wanted, str) and not _fits(value, wanted):
        return _mismatch(value, schema, struct, path)
    if isinstance(value, dict):
        return _members(value, schema, struct, path)
    if isinstance(value, list) and isinstance(items := schema.get("items"), dict):
        found = (_problem(item, items, struct, path) for item in value)
        return next((text for text in found if text), "")
    if isinstance(value, str):
        return _text(value, schema)
    return _out_of_range(value, schema, struct, path)


def _members(value: dict[str, Any], schema: Schema, struct: str, path: str) -> str:
    properties, others = schema.get("properties") or {}, schema.get("additionalProperties")
    name = str(schema.get(GO_TYPE, struct)).rpartition(".")[2]
    for key, inner in value.items():
        if isinstance(below := properties.get(key), dict):
            text = _problem(inner, below, name, f"{path}.{key}" if path else key)
        else:
            text = _problem(inner, others, struct, path) if isinstance(others, dict) else ""
        if text:
            return text
    return ""


def _fits(value: Any, wanted: str) -> bool:
    kinds = _KINDS.get(wanted)
    return kinds is None or (
        isinstance(value, kinds) and (wanted == "boolean" or not isinstance(value, bool))
    )


def _out_of_range(value: Any, schema: Schema, struct: str, path: str) -> str:
    bound = _RANGES.get(str(schema.get("format")))
    if schema.get("type") != "integer" or isinstance(value, bool) or not isinstance(value, (int, float)):
        return ""
    whole = isinstance(value, int) or value.is_integer()
    inside = bound is None or -bound <= value < bound
    return "" if whole and inside else _mismatch(value, schema, struct, path)


def _mismatch(value: Any, schema: Schema, struct: str, path: str) -> str:
    numeric = schema.get("type") in ("integer", "number")
    field = f"Go struct field {struct}.{path}" if path else "Go value"
    return f"json: cannot unmarshal {shown(value, numeric=numeric)} into {field} of type {_go_type(schema)}"


def shown(value: Any, *, numeric: bool = False) -> str:
    """The JSON type as Go prints it; with the number where another number was wanted."""
    match value:
        case bool():
            return "bool"
        case int() | float():
            return f"number {compact(value)}" if numeric else "number"
        case str():
            return "string"
        case list():
            return "array"
        case _:
            return "object"


def _go_type(schema: Schema) -> str:
    match schema.get("type"):
        case "boolean":
            return "bool"
        case "integer":
            return str(schema.get("format") or "int64")
        case "number":
            return "float64"
        case "array":
            return f"[]{_go_type(schema.get('items') or {})}"
        case "object" if GO_TYPE in schema:
            return str(schema[GO_TYPE])
        case "object":
            return f"map[string]{_go_type(schema.get('additionalProperties') or {})}"
        case _:
            return "string"


def _int_or_string(value: Any) -> str:
    if isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool)):
        return ""
    if isinstance(value, float) and value.is_integer():
        return ""
    return f"json: cannot unmarshal {shown(value)} into Go value of type int32"


def _quantity(value: Any) -> str:
    try:
        parse(compact(value) if not isinstance(value, str) else value)
    except ValueError as error:
        return str(error)
    return ""


def _text(value: str, schema: Schema) -> str:
    name = schema.get("format")
    if name == "byte":
        try:
            base64.b64decode(value.translate(_LINE_ENDS), validate=True)
        except (binascii.Error, ValueError):
            return f"illegal base64 data: {compact(value[:40])}"
    return _time(value, micro=MICRO in schema) if name == "date-time" else ""


def _time(value: str, *, micro: bool) -> str:
    """What Go has against a time. With `micro` it wants six digits of a second's fraction."""
    layout = f"2006-01-02T15:04:05{'.000000' if micro else ''}Z07:00"
    parts = _TIME.fullmatch(value)
    if parts is None:
        why = f'cannot parse {compact(value)} as "2006"'
    elif micro and len(parts[1]) < 7:
        why = f'cannot parse "{parts[1]}{parts[2]}" as ".000000"'
    elif micro and len(parts[1]) > 7:
        why = f'cannot parse "{parts[1][7:]}{parts[2]}" as "Z07:00"'
    elif not format_holds("date-time", value):
        why = "cannot parse it"
    else:
        return ""
    return f'parsing time {compact(value)} as "{layout}": {why}'
