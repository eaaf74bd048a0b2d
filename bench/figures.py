"""What a measurement gives: figures; and how they are written down."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Iterable, Sequence

import msgspec


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One number. `goal` is the most it should be (None: no goal); `note` says how it came about."""

    what: str
    value: float
    unit: str
    goal: float | None = None
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; None without one."""
        return None if self.goal is None else self.value <= self.goal


class Section(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of one subject. `load` is the machine's load average over a minute at the section's start."""

    name: str
    about: str
    seconds: float
    load: float
    figures: tuple[Figure, ...]


def median(
    what: str, values: Sequence[float], unit: str, *, goal: float | None = None, note: str = ""
) -> Figure:
    """The median of several runs, with their range in the note."""
    spread = f"{number(min(values))} to {number(max(values))} in {len(values)} runs"
    parts = [part for part in (spread if len(values) > 1 else "", note) if part]
    return Figure(what=what, value=statistics.median(values), unit=unit, goal=goal, note="; ".join(parts))


def ratio(what: str, value: float, other: float, *, note: str = "") -> Figure:
    """How many times `other` a `value` is."""
    return Figure(what=what, value=value / other, unit="×", note=note)


def number(value: float) -> str:
    """Three significant digits, thousands apart: 12 345, 123, 1.23, 0.012."""
    if value == 0:
        return "0"
    if abs(value) >= 100:
        return f"{value:,.0f}".replace(",", " ")
    return f"{value:.3g}"


def table(figures: Iterable[Figure]) -> list[str]:
    """The figures as lines of a Markdown table, aligned so that they read well as plain text, too."""
    rows = [("what", "figure", "goal", "note")]
    for one in figures:
        goal = ""
        if one.goal is not None:
            goal = f"≤ {number(one.goal)} {one.unit}: {'met' if one.met else 'MISSED'}"
        rows.append((one.what, f"{number(one.value)} {one.unit}", goal, one.note))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]

    def line(row: Sequence[str]) -> str:
        cells = [row[0].ljust(widths[0]), row[1].rjust(widths[1]), row[2].ljust(widths[2]), row[3]]
        return "| " + " | ".join(cells) + " |"

    rule = f"|{'-' * (widths[0] + 2)}|{'-' * (widths[1] + 1)}:|{'-' * (widths[2] + 2)}|---|"
    return [line(rows[0]), rule, *(line(row) for row in rows[1:])]


def progress(text: str) -> None:
    """One line about what is going on, on stderr."""
    sys.stderr.write(f"bench: {text}\n")
    sys.stderr.flush()
