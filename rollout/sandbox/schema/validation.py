"""Validation of objects against structural schemas, in kube-apiserver's words.

Order of checks as in kube-apiserver: the schema itself, then uniqueness of list-type set/map, then the CEL
rules (`rules.py`), which are skipped when an earlier error could make them misleading.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, TypeGuard

from rollout.sandbox.schema import fields, rules
from rollout.sandbox.schema.correlate import MISSING, identity, item_before, map_keys, member_before, same
from rollout.sandbox.schema.fields import NO_FIELD, FieldError, child
from rollout.sandbox.schema.formats import format_holds, matches

Schema = dict[str, Any]


_BLOCKING = {fields.NOT_SUPPORTED, fields.REQUIRED, fields.TOO_LONG, fields.TOO_MANY, fields.TYPE_INVALID}
_INT_RANGES = {"int32": 2**31, "int64": 2**63}


UNCHECKED = fields.invalid(
    NO_FIELD,
    None,
    "some validation rules were not checked because the object was invalid; "
    "correct the existing errors to complete validation",
)


def validate(obj: Any, schema: Schema, old: Any = None) -> list[FieldError]:
    """What is wrong with `obj`; empty when nothing is. Never raises, whatever JSON `obj` is.

    With `old` (the object before an update) transition rules run, and parts that did not change are not
    judged again, so that an object stored under a laxer schema can still be updated elsewhere.
    """
    before = MISSING if old is None else old
    try:
        errors = sorted(_node(obj, schema, "", before), key=lambda error: error.type == fields.DUPLICATE)
        if not blocked(errors):
            return [*errors, *rules.broken(obj, schema, before)]
    except RecursionError:
        return [fields.invalid(NO_FIELD, "", "the object is nested too deeply")]
    if rules.has_rules(schema):
        errors.append(UNCHECKED)
    return errors


def blocked(errors: Iterable[FieldError]) -> bool:
    """Whether CEL rules are left unchecked because of these errors."""
    return any(error.type in _BLOCKING for error in errors)


def json_type(value: Any) -> str:
    """The JSON type's name as kube-apiserver prints it."""
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "number"
        case str():
            return "string"
        case dict():
            return "object"
        case _:
            return "array"


def _node(value: Any, schema: Schema, path: str, old: Any) -> Iterator[FieldError]:
    if old is not MISSING and same(value, old):
        return
    if value is None and schema.get("nullable"):
        return
    mistyped = _type_error(value, schema, path)
    if mistyped:
        yield mistyped
        if value is None:
            return
    if isinstance(enum := schema.get("enum"), list) and not any(same(value, one) for one in enum):
        yield fields.not_supported(path, value, enum)
    match value:
        case bool():
            pass
        case str():
            yield from _string(value, schema, path)
        case int() | float():
            yield from _number(value, schema, path)
        case list():
            yield from _array(value, schema, path, old)
        case dict():
            yield from _object(value, schema, path, old)
    if not _COMBINING.isdisjoint(schema):
        yield from _combined(value, schema, path)


def _type_error(value: Any, schema: Schema, path: str) -> FieldError | None:
    actual = json_type(value)
    declared = schema.get("type")
    if schema.get("x-kubernetes-int-or-string"):
        wanted, allowed = "integer,string", {"integer", "string"}
    elif isinstance(declared, str) and declared:
        wanted, allowed = declared, {declared, "integer"} if declared == "number" else {declared}
    else:
        return None
    whole = isinstance(value, float) and value.is_integer() and "integer" in allowed
    if actual in allowed or whole:
        return None
    return fields.type_invalid(
        path, actual, f"{path} in body must be of type {wanted}: {fields.quoted(actual)}"
    )


def _string(value: str, schema: Schema, path: str) -> Iterator[FieldError]:
    if _limit(high := schema.get("maxLength")) and len(value) > high:
        yield fields.too_long(path, high)
    if _limit(low := schema.get("minLength")) and len(value) < low:
        yield fields.invalid(path, value, f"{path} in body should be at least {low} chars long")
    pattern = schema.get("pattern")
    if isinstance(pattern, str) and pattern and not matches(pattern, value):
        yield fields.invalid(path, value, f"{path} in body should match '{pattern}'")
    name = schema.get("format")
    if isinstance(name, str) and not format_holds(name, value):
        yield fields.type_invalid(
            path, value, f"{path} in body must be of type {name}: {fields.quoted(value)}"
        )


def _number(value: float, schema: Schema, path: str) -> Iterator[FieldError]:
    bound = _INT_RANGES.get(str(schema.get("format")))
    if bound and schema.get("type") == "integer" and not -bound <= value < bound:
        yield fields.invalid(
            path,
            value,
            f"Checked value must be of type integer with format {schema['format']} in {path}",
        )
    if _limit(step := schema.get("multipleOf")) and step > 0 and not _divides(value, step):
        yield fields.invalid(path, value, f"{path} in body should be a multiple of {_plain(step)}")
    if _limit(high := schema.get("maximum")):
        if schema.get("exclusiveMaximum") and value >= high:
            yield fields.invalid(path, value, f"{path} in body should be less than {_plain(high)}")
        elif value > high:
            yield fields.invalid(
                path, value, f"{path} in body should be less than or equal to {_plain(high)}"
            )
    if _limit(low := schema.get("minimum")):
        if schema.get("exclusiveMinimum") and value <= low:
            yield fields.invalid(path, value, f"{path} in body should be greater than {_plain(low)}")
        elif value < low:
            yield fields.invalid(
                path, value, f"{path} in body should be greater than or equal to {_plain(low)}"
            )


def _array(value: list[Any], schema: Schema, path: str, old: Any) -> Iterator[FieldError]:
    if isinstance(items := schema.get("items"), dict):
        for index, item in enumerate(value):
            before = item_before(item, old, schema)
            yield from _node(item, items, f"{path}[{index}]", before)
    if _limit(low := schema.get("minItems")) and len(value) < low:
        yield fields.invalid(path, len(value), f"{path} in body should have at least {low} items")
    if _limit(high := schema.get("maxItems")) and len(value) > high:
        yield fields.too_many(path, len(value), high)
    if schema.get("uniqueItems") and len({identity(item) for item in value}) < len(value):
        yield fields.invalid(path, "", f"{path} in body shouldn't contain duplicates")
    if "x-kubernetes-list-type" in schema:
        yield from _duplicates(value, schema, path)


_SCALARS: dict[type, str] = {str: "string", bool: "boolean"}
_UNLIMITED = frozenset({"type", "default", "description", "nullable"})


def _object(value: dict[str, Any], schema: Schema, path: str, old: Any) -> Iterator[FieldError]:
    if _limit(low := schema.get("minProperties")) and len(value) < low:
        yield fields.invalid(path, len(value), f"{path} in body should have at least {low} properties")
    if _limit(high := schema.get("maxProperties")) and len(value) > high:
        yield fields.too_many(path, len(value), high)
    for key, below in _members(value, schema):
        inner = value[key]
        if below.get("type") == _SCALARS.get(type(inner)) and below.keys() <= _UNLIMITED:
            continue  # most fields: a string is wanted, a string it is
        yield from _node(inner, below, child(path, key), member_before(key, old))
    needed = schema.get("required")
    for key in needed if isinstance(needed, list) else ():
        if isinstance(key, str) and key not in value:
            yield fields.required(child(path, key))


def _members(value: dict[str, Any], schema: Schema) -> Iterator[tuple[str, Schema]]:
    """The keys of `value` that have a schema, with it."""
    properties = schema.get("properties")
    known = properties if isinstance(properties, dict) else {}
    others = schema.get("additionalProperties")
    for key in value:
        below = known.get(key, others)
        if isinstance(below, dict):
            yield key, below


_COMBINING = frozenset({"allOf", "anyOf", "oneOf", "not"})


def _combined(value: Any, schema: Schema, path: str) -> Iterator[FieldError]:
    """allOf, anyOf, oneOf, not. Where none of several fits, the closest one's errors are told too."""

    def results(keyword: str) -> list[list[FieldError]]:
        branches = schema.get(keyword)
        if not isinstance(branches, list):
            return []
        return [list(_node(value, one, path, MISSING)) for one in branches if isinstance(one, dict)]

    where = fields.quoted(path)
    if (any_of := results("anyOf")) and all(any_of):
        yield fields.invalid(NO_FIELD, "", f"{where} must validate at least one schema (anyOf)")
        yield from min(any_of, key=len)
    if one_of := results("oneOf"):
        fitting = sum(not errors for errors in one_of)
        if fitting != 1:
            found = f"Found {fitting} valid alternatives" if fitting else "Found none valid"
            yield fields.invalid(
                NO_FIELD, "", f"{where} must validate one and only one schema (oneOf). {found}"
            )
        if not fitting:
            yield from min(one_of, key=len)
    if any(all_of := results("allOf")):
        for errors in all_of:
            yield from errors
        none = ". None validated" if all(all_of) else ""
        yield fields.invalid(NO_FIELD, "", f"{where} must validate all the schemas (allOf){none}")
    if isinstance(unwanted := schema.get("not"), dict) and not any(_node(value, unwanted, path, MISSING)):
        yield fields.invalid(NO_FIELD, "", f"{where} must not validate the schema (not)")


def _duplicates(value: list[Any], schema: Schema, path: str) -> Iterator[FieldError]:
    kind = schema.get("x-kubernetes-list-type")
    seen: set[Any] = set()
    for index, item in enumerate(value):
        if kind == "set":
            shown: Any = item
        elif kind == "map" and isinstance(item, dict):
            shown = {key: item[key] for key in map_keys(schema) if key in item}
        else:
            continue
        name = identity(shown)
        if name in seen:
            yield fields.duplicate(f"{path}[{index}]", shown)
        seen.add(name)


def _limit(bound: Any) -> TypeGuard[int]:
    return isinstance(bound, (int, float)) and not isinstance(bound, bool)


def _divides(value: float, step: float) -> bool:
    try:
        quotient = value / step
    except OverflowError:
        return False
    return abs(quotient - round(quotient)) < 1e-9 if abs(quotient) < 2**53 else value % step == 0


def _plain(number: float) -> str:
    """A bound as Go prints it: whole floats without a fraction."""
    return str(int(number)) if float(number).is_integer() else str(number)
