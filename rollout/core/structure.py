"""Whether a value has the shape of its API type: known fields, right types, inside their bounds."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from rollout.api.fields import INT64, Field
from rollout.core.problem import Problem, invalid, required, shown, unsupported

_NAMES = {
    "object": "an object",
    "map": "an object",
    "any": "an object",
    "array": "a list",
    "string": "a string",
    "integer": "an integer",
    "number": "a number",
    "boolean": "true or false",
    "int-or-string": "an integer or a string",
}


def check(value: Any, field: Field, path: str) -> Iterator[Problem]:
    """What is wrong with the shape of `value`. Never raises for JSON data."""
    if value is None and field.nullable:
        return
    if not _is(value, field.type):
        yield invalid(path, value, f"must be {_NAMES[field.type]}", _quote_hint(value, field))
    elif field.type == "object":
        yield from _check_object(value, field, path)
    elif field.type == "map" and field.items is not None:
        for key, member in value.items():
            yield from check(member, field.items, f"{path}[{shown(key)}]")
    elif field.type == "array" and field.items is not None:
        if field.max_items is not None and len(value) > field.max_items:
            yield Problem(path, f"Too many: {len(value)}: must have at most {field.max_items} items")
        for index, member in enumerate(value):
            yield from check(member, field.items, f"{path}[{index}]")
    else:
        yield from _check_scalar(value, field, path)


def fits(value: Any, field: Field) -> bool:
    """Whether nothing is wrong with the shape of `value`."""
    return next(check(value, field, ""), None) is None


def _check_object(value: Mapping[str, Any], field: Field, path: str) -> Iterator[Problem]:
    for name in field.required:
        if value.get(name) is None:
            yield required(_join(path, name), "this field must be set")
    for name, member in value.items():
        known = field.fields.get(name)
        if known is None:
            if not field.open:
                yield _unknown(_join(path, name), name, field)
        elif not known.supported:
            if member is not None:
                yield unsupported(_join(path, name), "Surefoot does not act on this field", "remove it")
        elif not (member is None and name in field.required):
            yield from check(member, known, _join(path, name))


def _check_scalar(value: Any, field: Field, path: str) -> Iterator[Problem]:
    if field.enum and value not in field.enum:
        allowed = ", ".join(f'"{one}"' for one in field.enum)
        yield Problem(path, f"Unsupported value: {shown(value)}: must be one of {allowed}")
    if isinstance(value, int) and field.type in {"integer", "int-or-string"}:
        low, high = field.minimum, INT64 if field.maximum is None else field.maximum
        if low is not None and value < low:
            yield invalid(path, value, f"must be at least {low}")
        elif value > high:
            yield invalid(path, value, f"must be at most {high}")
        elif value < -INT64:
            yield invalid(path, value, f"must be at least {-INT64}")
    if isinstance(value, str) and field.pattern and not re.search(field.pattern, value):
        yield invalid(path, value, 'must be an integer or a percentage such as "25%"')


def _is(value: Any, kind: str) -> bool:
    match kind:
        case "object" | "map" | "any":
            return isinstance(value, Mapping) and all(isinstance(key, str) for key in value)
        case "array":
            return isinstance(value, list)
        case "string":
            return isinstance(value, str)
        case "boolean":
            return isinstance(value, bool)
        case "integer":
            return isinstance(value, int) and not isinstance(value, bool)
        case "number":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case _:
            return isinstance(value, int | str) and not isinstance(value, bool)


def _quote_hint(value: Any, field: Field) -> str:
    """YAML reads 1.0, true and null without quotes as something else than text."""
    if field.type == "string" and isinstance(value, bool | int | float):
        return "put it in quotes"
    if field.type == "integer" and isinstance(value, str) and value.lstrip("-").isdigit():
        return "write it without quotes"
    return ""


def _unknown(path: str, name: str, field: Field) -> Problem:
    near = get_close_matches(name, [one for one, known in field.fields.items() if known.supported], 1)
    fix = f'did you mean "{near[0]}"?' if near else "remove it, or correct its name or its indentation"
    return Problem(path, f"unknown field; {fix}")


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
