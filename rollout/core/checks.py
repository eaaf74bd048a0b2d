"""Small checks that validators share: counts, durations, conditions, headers. Each yields problems, or nothing.

A value that is still templated (`{{args.x}}`) is left until it is known.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from rollout.api.meta import duration
from rollout.core import arguments, expr
from rollout.core.problem import Problem, invalid

CONDITION_NAMES = ("result", "warnings")
"""The variables of a condition: the value, and the source's own doubts about it (a list of strings)."""
_URL = re.compile(r"https?://[^/\s@?#]+(/[^\s?#]*)?")
_URL_WITH_QUERY = re.compile(r"https?://[^/\s@?#]+([/?][^\s#]*)?")


def whole(value: Any) -> int | None:
    """A count or limit: an int, or a text of digits (they may be templated). None for anything else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,9}", value.strip(), re.ASCII):
        return int(value)
    return None


def templated(value: Any) -> bool:
    """Whether a text has a placeholder of an argument in it."""
    return isinstance(value, str) and bool(arguments.placeholders({"": value}))


def check_fields(value: Mapping[str, Any], known: Collection[str], path: str) -> Iterator[Problem]:
    """No other fields than the known ones."""
    for name in sorted(set(value) - set(known), key=str):
        yield invalid(
            f"{path}.{name}", value[name], "there is no such field", f"known: {', '.join(sorted(known))}"
        )


def check_duration(value: Any, path: str, *, positive: bool) -> Iterator[Problem]:
    """A Go duration; nothing at all and the empty text are fine."""
    if value is None or value == "" or templated(value):
        return
    try:
        seconds = duration(value if isinstance(value, str) else "")
    except ValueError as error:
        yield invalid(path, value, str(error))
        return
    if seconds < 0 or (positive and seconds == 0):
        yield invalid(path, value, "must be longer than nothing", 'write for example "30s" or "5m"')


def check_condition(source: str, path: str, names: Iterable[str]) -> Iterator[Problem]:
    """An expression over variables of these names."""
    if not source:
        return
    known = tuple(names)
    try:
        program = expr.compile(arguments.with_numbers(source))
    except expr.ExprError as error:
        if not templated(source):
            yield invalid(path, source, error.reason)
        return
    for name in expr.unknown_names(program, known):
        fix = f"known: {', '.join(known)}" if known else "here are only functions, for example now()"
        yield invalid(path, source, f"there is no variable `{name}`", fix)


def check_seconds(value: Any, path: str, *, most: int) -> Iterator[Problem]:
    """Whole seconds, 1 to `most`; None is fine."""
    if value is not None and not (templated(value) or 0 < (whole(value) or 0) <= most):
        yield invalid(path, value, f"must be whole seconds, 1 to {most}")


def check_bool(value: Any, path: str) -> Iterator[Problem]:
    if value is not None and not isinstance(value, bool):
        yield invalid(path, value, "must be true or false")


def check_url(value: Any, path: str, example: str, *, query: bool = False) -> Iterator[Problem]:
    """An http(s) URL without user name and password; `query` allows one."""
    pattern = _URL_WITH_QUERY if query else _URL
    if not isinstance(value, str) or not (templated(value) or pattern.fullmatch(value)):
        yield invalid(
            path, value, "must be a URL without user name or password", f'write for example "{example}"'
        )


def check_headers(value: Any, path: str) -> Iterator[Problem]:
    """A list of {key, value}; None is fine."""
    if value is None:
        return
    if not isinstance(value, list) or not all(map(_is_header, value)):
        yield invalid(path, value, "must be a list of {key, value} without line breaks")


def _is_header(item: Any) -> bool:
    if not isinstance(item, Mapping) or not set(item) <= {"key", "value"}:
        return False
    key, value = item.get("key"), item.get("value", "")
    return (
        isinstance(key, str)
        and isinstance(value, str)
        and re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", key) is not None
        and not re.search(r"[\r\n\0]", value)
    )
