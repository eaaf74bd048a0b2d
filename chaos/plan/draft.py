"""The status in the making: what one pass of the plan has decided so far.

A `Draft` lives inside one call of `plan` and is never seen outside it. What is done (`actions`) rests on the status
that was saved before, never on what this pass adds to it.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

import msgspec

from chaos.actions import Action, Event
from chaos.faults.base import Kinds
from chaos.observed import Observed
from rollout.api.chaos import ChaosRun, ChaosRunSpec, ChaosRunStatus, Entry, Receipt
from rollout.api.meta import time_of, timestamp
from rollout.api.rollout import Condition
from rollout.core import conditions

JOURNAL = 200
"""Lines of the journal that are kept."""
OVER = frozenset({"Reverted", "Unverified", "Refused"})
"""States of a receipt about which nothing more is to be done."""
RECONCILING, STALLED = "Reconciling", "Stalled"
_REPEATS = 8


class Draft:
    """The next status of one run, what to do, and what to tell."""

    def __init__(self, seen: Observed, kinds: Kinds) -> None:
        self.seen = seen
        self.kinds = kinds
        self.status: ChaosRunStatus = seen.run.status
        self.actions: list[Action] = []
        self.events: list[Event] = []

    @property
    def now(self) -> datetime:
        return self.seen.now

    @property
    def run(self) -> ChaosRun:
        return self.seen.run

    @property
    def spec(self) -> ChaosRunSpec:
        return self.seen.run.spec

    def set(self, **changes: Any) -> None:
        self.status = msgspec.structs.replace(self.status, **changes)

    def put(self, *receipts: Receipt) -> None:
        """Replace receipts by their id, or add them."""
        new = {one.id: one for one in receipts}
        kept = tuple(new.pop(one.id, one) for one in self.status.receipts)
        self.set(receipts=(*kept, *new.values()))

    def act(self, actions: Iterable[Action]) -> None:
        self.actions.extend(actions)

    def note(self, what: str, message: str) -> None:
        """One line of the journal. The same line over and over is written once."""
        self.set(journal=noted(self.status.journal, what, message, self.now))

    def tell(self, reason: str, message: str, *, warning: bool = False) -> None:
        """A line of the journal that is an Event as well."""
        self.note(reason, message)
        self.events.append(Event(reason, message, warning))

    def condition(self, type: str, message: str, reason: str = "") -> None:
        now = timestamp(self.now)
        new = Condition(
            type=type,
            status="True",
            reason=reason or type,
            message=message,
            last_update_time=now,
            last_transition_time=now,
        )
        self.set(conditions=conditions.put(self.status.conditions, new))

    def progress(self) -> None:
        """The conditions by which `helm --wait`, Flux and kpt see whether a run goes on or has ended badly.

        Contract: https://github.com/kubernetes-sigs/cli-utils/tree/master/pkg/kstatus (both are absent when all is well).
        """
        status = self.status
        if status.phase != "Completed":
            self.condition(RECONCILING, status.message, status.phase or "Pending")
            return
        self.set(conditions=conditions.without(status.conditions, RECONCILING))
        if status.verdict != "Successful":
            self.condition(STALLED, status.message, status.verdict)

    @property
    def over(self) -> bool:
        """Whether nothing is left of any fault, as far as that can be known."""
        return all(one.state in OVER for one in self.status.receipts)


def noted(journal: tuple[Entry, ...], what: str, message: str, now: datetime) -> tuple[Entry, ...]:
    if any(one.what == what and one.message == message for one in journal[-_REPEATS:]):
        return journal
    return (*journal, Entry(at=timestamp(now), what=what, message=message))[-JOURNAL:]


def moment(text: str | None, otherwise: datetime) -> datetime:
    """A time of the status; `otherwise` when it is not there."""
    return time_of(text) or otherwise


def whole_seconds(when: datetime) -> datetime:
    """Rounded up: the API keeps whole seconds, and nothing must end early."""
    return when.replace(microsecond=0) + timedelta(seconds=1) if when.microsecond else when
