"""What is wrong with a spec: where, which value, which rule, and what to write instead.

The controller (condition InvalidSpec), `rollout lint` and the validators all speak in these values, so the
user reads the same sentence everywhere.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from rollout.errors import InvalidSpec

_SHOWN_VALUE = 80


class Problem(msgspec.Struct, frozen=True, order=True):
    """One thing to change. `path` is a field path ("spec.metrics[0].interval"), `message` what is wrong there.

    `str()` puts them together: `spec.metrics[0].interval: Invalid value: "5x": <rule>; <fix>`.
    """

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message

    def below(self, prefix: str) -> Problem:
        """The same problem, its path seen from the object that holds `prefix`."""
        glue = "" if not prefix or not self.path or self.path.startswith("[") else "."
        return Problem(f"{prefix}{glue}{self.path}", self.message)


def invalid(path: str, value: Any, rule: str, fix: str = "") -> Problem:
    """A value that breaks `rule`; `fix` says what to write instead. Both without a full stop."""
    return Problem(path, f"Invalid value: {shown(value)}: {_sentence(rule, fix)}")


def required(path: str, rule: str, fix: str = "") -> Problem:
    """A field that is missing."""
    return Problem(path, f"Required value: {_sentence(rule, fix)}")


def unsupported(path: str, what: str, fix: str = "") -> Problem:
    """Something that the API knows and we do not act on yet; it is refused, never ignored."""
    return Problem(path, f"not supported yet: {_sentence(what, fix)}")


def shown(value: Any) -> str:
    """A value as JSON, shortened for a message."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _SHOWN_VALUE else f"{text[: _SHOWN_VALUE - 1]}…"


def raise_if_any(problems: Iterable[Problem]) -> None:
    """Raise InvalidSpec with all problems as sentences; nothing when there are none."""
    if found := list(problems):
        raise InvalidSpec(*map(str, found))


def problems_of(error: InvalidSpec) -> list[Problem]:
    """The problems in an InvalidSpec, whose sentences begin with their path."""
    split = [sentence.partition(": ") for sentence in error.problems]
    return [Problem(path, message) if message else Problem("", path) for path, _, message in split]


def below(prefix: str, problems: Iterable[Problem]) -> Iterator[Problem]:
    """All problems with their paths seen from the object that holds `prefix`."""
    return (problem.below(prefix) for problem in problems)


def _sentence(rule: str, fix: str) -> str:
    return f"{rule}; {fix}" if fix else rule
