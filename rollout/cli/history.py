"""What was decided for a Rollout, for people: the table and the JSON of `rollout history`. Pure.

The fields of `Told` are documented (docs/cli.md): names are only ever added.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from rollout.api.codec import view, view_of
from rollout.api.decisions import Decision, DecisionRecord, Entry, Stance
from rollout.api.meta import View
from rollout.cli.text import age, columns
from rollout.errors import InvalidSpec

SAME, DIFFERENT, UNREADABLE = "same", "different", "unreadable"


class Place(View, frozen=True, omit_defaults=False):
    """Where the release stood: `Stance` with every field."""

    hash: str
    steps: str
    step: int | None
    stable: str
    active: str
    aborted: bool
    hold: str


class Told(View, frozen=True, omit_defaults=False):
    """One decision. `replay` is "" when it was not asked for, else what deciding again from `inputs` gives."""

    number: int
    at: str
    kind: str
    because: str
    revision: int
    generation: int
    before: Place
    after: Place
    spec: Mapping[str, Any]
    inputs: Mapping[str, Any]
    replay: str


def told(raw: Mapping[str, Any], *, replaying: bool = False) -> list[Told]:
    """The decisions of a record, oldest first."""
    record = view(raw, DecisionRecord)
    name = record.metadata.name
    return [
        Told(
            number=int(number),
            at=entry.at,
            kind=entry.kind,
            because=entry.because,
            revision=entry.revision,
            generation=entry.generation,
            before=_place(entry.before),
            after=_place(entry.after),
            spec=record.specs.get(entry.spec) or {},
            inputs=_inputs(entry),
            replay=_again(name, entry, record) if replaying else "",
        )
        for number, entry in record.in_order()
    ]


def lines(decisions: Sequence[Told], now: datetime) -> list[str]:
    """The table of `history`."""
    head = ["#", "AGE", "REVISION", "DECISION", "STEP", "WHY"]
    rows = [
        [str(one.number), age(one.at, now), str(one.revision or "-"), one.kind, _step(one), _why(one)]
        for one in decisions
    ]
    if any(one.replay for one in decisions):
        head.append("REPLAY")
        rows = [[*row, one.replay] for one, row in zip(decisions, rows, strict=True)]
    return columns([head, *rows])


def _inputs(entry: Entry) -> Mapping[str, Any]:
    """As plain data; what cannot be read is shown as it is kept."""
    try:
        return view_of(entry.inputs, dict[str, Any], path="inputs")
    except InvalidSpec:
        return {"unreadable": entry.inputs}


def _again(name: str, entry: Entry, record: DecisionRecord) -> str:
    from rollout.plan.decisions import replay

    try:
        decided = replay(name, entry, record.specs.get(entry.spec))
    except InvalidSpec:
        return UNREADABLE
    recorded = Decision(kind=entry.kind, because=entry.because, before=entry.before, after=entry.after)
    return SAME if decided == recorded else DIFFERENT


def _place(where: Stance) -> Place:
    return Place(
        hash=where.hash,
        steps=where.steps,
        step=where.step,
        stable=where.stable,
        active=where.active,
        aborted=where.aborted,
        hold=where.hold,
    )


def _step(one: Told) -> str:
    before, after = one.before.step, one.after.step
    if after is None:
        return "-"
    return f"{before}->{after}" if one.kind == "advance" and before is not None else str(after)


def _why(one: Told) -> str:
    """The reason, and what is waited for now."""
    waits = one.after.hold if one.kind != "hold" else ""
    return "; ".join(part for part in (one.because, f"waits: {waits}" if waits else "") if part)
