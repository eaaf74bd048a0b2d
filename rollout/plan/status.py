"""The status that outsiders read: counts, conditions, phase and message.

The strings and the order in which they are decided are a contract (study/argo-rollouts.md 2.1-2.3).
"""

from __future__ import annotations

from datetime import timedelta

import msgspec

from rollout.api.meta import time_of, timestamp
from rollout.api.rollout import (
    DEFAULT_PROGRESS_DEADLINE_SECONDS,
    HASH_LABEL,
    CanaryStatus,
    Condition,
    RolloutStatus,
)
from rollout.api.workload import ReplicaSet
from rollout.core import conditions
from rollout.core.conditions import Status
from rollout.core.observed import Observed, available, hash_label, saturated, scale_down_deadline
from rollout.plan.draft import Draft

ABORTED = "RolloutAborted"
DEADLINE = "ProgressDeadlineExceeded"
BROKEN = "InvariantBroken"


def finish(draft: Draft, *, creating: bool) -> None:
    """Fill in everything that follows from the snapshot and from what the strategy decided."""
    _counts(draft)
    _progressing(draft, creating=creating)
    _others(draft)
    phase, message = phase_of(draft.seen, draft.status)
    _healthy(draft, is_so=phase == "Healthy")
    _replica_failure(draft)
    draft.set(phase=phase, message=message)


def only_reports(before: RolloutStatus, after: RolloutStatus) -> bool:
    """Whether a status differs only in what was seen: counts, weights, phases of runs, words.

    Everything else is a decision, or what people and programs wait for: it is written by the pass that makes it.
    """
    return not after.abort and _decided(before) == _decided(after)


def _decided(status: RolloutStatus) -> RolloutStatus:
    """The status without what was seen: a function of the decisions so far."""
    holds = tuple(Condition(type=one.type, status=one.status) for one in status.conditions)
    return msgspec.structs.replace(
        status,
        message="",
        replicas=0,
        updated_replicas=0,
        ready_replicas=0,
        available_replicas=0,
        hpa_replicas=0,
        conditions=tuple(sorted(holds, key=lambda one: one.type)),
        canary=CanaryStatus(),
        blue_green=msgspec.structs.replace(
            status.blue_green,
            pre_promotion_analysis_run_status=None,
            post_promotion_analysis_run_status=None,
        ),
    )


def _counts(draft: Draft) -> None:
    seen, sets = draft.seen, draft.seen.sets
    everything = sets.all
    blue_green = seen.rollout.spec.strategy.blue_green is not None
    active = sets.by_hash(draft.status.blue_green.active_selector) if blue_green else None
    serving = (active,) if blue_green else everything
    selector = dict((seen.rollout.spec.selector.match_labels if seen.rollout.spec.selector else None) or {})
    if blue_green and active is not None:
        selector[HASH_LABEL] = hash_label(active)
    draft.set(
        replicas=sum(one.status.replicas for one in everything),
        updated_replicas=sets.new.status.replicas if sets.new is not None else 0,
        ready_replicas=sum(one.status.ready_replicas for one in serving if one is not None),
        available_replicas=sum(one.status.available_replicas for one in serving if one is not None),
        hpa_replicas=sum(one.status.replicas for one in serving if one is not None),
        selector=",".join(f"{key}={value}" for key, value in sorted(selector.items())),
    )


def _condition(draft: Draft, type: str, status: Status, reason: str, message: str) -> None:
    old = conditions.find(draft.status.conditions, type)
    if old is not None and (old.status, old.reason, old.message) == (status, reason, message):
        return  # most of them, at most looks
    now = timestamp(draft.now)
    new = Condition(
        type=type,
        status=status,
        reason=reason,
        message=message,
        last_update_time=now,
        last_transition_time=now,
    )
    draft.set(conditions=conditions.put(draft.status.conditions, new))


def _drop(draft: Draft, type: str) -> None:
    if conditions.find(draft.status.conditions, type) is not None:
        draft.set(conditions=conditions.without(draft.status.conditions, type))


def _progressing(draft: Draft, *, creating: bool) -> None:
    status, sets = draft.status, draft.seen.sets
    name = (
        sets.new.metadata.name if sets.new is not None else f"{draft.seen.rollout.metadata.name}-{sets.hash}"
    )
    before = conditions.find(status.conditions, "Progressing")
    if status.abort:
        _tell_abort(draft, before)
        return
    if draft.restarted and before is not None and before.reason in (ABORTED, DEADLINE):
        _condition(
            draft, "Progressing", "Unknown", "RolloutRetry", f"Update to revision {sets.revision} begins anew"
        )
        before = conditions.find(draft.status.conditions, "Progressing")
    if is_paused(draft.seen, status):
        _condition(draft, "Progressing", "Unknown", "RolloutPaused", "Rollout is paused")
        return
    if before is not None and before.reason == "RolloutPaused":
        _condition(draft, "Progressing", "Unknown", "RolloutResumed", "Rollout is resumed")
        before = conditions.find(draft.status.conditions, "Progressing")
    if creating:
        _condition(draft, "Progressing", "True", "NewReplicaSetCreated", f'Created new replica set "{name}"')
    elif complete(draft.seen, draft.status):
        _condition(
            draft,
            "Progressing",
            "True",
            "NewReplicaSetAvailable",
            f'ReplicaSet "{name}" has successfully progressed.',
        )
    elif before is None or draft.restarted:
        _condition(draft, "Progressing", "True", "FoundNewReplicaSet", f'Found new replica set "{name}"')
    elif _progressed(draft):
        _condition(draft, "Progressing", "True", "ReplicaSetUpdated", f'ReplicaSet "{name}" is progressing.')
        draft.set(conditions=conditions.touch(draft.status.conditions, "Progressing", timestamp(draft.now)))
    else:
        _deadline(draft, before, name)


def _tell_abort(draft: Draft, before: Condition | None) -> None:
    revision = draft.seen.sets.revision
    if before is not None and before.reason == ABORTED and not draft.abort_cause:
        return
    cause = f": {draft.abort_cause}" if draft.abort_cause else ""
    message = f"Rollout aborted update to revision {revision}{cause}"
    _condition(draft, "Progressing", "False", ABORTED, message)
    draft.event(ABORTED, message, warning=True)


def _progressed(draft: Draft) -> bool:
    """Whether anything has moved since the last status: more or fresher pods, fewer old ones, another step."""
    old, new = draft.seen.rollout.status, draft.status
    return (
        new.updated_replicas > old.updated_replicas
        or new.replicas - new.updated_replicas < old.replicas - old.updated_replicas
        or new.ready_replicas > old.ready_replicas
        or new.available_replicas > old.available_replicas
        or new.current_step_index != old.current_step_index
        or new.stable_rs != old.stable_rs
        or new.canary.weights != old.canary.weights
    )


def _deadline(draft: Draft, before: Condition, name: str) -> None:
    """Progress is due `progressDeadlineSeconds` after the last; waiting for gates and delays does not count."""
    seen = draft.seen
    seconds = seen.rollout.spec.progress_deadline_seconds
    limit = DEFAULT_PROGRESS_DEADLINE_SECONDS if seconds is None else seconds
    last = time_of(before.last_update_time) or seen.now
    if before.reason in (DEADLINE, "NewReplicaSetAvailable"):
        return
    delays = [scale_down_deadline(one) for one in seen.sets.all if one.spec.replicas]
    if draft.hold or any(delay is not None and delay > seen.now for delay in delays):
        return
    end = last + timedelta(seconds=limit)
    if seen.now < end:
        draft.wake(end)
        return
    message = f'ReplicaSet "{name}" has timed out progressing.'
    in_flight = bool(draft.status.stable_rs) and not seen.sets.is_stable
    if seen.rollout.spec.progress_deadline_abort and in_flight:
        draft.abort(message)
        _tell_abort(draft, before)
        return
    _condition(draft, "Progressing", "False", DEADLINE, message)
    draft.event(DEADLINE, message, warning=True)


def _others(draft: Draft) -> None:
    seen, status = draft.seen, draft.status
    _drop(draft, "InvalidSpec")
    _drop(draft, BROKEN)
    if _enough_available(seen, status):
        _condition(draft, "Available", "True", "AvailableReason", "Rollout has minimum availability")
    else:
        _condition(
            draft, "Available", "False", "AvailableReason", "Rollout does not have minimum availability"
        )
    done = complete(seen, status)
    before = conditions.find(status.conditions, "Completed")
    if done:
        _condition(draft, "Completed", "True", "RolloutCompleted", "RolloutCompleted")
    else:
        canary = seen.rollout.spec.strategy.canary is not None
        if (before is None and canary) or (before is not None and before.status == "True"):
            draft.event(
                "RolloutNotCompleted",
                f"Rollout not completed, started update to revision {seen.sets.revision} ({seen.sets.hash})",
            )
        _condition(draft, "Completed", "False", "RolloutCompleted", "RolloutCompleted")
    if draft.completed_because:
        draft.event(
            "RolloutCompleted",
            f"Rollout completed update to revision {seen.sets.revision} ({seen.sets.hash}): {draft.completed_because}",
        )
    paused = is_paused(seen, draft.status)
    if paused or conditions.find(draft.status.conditions, "Paused") is not None:
        message = "Rollout is paused" if paused else "Rollout is not paused"
        _condition(draft, "Paused", "True" if paused else "False", "RolloutPaused", message)


def _healthy(draft: Draft, *, is_so: bool) -> None:
    if is_so:
        _condition(draft, "Healthy", "True", "RolloutHealthy", "Rollout is healthy")
    elif conditions.find(draft.status.conditions, "Healthy") is not None:
        _condition(draft, "Healthy", "False", "RolloutHealthy", "Rollout is not healthy")


def _replica_failure(draft: Draft) -> None:
    """A ReplicaSet that cannot make pods (quota, admission) is the Rollout's trouble too."""
    new = draft.seen.sets.new
    failure = next((c for c in new.status.conditions if c.type == "ReplicaFailure"), None) if new else None
    if failure is not None and failure.status == "True":
        _condition(draft, "ReplicaFailure", "True", failure.reason, failure.message)
    else:
        _drop(draft, "ReplicaFailure")


def _enough_available(seen: Observed, status: RolloutStatus) -> bool:
    if seen.rollout.spec.strategy.blue_green is not None:
        active = seen.sets.by_hash(status.blue_green.active_selector)
        return active is not None and saturated(active, seen.rollout.replicas)
    return sum(available(one) for one in seen.sets.all) >= seen.rollout.replicas


def is_paused(seen: Observed, status: RolloutStatus) -> bool:
    return seen.rollout.spec.paused or bool(status.pause_conditions)


def complete(seen: Observed, status: RolloutStatus) -> bool:
    """Whether the wanted revision is the stable one."""
    return bool(status.stable_rs) and status.stable_rs == seen.sets.hash


def phase_of(seen: Observed, status: RolloutStatus) -> tuple[str, str]:
    """(phase, message), by the first rule that holds."""
    for condition in status.conditions:
        if condition.type == "InvalidSpec":
            return "Degraded", f"InvalidSpec: {condition.message}"
        if condition.reason in (ABORTED, DEADLINE, BROKEN):
            return "Degraded", f"{condition.reason}: {condition.message}"
    rollout, sets = seen.rollout, seen.sets
    if rollout.spec.paused:
        return "Paused", "manually paused"
    if status.pause_conditions:
        return "Paused", status.pause_conditions[0].reason
    if restart_due(seen, status):
        return "Progressing", "rollout is restarting"
    if status.updated_replicas < rollout.replicas:
        return "Progressing", "more replicas need to be updated"
    if _available_of(sets.new) < status.updated_replicas:
        return "Progressing", "updated replicas are still becoming available"
    if rollout.spec.strategy.blue_green is not None:
        return _blue_green_phase(seen, status)
    canary = rollout.spec.strategy.canary
    old_pods = status.replicas - status.updated_replicas
    if canary is not None and not canary.routed and complete(seen, status) and old_pods > 0:
        return "Progressing", "old replicas are pending termination"
    if not complete(seen, status):
        return "Progressing", "waiting for all steps to complete"
    return "Healthy", ""


def _blue_green_phase(seen: Observed, status: RolloutStatus) -> tuple[str, str]:
    strategy = seen.rollout.spec.strategy.blue_green
    active = seen.services.get(strategy.active_service) if strategy is not None else None
    live = (active.spec.selector or {}).get(HASH_LABEL, "") if active is not None else ""
    if live != seen.sets.hash:
        post = status.blue_green.active_selector == seen.sets.hash
        pre = status.blue_green.pre_promotion_analysis_run_status
        if not post and pre is not None and pre.status in ("", "Pending", "Running"):
            return "Progressing", "waiting for analysis to complete"
        return "Progressing", "active service cutover pending"
    if not complete(seen, status):
        return "Progressing", "waiting for post-promotion verification to complete"
    return "Healthy", ""


def _available_of(one: ReplicaSet | None) -> int:
    return one.status.available_replicas if one is not None else 0


def restart_due(seen: Observed, status: RolloutStatus) -> bool:
    """Whether `spec.restartAt` has come and its restart is not finished."""
    at = seen.rollout.spec.restart_at
    if not at or status.restarted_at == at:
        return False
    moment = time_of(at)
    return moment is not None and moment <= seen.now
