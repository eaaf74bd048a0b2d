"""What the plan asks of a router."""

from __future__ import annotations

from typing import Protocol

import msgspec

from rollout.core.actions import Action
from rollout.core.observed import Observed, RouteKey
from rollout.core.problem import Problem


class Live(msgspec.Struct, frozen=True):
    """Where requests go, read back from the live objects.

    `low` and `high` are the smallest and the largest canary weight (percent) over all routes that are ours;
    they differ only in the middle of a change. `canary_hash` and `stable_hash` are the pod-template hashes
    that the canary's and the stable destination select; "" while a destination is not bound to one.
    `settled` is False while the router itself says that it has not yet made the live objects work.
    """

    low: int
    high: int
    canary_hash: str
    stable_hash: str
    settled: bool = True

    def at(self, weight: int) -> bool:
        """Whether every route gives the canary exactly `weight`, and the router says that this is live."""
        return self.low == self.high == weight and self.settled

    def weight_of(self, pod_hash: str) -> int:
        """The largest share (percent) that any route gives to pods of this hash."""
        share = self.high if pod_hash == self.canary_hash else 0
        return min(100, share + (100 - self.low if pod_hash == self.stable_hash else 0))

    def names(self, pod_hash: str) -> bool:
        """Whether any destination selects pods of this hash, whatever its weight."""
        return pod_hash in (self.canary_hash, self.stable_hash)


class Router(Protocol):
    """One traffic router of a canary."""

    def refs(self) -> tuple[RouteKey, ...]:
        """The objects to watch."""
        ...

    def problems(self, seen: Observed) -> list[Problem]:
        """What is missing in the live objects, or cannot be understood."""
        ...

    def live(self, seen: Observed) -> Live:
        """The live state. Only called when there are no problems."""
        ...

    def waits(self, seen: Observed) -> str:
        """What has not made the live objects work yet, in words for people; "" where nothing is to be said."""
        ...

    def set_weight(self, seen: Observed, weight: int) -> tuple[Action, ...]:
        """Patches that give the canary `weight` percent; () when it is so already."""
        ...

    def retarget(self, seen: Observed, canary_hash: str, stable_hash: str) -> tuple[Action, ...]:
        """Patches that bind the destinations to pods; () when it is so already, or when Services bind them."""
        ...
