"""A comparator: one answer against one value, without an expression. Pure.

Whatever cannot be read as the comparator's type is an error, never 0 and never a pass (study/chaos.md 2.5 has what came
of the other choice).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from rollout.api.analysis import Comparator
from rollout.core.checks import templated
from rollout.core.expr import regex
from rollout.core.problem import Problem, invalid, shown

NUMBER_OPERATORS = ("==", "!=", "<", "<=", ">", ">=", "oneOf", "between")
TEXT_OPERATORS = ("equal", "notEqual", "contains", "matches", "notMatches", "oneOf")
_INT = re.compile(r"[+-]?[0-9]{1,30}")
_FLOAT = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,4})?")


class Incomparable(ValueError):
    """The answer, or the comparator's own value, cannot be read as its type. The text is a sentence for people."""


def compare(comparator: Comparator, answer: Any) -> bool:
    """Whether `answer` satisfies the comparator.

    A single value is meant: of a list its only item, of an object its field `value`. Raises Incomparable.
    """
    if comparator.operator not in _operators(comparator.type):
        raise Incomparable(_no_operator(comparator.type, comparator.operator))
    if comparator.type == "string":
        return _texts(comparator.operator, _text(_single(answer)), comparator.value)
    read = _int if comparator.type == "int" else _float
    return _numbers(comparator.operator, read(_single(answer)), comparator.value, read)


def comparator_problems(value: Mapping[str, Any], path: str) -> Iterator[Problem]:
    """What is wrong with a comparator (plain data, its fields of the right types)."""
    kind, operator, wanted = (str(value.get(name, "")) for name in ("type", "operator", "value"))
    if operator not in _operators(kind):
        yield invalid(f"{path}.operator", operator, _no_operator(kind, operator))
    elif not templated(wanted):
        try:
            _check(kind, operator, wanted)
        except (Incomparable, ValueError) as error:
            yield invalid(f"{path}.value", wanted, str(error))


def described(comparator: Comparator) -> str:
    """A comparator as messages say it: `int >= "5"`."""
    return f"{comparator.type} {comparator.operator} {shown(comparator.value)}"


def _check(kind: str, operator: str, wanted: str) -> None:
    if kind == "string":
        if operator in {"matches", "notMatches"}:
            regex.compile(wanted)
        return
    read: Callable[[Any], float] = _int if kind == "int" else _float
    _numbers(operator, read("0"), wanted, read)


def _operators(kind: str) -> tuple[str, ...]:
    return TEXT_OPERATORS if kind == "string" else NUMBER_OPERATORS


def _no_operator(kind: str, operator: str) -> str:
    return f"{operator!r} is no operator for {kind}; use one of {' '.join(_operators(kind))}"


def _single(answer: Any) -> Any:
    if isinstance(answer, list | tuple):
        if len(answer) != 1:
            raise Incomparable(f"the answer has {len(answer)} values, and a comparator compares one")
        return _single(answer[0])
    if isinstance(answer, Mapping):
        if "value" not in answer:
            raise Incomparable("the answer is an object without the field `value`; use a condition")
        return _single(answer["value"])
    if answer is None:
        raise Incomparable("there is no value to compare")
    return answer


def _int(value: Any) -> int:
    if isinstance(value, bool):
        raise Incomparable(f"{shown(value)} is not a whole number")
    if isinstance(value, int):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and _INT.fullmatch(value.strip()):
        return int(value)
    raise Incomparable(f"{_shown(value)} is not a whole number")


def _float(value: Any) -> float:
    if isinstance(value, str) and _FLOAT.fullmatch(value.strip()):
        value = float(value)
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    raise Incomparable(f"{_shown(value)} is not a number")


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float) and math.isfinite(value):
        return str(int(value)) if value.is_integer() else repr(value)
    raise Incomparable(f"{_shown(value)} is not a text")


def _shown(value: Any) -> str:
    return str(value) if isinstance(value, float) else shown(value)


def _numbers(operator: str, have: float, wanted: str, read: Callable[[Any], float]) -> bool:
    if operator == "oneOf":
        return have in [read(part) for part in wanted.split(",")]
    if operator == "between":
        bounds = [read(part) for part in wanted.split(",")]
        if len(bounds) != 2 or bounds[0] > bounds[1]:
            raise Incomparable(f"{shown(wanted)} is not the lower and the upper bound; write for example 1,5")
        return bounds[0] <= have <= bounds[1]
    value = read(wanted)
    match operator:
        case "==":
            return have == value
        case "!=":
            return have != value
        case "<":
            return have < value
        case "<=":
            return have <= value
        case ">":
            return have > value
        case _:
            return have >= value


def _texts(operator: str, have: str, wanted: str) -> bool:
    match operator:
        case "equal":
            return have == wanted
        case "notEqual":
            return have != wanted
        case "contains":
            return wanted in have
        case "oneOf":
            return have in [part.strip() for part in wanted.split(",")]
        case _:
            try:
                found = regex.compile(wanted).search(have)
            except ValueError as error:
                raise Incomparable(str(error)) from None
            return found if operator == "matches" else not found
