"""The summary at the end of the demo. Pure: facts in, lines out."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence

from rollout.cli.demo.load import Tally
from rollout.cli.demo.scenes import Outcome
from rollout.cli.text import columns

SHOWN_VALUES = 6
_LONG_FRACTION = re.compile(r"(\d+\.\d{4})\d+(?![\de])")


def summary(outcomes: Sequence[Outcome], tally: Tally, seconds: float, width: int | None = None) -> list[str]:
    """What happened, per version, per decision, and for the users. Lines are folded at `width`, if there is one."""
    lines = [
        *_traffic(tally),
        "",
        *_decisions(outcomes),
        "",
        *_users(tally),
        f"The whole demo took {seconds:.0f} s.",
    ]
    return lines if width is None else [part for line in lines for part in _folded(line, width)]


def _traffic(tally: Tally) -> Iterator[str]:
    rows: list[tuple[str, ...]] = [
        ("Requests by version", "requests", "errors", "p50 ms", "p95 ms", "p99 ms")
    ]
    for host in sorted({key.partition(" ")[0] for key in tally.versions}):
        rows.append((f"  {host}", "", "", "", "", ""))
        for version, count in tally.at(host).items():
            numbers = [str(count.percentile(share)) for share in (0.5, 0.95, 0.99)]
            rows.append((f"    {version}", str(count.requests), str(count.errors), *numbers))
    yield from (line.rstrip() for line in columns(rows))


def _decisions(outcomes: Sequence[Outcome]) -> Iterator[str]:
    yield "Decisions"
    for outcome in outcomes:
        yield f"  {outcome.title}"
        yield f"    {'as expected' if outcome.expected else 'NOT AS EXPECTED'}: {outcome.result}"
        for one in outcome.decisions:
            yield f"    {one.run}, {one.metric}: {one.phase}"
            yield f"      query  {one.query}"
            yield f"      value  {', '.join(map(_short, one.values[-SHOWN_VALUES:]))}"
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


def _short(value: str) -> str:
    """A measured value cut after four decimals, and not rounded: 0.94999 failed `>= 0.95`, and must look like it."""
    return _LONG_FRACTION.sub(r"\1…", value)


def _folded(line: str, width: int) -> list[str]:
    """A line in pieces of at most `width` columns, each further one under the first one's text."""
    label = re.match(r" *(?:(?:query|value|rule) +)?", line)
    indent = " " * (label.end() if label else 0)
    pieces = textwrap.wrap(
        line, max(width, len(indent) + 20), subsequent_indent=indent, break_on_hyphens=False
    )
    return pieces or [""]
