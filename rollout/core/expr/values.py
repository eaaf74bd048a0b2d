"""What values are and how operators treat them: Go's numbers over plain data.

Differences from expr-lang, all on the side of saying so instead of guessing: comparing values of different
types is an error (not `false`), except with nil; integers that leave 64 bits are an error (they do not
wrap); a string's unit is the character (not the byte) everywhere.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from rollout.core.expr.errors import Fault
from rollout.core.expr.limits import MAX_DEPTH, MAX_INT, MAX_STEPS, MAX_STRING, MIN_INT

_TYPES = {
    type(None): "nil",
    bool: "bool",
    int: "int",
    float: "float",
    str: "string",
    list: "array",
    tuple: "array",
    dict: "map",
    datetime: "date",
    timedelta: "duration",
}
_ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_ORDERED_TYPES = frozenset({"string", "date", "duration"})


def kind(value: Any) -> str:
    """The language's name of the value's type."""
    return _TYPES.get(type(value), "unknown")


def is_number(value: Any) -> bool:
    return type(value) is int or type(value) is float


def boolean(value: Any, role: str) -> bool:
    if type(value) is not bool:
        raise Fault(f"{role} must be true or false, not {described(value)}")
    return value


def integer(value: Any, role: str) -> int:
    if type(value) is not int:
        raise Fault(f"{role} must be an integer, not {described(value)}")
    return value


def number(value: Any, role: str) -> int | float:
    if not is_number(value):
        raise Fault(f"{role} must be a number, not {described(value)}")
    return value  # type: ignore[no-any-return]


def text(value: Any, role: str) -> str:
    if type(value) is not str:
        raise Fault(f"{role} must be a string, not {described(value)}")
    return value


def array(value: Any, role: str) -> list[Any] | tuple[Any, ...]:
    if type(value) is not list and type(value) is not tuple:
        raise Fault(f"{role} must be an array, not {described(value)}")
    return value


def mapping(value: Any, role: str) -> dict[str, Any]:
    if type(value) is not dict:
        raise Fault(f"{role} must be a map, not {described(value)}")
    return value


def described(value: Any) -> str:
    """A value for an error message: its type, and itself when that is short."""
    name = kind(value)
    if name in {"nil", "unknown"}:
        return name
    if name in {"array", "map"}:
        return f"an empty {name}" if not value else f"{'an' if name == 'array' else 'a'} {name}"
    shown = to_text(value)
    article = "an" if name[0] in "aeiou" else "a"
    return f"{article} {name} ({shown})" if len(shown) <= 40 else f"{article} {name}"


def checked_int(value: int) -> int:
    if not MIN_INT <= value <= MAX_INT:
        raise Fault("the integer leaves 64 bits; use floats, for example `float(x)`")
    return value


def as_float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        raise Fault("the integer leaves 64 bits") from None


def equal(left: Any, right: Any) -> bool:
    """`==`. Numbers compare by value, nil with everything; other types must be the same."""
    if left is None or right is None:
        return left is right
    if is_number(left) and is_number(right):
        return _pair(left, right, operator.eq)
    if kind(left) != kind(right) or kind(left) == "unknown":
        raise Fault(
            f"{described(left)} and {described(right)} cannot be compared; "
            "convert one with int(), float() or string()"
        )
    return alike(left, right)


def alike(left: Any, right: Any, depth: int = 0) -> bool:
    """Deep equality, false (no error) for different types: how elements of collections are compared."""
    if depth > MAX_DEPTH:
        raise Fault("the values nest too deep to be compared")
    if is_number(left) and is_number(right):
        return _pair(left, right, operator.eq)
    if kind(left) != kind(right):
        return False
    if kind(left) == "array":
        return len(left) == len(right) and all(
            alike(a, b, depth + 1) for a, b in zip(left, right, strict=True)
        )
    if kind(left) == "map":
        return left.keys() == right.keys() and all(alike(left[key], right[key], depth + 1) for key in left)
    return bool(left == right)


def size(value: Any) -> int:
    """How much work comparing or printing the value is: one, and one for each thing in it, up to the limit.

    (Small values can be huge: `reduce(0..99, [#acc, #acc], 1)` names one array 2^100 times.)
    """
    total, stack = 0, [value]
    while stack and total <= MAX_STEPS:
        item = stack.pop()
        total += 1
        if type(item) is dict:
            stack.extend(item.values())
        elif type(item) is list or type(item) is tuple:
            stack.extend(item)
        elif type(item) is str:
            total += len(item) >> 6
    return total


def ordered(sign: str, left: Any, right: Any) -> bool:
    """`<`, `<=`, `>`, `>=` of two numbers, strings, dates or durations."""
    if is_number(left) and is_number(right):
        return _pair(left, right, _ORDER[sign])
    if kind(left) == kind(right) and kind(left) in _ORDERED_TYPES:
        return _ORDER[sign](left, right)
    raise Fault(f"`{sign}` cannot compare {described(left)} with {described(right)}{_hint(left, right)}")


def _hint(left: Any, right: Any) -> str:
    for value in (left, right):
        if kind(value) == "array":
            return "; take an element, for example `result[0]`"
        if value is None:
            return "; use `default(x, ...)` or `isNil(x)` for a value that may be missing"
    return ""


def _pair(left: float, right: float, compare: Callable[[Any, Any], bool]) -> bool:
    if type(left) is type(right):
        return compare(left, right)
    return compare(as_float(left), as_float(right))


def arithmetic(sign: str, left: Any, right: Any) -> Any:
    """`+ - * / % **`: ints stay ints except in `/` and `**`, which always give floats."""
    if is_number(left) and is_number(right):
        return _numbers(sign, left, right)
    if sign == "+" and type(left) is str and type(right) is str:
        return checked_text(left + right)
    moment = _moments(sign, left, right)
    if moment is not None:
        return moment
    raise Fault(f"`{sign}` cannot take {described(left)} and {described(right)}{_hint(left, right)}")


def checked_text(value: str) -> str:
    if len(value) > MAX_STRING:
        raise Fault(f"the string is longer than {MAX_STRING} characters")
    return value


def _numbers(sign: str, left: float, right: float) -> int | float:
    match sign:
        case "/":
            return divided(as_float(left), as_float(right))
        case "**":
            return power(as_float(left), as_float(right))
        case "%":
            return remainder(integer(left, "the left side of `%`"), integer(right, "the right side of `%`"))
    if type(left) is int and type(right) is int:
        return checked_int({"+": left + right, "-": left - right, "*": left * right}[sign])
    a, b = as_float(left), as_float(right)
    return {"+": a + b, "-": a - b, "*": a * b}[sign]


def _moments(sign: str, left: Any, right: Any) -> Any:
    pair = (kind(left), kind(right))
    try:
        if sign == "-" and pair in {("date", "date"), ("date", "duration"), ("duration", "duration")}:
            return left - right
        if sign == "+" and pair in {("date", "duration"), ("duration", "date"), ("duration", "duration")}:
            return left + right
    except (OverflowError, TypeError):
        raise Fault("the date is out of range") from None
    return None


def divided(left: float, right: float) -> float:
    """IEEE 754 division: by zero gives an infinity, or NaN."""
    if right:
        return left / right
    if not left or math.isnan(left):
        return math.nan
    return math.copysign(math.inf, left) * math.copysign(1.0, right)


def remainder(left: int, right: int) -> int:
    """Truncated as in Go: the sign is the left side's."""
    if not right:
        raise Fault("the right side of `%` is zero")
    result = abs(left) % abs(right)
    return -result if left < 0 else result


def power(base: float, exponent: float) -> float:
    try:
        return math.pow(base, exponent)
    except OverflowError:
        odd = exponent.is_integer() and int(exponent) % 2 == 1
        return -math.inf if base < 0 and odd else math.inf
    except ValueError:
        if base == 0:
            odd = exponent.is_integer() and int(exponent) % 2 == 1
            return math.copysign(math.inf, base) if odd else math.inf
        return math.nan


def negated(value: Any) -> int | float:
    found = number(value, "the value after `-`")
    return checked_int(-found) if type(found) is int else -found


def to_text(value: Any, depth: int = 0) -> str:
    """How Go prints a value: `1`, `1.5`, `1e+20`, `[1 2]`, `map[a:1]`, `<nil>`."""
    if depth > MAX_DEPTH:
        raise Fault("the value nests too deep to be printed")
    if value is None:
        return "<nil>"
    if type(value) is bool:
        return "true" if value else "false"
    if type(value) is int:
        return str(checked_int(value))
    if type(value) is float:
        return float_text(value)
    if type(value) is str:
        return value
    if type(value) is list or type(value) is tuple:
        return f"[{' '.join(to_text(item, depth + 1) for item in value)}]"
    if type(value) is dict:
        pairs = sorted((to_text(key, depth + 1), to_text(item, depth + 1)) for key, item in value.items())
        return f"map[{' '.join(f'{key}:{item}' for key, item in pairs)}]"
    return str(value)


def float_text(value: float) -> str:
    """A float as Go prints it: the shortest digits, with an exponent below 1e-4 and from 1e+06 on."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    if value == 0:
        return "-0" if math.copysign(1, value) < 0 else "0"
    exact = Decimal(repr(value)).normalize()
    sign, digits, exponent = exact.as_tuple()
    magnitude = len(digits) + int(exponent) - 1
    if -4 <= magnitude < 6:
        return f"{exact:f}"
    mantissa = "".join(map(str, digits))
    fraction = f".{mantissa[1:]}" if len(mantissa) > 1 else ""
    direction = "-" if magnitude < 0 else "+"
    return f"{'-' if sign else ''}{mantissa[0]}{fraction}e{direction}{abs(magnitude):02d}"
