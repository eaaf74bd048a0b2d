"""I16 on the server's own state: every decision is recorded once, before it is carried out, and replays the same.

A record is looked at when it is written; a status, a new ReplicaSet and the live traffic when they are: what they
show must be what was recorded last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from rollout.api.codec import encode, view
from rollout.api.decisions import Decision, DecisionRecord, Entry, Stance
from rollout.api.meta import Key, metadata
from rollout.api.rollout import HASH_LABEL, Rollout
from rollout.core.observed import Observed, hash_label
from rollout.plan.decisions import replay, stance
from rollout.plan.ledger import MAX_BYTES, MAX_DECISIONS
from rollout.runtime.kube import Object


class Records:
    """What was recorded of each Rollout. `alone` says that one controller runs: a second one may come between."""

    def __init__(self, *, alone: bool = True) -> None:
        self._alone = alone
        self._known: dict[Key, list[Entry]] = {}
        self.kept = 0
        """Decisions recorded so far."""
        self.off = False
        """The server does not know DecisionRecords."""

    def written(self, key: Key, old: Object | None, new: Object | None) -> Iterator[str]:
        """The record of the Rollout `key` was written."""
        if new is None:
            self._known.pop(key, None)
            return
        record = view(new, DecisionRecord)
        before = dict(view(old or {}, DecisionRecord).in_order())
        after = dict(record.in_order())
        added = [number for number in after if number not in before]
        if len(added) != 1 or any(number > added[0] for number in after):
            yield f"I16: {len(added)} decisions are recorded by one write, or not at the end: {added}"
            return
        if any(after[number] != before[number] for number in after if number != added[0]):
            yield f"I16: what was recorded is changed when {added[0]} is added"
        if len(after) > MAX_DECISIONS or (len(encode(new["decisions"])) > MAX_BYTES and len(after) > 1):
            yield f"I16: the record is not bounded: {len(after)} decisions, {len(encode(new))} bytes"
        entry, known = after[added[0]], self._known.setdefault(key, [])
        if known and entry.after == known[-1].after:
            yield f"I16: {entry.kind} to {entry.after} is recorded twice"
        if known and entry.before != known[-1].after:
            yield f"I16: decision {added[0]} does not begin where the one before it has ended"
        known.append(entry)
        self.kept += 1
        yield from _replayed(key.name, entry, record)

    def acted(self, seen: Observed, before: Rollout) -> Iterator[str]:
        """We have written a status: what it shows was recorded."""
        old, new = stance(seen, before.status), stance(seen, seen.rollout.status)
        if old == new:
            return
        if not self._recorded(seen.key, lambda after: _shows(new, old, after)):
            yield f"I16: the status shows {new}, which was not recorded"

    def made(self, owner: Key, replica_set: Object) -> Iterator[str]:
        """We have made a ReplicaSet: its revision was recorded as begun."""
        pod_hash = (metadata(replica_set).get("labels") or {}).get(HASH_LABEL)
        if not self._recorded(owner, lambda after: after.hash == pod_hash):
            yield f"I16: a ReplicaSet of {pod_hash} is made, and no decision to begin it was recorded"

    def raised(self, seen: Observed, weight: int) -> Iterator[str]:
        """We have raised the canary's weight: a step that wants so much was recorded as reached."""
        canary, stable = seen.rollout.spec.strategy.canary, seen.rollout.status.stable_rs
        assert canary is not None
        if not any(hash_label(one) == stable for one in seen.replica_sets):
            return  # somebody has deleted the stable set: the canary is all there is
        if not self._recorded(seen.key, lambda after: weight <= _weight(after, canary.steps)):
            yield f"I16: the canary's weight rises to {weight}, and no step that wants so much was recorded"

    def switched(self, seen: Observed, pod_hash: str) -> Iterator[str]:
        """We have switched the active Service: the switch was recorded."""
        if not self._recorded(seen.key, lambda after: pod_hash in (after.active, after.stable)):
            yield f"I16: the active Service is switched to {pod_hash}, and no such decision was recorded"

    def _recorded(self, key: Key, shown: Callable[[Stance], bool]) -> bool:
        """Whether the decision recorded last (with several controllers: any) is one that shows itself so."""
        known = self._known.get(key, [])
        latest = known[-1:] if self._alone else known
        return self.off or any(shown(entry.after) for entry in latest)


def _shows(new: Stance, old: Stance, recorded: Stance) -> bool:
    """Whether a status shows the recorded stance. It tells of some reasons to wait, not of all."""
    hold = recorded.hold if new.hold in ("", old.hold) else new.hold
    return msgspec.structs.replace(new, hold=hold) == recorded


def _weight(where: Stance, steps: tuple) -> int:
    """The largest weight that is wanted at a step: what the last setWeight so far says, 100 after the last step."""
    if where.step is None or where.step >= len(steps):
        return 0 if where.aborted else 100
    said = [step.set_weight for step in steps[: where.step + 1] if step.set_weight is not None]
    return said[-1] if said else 0


def _replayed(name: str, entry: Entry, record: DecisionRecord) -> Iterator[str]:
    if entry.spec not in record.specs:
        yield f"I16: the spec {entry.spec} of a decision is not in the record"
        return
    again = replay(name, entry, record.specs[entry.spec])
    recorded = Decision(kind=entry.kind, because=entry.because, before=entry.before, after=entry.after)
    if again != recorded:
        yield f"I16: a recorded decision replays as another: {recorded} as {again}"
