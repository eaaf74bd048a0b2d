"""Waiting for what a release comes to."""

from __future__ import annotations

from collections.abc import Callable

from rollout.api.resources import ROLLOUTS
from rollout.api.rollout import Rollout
from rollout.cli.exits import NOT_FOUND, Failure
from rollout.cli.feed import Feed, Source
from rollout.cli.output import say
from rollout.cli.phase import Outcome, outcome
from rollout.cli.render import change_line
from rollout.cli.session import Session
from rollout.cli.summary import rollout_of, summarise


def wait_for_outcome(
    session: Session,
    name: str,
    timeout: float,
    *,
    newer_than: str = "",
    judge: Callable[[Rollout], Outcome] = outcome,
) -> Rollout:
    """The Rollout when `judge` finds it decided, or as it was when `timeout` seconds were up.

    `newer_than` is the resourceVersion that our own request produced: that state is no answer to the request.
    Says every change on stderr.
    """
    end = session.clock.monotonic() + timeout
    last, said = rollout_of(session.rollout(name)), ""
    feed = Feed(session, [Source(ROLLOUTS, fields=f"metadata.name={name}")])
    try:
        while (left := end - session.clock.monotonic()) > 0:
            changed = feed.wait(left)
            if lost := feed.interruption():
                say(lost)
            if not changed or not feed.ready:
                continue
            found = [one for one in feed.objects(ROLLOUTS) if one["metadata"]["name"] == name]
            if not found:
                raise Failure(NOT_FOUND, f'Rollout "{name}" was deleted while we waited')
            last = rollout_of(found[0])
            if (line := change_line(summarise(last))) != said:
                say(f"{session.clock.now():%H:%M:%S}  {line}")
                said = line
            if judge(last) != "progressing" and last.metadata.resource_version != newer_than:
                return last
    finally:
        feed.close()
    return last
