"""The canary steps: one class per kind, with what it wants and when it is done."""

from __future__ import annotations

from datetime import timedelta
from typing import Protocol

import msgspec

from rollout.api.meta import pause_seconds
from rollout.api.rollout import Step
from rollout.core.capacity import least_ready, pods_for, surge_and_unavailable
from rollout.core.observed import Observed, saturated, wanted
from rollout.core.pauses import CANARY_STEP, INCONCLUSIVE
from rollout.plan import runs
from rollout.plan.draft import Draft
from rollout.plan.replicas import split
from rollout.traffic.base import Live


class StepContext(msgspec.Struct):
    """What a step sees, and the draft in which it says what it wants."""

    seen: Observed
    draft: Draft
    live: Live | None
    steps: tuple[Step, ...]
    index: int

    @property
    def alone(self) -> bool:
        """Whether the stable set is gone: the canary is all there is."""
        return self.seen.sets.stable is None

    def weight(self) -> int:
        """The canary's weight at this step: that of the last setWeight so far; 100 after the last step."""
        if self.alone:
            return 100
        if self.index >= len(self.steps) or self.draft.status.promote_full:
            return 100
        weights = [step.set_weight for step in self.steps[: self.index + 1] if step.set_weight is not None]
        return weights[-1] if weights else 0

    def canary_pods(self) -> int:
        """Pods of the canary at this step, with a router. Never fewer than its weight needs (I2)."""
        replicas = self.seen.rollout.replicas
        if self.alone:
            return replicas
        if self.index >= len(self.steps) or self.draft.status.promote_full:
            return replicas
        weight = self.weight()
        need = least_ready(weight, replicas, surge_and_unavailable(self.seen.rollout)[1])
        scale = next(
            (s.set_canary_scale for s in reversed(self.steps[: self.index + 1]) if s.set_canary_scale), None
        )
        if scale is not None and scale.replicas is not None:
            return max(scale.replicas, need)
        if scale is not None and scale.weight is not None:
            return max(pods_for(scale.weight, replicas), need)
        canary = self.seen.rollout.spec.strategy.canary
        floor = (canary.min_pods_per_replica_set or 0) if canary is not None and weight > 0 else 0
        return max(pods_for(weight, replicas), min(floor, replicas))

    def arrived(self) -> bool:
        """Whether pods and traffic are where this step wants them."""
        sets, weight = self.seen.sets, self.weight()
        if self.live is None:
            return self._shares_arrived(weight)
        bound = weight == 0 or self.live.canary_hash == sets.hash
        return bound and self.live.at(weight) and (weight == 0 or saturated(sets.new, self.canary_pods()))

    def _shares_arrived(self, weight: int) -> bool:
        rollout, sets = self.seen.rollout, self.seen.sets
        canary, stable = split(weight, rollout.replicas, surge_and_unavailable(rollout)[0])
        return (
            (canary == 0 or saturated(sets.new, canary))
            and wanted(sets.new) == canary
            and wanted(sets.stable) == stable
            and all(one.spec.replicas == 0 for one in sets.older)
        )


class StepKind(Protocol):
    """One kind of step. `done` may start runs, pause, or abort through the context's draft."""

    def label(self) -> str:
        """The step as an event tells it: "setWeight: 50"."""
        ...

    def done(self, ctx: StepContext) -> bool: ...


class SetWeight:
    """Done when the pods are there and every route says the weight."""

    def __init__(self, step: Step) -> None:
        self._weight = step.set_weight

    def label(self) -> str:
        return f"setWeight: {self._weight}"

    def done(self, ctx: StepContext) -> bool:
        return ctx.arrived()


class SetCanaryScale:
    """Done when the canary has the pods."""

    def __init__(self, step: Step) -> None:
        assert step.set_canary_scale is not None
        self._scale = step.set_canary_scale

    def label(self) -> str:
        if self._scale.replicas is not None:
            return f"setCanaryScale: {{replicas: {self._scale.replicas}}}"
        if self._scale.weight is not None:
            return f"setCanaryScale: {{weight: {self._scale.weight}}}"
        return "setCanaryScale: {matchTrafficWeight: true}"

    def done(self, ctx: StepContext) -> bool:
        pods = ctx.canary_pods()
        return pods == 0 or saturated(ctx.seen.sets.new, pods)


class Pause:
    """Done after its duration, or when somebody promotes."""

    def __init__(self, step: Step) -> None:
        assert step.pause is not None
        self._duration = step.pause.duration

    def label(self) -> str:
        return "pause" if self._duration is None else f"pause: {self._duration}"

    def done(self, ctx: StepContext) -> bool:
        draft = ctx.draft
        seconds = None if self._duration is None else pause_seconds(self._duration)
        if seconds is not None and seconds <= 0:
            return True
        started = draft.paused_for(CANARY_STEP)
        if started is None:
            if draft.resumed_by_hand():
                draft.unpause()
                return True
            draft.pause(CANARY_STEP)
            started = draft.paused_for(CANARY_STEP) or draft.now
        if seconds is None:
            return False
        end = started + timedelta(seconds=seconds)
        if draft.now >= end:
            draft.unpause()
            return True
        draft.wake(end)
        return False


class Analysis:
    """Done when its run is Successful. Failed and Error abort; Inconclusive asks a person."""

    def __init__(self, step: Step) -> None:
        assert step.analysis is not None
        self._analysis = step.analysis

    def label(self) -> str:
        return "analysis: " + ", ".join(template.template_name for template in self._analysis.templates)

    def done(self, ctx: StepContext) -> bool:
        role = runs.step_role(ctx.index)
        run = runs.current(ctx.seen, role)
        ctx.draft.set_canary(current_step_analysis_run_status=runs.told(run))
        if run is None:
            ctx.draft.start.append((role, self._analysis))
            runs.waiting_for(ctx.draft, role)
            return False
        match run.status.phase:
            case "Successful":
                return True
            case "Failed" | "Error":
                ctx.draft.abort(runs.abort_cause("Step-based", run))
                return False
            case "Inconclusive":
                return overruled(ctx.draft)
        runs.waiting_for(ctx.draft, role)
        return False


def overruled(draft: Draft) -> bool:
    """An inconclusive gate: wait for a person; True when one has said to go on."""
    if draft.paused_for(INCONCLUSIVE) is not None:
        return False
    if draft.resumed_by_hand():
        draft.unpause()
        return True
    draft.pause(INCONCLUSIVE)
    return False


KINDS: dict[str, type[SetWeight | SetCanaryScale | Pause | Analysis]] = {
    "setWeight": SetWeight,
    "setCanaryScale": SetCanaryScale,
    "pause": Pause,
    "analysis": Analysis,
}


def kind_of(step: Step) -> StepKind:
    """The step's behaviour. A KeyError cannot happen after `validate`."""
    return KINDS[step.kind](step)


def advance(ctx: StepContext) -> None:
    """Complete as many steps as are done, and say so. Stops at the first that is not, and at any abort."""
    while ctx.index < len(ctx.steps):
        step = kind_of(ctx.steps[ctx.index])
        ctx.draft.set(current_step_index=ctx.index)
        if ctx.draft.commit or not step.done(ctx):
            return
        ctx.index += 1
        ctx.draft.passed.append(step.label())
        ctx.draft.event(
            "RolloutStepCompleted",
            f"Rollout step {ctx.index}/{len(ctx.steps)} completed ({step.label()})",
        )
        ctx.draft.set_canary(current_step_analysis_run_status=None)
        ctx.draft.set(current_step_index=ctx.index)
