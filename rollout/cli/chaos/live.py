"""A ChaosRun as it goes on: a picture drawn anew on a terminal, one line per change off it."""

from __future__ import annotations

from functools import partial
from typing import Any

from rollout.api.chaos import RUN_LABEL
from rollout.api.resources import ANALYSIS_RUNS, CHAOS_RUNS
from rollout.cli import output as out
from rollout.cli.chaos import acts
from rollout.cli.chaos.lanes import timeline
from rollout.cli.chaos.shape import RunView, run_of, shape
from rollout.cli.chaos.text import change_line, screen
from rollout.cli.chaos.traffic import load_beside
from rollout.cli.drawing import TICK_SECONDS, Picture, Size, current, draw
from rollout.cli.feed import Feed, Source
from rollout.cli.session import Session
from rollout.cli.text import Paint

Object = dict[str, Any]


def watch(session: Session, name: str, paint: Paint) -> RunView:
    """Show the run until it has completed; how it ended."""
    feed = Feed(session, _sources(name))
    try:
        if out.on_terminal():
            paints = partial(_painted, session, feed, paint=paint)
            return shape(run_of(draw(feed, CHAOS_RUNS, name, paints)))
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


def _painted(session: Session, feed: Feed, raw: Object, size: Size, paint: Paint) -> Picture:
    run, now = run_of(raw), session.clock.now()
    probes = acts.analyses(feed.objects(ANALYSIS_RUNS))
    drawn = timeline(run, probes, load_beside(session, run), now, acts.lane_width())
    return Picture(screen(shape(run), drawn, now, height=size.height, paint=paint), last=run.completed)


def _lines(session: Session, feed: Feed, name: str, timeout: float, *, tell: Any) -> Object:
    end, said = session.clock.monotonic() + timeout, ""
    last: Object = acts.find(session, name)
    while (left := end - session.clock.monotonic()) > 0:
        feed.wait(min(left, TICK_SECONDS))
        if lost := feed.interruption():
            out.say(lost)
        raw = current(feed, CHAOS_RUNS, name)
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
