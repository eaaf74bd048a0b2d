"""Field errors: one broken rule at one field, worded as kube-apiserver words it.

The contract is `k8s.io/apimachinery/pkg/util/validation/field`: an error prints as
`<field>: <type>: <value>: <detail>`, and becomes one cause of an Invalid (422) Status.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from rollout.errors import Invalid

REQUIRED = "FieldValueRequired"
INVALID = "FieldValueInvalid"
TYPE_INVALID = "FieldValueTypeInvalid"
NOT_SUPPORTED = "FieldValueNotSupported"
DUPLICATE = "FieldValueDuplicate"
FORBIDDEN = "FieldValueForbidden"
TOO_LONG = "FieldValueTooLong"
TOO_MANY = "FieldValueTooMany"

NO_FIELD = "<nil>"
"""How kube-apiserver prints the path of a rule that belongs to the whole object."""


class FieldError(msgspec.Struct, frozen=True):
    """One broken rule. `type` is the Status cause's reason, `message` the text after the field's path."""

    type: str
    field: str
    message: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


def required(field: str, detail: str = "") -> FieldError:
    return FieldError(REQUIRED, field, _with("Required value", detail))


def invalid(field: str, value: Any, detail: str) -> FieldError:
    return FieldError(INVALID, field, _with(f"Invalid value: {shown(value)}", detail))


def type_invalid(field: str, value: Any, detail: str) -> FieldError:
    return FieldError(TYPE_INVALID, field, _with(f"Invalid value: {shown(value)}", detail))


def not_supported(field: str, value: Any, supported: Iterable[Any]) -> FieldError:
    names = ", ".join(quoted(one if isinstance(one, str) else compact(one)) for one in supported)
    return FieldError(
        NOT_SUPPORTED,
        field,
        f"Unsupported value: {shown(value)}" + (f": supported values: {names}" * bool(names)),
    )


def duplicate(field: str, value: Any) -> FieldError:
    return FieldError(DUPLICATE, field, f"Duplicate value: {shown(value)}")


def forbidden(field: str, detail: str) -> FieldError:
    return FieldError(FORBIDDEN, field, _with("Forbidden", detail))


def too_long(field: str, limit: int) -> FieldError:
    unit = "byte" if limit == 1 else "bytes"
    return FieldError(TOO_LONG, field, f"Too long: may not be more than {limit} {unit}")


def too_many(field: str, actual: int, limit: int) -> FieldError:
    unit = "item" if limit == 1 else "items"
    return FieldError(TOO_MANY, field, f"Too many: {actual}: must have at most {limit} {unit}")


def invalid_object(kind: str, group: str, name: str, errors: Sequence[FieldError]) -> Invalid:
    """The 422 answer for an object with these errors: kube's sentence and one cause per error."""
    lines = list(dict.fromkeys(str(error) for error in errors))
    what = lines[0] if len(lines) == 1 else "[" + ", ".join(lines) + "]"
    details = {
        "name": name,
        "group": group,
        "kind": kind,
        "causes": [{"reason": e.type, "message": e.message, "field": e.field} for e in errors],
    }
    subject = f"{kind}.{group}" if group else kind
    return Invalid(f"{subject} {quoted(name)} is invalid: {what}", {k: v for k, v in details.items() if v})


def go_text(value: Any) -> str:
    """A JSON value as Go prints it with %v."""
    match value:
        case Mapping():
            return "map[" + " ".join(f"{key}:{go_text(value[key])}" for key in sorted(value)) + "]"
        case list():
            return "[" + " ".join(map(go_text, value)) + "]"
        case None:
            return "<nil>"
        case str():
            return value
        case _:
            return compact(value)


def child(path: str, key: str) -> str:
    """The path of a property below `path`."""
    return f"{path}.{key}" if path else key


def clone(value: Any) -> Any:
    """A deep copy of plain JSON data (several times faster than `copy.deepcopy`)."""
    if isinstance(value, dict):
        return {key: clone(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [clone(inner) for inner in value]
    return value


def shown(value: Any) -> str:
    """A value as field errors print it: strings quoted, everything else as JSON."""
    return quoted(value) if isinstance(value, str) else compact(value)


def compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False, default=str)


_ESCAPES = {
    "\\": "\\\\",
    '"': '\\"',
    "\n": "\\n",
    "\t": "\\t",
    "\r": "\\r",
    "\a": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\v": "\\v",
}


def quoted(text: str) -> str:
    """Go's `%q`: double quotes, printable characters as they are."""
    return '"' + "".join(map(_escaped, text)) + '"' if not text.isalnum() else f'"{text}"'


def _escaped(char: str) -> str:
    if char in _ESCAPES:
        return _ESCAPES[char]
    if char.isprintable():
        return char
    code = ord(char)
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _with(head: str, detail: str) -> str:
    return f"{head}: {detail}" if detail else head
