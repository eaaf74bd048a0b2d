"""The status in the making: what one pass of the plan has decided so far.

A `Draft` lives inside one call of `plan` and is never seen outside it.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec

from rollout.api.meta import time_of, timestamp
from rollout.api.rollout import BlueGreenStatus, CanaryStatus, PauseCondition, RolloutAnalysis, RolloutStatus
from rollout.core.actions import Event
from rollout.core.observed import Observed

if TYPE_CHECKING:
    from rollout.plan.runs import Role


class Draft:
    """The next status of one Rollout, the events that tell of it, and when to look again."""

    def __init__(self, seen: Observed) -> None:
        self.seen = seen
        self.status: RolloutStatus = seen.rollout.status
        self.events: list[Event] = []
        self.wake_at: datetime | None = None
        # AnalysisRuns that should exist and do not.
        self.start: list[tuple[Role, RolloutAnalysis]] = []
        # Something that must be in status before anything is done: abort, promotion.
        self.commit = False
        # Why the release is where it is: for the condition Progressing, events, and the record of decisions.
        self.begun_because = ""
        self.passed: list[str] = []
        self.abort_cause = ""
        self.completed_because = ""
        self.restarted = False
        self.hold = ""

    @property
    def now(self) -> datetime:
        return self.seen.now

    def set(self, **changes: Any) -> None:
        self.status = msgspec.structs.replace(self.status, **changes)

    def set_canary(self, **changes: Any) -> None:
        canary: CanaryStatus = msgspec.structs.replace(self.status.canary, **changes)
        self.set(canary=canary)

    def set_blue_green(self, **changes: Any) -> None:
        blue_green: BlueGreenStatus = msgspec.structs.replace(self.status.blue_green, **changes)
        self.set(blue_green=blue_green)

    def event(self, reason: str, message: str, *, warning: bool = False) -> None:
        self.events.append(Event(reason, message, warning))

    def wake(self, moment: datetime) -> None:
        """Look again at `moment` at the latest."""
        if self.wake_at is None or moment < self.wake_at:
            self.wake_at = moment

    def paused_for(self, reason: str) -> datetime | None:
        """When a pause with this reason began, or None."""
        for condition in self.status.pause_conditions:
            if condition.reason == reason:
                return time_of(condition.start_time)
        return None

    def pause(self, reason: str) -> None:
        """Begin to wait (for time, or for a person).

        The API keeps whole seconds: the start is rounded up, so that no pause ends early.
        """
        start = self.now + timedelta(seconds=1) if self.now.microsecond else self.now
        condition = PauseCondition(reason=reason, start_time=timestamp(start))
        self.set(pause_conditions=(*self.status.pause_conditions, condition), controller_pause=True)
        self.event("RolloutPaused", f"Rollout is paused ({reason})")

    def resumed_by_hand(self) -> bool:
        """Whether somebody took our pause away: `rollout promote` removes the conditions, nothing else."""
        return self.status.controller_pause and not self.status.pause_conditions

    def unpause(self) -> None:
        if self.status.controller_pause or self.status.pause_conditions:
            self.event("RolloutResumed", "Rollout is resumed")
        self.set(pause_conditions=(), controller_pause=False)

    def abort(self, cause: str) -> None:
        """Give this revision up. Saved before anything is done about it."""
        self.set(
            abort=True,
            aborted_at=timestamp(self.now),
            pause_conditions=(),
            controller_pause=False,
            promote_full=False,
        )
        self.abort_cause = cause
        self.commit = True

    def promote(self, pod_hash: str, because: str) -> None:
        """Make the revision the stable one. Saved before anything is done about it."""
        self.set(stable_rs=pod_hash, promote_full=False, pause_conditions=(), controller_pause=False)
        self.completed_because = because
        self.commit = True
