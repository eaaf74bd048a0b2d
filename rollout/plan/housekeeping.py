"""Chores that no traffic depends on: old revisions, old analysis runs, restarts, a workload that is replaced."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from rollout.api.analysis import AnalysisRun
from rollout.api.meta import scaled, time_of
from rollout.api.rollout import DEFAULT_REVISION_HISTORY_LIMIT, DEFAULT_UNAVAILABLE, HASH_LABEL, Rollout
from rollout.api.workload import Pod
from rollout.core.actions import Action, DeleteReplicaSet, DeleteRun, EvictPod
from rollout.core.capacity import surge_and_unavailable
from rollout.core.observed import Observed, hash_label
from rollout.plan import workload
from rollout.plan.draft import Draft
from rollout.plan.status import restart_due
from rollout.traffic.base import Live
from rollout.traffic.services import selected_hash

DEFAULT_RUN_HISTORY = 5
RESTART_RETRY_SECONDS = 10


def chores(seen: Observed, draft: Draft, live: Live | None) -> tuple[Action, ...]:
    return (
        *_forget_sets(seen, live),
        *_forget_runs(seen),
        *_restart(seen, draft),
        *workload.scale_down(seen, draft),
    )


def _forget_sets(seen: Observed, live: Live | None) -> Iterator[Action]:
    """Delete the oldest empty revisions beyond `revisionHistoryLimit`, never one that anything names."""
    given = seen.rollout.spec.revision_history_limit
    limit = DEFAULT_REVISION_HISTORY_LIMIT if given is None else given
    empty = [one for one in seen.sets.older if one.spec.replicas == 0 and one.status.replicas == 0]
    for one in empty[max(0, limit) :]:
        pod_hash = hash_label(one)
        named = any(selected_hash(seen, name) == pod_hash for name in seen.services)
        if not named and not (live is not None and live.names(pod_hash)):
            meta = one.metadata
            yield DeleteReplicaSet(name=meta.name, uid=meta.uid, resource_version=meta.resource_version)


def _forget_runs(seen: Observed) -> Iterator[Action]:
    """Keep the newest finished runs of each kind of ending; those of the present revision always."""
    history = seen.rollout.spec.analysis
    good = history.successful_run_history_limit if history is not None else None
    bad = history.unsuccessful_run_history_limit if history is not None else None
    finished = sorted(
        (run for run in seen.runs if run.completed and run.metadata.label(HASH_LABEL) != seen.sets.hash),
        key=lambda run: (run.metadata.creation_timestamp, run.metadata.name),
        reverse=True,
    )
    successful = [run for run in finished if run.status.phase == "Successful"]
    others = [run for run in finished if run.status.phase != "Successful"]
    yield from _beyond(successful, DEFAULT_RUN_HISTORY if good is None else good)
    yield from _beyond(others, DEFAULT_RUN_HISTORY if bad is None else bad)


def _beyond(runs: list[AnalysisRun], limit: int) -> Iterator[Action]:
    for run in runs[max(0, limit) :]:
        if run.metadata.deletion_timestamp is None:
            yield DeleteRun(name=run.metadata.name, uid=run.metadata.uid)


def _restart(seen: Observed, draft: Draft) -> Iterator[Action]:
    """Evict pods that are older than `spec.restartAt`, a few at a time, as long as enough others are ready."""
    rollout = seen.rollout
    at = time_of(rollout.spec.restart_at)
    if at is None or draft.status.restarted_at == rollout.spec.restart_at:
        return
    if not restart_due(seen, draft.status):
        draft.wake(at)
        return
    old = [pod for pod in seen.pods if _older(pod, at)]
    if not old:
        draft.set(restarted_at=rollout.spec.restart_at)
        return
    draft.wake(seen.now + timedelta(seconds=RESTART_RETRY_SECONDS))
    down = sum(1 for pod in seen.pods if not pod.ready or pod.metadata.deletion_timestamp)
    leaving = [pod for pod in old if pod.metadata.deletion_timestamp is None]
    stable = rollout.status.stable_rs
    leaving.sort(key=lambda pod: (pod.metadata.label(HASH_LABEL) != stable, pod.metadata.name))
    ready = [pod for pod in leaving if pod.ready]
    # What is not ready serves nobody, and goes at once.
    for pod in [
        *(pod for pod in leaving if not pod.ready),
        *ready[: max(0, _restarted_at_once(rollout) - down)],
    ]:
        yield EvictPod(name=pod.metadata.name, uid=pod.metadata.uid)


def _restarted_at_once(rollout: Rollout) -> int:
    """Pods that may be away during a restart: maxUnavailable of the strategy, but at least one."""
    blue_green = rollout.spec.strategy.blue_green
    if blue_green is None:
        return max(1, surge_and_unavailable(rollout)[1])
    given = DEFAULT_UNAVAILABLE if blue_green.max_unavailable is None else blue_green.max_unavailable
    return max(1, scaled(given, rollout.replicas, round_up=False))


def _older(pod: Pod, moment: object) -> bool:
    created = time_of(pod.metadata.creation_timestamp)
    return created is not None and created < moment  # type: ignore[operator]
