"""Regular expressions that cannot be used for an attack: RE2's syntax, time linear in pattern times text.

Python's own engine backtracks, so a pattern such as `(a+)+$` can hold the process for hours. Here all ways to
match are followed at once (Thompson's construction). Syntax: https://github.com/google/re2/wiki/Syntax without
word boundaries, named groups, Unicode classes and flags other than `(?i)` at the start.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Literal

import msgspec

MAX_PATTERN = 500
MAX_PROGRAM = 2_000
MAX_REPEAT = 1_000
_MAX_GROUPS = 30

Test = Callable[[str], bool]


class _Step(msgspec.Struct):
    """One instruction: consume a character, go on at both places, assert a position, or match."""

    kind: Literal["char", "split", "start", "end", "match"]
    test: Test | None = None
    other: int = 0


class Regex:
    """A compiled pattern."""

    def __init__(self, pattern: str, program: list[_Step]) -> None:
        self.pattern = pattern
        self.size = len(program)
        """How much one character of text can cost at most."""
        self._program = program

    def search(self, text: str) -> bool:
        """Whether the pattern matches anywhere in `text`."""
        last = len(text)
        current: list[int] = []
        seen: set[int] = set()
        for at in range(last + 1):
            if self._follow(0, at, last, current, seen):
                return True
            if at == last:
                return False
            following: list[int] = []
            seen = set()
            for place in current:
                test = self._program[place].test
                if (
                    test is not None
                    and test(text[at])
                    and self._follow(place + 1, at + 1, last, following, seen)
                ):
                    return True
            current = following
        return False

    def _follow(self, place: int, at: int, last: int, places: list[int], seen: set[int]) -> bool:
        """Add all that can be reached from `place` without a character. True when the match is among it."""
        waiting = [place]
        while waiting:
            here = waiting.pop()
            if here in seen:
                continue
            seen.add(here)
            step = self._program[here]
            match step.kind:
                case "match":
                    return True
                case "char":
                    places.append(here)
                case "split":
                    waiting += [step.other, here + 1]
                case "start" if at == 0:
                    waiting.append(here + 1)
                case "end" if at == last:
                    waiting.append(here + 1)
        return False


@lru_cache(maxsize=256)
def compile(pattern: str) -> Regex:  # the usual word
    """Read a pattern. ValueError with the reason when it is not one, or too large."""
    if len(pattern) > MAX_PATTERN:
        raise ValueError(f"the regular expression is longer than {MAX_PATTERN} characters")
    fold = pattern.startswith("(?i)")
    source = pattern[4:] if fold else pattern
    parser = _Parser(source, fold)
    tree = parser.alternation()
    if parser.at < len(source):
        raise ValueError(f"unexpected {source[parser.at]!r} in the regular expression")
    program: list[_Step] = []
    _emit(tree, program)
    program.append(_Step("match"))
    return Regex(pattern, program)


# Syntax tree: functions that write their instructions.
Tree = Callable[[list[_Step]], None]


def _emit(tree: Tree, program: list[_Step]) -> None:
    if len(program) > MAX_PROGRAM:
        raise ValueError("the regular expression is too large")
    tree(program)


def _char(test: Test) -> Tree:
    return lambda program: program.append(_Step("char", test))


def _assertion(kind: Literal["start", "end"]) -> Tree:
    return lambda program: program.append(_Step(kind))


def _row(parts: list[Tree]) -> Tree:
    def write(program: list[_Step]) -> None:
        for part in parts:
            _emit(part, program)

    return write


def _jump(program: list[_Step]) -> _Step:
    """A step that only goes to `other`, which the caller sets: a split whose next place is a dead end."""
    step = _Step("split")
    program += [step, _Step("char", lambda _: False)]
    return step


def _either(left: Tree, right: Tree) -> Tree:
    def write(program: list[_Step]) -> None:
        fork = _Step("split")
        program.append(fork)
        _emit(left, program)
        over = _jump(program)
        fork.other = len(program)
        _emit(right, program)
        over.other = len(program)

    return write


def _optional(part: Tree) -> Tree:
    def write(program: list[_Step]) -> None:
        fork = _Step("split")
        program.append(fork)
        _emit(part, program)
        fork.other = len(program)

    return write


def _repeated(part: Tree, least: int, most: int | None) -> Tree:
    def write(program: list[_Step]) -> None:
        for _ in range(least):
            _emit(part, program)
        if most is None:
            fork, top = _Step("split"), len(program)
            program.append(fork)
            _emit(part, program)
            _jump(program).other = top
            fork.other = len(program)
        else:
            for _ in range(most - least):
                _emit(_optional(part), program)

    return write


_DIGITS: Test = lambda char: "0" <= char <= "9"  # noqa: E731
_WORDS: Test = lambda char: char.isascii() and (char.isalnum() or char == "_")  # noqa: E731
_SPACES: Test = lambda char: char in "\t\n\f\r "  # noqa: E731
_CLASSES = {"d": _DIGITS, "w": _WORDS, "s": _SPACES}
_CONTROL = {"n": "\n", "t": "\t", "r": "\r", "f": "\f", "v": "\v", "a": "\a"}


def _not(test: Test) -> Test:
    return lambda char: not test(char)


def _range(low: str, high: str) -> Test:
    return lambda char: low <= char <= high


def _any_of(tests: list[Test]) -> Test:
    return lambda char: any(test(char) for test in tests)


class _Parser:
    def __init__(self, source: str, fold: bool) -> None:
        self.source = source
        self.at = 0
        self._fold = fold
        self._groups = 0

    def alternation(self) -> Tree:
        left = self._sequence()
        while self._take("|"):
            left = _either(left, self._sequence())
        return left

    def _sequence(self) -> Tree:
        parts: list[Tree] = []
        while self.at < len(self.source) and self.source[self.at] not in "|)":
            parts.append(self._quantified())
        return _row(parts)

    def _quantified(self) -> Tree:
        part = self._atom()
        seen = False
        while bounds := self._bounds():
            if seen:
                raise ValueError("a quantifier follows a quantifier in the regular expression")
            seen = True
            part = _repeated(part, *bounds)
            self._take("?")
        return part

    def _bounds(self) -> tuple[int, int | None] | None:
        for sign, bounds in (("*", (0, None)), ("+", (1, None)), ("?", (0, 1))):
            if self._take(sign):
                return bounds
        if not self._peek("{"):
            return None
        end = self.source.find("}", self.at)
        low, comma, high = self.source[self.at + 1 : max(end, self.at + 1)].partition(",")
        if end < 0 or not _is_count(low) or (high and not _is_count(high)):
            return None  # as in RE2, a brace that is no repetition stands for itself
        self.at = end + 1
        least = int(low)
        most = least if not comma else int(high) if high else None
        if max(least, most or 0) > MAX_REPEAT or (most is not None and most < least):
            raise ValueError(f"a repetition in the regular expression is not within 0..{MAX_REPEAT}")
        return least, most

    def _atom(self) -> Tree:
        char = self.source[self.at]
        self.at += 1
        match char:
            case "(":
                return self._group()
            case "[":
                return _char(self._folded(self._set()))
            case ".":
                return _char(lambda found: found != "\n")
            case "^":
                return _assertion("start")
            case "$":
                return _assertion("end")
            case "*" | "+" | "?":
                raise ValueError(f"nothing before the {char!r} in the regular expression")
            case "\\":
                if self._take("A"):
                    return _assertion("start")
                return _assertion("end") if self._take("z") else _char(self._folded(self._escape()))
            case _:
                return _char(self._folded(char.__eq__))

    def _group(self) -> Tree:
        if self._take("?") and not self._take(":"):
            raise ValueError("groups of the kind (?...) are not supported in the regular expression")
        self._groups += 1
        if self._groups > _MAX_GROUPS:
            raise ValueError(f"the regular expression has more than {_MAX_GROUPS} groups")
        inner = self.alternation()
        if not self._take(")"):
            raise ValueError("a parenthesis of the regular expression is not closed")
        return inner

    def _escape(self) -> Test:
        if self.at >= len(self.source):
            raise ValueError("the regular expression ends with a backslash")
        char = self.source[self.at]
        self.at += 1
        if char.lower() in _CLASSES and char.isascii():
            test = _CLASSES[char.lower()]
            return test if char.islower() else _not(test)
        if char in _CONTROL:
            return _CONTROL[char].__eq__
        if char.isalnum():
            raise ValueError(f"\\{char} is not supported in the regular expression")
        return char.__eq__

    def _set(self) -> Test:
        negated = self._take("^")
        tests: list[Test] = []
        first = True
        while first or not self._peek("]"):
            first = False
            low = self._member()
            if isinstance(low, str) and self._peek("-") and not self.source.startswith("-]", self.at):
                self.at += 1
                high = self._member()
                if not isinstance(high, str) or high < low:
                    raise ValueError("a range of the regular expression runs backwards")
                tests.append(_range(low, high))
            else:
                tests.append(low.__eq__ if isinstance(low, str) else low)
        self.at += 1
        return _not(_any_of(tests)) if negated else _any_of(tests)

    def _member(self) -> str | Test:
        """One character of a set, or a class such as \\d."""
        if self.at >= len(self.source):
            raise ValueError("a bracket of the regular expression is not closed")
        char = self.source[self.at]
        self.at += 1
        if char != "\\":
            if char == "[" and self._peek(":"):
                raise ValueError("classes of the kind [:alpha:] are not supported in the regular expression")
            return char
        following = self.source[self.at : self.at + 1]
        test = self._escape()
        if following.lower() in _CLASSES:
            return test
        return _CONTROL.get(following, following)

    def _folded(self, test: Test) -> Test:
        if not self._fold:
            return test
        return lambda char: test(char) or test(char.lower()) or test(char.upper())

    def _peek(self, text: str) -> bool:
        return self.source.startswith(text, self.at)

    def _take(self, text: str) -> bool:
        if self._peek(text):
            self.at += 1
            return True
        return False


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 4
