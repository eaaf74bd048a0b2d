"""The summary at the end of the demo. Pure: facts in, lines out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rollout.cli.demo.load import Tally
from rollout.cli.demo.scenes import Outcome
from rollout.cli.text import columns

SHOWN_VALUES = 6


def summary(outcomes: Sequence[Outcome], tally: Tally, seconds: float) -> list[str]:
    """What happened, per version, per decision, and for the users."""
    return [
        *_traffic(tally),
        "",
        *_decisions(outcomes),
        "",
        *_users(tally),
        f"The whole demo took {seconds:.0f} s.",
    ]


def _traffic(tally: Tally) -> Iterator[str]:
    yield "Requests by version"
    rows: list[tuple[str, ...]] = [("  host", "version", "requests", "errors", "p50 ms", "p95 ms", "p99 ms")]
    for host in sorted({key.partition(" ")[0] for key in tally.versions}):
        for version, count in tally.at(host).items():
            numbers = [str(count.percentile(share)) for share in (0.5, 0.95, 0.99)]
            rows.append((f"  {host}", version, str(count.requests), str(count.errors), *numbers))
    yield from columns(rows)


def _decisions(outcomes: Sequence[Outcome]) -> Iterator[str]:
    yield "Decisions"
    for outcome in outcomes:
        yield f"  {outcome.title}"
        yield f"    {'as expected' if outcome.expected else 'NOT AS EXPECTED'}: {outcome.result}"
        for one in outcome.decisions:
            yield f"    {one.run}, {one.metric}: {one.phase}"
            yield f"      query  {one.query}"
            yield f"      value  {', '.join(one.values[-SHOWN_VALUES:])}"
            yield f"      rule   {one.rule}"


def _users(tally: Tally) -> Iterator[str]:
    errors = sum(count.errors for count in tally.versions.values())
    unlucky = sum(tally.unlucky.values())
    yield f"Of {tally.requests} requests {errors} got an error of the application, seen by {unlucky} of {tally.users} users."
    if tally.lost:
        yield f"Dropped by shifting traffic: {tally.lost} requests that no version answered:"
        for reason, count in sorted(tally.dropped.items()):
            yield f"  {count} x {reason}"
    else:
        yield "Dropped by shifting traffic: none. Every request was answered by some version of the application."
