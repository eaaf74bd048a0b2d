"""A picture of one object on a terminal, drawn anew when something changes."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from rollout.api.resources import Resource
from rollout.cli.exits import NOT_FOUND, Failure
from rollout.cli.feed import Feed

TICK_SECONDS = 1.0
"""Ages and delays move even when nothing else does."""
T = TypeVar("T")


class Size(NamedTuple):
    """How much room there is, in characters."""

    width: int
    height: int


class Picture(NamedTuple):
    """What to show, as lines with ANSI colours, and whether it is the last one."""

    lines: list[str]
    last: bool = False


def current(feed: Feed, resource: Resource, name: str) -> dict[str, Any] | None:
    """The object, None before it was listed. Failure once it is gone."""
    found = [one for one in feed.objects(resource) if one["metadata"]["name"] == name]
    if not found and feed.ready:
        raise Failure(NOT_FOUND, f'{resource.kind} "{name}" was deleted')
    return found[0] if found else None


def draw(
    feed: Feed, resource: Resource, name: str, paint: Callable[[dict[str, Any], Size], Picture]
) -> dict[str, Any]:
    """Show what `paint` makes of the object until it says that a picture is the last; the object as it was then."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    with Live(console=Console(highlight=False), auto_refresh=False, vertical_overflow="crop") as live:
        while True:
            feed.wait(TICK_SECONDS)
            raw = current(feed, resource, name)
            if raw is None or not feed.ready:
                continue
            room = shutil.get_terminal_size()
            lines, last = paint(raw, Size(room.columns, room.lines - 1))
            if feed.trouble is not None:
                lines[0] += f"   (connection lost, trying again: {feed.trouble})"
            live.update(Text.from_ansi("\n".join(lines), no_wrap=True, overflow="ellipsis"), refresh=True)
            if last:
                return raw
