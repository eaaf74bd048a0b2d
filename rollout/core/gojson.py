"""A pod template as Kubernetes' own Go types write it, byte for byte: what pod-template hashes are made of.

Go writes the fields of a type in the order of their declaration, leaves out those that are marked so and empty,
sorts the keys of maps and escapes `<`, `>` and `&`. The order, the marks and the types are in `podtemplate.FIELDS`,
made from the Go types by tools/podhash, which also compares what is written here with what Go writes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from typing import Any

from rollout.core import podtemplate
from rollout.core.quantity import canonical

_SPECIAL = re.compile("[<>&\u2028\u2029\ud800-\udfff]")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
_BITS = {"int32": 31, "int64": 63}
_ZERO_TIME = datetime(1, 1, 1, tzinfo=UTC)
_FLAGS = "!?0"

# Field name, flag (! always written, ? left out when empty, 0 left out when zero) and type.
_Member = tuple[str, str, str]


class _Misfit(Exception):
    """A value that its type cannot hold."""


def pod_template(template: Mapping[str, Any]) -> bytes:
    """The JSON of `template` as a typed PodTemplateSpec.

    What those types do not know, or cannot hold, is not lost: it follows as JSON of its own (path to value), so that
    a change of it is a change of the bytes. For a template without such fields the bytes are Go's.
    """
    unknown: dict[str, Any] = {}
    text = _struct("PodTemplateSpec", template, "", unknown)
    return (text + (plain(unknown) if unknown else "")).encode()


@cache
def _types() -> dict[str, tuple[_Member, ...]]:
    types: dict[str, tuple[_Member, ...]] = {}
    for line in podtemplate.FIELDS.strip().splitlines():
        name, _, fields = line.partition(":")
        types[name] = tuple(_member(field) for field in fields.split())
    return types


def _member(field: str) -> _Member:
    at = min(found for flag in _FLAGS if (found := field.find(flag)) >= 0)
    return field[:at], field[at], field[at + 1 :]


def _struct(type_: str, value: Any, path: str, unknown: dict[str, Any]) -> str:
    members = _types()[type_]
    if value is None:
        value = {}
    if not isinstance(value, Mapping):
        raise _Misfit
    parts = []
    for name, flag, kind in members:
        given = value.get(name)
        try:
            text = "" if _left_out(flag, kind, given) else _text(kind, given, f"{path}.{name}", unknown)
        except _Misfit:
            unknown[f"{path}.{name}"] = given
            text = "" if _left_out(flag, kind, None) else _text(kind, None, path, unknown)
        if text:
            parts.append(f'"{name}":{text}')
    known = {name for name, _, _ in members}
    unknown.update((f"{path}.{name}", given) for name, given in value.items() if name not in known)
    return "{" + ",".join(parts) + "}"


def _left_out(flag: str, kind: str, value: Any) -> bool:
    if flag == "!":
        return False
    if kind[0] == "*":
        return value is None
    if flag == "0":
        return value is None or _time(value) == "null"
    if kind[0] in "[{":
        return value is None or value in ([], {})
    if kind == "string":
        return value is None or value == ""
    if kind == "bool":
        return value is None or value is False
    return kind in _BITS and (value is None or (value == 0 and not isinstance(value, bool)))


def _text(kind: str, value: Any, path: str, unknown: dict[str, Any]) -> str:
    if kind[0] == "*":
        return "null" if value is None else _text(kind[1:], value, path, unknown)
    if kind[0] == "[":
        return _list(kind[2:], value, path, unknown)
    if kind[0] == "{":
        return _map(kind[2:], value, path, unknown)
    match kind:
        case "string":
            return _string("" if value is None else value)
        case "bool":
            return _bool(value)
        case "int32" | "int64":
            return _integer(value, _BITS[kind])
        case "intstr":
            return _string(value) if isinstance(value, str) else _integer(value, _BITS["int32"])
        case "quantity":
            return _quantity(value)
        case "time":
            return _time(value)
        case "any":
            return plain(value)
    return _struct(kind, value, path, unknown)


def _list(kind: str, value: Any, path: str, unknown: dict[str, Any]) -> str:
    if value is None:
        return "null"
    if not isinstance(value, list | tuple):
        raise _Misfit
    return "[" + ",".join(_text(kind, one, f"{path}[{i}]", unknown) for i, one in enumerate(value)) + "]"


def _map(kind: str, value: Any, path: str, unknown: dict[str, Any]) -> str:
    if value is None:
        return "null"
    if not isinstance(value, Mapping):
        raise _Misfit
    members = (f"{_string(key)}:{_text(kind, value[key], f'{path}.{key}', unknown)}" for key in sorted(value))
    return "{" + ",".join(members) + "}"


def _string(value: Any) -> str:
    if not isinstance(value, str):
        raise _Misfit
    return _SPECIAL.sub(_escaped, json.dumps(value, ensure_ascii=False))


def _escaped(found: re.Match[str]) -> str:
    """What is dangerous in HTML or in JavaScript as an escape; half a character as no character."""
    char = found[0]
    return "\ufffd" if "\ud800" <= char <= "\udfff" else f"\\u{ord(char):04x}"


def _bool(value: Any) -> str:
    if value is not None and not isinstance(value, bool):
        raise _Misfit
    return "true" if value else "false"


def _integer(value: Any, bits: int) -> str:
    if value is None:
        return "0"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not -(2**bits) <= value < 2**bits:
        raise _Misfit
    return str(value)


def _quantity(value: Any) -> str:
    if value is None:
        return '"0"'
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise _Misfit
    written = canonical(value if isinstance(value, str) else plain(value))
    if written is None:
        raise _Misfit
    return f'"{written}"'


def _time(value: Any) -> str:
    """Seconds in UTC; "null" for no time and for the year 1, which is Go's no time."""
    if value is None:
        return "null"
    if not isinstance(value, str) or not _TIME.fullmatch(value):
        raise _Misfit
    try:
        moment = datetime.fromisoformat(value).astimezone(UTC)
    except (ValueError, OverflowError):
        raise _Misfit from None
    return "null" if moment == _ZERO_TIME else moment.strftime(f'"{moment.year:04}-%m-%dT%H:%M:%SZ"')


def plain(value: Any) -> str:
    """Data without types as Go writes it."""
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{_string(str(key))}:{plain(value[key])}" for key in sorted(value)) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(plain, value)) + "]"
    if isinstance(value, float):
        return _float(value)
    return json.dumps(value)


def _float(value: float) -> str:
    """The shortest digits that mean the same number, with an exponent only where it is large."""
    digits = Decimal(repr(value))
    if value == 0 or 1e-6 <= abs(value) < 1e21:
        text = format(digits, "f")
        return text.rstrip("0").rstrip(".") if "." in text else text
    mantissa, _, exponent = format(digits.normalize(), "e").partition("e")
    sign, number = exponent[0], exponent[1:].lstrip("0")
    # Go writes e-07 as e-7 and e+21 as it is.
    return f"{mantissa}e{sign}{number}"
