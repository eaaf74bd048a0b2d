"""The last look before anything is written: a plan that breaks an invariant is not carried out at all."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from rollout.core.actions import Action, PatchRoute, PointService
from rollout.core.invariants import Picture, after_action, picture, violations
from rollout.core.observed import Observed, hash_label
from rollout.errors import InvariantBroken
from rollout.traffic.base import Live
from rollout.traffic.services import selected_hash


def check(seen: Observed, actions: Iterable[Action], live: Live | None) -> None:
    """Raise InvariantBroken when carrying the actions out, one after the other, would break a safety rule."""
    names = {one.metadata.name: hash_label(one) for one in seen.replica_sets}
    before = observe(seen, live)
    for action in actions:
        live = _live_after(seen, live, action)
        after = _with_traffic(after_action(before, action, names), live, seen)
        if broken := violations(before, after):
            raise InvariantBroken(f"{'; '.join(broken)} (by {type(action).__name__} in Rollout {seen.key})")
        before = after


def observe(seen: Observed, live: Live | None) -> Picture:
    """The picture that the safety rules look at."""
    return _with_traffic(picture(seen, (), {}, ()), live, seen)


def _with_traffic(base: Picture, live: Live | None, seen: Observed) -> Picture:
    blue_green = seen.rollout.spec.strategy.blue_green
    if blue_green is not None:
        active = base.selectors.get(blue_green.active_service, "")
        return msgspec.structs.replace(base, shares={active: 100} if active else {})
    if live is None:
        return base
    hashes = {pod_hash for pod_hash in (live.canary_hash, live.stable_hash) if pod_hash}
    return msgspec.structs.replace(
        base,
        weights=tuple((weight, 100 - weight) for weight in sorted({live.low, live.high})),
        shares={pod_hash: live.weight_of(pod_hash) for pod_hash in hashes},
        routed=frozenset(hashes),
    )


def _live_after(seen: Observed, live: Live | None, action: Action) -> Live | None:
    if live is None:
        return None
    match action:
        case PatchRoute(weight=int(weight)):
            return Live(weight, weight, live.canary_hash, live.stable_hash)
        case PatchRoute(binds=(canary, stable)):
            return Live(live.low, live.high, canary or live.canary_hash, stable or live.stable_hash)
        case PointService(name=name, hash=pod_hash):
            return _rebound(seen, live, name, pod_hash)
    return live


def _rebound(seen: Observed, live: Live, name: str, pod_hash: str) -> Live:
    """Where Services bind the destinations, a Service's new selector is the destination's."""
    strategy = seen.rollout.spec.strategy.canary
    if strategy is None:
        return live
    canary, stable = live.canary_hash, live.stable_hash
    if name == strategy.canary_service and canary == selected_hash(seen, name):
        canary = pod_hash
    if name == strategy.stable_service and stable == selected_hash(seen, name):
        stable = pod_hash
    return Live(live.low, live.high, canary, stable)
