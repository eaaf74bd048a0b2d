"""`get -w`: the tree drawn anew when something changes; off a terminal, one line per change."""

from __future__ import annotations

from functools import partial
from typing import Any

from rollout.api.resources import ANALYSIS_RUNS, PODS, REPLICA_SETS, ROLLOUTS
from rollout.cli import output as out
from rollout.cli.drawing import TICK_SECONDS, Picture, Size, current, draw
from rollout.cli.feed import Feed, Source
from rollout.cli.render import change_line, screen
from rollout.cli.session import FAMILY, FAMILY_LABELS, Session
from rollout.cli.summary import rollout_of, summarise
from rollout.cli.text import Paint
from rollout.cli.tree import tree


def show(session: Session, name: str, paint: Paint) -> None:
    """Until Ctrl-C, or until the Rollout is deleted."""
    sources = [Source(ROLLOUTS, fields=f"metadata.name={name}")]
    if out.on_terminal():
        sources += [Source(resource, labels=FAMILY_LABELS) for resource in FAMILY]
    feed = Feed(session, sources)
    try:
        if out.on_terminal():
            draw(feed, ROLLOUTS, name, partial(_painted, session, feed, paint=paint))
        else:
            _write_lines(session, feed, name)
    finally:
        feed.close()


def _painted(session: Session, feed: Feed, raw: dict[str, Any], size: Size, paint: Paint) -> Picture:
    now = session.clock.now()
    shown = tree(
        rollout_of(raw), feed.objects(REPLICA_SETS), feed.objects(PODS), feed.objects(ANALYSIS_RUNS), now
    )
    return Picture(screen(shown, now, width=size.width, height=size.height, paint=paint))


def _write_lines(session: Session, feed: Feed, name: str) -> None:
    said = ""
    while True:
        feed.wait(TICK_SECONDS)
        if lost := feed.interruption():
            out.say(lost)
        raw = current(feed, ROLLOUTS, name)
        if raw is None:
            continue
        line = change_line(summarise(rollout_of(raw)))
        if line != said:
            out.lines([f"{session.clock.now():%H:%M:%S}  {line}"])
            said = line
