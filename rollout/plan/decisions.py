"""Decisions as values: what a pass came to, when that is a new decision, and the same decision from its record.

A decision is a change of stance (`rollout.api.decisions.Stance`). The stance of the last recorded decision says
whether a pass has decided anything new, so one that is carried out again after a crash is not recorded again, and
a wait is recorded when it begins.
"""

from __future__ import annotations

from typing import Any

import msgspec

from rollout.api.codec import view, view_of
from rollout.api.decisions import Decision, Entry, Inputs, Kind, Stance
from rollout.api.meta import ObjectMeta, time_of
from rollout.api.rollout import Rollout, RolloutSpec, RolloutStatus
from rollout.core import conditions
from rollout.core.observed import Observed
from rollout.plan.decide import Choice, decide
from rollout.plan.draft import Draft
from rollout.plan.inputs import read_back
from rollout.plan.status import BROKEN, complete

INVALID = "InvalidSpec"
LONGEST_HOLD = 300


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What one pass came to: the stance that the status had (`before`), the one it has come to (`after`), and why.

    `refused` says why nothing was decided, or (`gateless`) in spite of what an abort went on.
    """

    before: Stance
    after: Stance
    begun: str = ""
    promoted: str = ""
    aborted: str = ""
    passed: str = ""
    refused: str = ""
    gateless: bool = False


def outcome_of(seen: Observed, choice: Choice) -> Outcome | None:
    """The outcome of a decision; None at rest, where nothing has changed and nothing is under way."""
    draft = choice.draft
    before, after = stance(seen, seen.rollout.status), stance(seen, draft.status, draft.hold)
    if before == after and complete(seen, draft.status):
        return None
    return Outcome(
        before=before,
        after=after,
        begun=draft.begun_because,
        promoted=draft.completed_because,
        aborted=draft.abort_cause,
        passed=_passed(draft),
    )


def refusal(seen: Observed, why: str) -> Outcome:
    """The outcome of a pass that has decided nothing. `why` is "<type of the condition that says it>: <message>"."""
    before = stance(seen, seen.rollout.status)
    return Outcome(before=before, after=_held(before, why), refused=why[:LONGEST_HOLD])


def in_spite_of(why: str, outcome: Outcome | None) -> Outcome | None:
    """The outcome of an abort that goes on although the spec is invalid."""
    if outcome is None:
        return None
    after = _held(outcome.after, why)
    return msgspec.structs.replace(outcome, after=after, refused=why[:LONGEST_HOLD], gateless=True)


def decision_of(outcome: Outcome, last: Stance | None) -> Decision | None:
    """The decision that an outcome is, or None when it is that of the last record (`last`, None without one)."""
    before, after = last if last is not None else outcome.before, outcome.after
    if before == after:
        return None
    kind = _kind(before, after)
    return Decision(kind=kind, because=_because(kind, outcome), before=before, after=after)


def replay(name: str, entry: Entry, spec: Any) -> Decision | None:
    """The decision that follows from the recorded inputs of the Rollout `name`: the recorded one, or ours has changed.

    Raises InvalidSpec when the entry cannot be read.
    """
    inputs = view_of(entry.inputs, Inputs, path="inputs")
    now = time_of(entry.at)
    assert now is not None  # an Entry without a time cannot be read
    rollout = Rollout(
        metadata=ObjectMeta(name=name, generation=entry.generation),
        spec=view(spec, RolloutSpec, path="spec"),
        status=inputs.status,
    )
    seen, live = read_back(inputs, rollout, now)
    if inputs.refused and not inputs.gateless:
        outcome: Outcome | None = refusal(seen, inputs.refused)
    else:
        outcome = outcome_of(seen, decide(seen, live, gateless=inputs.gateless))
    if inputs.gateless:
        outcome = in_spite_of(inputs.refused, outcome)
    return decision_of(outcome, entry.before) if outcome is not None else None


def stance(seen: Observed, status: RolloutStatus, waiting: str = "") -> Stance:
    """Where the release stands by `status`; `waiting` is what it waits for beside what the status says."""
    return Stance(
        hash=status.current_pod_hash,
        steps=status.current_step_hash,
        step=None if status.abort else status.current_step_index,
        stable=status.stable_rs,
        active=status.blue_green.active_selector,
        aborted=status.abort,
        hold=_hold(seen, status, waiting)[:LONGEST_HOLD],
    )


def _hold(seen: Observed, status: RolloutStatus, waiting: str) -> str:
    for type in (INVALID, BROKEN):
        if condition := conditions.find(status.conditions, type):
            return f"{type}: {condition.message}"
    if complete(seen, status):
        return ""
    if seen.rollout.spec.paused:
        return "manually paused"
    if status.pause_conditions:
        return status.pause_conditions[0].reason
    return waiting


def _held(before: Stance, why: str) -> Stance:
    return msgspec.structs.replace(before, hold=why[:LONGEST_HOLD])


def _kind(before: Stance, after: Stance) -> Kind:
    if after.stable and after.stable != before.stable:
        return "promote"
    if after.aborted and not before.aborted:
        return "abort"
    if after.hash != before.hash or after.steps != before.steps:
        return "begin"
    if before.aborted and not after.aborted:
        return "retry"
    if after.active != before.active:
        return "switch"
    if (after.step or 0) > (before.step or 0):
        return "advance"
    return "hold" if after.hold else "resume"


def _because(kind: Kind, outcome: Outcome) -> str:
    match kind:
        case "promote":
            return outcome.promoted
        case "abort":
            return outcome.aborted or "a person asked for it"
        case "begin":
            return outcome.begun
        case "retry":
            return "a person asked for it"
        case "advance":
            return outcome.passed or "a person asked for it"
        case "switch":
            return (
                "the new revision is proved"
                if outcome.after.active == outcome.after.hash
                else "back to stable"
            )
        case "hold":
            return outcome.after.hold
    return ""


def _passed(draft: Draft) -> str:
    """The steps that are done, in words."""
    if draft.passed:
        return "done: " + ", ".join(draft.passed)
    return "full promotion asked for" if draft.status.promote_full else ""
