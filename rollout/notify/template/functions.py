"""The functions of templates: Go's own (https://pkg.go.dev/text/template#hdr-Functions) and Sprig's for text and data.

Sprig: https://masterminds.github.io/sprig/. Values are plain JSON data.
"""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote_plus

WITHOUT = frozenset(
    {"now", "date", "dateModify", "toDate", "ago", "env", "expandenv", "getHostByName", "slice", "js", "tpl"}
    | {"include", "required", "lookup", "fail", "genPrivateKey", "randAlphaNum", "uuidv4", "regexMatch"}
)
"""Functions that templates elsewhere use and that are not here."""
MAX_TEXT = 256 * 1024
_VERB = re.compile(r"%(?P<flags>[-+ 0#]*)(?P<width>\d{0,3})(?:\.(?P<digits>\d{1,3}))?(?P<verb>[a-zA-Z%])")


class FunctionError(ValueError):
    """A function was given what it cannot use."""


def truth(value: Any) -> bool:
    """Go's truth: false, 0, nil and whatever is empty are not."""
    return bool(value)


def text_of(value: Any) -> str:
    """A value as Go prints it with %v."""
    match value:
        case None:
            return "<no value>"
        case bool():
            return "true" if value else "false"
        case str():
            return value
        case float():
            return _number(value)
        case Mapping():
            inner = " ".join(f"{key}:{_inner(value[key])}" for key in sorted(value))
            return f"map[{inner}]"
        case list() | tuple():
            return f"[{' '.join(map(_inner, value))}]"
        case _:
            return str(value)


def _inner(value: Any) -> str:
    return "<nil>" if value is None else text_of(value)


def _number(value: float) -> str:
    """%v of a float64: the shortest digits, an exponent from 1e21 on."""
    if value.is_integer() and abs(value) < 1e21:
        return str(int(value))
    text = repr(value)
    mantissa, _, exponent = text.partition("e")
    if not exponent:
        return text
    sign, digits = ("-" if exponent.startswith("-") else "+"), exponent.lstrip("+-")
    return f"{mantissa}e{sign}{digits.zfill(2)}"


# --- comparing ----------------------------------------------------------------------------------------


def _comparable(value: Any) -> Any:
    if isinstance(value, Mapping | list | tuple):
        raise FunctionError("maps and lists cannot be compared")
    return value


def _same(one: Any, other: Any) -> bool:
    one, other = _comparable(one), _comparable(other)
    if isinstance(one, bool) is not isinstance(other, bool):
        return False
    return bool(one == other)


def _eq(first: Any, *others: Any) -> bool:
    if not others:
        raise FunctionError("needs two values")
    return any(_same(first, other) for other in others)


def _order(name: str, compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def ordered(one: Any, other: Any) -> bool:
        numbers = all(isinstance(x, int | float) and not isinstance(x, bool) for x in (one, other))
        if not numbers and not (isinstance(one, str) and isinstance(other, str)):
            raise FunctionError(f"{name} compares two numbers or two strings")
        return compare(one, other)

    return ordered


def _and(*values: Any) -> Any:
    return next((value for value in values if not truth(value)), values[-1])


def _or(*values: Any) -> Any:
    return next((value for value in values if truth(value)), values[-1])


# --- printing -----------------------------------------------------------------------------------------


def _printf(pattern: str, *values: Any) -> str:
    rest = list(values)

    def one(match: re.Match[str]) -> str:
        verb = match["verb"]
        if verb == "%":
            return "%"
        if not rest:
            return f"%!{verb}(MISSING)"
        value = rest.pop(0)
        width = int(match["width"] or 0)
        text = _formatted(verb, match["digits"], value)
        if match["flags"] and "-" in match["flags"]:
            return text.ljust(width)
        zero = "0" in match["flags"] and verb in "dfeg"
        return text.zfill(width) if zero else text.rjust(width)

    return _VERB.sub(one, str(pattern))


def _formatted(verb: str, digits: str | None, value: Any) -> str:
    match verb:
        case "v" | "s":
            return text_of(value) if digits is None else text_of(value)[: int(digits)]
        case "q":
            return _quote(value)
        case "d" if isinstance(value, int | float) and not isinstance(value, bool):
            return str(int(value))
        case "f" | "e" | "g" if isinstance(value, int | float) and not isinstance(value, bool):
            return format(value, f".{6 if digits is None else int(digits)}{verb}")
        case "t" if isinstance(value, bool):
            return text_of(value)
        case "d" | "f" | "e" | "g" | "t":
            return f"%!{verb}({text_of(value)})"
        case _:
            raise FunctionError(f"not supported: %{verb}; there are %v %s %q %d %f %e %g %t")


def _print(*values: Any) -> str:
    """Spaces between operands when neither is a string."""
    out = ""
    for index, value in enumerate(values):
        both = index and not isinstance(value, str) and not isinstance(values[index - 1], str)
        out += (" " if both else "") + text_of(value)
    return out


# --- data ---------------------------------------------------------------------------------------------


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        if isinstance(value, Mapping):
            value = value.get(key)
        elif isinstance(value, list | tuple) and isinstance(key, int):
            if not 0 <= key < len(value):
                raise FunctionError(f"index {key} is out of range of {len(value)}")
            value = value[key]
        elif value is None:
            return None
        else:
            raise FunctionError(f"cannot take {key!r} of {text_of(value)[:40]!r}")
    return value


def _len(value: Any) -> int:
    if value is None:
        raise FunctionError("nothing has no length; use `with` or `default`")
    return len(value.encode() if isinstance(value, str) else value)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _quote(value: Any) -> str:
    return json.dumps(text_of(value), ensure_ascii=False)


def _dict(*pairs: Any) -> dict[str, Any]:
    return {str(key): value for key, value in zip(pairs[::2], pairs[1::2], strict=True)}


def _number_of(value: Any) -> int:
    try:
        return int(float(value or 0))
    except (TypeError, ValueError):
        return 0


def _indent(spaces: int, text: Any) -> str:
    if not 0 <= spaces <= 100:
        raise FunctionError("indents by 0 to 100")
    pad = " " * spaces
    return pad + _text(text).replace("\n", f"\n{pad}")


def _text(value: Any) -> str:
    return "" if value is None else text_of(value)


def _trunc(length: int, value: Any) -> str:
    text = _text(value)
    return text[length:] if length < 0 else text[:length]


def _replace(old: Any, new: Any, value: Any) -> str:
    old, new, text = _text(old), _text(new), _text(value)
    if text.count(old) * len(new) > MAX_TEXT:
        raise FunctionError(f"the text would be longer than {MAX_TEXT} characters")
    return text.replace(old, new)


FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "and": _and,
    "or": _or,
    "not": lambda value: not truth(value),
    "eq": _eq,
    "ne": lambda one, other: not _same(one, other),
    "lt": _order("lt", lambda one, other: one < other),
    "le": _order("le", lambda one, other: one <= other),
    "gt": _order("gt", lambda one, other: one > other),
    "ge": _order("ge", lambda one, other: one >= other),
    "len": _len,
    "index": _index,
    "print": _print,
    "println": lambda *values: " ".join(map(text_of, values)) + "\n",
    "printf": _printf,
    "html": lambda *values: html.escape(_print(*values)),
    "urlquery": lambda *values: quote_plus(_print(*values)),
    "default": lambda fallback, value=None: value if truth(value) else fallback,
    "empty": lambda value: not truth(value),
    "coalesce": lambda *values: next((value for value in values if truth(value)), None),
    "ternary": lambda yes, no, test: yes if truth(test) else no,
    "upper": lambda value: _text(value).upper(),
    "lower": lambda value: _text(value).lower(),
    "title": lambda value: re.sub(r"\b\w", lambda match: match[0].upper(), _text(value)),
    "trim": lambda value: _text(value).strip(),
    "trimPrefix": lambda prefix, value: _text(value).removeprefix(_text(prefix)),
    "trimSuffix": lambda suffix, value: _text(value).removesuffix(_text(suffix)),
    "trunc": _trunc,
    "replace": _replace,
    "contains": lambda part, value: _text(part) in _text(value),
    "hasPrefix": lambda prefix, value: _text(value).startswith(_text(prefix)),
    "hasSuffix": lambda suffix, value: _text(value).endswith(_text(suffix)),
    "splitList": lambda separator, value: _text(value).split(_text(separator)),
    "join": lambda separator, values: _text(separator).join(map(_text, values or ())),
    "indent": _indent,
    "nindent": lambda spaces, text: f"\n{_indent(spaces, text)}",
    "quote": lambda *values: " ".join(map(_quote, values)),
    "squote": lambda *values: " ".join(f"'{text_of(value)}'" for value in values),
    "toString": _text,
    "toJson": _json,
    "toPrettyJson": lambda value: json.dumps(value, ensure_ascii=False, indent=2),
    "b64enc": lambda value: base64.b64encode(_text(value).encode()).decode(),
    "list": lambda *values: list(values),
    "dict": _dict,
    "get": lambda mapping, key: (mapping or {}).get(key, ""),
    "hasKey": lambda mapping, key: key in (mapping or {}),
    "keys": lambda mapping: sorted(mapping or {}),
    "first": lambda values: values[0] if values else None,
    "last": lambda values: values[-1] if values else None,
    "int": _number_of,
    "add": lambda *values: sum(map(_number_of, values)),
    "add1": lambda value: _number_of(value) + 1,
    "sub": lambda one, other: _number_of(one) - _number_of(other),
}
