"""What state a Rollout is in, as every client computes it, and what that means for a waiting command. Pure.

Contract: study/argo-rollouts.md 2.1. A status that was computed before the latest request is never taken for an
answer to it.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal

import msgspec

from rollout.api.meta import pause_seconds, time_of
from rollout.api.rollout import WORKLOAD_GENERATION, Rollout
from rollout.cli import exits
from rollout.core import pauses

HELD = "held by ChaosSwitch "
"""How the controller's message begins when releases are held (`chaos.plan.switch.releases_held`)."""
Outcome = Literal["healthy", "failed", "paused", "progressing"]


class Phase(msgspec.Struct, frozen=True):
    """Healthy, Progressing, Paused or Degraded, and the reason."""

    name: str
    message: str = ""

    def __str__(self) -> str:
        return f"{self.name} - {self.message}" if self.message else self.name


def phase_of(rollout: Rollout) -> Phase:
    """The state to show: the controller's word, unless it has not seen the latest request yet."""
    status = rollout.status
    if not status.phase and not status.conditions:
        return Phase("Progressing", "no controller has looked at this Rollout yet")
    if not observed(rollout):
        return Phase("Progressing", "waiting for rollout spec update to be observed")
    if status.controller_pause and not status.pause_conditions:
        return Phase("Progressing", "waiting for rollout to unpause")
    if not workload_observed(rollout):
        return Phase(
            "Progressing", "waiting for rollout spec update to be observed for the reference workload"
        )
    if status.abort and status.phase != "Degraded":
        return Phase("Progressing", "waiting for the abort to be observed")
    if not status.abort and status.phase == "Degraded" and status.message.startswith("RolloutAborted"):
        return Phase("Progressing", "waiting for the retry to be observed")
    if status.promote_full and status.phase == "Paused":
        return Phase("Progressing", "promoted in full, going on to the end")
    if rollout.spec.paused and status.phase not in {"Paused", "Degraded"}:
        return Phase(status.phase or "Progressing", status.message or "waiting for the pause to be observed")
    return Phase(status.phase or "Unknown", status.message)


def observed(rollout: Rollout) -> bool:
    """Whether the controller has seen the latest spec."""
    text = rollout.status.observed_generation
    return not text.isdecimal() or len(text) > 18 or int(text) >= rollout.metadata.generation


def workload_observed(rollout: Rollout) -> bool:
    """Whether what the status says is about the workload that the controller has seen last."""
    seen, said = rollout.status.workload_observed_generation, rollout.metadata.annotation(WORKLOAD_GENERATION)
    if rollout.spec.workload_ref is None or not (seen.isdecimal() and said.isdecimal()):
        return True
    return max(len(seen), len(said)) > 18 or int(seen) >= int(said)


def outcome(rollout: Rollout) -> Outcome:
    """What a command that waits makes of the present state."""
    match phase_of(rollout).name:
        case "Healthy":
            return "healthy"
        case "Degraded":
            return "failed"
        case "Paused" if needs_person(rollout):
            return "paused"
        case _:
            return "progressing"


def outcome_of_abort(rollout: Rollout) -> Outcome:
    """The same for an abort, which is done ("failed") when no request goes to the new version any more."""
    result = outcome(rollout)
    return "progressing" if result == "failed" and not _is_back(rollout) else result


def _is_back(rollout: Rollout) -> bool:
    status = rollout.status
    if rollout.spec.strategy.blue_green is not None:
        return status.blue_green.active_selector in ("", status.stable_rs)
    if status.canary.weights is not None:
        return status.canary.weights.canary.weight == 0
    return status.updated_replicas == 0


def needs_person(rollout: Rollout) -> bool:
    """Whether a paused Rollout goes on only when somebody promotes it (a timed pause ends by itself)."""
    if rollout.spec.paused or not rollout.status.pause_conditions:
        return True
    return pauses.length(rollout, rollout.status.pause_conditions[0].reason) is None


def held(rollout: Rollout) -> bool:
    """Whether a new version waits because a ChaosSwitch holds releases; promoting does not end that."""
    return phase_of(rollout).name == "Paused" and rollout.status.message.startswith(HELD)


def pause_ends(rollout: Rollout) -> datetime | None:
    """When a timed pause ends; None when a person has to end it, or nothing is paused."""
    status = rollout.status
    if not status.pause_conditions or needs_person(rollout):
        return None
    length = pauses.length(rollout, status.pause_conditions[0].reason)
    try:
        started = time_of(status.pause_conditions[0].start_time)
        return started + timedelta(seconds=pause_seconds(length)) if started and length is not None else None
    except (ValueError, OverflowError):
        return None


def exit_code(result: Outcome, *, success_on_pause: bool = False) -> int:
    """The exit code of `status`, and of an acting command after --wait."""
    if result == "paused":
        return exits.OK if success_on_pause else exits.PAUSED
    return {"healthy": exits.OK, "failed": exits.FAILED, "progressing": exits.TIMEOUT}[result]
