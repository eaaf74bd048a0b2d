"""Which part of an old object belongs to which part of a new one, and when two values are the same."""

from __future__ import annotations

from typing import Any

from rollout.api.codec import encode

MISSING: Any = object()
"""There was no old value here (None is a value: JSON null)."""

Schema = dict[str, Any]


def same(a: Any, b: Any) -> bool:
    """JSON equality: true is not 1, but 1 is 1.0."""
    if a is b:
        return True
    if a != b:
        return False  # nearly always the answer, and at C speed
    try:
        return encode(a) == encode(b) or _strictly_same(a, b)
    except (OverflowError, UnicodeError):  # values that JSON bytes cannot hold
        return _strictly_same(a, b)


def _strictly_same(a: Any, b: Any) -> bool:
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(_strictly_same(a[k], b[k]) for k in a)
    if isinstance(a, list):
        return isinstance(b, list) and len(a) == len(b) and all(map(_strictly_same, a, b))
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    return bool(a == b)


def identity(value: Any) -> Any:
    """A hashable stand-in: `identity(a) == identity(b)` exactly when `same(a, b)`."""
    if isinstance(value, dict):
        return frozenset((key, identity(inner)) for key, inner in value.items())
    if isinstance(value, list):
        return tuple(map(identity, value))
    return (bool, value) if isinstance(value, bool) else value


def map_keys(schema: Schema) -> list[str]:
    """The key fields of a list of type map."""
    keys = schema.get("x-kubernetes-list-map-keys")
    return [key for key in keys if isinstance(key, str)] if isinstance(keys, list) else []


def member_before(key: str, old: Any) -> Any:
    """The old value of a property or map entry, or MISSING."""
    return old.get(key, MISSING) if isinstance(old, dict) else MISSING


def item_before(item: Any, old: Any, schema: Schema) -> Any:
    """The old item with the same keys, in a list of type map; MISSING elsewhere: items have no identity."""
    if (
        not isinstance(old, list)
        or not isinstance(item, dict)
        or schema.get("x-kubernetes-list-type") != "map"
    ):
        return MISSING
    keys = map_keys(schema)
    wanted = [item.get(key, MISSING) for key in keys]
    for candidate in old:
        if isinstance(candidate, dict) and all(
            same(candidate.get(key, MISSING), value) for key, value in zip(keys, wanted, strict=True)
        ):
            return candidate
    return MISSING
