"""JSONPath as kubectl writes it: what printer columns of CRDs and `jsonPath` of web metrics use.

Fields (`.a.b`, `['a.b']`, `\\.` for a dot in a name), indexes and slices (`[0]`, `[-1]`, `[1:3]`), wildcards
(`.*`, `[*]`), recursive descent (`..a`), unions (`[0,2]`) and filters (`[?(@.type=="Ready")]`).
https://kubernetes.io/docs/reference/kubectl/jsonpath. That is not RFC 9535, whose libraries know no braces and no bare
names. Paths and documents may be hostile: how much a search looks at is bounded.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import lru_cache
from typing import Any

from rollout.api.codec import decode

MAX_PATH = 1_000
MAX_VISITS = 200_000


class Budget:
    """How many values a search may still look at."""

    def __init__(self, left: int) -> None:
        self._left = left

    def spend(self) -> None:
        """ValueError when nothing is left."""
        self._left -= 1
        if self._left < 0:
            raise ValueError("the JSONPath leads to too many values; write a narrower one")


Step = Callable[[Any, Budget], Iterator[Any]]
Path = tuple[Step, ...]


@lru_cache(maxsize=1024)
def compiled(text: str) -> Path:
    """The steps of a path, with or without braces around it. ValueError when it is not understood."""
    if len(text) > MAX_PATH:
        raise ValueError(f"a JSONPath of more than {MAX_PATH} characters")
    inner = text.strip()
    if inner.startswith("{") and inner.endswith("}"):
        inner = inner[1:-1].strip()
    inner = inner.removeprefix("$").removeprefix("@")
    steps: list[Step] = []
    position = 0
    while position < len(inner):
        found = _TOKEN.match(inner, position)
        if not found:
            raise ValueError(f"JSONPath {text!r} is not understood at {inner[position:]!r}")
        steps.append(_step(found, text))
        position = found.end()
    return tuple(steps)


def find(path: Path, value: Any, budget: Budget | None = None) -> list[Any]:
    """All values the path leads to; a missing key leads nowhere. ValueError when it looks at more than MAX_VISITS."""
    budget = budget or Budget(MAX_VISITS)
    found = [value]
    for step in path:
        found = [one for before in found for one in step(before, budget)]
    return found


_TOKEN = re.compile(
    r"""\.\.(?P<below>(?:[^.\[\]\\*{}]|\\.)+)
      | \.?(?P<any>\*) | \[\*\]
      | \.(?P<name>(?:[^.\[\]\\{}]|\\.)+)
      | \[\?\((?P<filter>.*?)\)\]
      | \[(?P<slice>-?\d*:-?\d*(?::\d+)?)\]
      | \[(?P<keys>(?:'[^']*'|"[^"]*"|-?\d+)(?:\s*,\s*(?:'[^']*'|"[^"]*"|-?\d+))*)\]
      | ^(?P<first>(?:[^.\[\]\\{}$@*]|\\.)+)
      | \.(?=\[)|^\.$""",
    re.VERBOSE,
)


def _step(found: re.Match[str], text: str) -> Step:
    groups = found.groupdict()
    if name := groups["name"] or groups["first"]:
        return _member(_plain(name))
    if name := groups["below"]:
        return _descent(_plain(name))
    if condition := groups["filter"]:
        return _filter(condition, text)
    if bounds := groups["slice"]:
        numbers = [int(part) if part else None for part in bounds.split(":")]
        return lambda value, budget: _counted(
            value[slice(*numbers)] if isinstance(value, list) else (), budget
        )
    if keys := groups["keys"]:
        members = [_member(key) for key in _keys(keys)]
        return lambda value, budget: (one for member in members for one in member(value, budget))
    return _itself if found.group() == "." else _every


def _itself(value: Any, budget: Budget) -> Iterator[Any]:
    budget.spend()
    yield value


def _counted(values: Iterable[Any], budget: Budget) -> Iterator[Any]:
    for value in values:
        budget.spend()
        yield value


def _plain(name: str) -> str:
    return re.sub(r"\\(.)", r"\1", name)


def _keys(text: str) -> list[str | int]:
    parts = re.findall(r"'[^']*'|\"[^\"]*\"|-?\d+", text)
    return [part[1:-1] if part[0] in "'\"" else int(part) for part in parts]


def _member(key: str | int) -> Step:
    def step(value: Any, budget: Budget) -> Iterator[Any]:
        budget.spend()
        if isinstance(key, int):
            if isinstance(value, list) and -len(value) <= key < len(value):
                yield value[key]
        elif isinstance(value, dict) and key in value:
            yield value[key]

    return step


def _every(value: Any, budget: Budget) -> Iterator[Any]:
    yield from _counted(_children(value), budget)


def _children(value: Any) -> Collection[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _descent(name: str) -> Step:
    def step(value: Any, budget: Budget) -> Iterator[Any]:
        waiting = [value]
        while waiting:
            here = waiting.pop()
            budget.spend()
            if isinstance(here, dict) and name in here:
                yield here[name]
            waiting += reversed(list(_children(here)))

    return step


_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}


def _filter(condition: str, text: str) -> Step:
    """Items of a list for which the condition holds; `@` is the item."""
    match = re.fullmatch(r"\s*(@[^=!<>]*?)\s*(?:(==|!=|<=|>=|<|>)\s*(.+?))?\s*", condition)
    if not match:
        raise ValueError(f"the filter of JSONPath {text!r} is not understood")
    left, sign, right = compiled(match[1]), match[2], match[3]

    def holds(item: Any, budget: Budget) -> bool:
        have = find(left, item, budget)
        if sign is None:
            return bool(have)
        wanted = find(compiled(right), item, budget) if right.startswith("@") else [_literal(right)]
        try:
            return bool(have and wanted) and _OPERATORS[sign](have[0], wanted[0])
        except TypeError:
            return False

    return lambda value, budget: (item for item in _every(value, budget) if holds(item, budget))


def _literal(text: str) -> Any:
    if len(text) >= 2 and text[0] == text[-1] and text[0] in "'\"":
        return text[1:-1]
    try:
        return decode(text)
    except ValueError:
        return text
