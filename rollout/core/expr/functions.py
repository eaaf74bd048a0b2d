"""The functions of the language: expr-lang's that conditions use, and Argo's asInt ... default.

Meaning: https://expr-lang.org/docs/language-definition and study/argo-rollouts.md 1.7. A function takes the
interpreter's `Context` and values that are already evaluated; what touches n elements spends n steps.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from functools import cmp_to_key
from typing import Any, Protocol

import msgspec

from rollout.api.meta import duration
from rollout.core.expr import values
from rollout.core.expr.errors import Fault
from rollout.core.expr.limits import MAX_ITEMS, MAX_STRING


class Context(Protocol):
    """What a function may ask of the interpreter."""

    now: datetime | None

    def spend(self, steps: int) -> None:
        """Fault when the expression has used up its steps."""
        ...

    def holds(self, items: Iterable[Any]) -> Iterable[tuple[int, Any, bool]]:
        """(index, element, whether the predicate holds) one after the other."""
        ...

    def mapped(self, items: Iterable[Any], accumulator: Any = None) -> list[Any]:
        """The predicate's value for each element."""
        ...

    def reduced(self, items: list[Any], accumulator: Any, first: int) -> Any: ...

    @property
    def has_predicate(self) -> bool: ...


class Function(msgspec.Struct, frozen=True):
    """`least` to `most` arguments, besides the predicate ("" none, "optional" or "required")."""

    name: str
    apply: Callable[[Context, list[Any]], Any]
    least: int = 1
    most: int = 1
    predicate: str = ""

    def wrong_count(self, count: int, predicate: bool) -> str:
        if self.predicate == "required" and not predicate:
            return f"`{self.name}` needs a predicate, for example `{self.name}(result, # > 1)`"
        if self.least <= count <= self.most:
            return ""
        wanted = str(self.least) if self.least == self.most else f"{self.least} to {self.most}"
        return f"`{self.name}` takes {wanted} argument{'s' if self.most != 1 else ''}, not {count}"


_FUNCTIONS: dict[str, Function] = {}


def exists(name: str) -> bool:
    return name in _FUNCTIONS


def find(name: str) -> Function | None:
    return _FUNCTIONS.get(name)


def suggestion(name: str) -> str:
    close = difflib.get_close_matches(name, _FUNCTIONS, n=1)
    return f"; did you mean `{close[0]}`?" if close else ""


def _function(
    name: str, least: int = 1, most: int = 1, predicate: str = ""
) -> Callable[[Callable[[Context, list[Any]], Any]], Callable[[Context, list[Any]], Any]]:
    def register(apply: Callable[[Context, list[Any]], Any]) -> Callable[[Context, list[Any]], Any]:
        _FUNCTIONS[name] = Function(name, apply, least, most, predicate)
        return apply

    return register


def _items(context: Context, arguments: list[Any], name: str) -> list[Any]:
    found = values.array(arguments[0], f"the first argument of `{name}`")
    context.spend(len(found))
    return list(found)


def _text(arguments: list[Any], index: int, name: str) -> str:
    return values.text(arguments[index], f"argument {index + 1} of `{name}`")


# Missing values and conversions


@_function("default", 2, 2)
def _default(_: Context, arguments: list[Any]) -> Any:
    value, fallback = arguments
    empty = value is None or (values.kind(value) in {"array", "map"} and not value)
    return fallback if empty else value


@_function("isNil")
def _is_nil(_: Context, arguments: list[Any]) -> bool:
    return arguments[0] is None


@_function("isNaN")
def _is_nan(_: Context, arguments: list[Any]) -> bool:
    return math.isnan(values.as_float(values.number(arguments[0], "the argument of `isNaN`")))


@_function("isInf")
def _is_inf(_: Context, arguments: list[Any]) -> bool:
    return math.isinf(values.as_float(values.number(arguments[0], "the argument of `isInf`")))


def _to_int(name: str) -> Callable[[Context, list[Any]], int]:
    def apply(_: Context, arguments: list[Any]) -> int:
        value = arguments[0]
        if type(value) is str:
            digits = value[1:] if value[:1] in {"-", "+"} else value
            if not (digits.isascii() and digits.isdigit()) or len(digits) > 20:
                raise Fault(f"{values.described(value)} is not an integer")
            return values.checked_int(int(value))
        found = values.number(value, f"the argument of `{name}`")
        if type(found) is float and not math.isfinite(found):
            raise Fault(f"{values.float_text(found)} is not an integer; ask isNaN() or isInf() first")
        return values.checked_int(int(found))

    return apply


def _to_float(name: str) -> Callable[[Context, list[Any]], float]:
    def apply(_: Context, arguments: list[Any]) -> float:
        value = arguments[0]
        if type(value) is not str:
            return values.as_float(values.number(value, f"the argument of `{name}`"))
        try:
            found = float(value) if value == value.strip() and value.isascii() else None
        except ValueError:
            found = None
        if found is None or (math.isinf(found) and "n" not in value.lower()):
            raise Fault(f"{values.described(value)} is not a number")
        return found

    return apply


for _name in ("int", "asInt"):
    _function(_name)(_to_int(_name))
for _name in ("float", "asFloat"):
    _function(_name)(_to_float(_name))


@_function("string")
def _string(context: Context, arguments: list[Any]) -> str:
    context.spend(values.size(arguments[0]))
    return values.checked_text(values.to_text(arguments[0]))


@_function("type")
def _type(_: Context, arguments: list[Any]) -> str:
    return values.kind(arguments[0])


# Collections


@_function("len")
def _len(_: Context, arguments: list[Any]) -> int:
    if values.kind(arguments[0]) not in {"array", "map", "string"}:
        raise Fault(
            f"`len` counts arrays, maps and strings, not {values.described(arguments[0])}"
            + ("; use `len(default(x, []))`" if arguments[0] is None else "")
        )
    return len(arguments[0])


@_function("first")
def _first(context: Context, arguments: list[Any]) -> Any:
    found = _items(context, arguments, "first")
    return found[0] if found else None


@_function("last")
def _last(context: Context, arguments: list[Any]) -> Any:
    found = _items(context, arguments, "last")
    return found[-1] if found else None


@_function("take", 2, 2)
def _take(context: Context, arguments: list[Any]) -> list[Any]:
    count = values.integer(arguments[1], "argument 2 of `take`")
    if count < 0:
        raise Fault("`take` cannot take a negative number of elements")
    return _items(context, arguments, "take")[:count]


@_function("get", 2, 2)
def _get(_: Context, arguments: list[Any]) -> Any:
    target, key = arguments
    if values.kind(target) == "map":
        return target.get(values.text(key, "argument 2 of `get`"))
    if values.kind(target) == "array":
        at = values.integer(key, "argument 2 of `get`")
        return target[at] if -len(target) <= at < len(target) else None
    return None


@_function("keys")
def _keys(context: Context, arguments: list[Any]) -> list[Any]:
    found = values.mapping(arguments[0], "the argument of `keys`")
    context.spend(len(found))
    return sorted(found)


@_function("values")
def _values(context: Context, arguments: list[Any]) -> list[Any]:
    found = values.mapping(arguments[0], "the argument of `values`")
    context.spend(len(found))
    return [found[key] for key in sorted(found)]


@_function("reverse")
def _reverse(context: Context, arguments: list[Any]) -> list[Any]:
    return _items(context, arguments, "reverse")[::-1]


@_function("concat", 1, 16)
def _concat(context: Context, arguments: list[Any]) -> list[Any]:
    joined: list[Any] = []
    for argument in arguments:
        joined.extend(_items(context, [argument], "concat"))
    if len(joined) > MAX_ITEMS:
        raise Fault(f"the array has more than {MAX_ITEMS} elements")
    return joined


@_function("uniq")
def _uniq(context: Context, arguments: list[Any]) -> list[Any]:
    kept: list[Any] = []
    for item in _items(context, arguments, "uniq"):
        context.spend(len(kept) + values.size(item))
        if not any(values.alike(item, other) for other in kept):
            kept.append(item)
    return kept


@_function("sort", 1, 2)
def _sort(context: Context, arguments: list[Any]) -> list[Any]:
    return _sorted(context, _items(context, arguments, "sort"), lambda item: item, arguments[1:])


@_function("sortBy", 1, 2, predicate="required")
def _sort_by(context: Context, arguments: list[Any]) -> list[Any]:
    items = _items(context, arguments, "sortBy")
    pairs = list(zip(context.mapped(items), items, strict=True))
    return [item for _, item in _sorted(context, pairs, lambda pair: pair[0], arguments[1:])]


def _sorted(context: Context, items: list[Any], key: Callable[[Any], Any], order: list[Any]) -> list[Any]:
    if order and order[0] not in ("asc", "desc"):
        raise Fault(f'the order of a sort is "asc" or "desc", not {values.described(order[0])}')

    def compare(left: Any, right: Any) -> int:
        context.spend(1)
        if values.ordered("<", key(left), key(right)):
            return -1
        return 1 if values.ordered("<", key(right), key(left)) else 0

    return sorted(items, key=cmp_to_key(compare), reverse=bool(order) and order[0] == "desc")


# Predicates


@_function("all", predicate="required")
def _all(context: Context, arguments: list[Any]) -> bool:
    return all(held for _, _, held in context.holds(_items(context, arguments, "all")))


@_function("any", predicate="required")
def _any(context: Context, arguments: list[Any]) -> bool:
    return any(held for _, _, held in context.holds(_items(context, arguments, "any")))


@_function("none", predicate="required")
def _none(context: Context, arguments: list[Any]) -> bool:
    return not any(held for _, _, held in context.holds(_items(context, arguments, "none")))


@_function("one", predicate="required")
def _one(context: Context, arguments: list[Any]) -> bool:
    return sum(held for _, _, held in context.holds(_items(context, arguments, "one"))) == 1


@_function("filter", predicate="required")
def _filter(context: Context, arguments: list[Any]) -> list[Any]:
    return [item for _, item, held in context.holds(_items(context, arguments, "filter")) if held]


@_function("map", predicate="required")
def _map(context: Context, arguments: list[Any]) -> list[Any]:
    return context.mapped(_items(context, arguments, "map"))


@_function("count", predicate="optional")
def _count(context: Context, arguments: list[Any]) -> int:
    items = _items(context, arguments, "count")
    if context.has_predicate:
        return sum(held for _, _, held in context.holds(items))
    return sum(values.boolean(item, "an element of `count` without a predicate") for item in items)


@_function("find", predicate="required")
def _find(context: Context, arguments: list[Any]) -> Any:
    items = _items(context, arguments, "find")
    return next((item for _, item, held in context.holds(items) if held), None)


@_function("findIndex", predicate="required")
def _find_index(context: Context, arguments: list[Any]) -> int | None:
    items = _items(context, arguments, "findIndex")
    return next((index for index, _, held in context.holds(items) if held), None)


@_function("findLast", predicate="required")
def _find_last(context: Context, arguments: list[Any]) -> Any:
    items = _items(context, arguments, "findLast")[::-1]
    return next((item for _, item, held in context.holds(items) if held), None)


@_function("findLastIndex", predicate="required")
def _find_last_index(context: Context, arguments: list[Any]) -> int | None:
    items = _items(context, arguments, "findLastIndex")[::-1]
    return next((len(items) - 1 - index for index, _, held in context.holds(items) if held), None)


@_function("groupBy", predicate="required")
def _group_by(context: Context, arguments: list[Any]) -> dict[str, list[Any]]:
    items = _items(context, arguments, "groupBy")
    groups: dict[str, list[Any]] = {}
    for key, item in zip(context.mapped(items), items, strict=True):
        context.spend(values.size(key))
        groups.setdefault(values.to_text(key), []).append(item)
    return groups


@_function("reduce", 1, 2, predicate="required")
def _reduce(context: Context, arguments: list[Any]) -> Any:
    items = _items(context, arguments, "reduce")
    if len(arguments) == 2:
        return context.reduced(items, arguments[1], 0)
    if not items:
        raise Fault("`reduce` of an empty array needs an initial value as its third argument")
    return context.reduced(items, items[0], 1)


# Numbers


@_function("sum", predicate="optional")
def _sum(context: Context, arguments: list[Any]) -> int | float:
    items = _items(context, arguments, "sum")
    if context.has_predicate:
        items = context.mapped(items)
    total: int | float = 0
    for item in items:
        values.number(item, "an element of `sum`")
        total = values.arithmetic("+", total, item)
    return total


def _numbers(context: Context, arguments: list[Any], name: str) -> list[int | float]:
    """All numbers in the arguments and, as expr-lang has it, in arrays among them."""
    found: list[int | float] = []
    stack = list(reversed(arguments))
    while stack:
        context.spend(1)
        item = stack.pop()
        if values.kind(item) == "array":
            context.spend(len(item))
            stack.extend(reversed(item))
        else:
            found.append(values.number(item, f"what `{name}` looks at"))
    return found


def _best(name: str, sign: str) -> Callable[[Context, list[Any]], int | float | None]:
    def apply(context: Context, arguments: list[Any]) -> int | float | None:
        found = _numbers(context, arguments, name)
        best: int | float | None = None
        for item in found:
            if type(item) is float and math.isnan(item):
                return item
            if best is None or values.ordered(sign, item, best):
                best = item
        return best

    return apply


_function("min", 1, 64)(_best("min", "<"))
_function("max", 1, 64)(_best("max", ">"))


@_function("mean", 1, 64)
def _mean(context: Context, arguments: list[Any]) -> float:
    found = [values.as_float(item) for item in _numbers(context, arguments, "mean")]
    return values.divided(sum(found), len(found)) if found else _nothing("mean")


@_function("median", 1, 64)
def _median(context: Context, arguments: list[Any]) -> float:
    found = sorted(values.as_float(item) for item in _numbers(context, arguments, "median"))
    if any(map(math.isnan, found)):
        return math.nan
    middle = len(found) // 2
    if not found:
        return _nothing("median")
    return found[middle] if len(found) % 2 else (found[middle - 1] + found[middle]) / 2


def _nothing(name: str) -> float:
    raise Fault(f"`{name}` of nothing: the array is empty; ask `len(x) > 0` first")


@_function("abs")
def _abs(_: Context, arguments: list[Any]) -> int | float:
    found = values.number(arguments[0], "the argument of `abs`")
    return values.checked_int(abs(found)) if type(found) is int else abs(found)


def _rounding(name: str, apply: Callable[[float], float]) -> None:
    def rounded(_: Context, arguments: list[Any]) -> float:
        found = values.as_float(values.number(arguments[0], f"the argument of `{name}`"))
        # Floats of 2^52 and more have no fraction; math.floor would make huge integers of them.
        return found if not abs(found) < 2**52 else math.copysign(apply(found), found)

    _function(name)(rounded)


_rounding("ceil", math.ceil)
_rounding("floor", math.floor)
_rounding(
    "round",
    lambda number: (
        math.trunc(number) + (number - math.trunc(number) >= 0.5) - (number - math.trunc(number) <= -0.5)
    ),
)


# Strings


@_function("lower")
def _lower(_: Context, arguments: list[Any]) -> str:
    return values.checked_text(_text(arguments, 0, "lower").lower())


@_function("upper")
def _upper(_: Context, arguments: list[Any]) -> str:
    return values.checked_text(_text(arguments, 0, "upper").upper())


@_function("trim", 1, 2)
def _trim(_: Context, arguments: list[Any]) -> str:
    return _text(arguments, 0, "trim").strip(_text(arguments, 1, "trim") if len(arguments) > 1 else None)


@_function("trimPrefix", 2, 2)
def _trim_prefix(_: Context, arguments: list[Any]) -> str:
    return _text(arguments, 0, "trimPrefix").removeprefix(_text(arguments, 1, "trimPrefix"))


@_function("trimSuffix", 2, 2)
def _trim_suffix(_: Context, arguments: list[Any]) -> str:
    return _text(arguments, 0, "trimSuffix").removesuffix(_text(arguments, 1, "trimSuffix"))


@_function("hasPrefix", 2, 2)
def _has_prefix(_: Context, arguments: list[Any]) -> bool:
    return _text(arguments, 0, "hasPrefix").startswith(_text(arguments, 1, "hasPrefix"))


@_function("hasSuffix", 2, 2)
def _has_suffix(_: Context, arguments: list[Any]) -> bool:
    return _text(arguments, 0, "hasSuffix").endswith(_text(arguments, 1, "hasSuffix"))


@_function("indexOf", 2, 2)
def _index_of(_: Context, arguments: list[Any]) -> int:
    return _text(arguments, 0, "indexOf").find(_text(arguments, 1, "indexOf"))


@_function("lastIndexOf", 2, 2)
def _last_index_of(_: Context, arguments: list[Any]) -> int:
    return _text(arguments, 0, "lastIndexOf").rfind(_text(arguments, 1, "lastIndexOf"))


@_function("replace", 3, 3)
def _replace(context: Context, arguments: list[Any]) -> str:
    source, old, new = (_text(arguments, index, "replace") for index in range(3))
    hits = source.count(old)
    context.spend(hits)
    if len(source) + hits * (len(new) - len(old)) > MAX_STRING:
        raise Fault(f"the string would be longer than {MAX_STRING} characters")
    return source.replace(old, new)


@_function("split", 2, 3)
def _split(context: Context, arguments: list[Any]) -> list[str]:
    source, delimiter = _text(arguments, 0, "split"), _text(arguments, 1, "split")
    limit = values.integer(arguments[2], "argument 3 of `split`") if len(arguments) > 2 else -1
    if limit == 0:
        return []
    if delimiter:
        parts = source.split(delimiter, limit - 1 if limit > 0 else -1)
    else:
        parts = list(source)
        if 0 < limit < len(parts):
            parts[limit - 1 :] = ["".join(parts[limit - 1 :])]
    context.spend(len(parts))
    if len(parts) > MAX_ITEMS:
        raise Fault(f"the array has more than {MAX_ITEMS} elements")
    return parts


@_function("join", 1, 2)
def _join(context: Context, arguments: list[Any]) -> str:
    parts = [values.text(item, "an element of `join`") for item in _items(context, arguments, "join")]
    delimiter = _text(arguments, 1, "join") if len(arguments) > 1 else ""
    if sum(map(len, parts)) + len(delimiter) * len(parts) > MAX_STRING:
        raise Fault(f"the string would be longer than {MAX_STRING} characters")
    return delimiter.join(parts)


# Time


@_function("now", 0, 0)
def _now(context: Context, _: list[Any]) -> datetime:
    if context.now is None:
        raise Fault("there is no clock here, so `now()` is not known")
    return context.now


@_function("duration")
def _duration(_: Context, arguments: list[Any]) -> timedelta:
    try:
        return timedelta(seconds=duration(_text(arguments, 0, "duration")))
    except (ValueError, OverflowError) as error:
        raise Fault(str(error)) from None


@_function("date")
def _date(_: Context, arguments: list[Any]) -> datetime:
    source = _text(arguments, 0, "date")
    try:
        moment = datetime.fromisoformat(source)
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise Fault(f'{source[:40]!r} is not a date; write "2026-08-14" or "2026-08-14T10:00:00Z"') from None
