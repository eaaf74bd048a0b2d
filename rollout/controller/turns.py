"""When to take the turn (`rollout.plan.turn`): at once where nobody has it or we are new, else out of patience."""

from __future__ import annotations

from rollout.api.meta import Key
from rollout.core.actions import Action
from rollout.core.observed import Observed
from rollout.plan.turn import Turn, is_ours, stamps, taken, turn_of
from rollout.runtime.clock import Clock

PATIENCE_SECONDS = 15.0
"""How long the holder may leave undone what we would do, before we take the turn from it."""


class Turns:
    """The turns of all Rollouts, as one process sees them. `identity` is unique to this process and this start of it.

    A process that never had the turn of a Rollout takes it as soon as it has something to do: whoever had it is most
    likely the process before it. Who has lost a turn waits, so that two that run side by side do not quarrel.
    """

    def __init__(self, clock: Clock, identity: str) -> None:
        self._clock = clock
        self._identity = identity
        self._had: set[Key] = set()
        self._waiting: dict[Key, tuple[Turn, float]] = {}

    def wait(self, seen: Observed) -> float:
        """Seconds until we may act for this Rollout because somebody else has the turn; 0.0 when we may."""
        now, key = turn_of(seen.rollout), seen.key
        if now.holder == self._identity:
            self._had.add(key)
        # To have tried is not enough: another's write may have come first, and nobody may have the turn any more.
        if key not in self._had or now.holder in ("", self._identity):
            self._waiting.pop(key, None)
            return 0.0
        turn, since = self._waiting.get(key, (None, 0.0))
        if turn != now:
            since = self._clock.monotonic()
            self._waiting[key] = (now, since)
        return max(0.0, since + PATIENCE_SECONDS - self._clock.monotonic())

    def first(self, seen: Observed) -> tuple[Action, ...]:
        """What has to be written before we may act; () when the turn is ours and everything shows it."""
        return stamps(seen) if is_ours(seen, self._identity) else taken(seen, self._identity)

    def rest(self, key: Key) -> None:
        """There is nothing to do: whoever has the turn has done it."""
        self._waiting.pop(key, None)

    def forget(self, key: Key) -> None:
        """The Rollout is gone."""
        self._waiting.pop(key, None)
        self._had.discard(key)
