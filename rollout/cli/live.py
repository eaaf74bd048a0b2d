"""`get -w`: the tree drawn anew when something changes; off a terminal, one line per change."""

from __future__ import annotations

import shutil
from typing import Any

from rollout.api.resources import ANALYSIS_RUNS, PODS, REPLICA_SETS, ROLLOUTS
from rollout.cli import output as out
from rollout.cli.exits import NOT_FOUND, Failure
from rollout.cli.feed import Feed, Source
from rollout.cli.render import change_line, screen
from rollout.cli.session import FAMILY, FAMILY_LABELS, Session
from rollout.cli.summary import rollout_of, summarise
from rollout.cli.text import Paint
from rollout.cli.tree import tree

TICK_SECONDS = 1.0
"""Ages and delays move even when nothing else does."""


def show(session: Session, name: str, paint: Paint) -> None:
    """Until Ctrl-C, or until the Rollout is deleted."""
    sources = [Source(ROLLOUTS, fields=f"metadata.name={name}")]
    if out.on_terminal():
        sources += [Source(resource, labels=FAMILY_LABELS) for resource in FAMILY]
    feed = Feed(session, sources)
    try:
        if out.on_terminal():
            _draw(session, feed, name, paint)
        else:
            _write_lines(session, feed, name)
    finally:
        feed.close()


def _current(feed: Feed, name: str) -> dict[str, Any] | None:
    """The Rollout, None before it was listed. Failure once it is gone."""
    found = [one for one in feed.objects(ROLLOUTS) if one["metadata"]["name"] == name]
    if not found and feed.ready:
        raise Failure(NOT_FOUND, f'Rollout "{name}" was deleted')
    return found[0] if found else None


def _draw(session: Session, feed: Feed, name: str, paint: Paint) -> None:
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    console = Console(highlight=False)
    with Live(console=console, auto_refresh=False, vertical_overflow="crop") as live:
        while True:
            feed.wait(TICK_SECONDS)
            raw = _current(feed, name)
            if raw is None or not feed.ready:
                continue
            now = session.clock.now()
            shown = tree(
                rollout_of(raw),
                feed.objects(REPLICA_SETS),
                feed.objects(PODS),
                feed.objects(ANALYSIS_RUNS),
                now,
            )
            size = shutil.get_terminal_size()
            lines = screen(shown, now, width=size.columns, height=size.lines - 1, paint=paint)
            if feed.trouble is not None:
                lines[0] += f"   (connection lost, trying again: {feed.trouble})"
            drawn = Text.from_ansi("\n".join(lines), no_wrap=True, overflow="ellipsis")
            live.update(drawn, refresh=True)


def _write_lines(session: Session, feed: Feed, name: str) -> None:
    said = ""
    while True:
        feed.wait(TICK_SECONDS)
        if lost := feed.interruption():
            out.say(lost)
        raw = _current(feed, name)
        if raw is None:
            continue
        line = change_line(summarise(rollout_of(raw)))
        if line != said:
            out.lines([f"{session.clock.now():%H:%M:%S}  {line}"])
            said = line
