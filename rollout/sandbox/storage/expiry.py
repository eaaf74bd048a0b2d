"""Events do not stay for ever: an hour after its last write each one goes, as with kube-apiserver's --event-ttl."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from rollout.api.resources import EVENTS, Resource
from rollout.runtime.clock import Clock
from rollout.sandbox.storage.state import Place, State

Object = dict[str, Any]

EVENT_TTL = timedelta(hours=1)


class Expiry:
    """Knows when each Event was last written. After a restart they all have their hour again."""

    def __init__(self, state: State, clock: Clock) -> None:
        self._state = state
        self._clock = clock
        now = clock.now()
        self._written: dict[Place, datetime] = dict.fromkeys(state.places(EVENTS.group, EVENTS.plural), now)
        state.on_write(self._note)

    def _note(self, _: str, resource: Resource, old: Object | None, new: Object | None) -> None:
        if (resource.group, resource.plural) != (EVENTS.group, EVENTS.plural):
            return
        obj = new if new is not None else old
        assert obj is not None
        place = Place(EVENTS.group, EVENTS.plural, obj["metadata"]["namespace"], obj["metadata"]["name"])
        self._written.pop(place, None)
        if new is not None:
            self._written[place] = self._clock.now()  # at the end: the first is always the oldest

    @property
    def is_due(self) -> bool:
        oldest = next(iter(self._written.values()), None)
        return oldest is not None and self._clock.now() - oldest >= EVENT_TTL

    def expire(self, limit: int | None = None) -> int:
        """Remove what is due, at most `limit` Events; returns how many went."""
        gone = 0
        while self.is_due and (limit is None or gone < limit):
            place = next(iter(self._written))
            self._state.commit(place.bucket, self._state.get(place), None)
            gone += 1
        return gone
