"""What ends a pause: a clock or a person. The plan, the clients and the notifications all ask here. Pure.

Contract: study/argo-rollouts.md 1.3 and 1.6.
"""

from __future__ import annotations

from rollout.api.rollout import Rollout

CANARY_STEP = "CanaryPauseStep"
BLUE_GREEN = "BlueGreenPause"
INCONCLUSIVE = "InconclusiveAnalysisRun"


def length(rollout: Rollout, reason: str) -> int | str | None:
    """How long a pause for this reason lasts, as the spec says it (seconds or a duration); None: until a person ends it."""
    canary, blue_green = rollout.spec.strategy.canary, rollout.spec.strategy.blue_green
    if reason == CANARY_STEP and canary is not None:
        index = rollout.status.current_step_index or 0
        pause = canary.steps[index].pause if 0 <= index < len(canary.steps) else None
        return pause.duration if pause is not None else None
    if reason == BLUE_GREEN and blue_green is not None:
        if blue_green.auto_promotion_enabled is False:
            return None  # whatever autoPromotionSeconds says
        return blue_green.auto_promotion_seconds or 0
    return None
