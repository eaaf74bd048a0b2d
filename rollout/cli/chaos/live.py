"""A ChaosRun as it goes on: a picture drawn anew on a terminal, one line per change off it."""

from __future__ import annotations

import shutil
from typing import Any

from rollout.api.chaos import RUN_LABEL
from rollout.api.resources import ANALYSIS_RUNS, CHAOS_RUNS
from rollout.cli import output as out
from rollout.cli.chaos import acts
from rollout.cli.chaos.lanes import timeline
from rollout.cli.chaos.shape import RunView, run_of, shape
from rollout.cli.chaos.text import change_line, screen
from rollout.cli.chaos.traffic import load_beside
from rollout.cli.exits import NOT_FOUND, Failure
from rollout.cli.feed import Feed, Source
from rollout.cli.session import Session
from rollout.cli.text import Paint

TICK_SECONDS = 1.0
Object = dict[str, Any]


def watch(session: Session, name: str, paint: Paint) -> RunView:
    """Show the run until it has completed; how it ended."""
    feed = Feed(session, _sources(name))
    try:
        if out.on_terminal():
            return _draw(session, feed, name, paint)
        return shape(run_of(_lines(session, feed, name, float("inf"), tell=lambda line: out.lines([line]))))
    finally:
        feed.close()


def wait(session: Session, name: str, timeout: float) -> Object:
    """The run when it has completed, or as it was when `timeout` seconds were up. Says every change on stderr."""
    feed = Feed(session, _sources(name)[:1])
    try:
        return _lines(session, feed, name, timeout, tell=out.say)
    finally:
        feed.close()


def _sources(name: str) -> list[Source]:
    return [
        Source(CHAOS_RUNS, fields=f"metadata.name={name}"),
        Source(ANALYSIS_RUNS, labels=f"{RUN_LABEL}={acts.label_of(name)}"),
    ]


def _current(feed: Feed, name: str) -> Object | None:
    found = [one for one in feed.objects(CHAOS_RUNS) if one["metadata"]["name"] == name]
    if not found and feed.ready:
        raise Failure(NOT_FOUND, f'ChaosRun "{name}" was deleted')
    return found[0] if found else None


def _draw(session: Session, feed: Feed, name: str, paint: Paint) -> RunView:
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
            run, now = run_of(raw), session.clock.now()
            shown, size = shape(run), shutil.get_terminal_size()
            probes = acts.analyses(feed.objects(ANALYSIS_RUNS))
            drawn = timeline(run, probes, load_beside(session, run), now, acts.lane_width())
            lines = screen(shown, drawn, now, height=size.lines - 1, paint=paint)
            if feed.trouble is not None:
                lines[0] += f"   (connection lost, trying again: {feed.trouble})"
            live.update(Text.from_ansi("\n".join(lines), no_wrap=True, overflow="ellipsis"), refresh=True)
            if run.completed:
                return shown


def _lines(session: Session, feed: Feed, name: str, timeout: float, *, tell: Any) -> Object:
    end, said = session.clock.monotonic() + timeout, ""
    last: Object = acts.find(session, name)
    while (left := end - session.clock.monotonic()) > 0:
        feed.wait(min(left, TICK_SECONDS))
        if lost := feed.interruption():
            out.say(lost)
        raw = _current(feed, name)
        if raw is None:
            continue
        last, run = raw, run_of(raw)
        line = change_line(shape(run))
        if line != said:
            tell(f"{session.clock.now():%H:%M:%S}  {line}")
            said = line
        if run.completed:
            break
    return last
