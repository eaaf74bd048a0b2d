"""Small checks that the rules of built-in kinds are made of. Lenient about types: schemas judge those."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeGuard

from rollout.sandbox.schema import names
from rollout.sandbox.schema.fields import FieldError, invalid, not_supported

Object = Mapping[str, Any]
Errors = Iterator[FieldError]

PROTOCOLS = ("SCTP", "TCP", "UDP")


def mapping(value: Any, *keys: str) -> dict[str, Any]:
    """The object at the end of `keys`; {} when there is none."""
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value if isinstance(value, dict) else {}


def items(value: Any, key: str, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """(path, item) for the objects in a list."""
    found = value.get(key) if isinstance(value, Mapping) else None
    for index, item in enumerate(found if isinstance(found, list) else ()):
        if isinstance(item, dict):
            yield f"{path}.{key}[{index}]", item


def whole(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def natural(values: Object, path: str, *keys: str) -> Errors:
    for key in keys:
        if whole(number := values.get(key)) and number < 0:
            yield invalid(f"{path}.{key}", number, "must be greater than or equal to 0")


def one_of(value: Any, supported: tuple[str, ...], path: str) -> Errors:
    if isinstance(value, str) and value not in supported:
        yield not_supported(path, value, supported)


def each(value: Any, problems: names.Check, path: str) -> Errors:
    if isinstance(value, str):
        yield from (invalid(path, value, problem) for problem in problems(value))


def port_number(value: Any, path: str) -> Errors:
    if whole(value) and not 1 <= value <= 65535:
        yield invalid(path, value, "must be between 1 and 65535, inclusive")


def port_or_name(value: Any, path: str) -> Errors:
    yield from each(value, names.port_name, path)
    yield from port_number(value, path)
