"""Small pure helpers for plain text on a terminal: tables, ages, colours."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from rollout.api.meta import time_of

Paint = Callable[[str, str], str]
"""(text, colour name) -> text: `plain` or `ansi`."""

_ANSI = {"green": "32", "red": "31", "yellow": "33", "blue": "34", "cyan": "36", "grey": "90", "bold": "1"}

ICONS = {
    "Healthy": ("✔", "green"),
    "Running": ("✔", "green"),
    "Successful": ("✔", "green"),
    "Completed": ("✔", "green"),
    "Paused": ("॥", "yellow"),
    "Progressing": ("◌", "cyan"),
    "Pending": ("◷", "yellow"),
    "ContainerCreating": ("◷", "yellow"),
    "PodInitializing": ("◷", "yellow"),
    "Terminating": ("◌", "grey"),
    "ScaledDown": ("•", "grey"),
    "Degraded": ("✖", "red"),
    "Failed": ("✖", "red"),
    "Error": ("⚠", "red"),
    "Inconclusive": ("?", "yellow"),
    "Unknown": ("?", "yellow"),
    "": ("?", "yellow"),
}


def plain(text: str, _colour: str) -> str:
    return text


def ansi(text: str, colour: str) -> str:
    return f"\x1b[{_ANSI[colour]}m{text}\x1b[0m" if colour in _ANSI and text else text


def icon(status: str) -> tuple[str, str]:
    """The icon and the colour of a status; container reasons that we do not list are failures."""
    return ICONS.get(status, ("✖", "red"))


def columns(rows: Sequence[Sequence[str]], gap: str = "  ") -> list[str]:
    """Rows as left-aligned columns, without spaces at the ends of lines."""
    if not rows:
        return []
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        gap.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]


def shorten(text: str, width: int) -> str:
    """At most `width` characters, the middle left out: both ends of a pod's name tell something."""
    if len(text) <= width or width < 5:
        return text
    tail = min(12, (width - 1) // 2)
    return f"{text[: width - 1 - tail]}…{text[-tail:]}"


def age(created: str | None, now: datetime) -> str:
    """Time since, as kubectl writes it: 45s, 5m30s, 25m, 3h5m, 2d. "" when unknown."""
    try:
        moment = time_of(created)
    except ValueError:
        return ""
    return span((now - moment).total_seconds()) if moment else ""


def span(seconds: float) -> str:
    """A length of time in one or two units."""
    total = max(0, int(seconds))
    minutes, hours, days = total // 60, total // 3600, total // 86400
    if total < 120:
        return f"{total}s"
    if minutes < 10:
        return _two(minutes, "m", total % 60, "s")
    if hours < 3:
        return f"{minutes}m"
    if hours < 8:
        return _two(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    if days < 8:
        return _two(days, "d", hours % 24, "h")
    if days < 730:
        return f"{days}d"
    return _two(days // 365, "y", days % 365, "d")


def _two(major: int, unit: str, minor: int, small: str) -> str:
    return f"{major}{unit}{minor}{small}" if minor else f"{major}{unit}"
