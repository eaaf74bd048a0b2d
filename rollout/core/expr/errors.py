"""What can be wrong with an expression, always with the place where it is wrong."""

from __future__ import annotations

from rollout.errors import SurefootError


class ExprError(SurefootError):
    """An expression that cannot be read, or not be evaluated with what it was given.

    `reason` is a sentence, `position` the offset in `source`. `str()` adds the source with a caret below the
    place; `sentence` is the same in one line, for a status message.
    """

    def __init__(self, source: str, position: int, reason: str) -> None:
        super().__init__(reason)
        self.source = source
        self.position = max(0, min(position, len(source)))
        self.reason = reason

    @property
    def sentence(self) -> str:
        return f"condition `{_one_line(self.source)}`: {self.reason}"

    def __str__(self) -> str:
        line_start = self.source.rfind("\n", 0, self.position) + 1
        line = self.source[line_start:].split("\n", 1)[0]
        column = self.position - line_start
        row = self.source.count("\n", 0, self.position) + 1
        return f"{self.reason} ({row}:{column + 1})\n | {line}\n | {'.' * column}^"


class Fault(Exception):
    """Inside the interpreter: what went wrong; the interpreter knows where."""


def _one_line(source: str) -> str:
    text = " ".join(source.split())
    return text if len(text) <= 120 else f"{text[:119]}…"
