"""Deciding: from a snapshot and the live traffic to the next status and the wanted world.

It is the part of `plan` that a record of decisions can replay: it reads no pod templates, no analysis templates
and no router objects, and makes no actions.
"""

from __future__ import annotations

import msgspec

from rollout.core.desired import Desired
from rollout.core.observed import Observed
from rollout.plan import bluegreen, canary, lifecycle
from rollout.plan.draft import Draft
from rollout.plan.status import finish
from rollout.traffic.base import Live


class Choice(msgspec.Struct, frozen=True):
    """What was decided. `desired` is None when something must be saved before anything is done about it: an abort,
    a promotion, or a new attempt, whose predecessor left the AnalysisRuns `over`."""

    draft: Draft
    desired: Desired | None = None
    over: tuple[str, ...] = ()


def decide(seen: Observed, live: Live | None, *, gateless: bool = False) -> Choice:
    """The decision for one Rollout. `live` is what its router says, None without one."""
    draft, over = lifecycle.begin(seen, gateless=gateless)
    desired = None if over else _wanted(seen, draft, live)
    creating = desired is not None and desired.create is not None and not draft.commit
    finish(draft, creating=creating)  # the progress deadline may still abort
    return Choice(draft, None if draft.commit else desired, over)


def _wanted(seen: Observed, draft: Draft, live: Live | None) -> Desired:
    strategy = seen.rollout.spec.strategy
    if strategy.blue_green is not None:
        return bluegreen.decide(seen, draft, strategy.blue_green)
    assert strategy.canary is not None  # `validate` has seen to it
    return canary.decide(seen, draft, strategy.canary, live)
