"""Decisions as values: when a pass has decided something, how it is kept within bounds, and that it replays."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from rollout.api.codec import encode, plain, view
from rollout.api.decisions import Decision, DecisionRecord, Entry, Stance
from rollout.api.rollout import Rollout
from rollout.core.observed import Observed
from rollout.core.problem import Problem
from rollout.errors import InvalidSpec
from rollout.plan.decisions import Outcome, decision_of, replay
from rollout.plan.inputs import inputs_of
from rollout.plan.ledger import MAX_BYTES, MAX_DECISIONS, Ledger, appended, entry_of, ledger_of
from rollout.plan.plan import plan
from tests.stories.objects import canary, rollout

NOW = datetime(2026, 1, 5, 9, 0, 0, 250_000, tzinfo=UTC)
V1 = Stance(hash="v1", steps="s", step=2, stable="v1")
V2 = Stance(hash="v2", steps="s", step=0, stable="v1")


def snapshot(*steps: Any, now: datetime = NOW) -> Observed:
    raw = rollout(canary(*(steps or ({"setWeight": 20}, {"pause": {}}))))
    raw = {**raw, "metadata": {**raw["metadata"], "uid": "u", "generation": 1}}
    return Observed(now=now, rollout=view(raw, Rollout), raw=raw)


def moved(**changes: Any) -> Stance:
    return msgspec.structs.replace(V2, **changes)


def kept(body: dict[str, Any], before: dict[str, Any] | None = None) -> dict[str, Any]:
    """The record after a write, as a server keeps it."""
    old = before or {"metadata": {}, "decisions": {}, "specs": {}}
    merged = {
        field: {k: v for k, v in {**old[field], **body[field]}.items() if v is not None}
        for field in ("metadata", "decisions", "specs")
    }
    return {**merged, "metadata": {**merged["metadata"], "resourceVersion": "7"}}


@pytest.mark.parametrize(
    ("before", "after", "kind"),
    [
        (V1, V2, "begin"),
        (V2, moved(step=1), "advance"),
        (V2, moved(step=1, hold="CanaryPauseStep"), "advance"),
        (V2, moved(hold="manually paused"), "hold"),
        (moved(hold="manually paused"), V2, "resume"),
        (moved(step=2), moved(step=2, stable="v2"), "promote"),
        (V2, moved(step=None, aborted=True), "abort"),
        (moved(step=None, aborted=True), V2, "retry"),
        (V2, moved(steps="other"), "begin"),
        (V2, moved(active="v2"), "switch"),
    ],
)
def test_a_decision_is_named_by_what_it_changes(before: Stance, after: Stance, kind: str) -> None:
    decision = decision_of(Outcome(before=V1, after=after), before)
    assert decision is not None
    assert (decision.kind, decision.before, decision.after) == (kind, before, after)


def test_what_was_recorded_last_is_not_decided_again() -> None:
    assert decision_of(Outcome(before=V1, after=V2), V2) is None


def test_without_a_record_nothing_is_decided_until_the_status_changes() -> None:
    assert decision_of(Outcome(before=V2, after=V2), None) is None


def test_a_plan_at_rest_has_no_outcome() -> None:
    seen = snapshot()
    first = plan(seen)
    assert first.outcome is not None
    rested = msgspec.structs.replace(first.status, stable_rs=seen.sets.hash)
    again = msgspec.structs.replace(seen, rollout=msgspec.structs.replace(seen.rollout, status=rested))
    assert plan(again).outcome is None


def test_a_refusal_is_a_hold_that_replays() -> None:
    seen = snapshot()
    refused = plan(seen, [Problem("spec.x", "wrong")])
    assert refused.outcome is not None
    decision = decision_of(refused.outcome, None)
    assert decision is not None
    assert decision.kind == "hold"
    assert "spec.x: wrong" in decision.because
    entry, spec = entry_of(seen, decision, inputs_of(seen, None, refused=refused.outcome.refused))
    assert replay("web", entry, spec) == decision


def test_a_decision_replays_from_what_the_server_has_kept() -> None:
    seen = snapshot()
    outcome = plan(seen).outcome
    assert outcome is not None
    decision = decision_of(outcome, None)
    assert decision is not None
    entry, spec = entry_of(seen, decision, inputs_of(seen, None))
    record = view(kept(appended(Ledger(), seen, entry, spec)[0]), DecisionRecord)
    ((_, read),) = record.in_order()
    assert replay("web", read, record.specs[read.spec]) == decision


def test_an_entry_that_cannot_be_read_is_said() -> None:
    entry = Entry(kind="hold", at="2026-01-05T09:00:00Z", inputs='{"sets": 5}')
    with pytest.raises(InvalidSpec, match=r"inputs\.sets"):
        replay("web", entry, {})


def test_a_record_keeps_the_newest_decisions_and_the_specs_they_name() -> None:
    raw: dict[str, Any] = {}
    for number in range(MAX_DECISIONS + 20):
        seen = snapshot({"setWeight": number % 100}, now=NOW + timedelta(seconds=number))
        raw = written(seen, raw, moved(step=number))
    record = view(raw, DecisionRecord)
    numbers = [int(number) for number, _ in record.in_order()]
    assert numbers == list(range(21, MAX_DECISIONS + 21))
    assert set(record.specs) == {entry.spec for entry in record.decisions.values()}


def test_a_record_of_big_decisions_stays_within_its_bytes() -> None:
    steps = [{"pause": {"duration": 10 + number}} for number in range(100)]
    raw: dict[str, Any] = {}
    for number in range(40):
        seen = snapshot({"setWeight": number}, *steps)
        raw = written(seen, raw, moved(step=number))
    assert 1 < len(raw["decisions"]) < 40
    assert len(encode(raw["decisions"])) + len(encode(raw["specs"])) <= MAX_BYTES


@pytest.mark.parametrize("length", range(1000, 1200, 10))
def test_the_names_of_many_decisions_count_as_well(length: int) -> None:
    raw: dict[str, Any] = {}
    for number in range(MAX_DECISIONS):
        raw = written(snapshot(), raw, moved(step=number, hold="x" * length))
        assert len(encode(raw["decisions"])) + len(encode(raw["specs"])) <= MAX_BYTES
    assert len(raw["decisions"]) > 10


def test_the_newest_decision_is_kept_though_it_is_too_big() -> None:
    steps = [{"setCanaryScale": {"replicas": 1000 + number}} for number in range(3000)]
    raw = written(snapshot(), {}, V1)
    raw = written(snapshot(*steps), raw, V2)
    assert list(raw["decisions"]) == ["00000002"]


def test_the_record_of_an_earlier_rollout_of_this_name_is_begun_anew() -> None:
    raw = written(snapshot(), {}, V1)
    ledger = ledger_of(raw, "another")
    assert ledger.last is None
    body, _ = appended(ledger, snapshot(), *entry_of(snapshot(), change(V2), inputs_of(snapshot(), None)))
    assert body["decisions"]["00000001"] is None
    assert "00000002" in body["decisions"]
    assert body["metadata"]["ownerReferences"][0]["uid"] == "u"
    assert body["metadata"]["resourceVersion"] == "7"


def test_a_record_that_cannot_be_read_is_begun_anew() -> None:
    ledger = ledger_of({"metadata": {"resourceVersion": "3"}, "decisions": {"00000004": {"kind": 3}}}, "u")
    assert ledger == Ledger(version="3", pages=ledger.pages, foreign=True)
    assert list(ledger.pages) == ["00000004"]


def change(after: Stance) -> Decision:
    decision = decision_of(Outcome(before=Stance(), after=after), None)
    assert decision is not None
    return decision


def written(seen: Observed, raw: dict[str, Any], stance: Stance) -> dict[str, Any]:
    """The record `raw` ({} for none) after one more decision."""
    ledger = ledger_of(raw, "u") if raw else Ledger()
    entry, spec = entry_of(seen, change(stance), inputs_of(seen, None))
    body, grown = appended(ledger, seen, entry, spec)
    record = kept(plain(body), raw or None)
    assert msgspec.structs.replace(grown, version="7") == ledger_of(record, "u"), (
        "remembered is what would be read"
    )
    return record
