"""Where a revision begins: a new template, changed steps, a retry; and what the user has asked for.

User intent is honoured here, before routing or analysis is looked at, so that neither can be in its way.
"""

from __future__ import annotations

from functools import lru_cache

from rollout.api.codec import decode, encode
from rollout.api.meta import timestamp
from rollout.api.rollout import BlueGreenStatus, CanaryStatus, Step
from rollout.core.observed import Observed, saturated, scale_down_deadline, was_stable
from rollout.core.template import hash_of
from rollout.plan import runs, workload
from rollout.plan.draft import Draft


def begin(seen: Observed, *, gateless: bool = False) -> tuple[Draft, tuple[str, ...]]:
    """The draft to go on with, and the AnalysisRuns of attempts that are over (to be retired first).

    `gateless`: the steps of this snapshot were left out on purpose and say nothing.
    """
    draft = Draft(seen)
    before, sets = seen.rollout.status, seen.sets
    steps = steps_of(seen)
    steps_hash = _steps_hash(encode(steps)) if steps else ""
    first = before.observed_generation == ""
    new_template = before.current_pod_hash != sets.hash
    new_steps = (
        not gateless
        and not new_template
        and before.current_step_hash != steps_hash
        and bool(before.current_pod_hash)
    )
    retry = not before.abort and before.aborted_at is not None and not new_template
    draft.set(
        current_pod_hash=sets.hash,
        current_step_hash=before.current_step_hash if gateless else steps_hash,
        collision_count=sets.collision_count,
        observed_generation=str(seen.rollout.metadata.generation),
        workload_observed_generation=workload.generation(seen),
    )
    if first:
        draft.event("RolloutAddedToInformer", f"Rollout resource added to informer: {seen.key}")
    if new_template or new_steps or retry:
        _reset(draft, seen, steps)
        draft.begun_because = (
            "a new pod template" if new_template else "the steps were changed" if new_steps else ""
        )
        if new_template:
            draft.event("RolloutUpdated", f"Rollout updated to revision {sets.revision}")
        if retry:
            draft.event("RolloutRetry", f"Rollout retries the update to revision {sets.revision}")
    _user_intent(draft, seen)
    # A new template has none, unless ReplicaSets were deleted and its number is given for the second time.
    over = runs.superseded(seen) if new_template or new_steps or retry else ()
    return draft, over


@lru_cache(maxsize=1024)
def _steps_hash(steps: bytes) -> str:
    """The hash of steps given as JSON. The same ones are asked about at every look."""
    return hash_of(decode(steps))


def steps_of(seen: Observed) -> tuple[Step, ...]:
    canary = seen.rollout.spec.strategy.canary
    return canary.steps if canary is not None else ()


def _reset(draft: Draft, seen: Observed, steps: tuple[Step, ...]) -> None:
    """Start the revision from its first step, or from its end where steps have nothing to add."""
    skipped, active = why_skip(seen), draft.status.blue_green.active_selector
    if active == seen.sets.hash:
        # A retry that comes before the abort has been carried out: what was switched to goes home, and is proved again.
        active = draft.status.stable_rs or active
    index = (len(steps) if skipped else 0) if steps else None
    draft.set(
        abort=False,
        aborted_at=None,
        promote_full=False,
        pause_conditions=(),
        controller_pause=False,
        current_step_index=index,
        canary=CanaryStatus(weights=draft.status.canary.weights),
        blue_green=BlueGreenStatus(
            active_selector=active,
            preview_selector=draft.status.blue_green.preview_selector,
        ),
    )
    draft.restarted = True
    if skipped and seen.sets.stable is not None and steps:
        draft.event("SkipSteps", f"{skipped}: all steps are skipped")


def why_skip(seen: Observed) -> str:
    """Why the steps have nothing to add, "" when they have."""
    sets = seen.sets
    if not seen.rollout.status.stable_rs:
        return "Initial deploy"
    if sets.is_stable:
        return "Rollback to stable"
    if sets.new is not None and within_rollback_window(seen):
        return "Rollback within window"
    return ""


def within_rollback_window(seen: Observed) -> bool:
    """Whether the new revision is an older set, few enough revisions before the stable one, that was stable itself.

    One that was aborted, or overtaken before its gates had passed, was never proved: the window does not help it.
    """
    window, sets = seen.rollout.spec.rollback_window, seen.sets
    if window is None or sets.new is None or sets.stable is None or not was_stable(sets.new):
        return False
    if sets.new.metadata.creation_timestamp >= sets.stable.metadata.creation_timestamp:
        return False
    between = [
        one
        for one in sets.older
        if sets.new.metadata.creation_timestamp
        < one.metadata.creation_timestamp
        < sets.stable.metadata.creation_timestamp
    ]
    return len(between) < window.revisions


def fast_rollback(seen: Observed) -> bool:
    """Whether the new revision is an old set that was stable and is still up, kept for just this (blue/green).

    One that was aborted, or overtaken, is up for a while, too, and was never proved. Nor is one that is newer than the
    stable set: somebody has gone back from it.
    """
    new, stable = seen.sets.new, seen.sets.stable
    if new is None or stable is None or seen.sets.is_stable or not was_stable(new):
        return False
    if new.metadata.creation_timestamp >= stable.metadata.creation_timestamp:
        return False
    deadline = scale_down_deadline(new)
    return deadline is not None and deadline > seen.now and saturated(new, seen.rollout.replicas)


def _user_intent(draft: Draft, seen: Observed) -> None:
    status = draft.status
    in_progress = bool(status.stable_rs) and status.stable_rs != seen.sets.hash
    if not in_progress and (status.abort or status.promote_full):
        # Nothing to abort or to hurry: the wish is answered by the state as it is.
        draft.set(abort=False, aborted_at=None, promote_full=False)
        return
    if status.abort and status.aborted_at is None:
        draft.set(
            aborted_at=timestamp(seen.now), promote_full=False, pause_conditions=(), controller_pause=False
        )
    if status.promote_full and status.abort:
        draft.set(promote_full=False)
    elif status.promote_full:
        draft.unpause()
    if status.abort and status.current_step_index is not None:
        draft.set(current_step_index=0)
