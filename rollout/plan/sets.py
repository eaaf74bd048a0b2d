"""ReplicaSets as the plan makes and retires them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

from rollout.api.meta import timestamp
from rollout.api.resources import REPLICA_SETS
from rollout.api.rollout import (
    DEFAULT_ABORT_SCALE_DOWN_DELAY_SECONDS,
    DEFAULT_SCALE_DOWN_DELAY_SECONDS,
    DESIRED_REPLICAS,
    HASH_LABEL,
    INSTANCE_ID,
    PROVED,
    REVISION,
    REVISION_HISTORY,
    SCALE_DOWN_DEADLINE,
    WORKLOAD_GENERATION,
)
from rollout.api.workload import ReplicaSet
from rollout.core.actions import PatchReplicaSet, PatchRollout
from rollout.core.observed import Observed, hash_label, revision_of, scale_down_deadline, was_stable
from rollout.plan import turn, workload
from rollout.plan.draft import Draft
from rollout.plan.runs import owner

# The shortest time between the last change of a route and the end of pods that it named: proxies learn of a
# new route a moment after the API server does (study/argo-rollouts.md 4, first pain).
SETTLE_SECONDS = 2

_NOT_COPIED = (
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    REVISION_HISTORY,
    DESIRED_REPLICAS,
    SCALE_DOWN_DEADLINE,
    WORKLOAD_GENERATION,
)
_NOT_COPIED_PREFIXES = ("notified.notifications.argoproj.io/", "surefoot.dev/")


def new_object(seen: Observed, replicas: int) -> dict[str, Any]:
    """The ReplicaSet of the new revision. Its name is the Rollout's name and the pod-template hash."""
    rollout, sets = seen.rollout, seen.sets
    template = seen.rollout.spec.template
    template_meta = dict(template.get("metadata") or {})
    labels = {**(template_meta.get("labels") or {}), HASH_LABEL: sets.hash}
    template_meta["labels"] = labels
    selector = dict((seen.raw.get("spec") or {}).get("selector") or {})
    selector["matchLabels"] = {**(selector.get("matchLabels") or {}), HASH_LABEL: sets.hash}
    own_labels = dict(labels)
    if instance := rollout.metadata.label(INSTANCE_ID):
        own_labels[INSTANCE_ID] = instance
    spec: dict[str, Any] = {
        "replicas": replicas,
        "selector": selector,
        "template": {**template, "metadata": template_meta},
    }
    if rollout.spec.min_ready_seconds:
        spec["minReadySeconds"] = rollout.spec.min_ready_seconds
    return {
        "apiVersion": REPLICA_SETS.api_version,
        "kind": REPLICA_SETS.kind,
        "metadata": {
            "name": f"{rollout.metadata.name}-{sets.hash}",
            "namespace": rollout.metadata.namespace,
            "labels": own_labels,
            "annotations": {
                **copied_annotations(rollout.metadata.annotations or {}),
                REVISION: str(sets.revision),
                DESIRED_REPLICAS: str(rollout.replicas),
                **turn.mark(seen),
            },
            "ownerReferences": [owner(seen)],
        },
        "spec": spec,
    }


def copied_annotations(annotations: Mapping[str, str]) -> dict[str, str]:
    """The Rollout's annotations that its ReplicaSets carry too."""
    return {
        key: value
        for key, value in annotations.items()
        if key not in _NOT_COPIED and not key.startswith(_NOT_COPIED_PREFIXES)
    }


def stable_marks(seen: Observed) -> Iterator[PatchReplicaSet]:
    """Write onto the stable set that it has been stable, where that will be asked for.

    A rollback window asks at any time; a fast rollback (blue/green) once the next version has taken the set's place.
    """
    spec, stable = seen.rollout.spec, seen.sets.stable
    overtaken = spec.strategy.blue_green is not None and not seen.sets.is_stable
    if stable is None or was_stable(stable) or not (overtaken or spec.rollback_window is not None):
        return
    meta = stable.metadata
    yield PatchReplicaSet(
        name=meta.name, resource_version=meta.resource_version, annotations={PROVED: "true"}
    )


def revision_marks(seen: Observed) -> Iterator[PatchReplicaSet | PatchRollout]:
    """Write the revision number where outsiders look for it: on the set, and on the Rollout."""
    sets, rollout = seen.sets, seen.rollout
    if sets.new is not None and revision_of(sets.new) != sets.revision:
        before = sets.new.metadata
        history = [part for part in before.annotation(REVISION_HISTORY).split(",") if part]
        if old := before.annotation(REVISION):
            history.append(old)
        annotations: dict[str, str | None] = {REVISION: str(sets.revision)}
        if history:
            annotations[REVISION_HISTORY] = ",".join(history[-10:])
        yield PatchReplicaSet(
            name=before.name, resource_version=before.resource_version, annotations=annotations
        )
    patch: dict[str, Any] = {}
    marks = workload.marks(seen)
    if rollout.metadata.annotation(REVISION) != str(sets.revision):
        marks[REVISION] = str(sets.revision)
    if marks:
        patch["metadata"] = {"annotations": marks}
    if rollout.spec.replicas is None:  # an autoscaler needs the number to be there
        patch["spec"] = {"replicas": workload.default_replicas(seen)}
    if patch:
        yield PatchRollout(resource_version=rollout.metadata.resource_version, patch=patch)


def retire_older(
    draft: Draft,
    candidates: tuple[ReplicaSet, ...],
    *,
    delay: int,
    keep: int | None = None,
) -> tuple[dict[str, int], dict[str, str | None]]:
    """(replicas, deadlines) for sets that no longer carry traffic: each is kept `delay` seconds, then emptied.

    At most `keep` of them (newest first) are kept for that long; the others only until routes have settled.
    """
    replicas: dict[str, int] = {}
    deadlines: dict[str, str | None] = {}
    up = [one for one in candidates if one.spec.replicas > 0]
    for position, one in enumerate(up):
        pod_hash = hash_label(one)
        over_limit = keep is not None and position >= keep
        seconds = max(SETTLE_SECONDS, 0 if over_limit else delay)
        latest = draft.now + timedelta(seconds=seconds)
        deadline = scale_down_deadline(one)
        if deadline is None or deadline > latest + timedelta(seconds=1):
            deadlines[pod_hash] = timestamp(latest + timedelta(seconds=1) if latest.microsecond else latest)
            draft.wake(latest + timedelta(seconds=1))
        elif deadline > draft.now:
            draft.wake(deadline)
        else:
            replicas[pod_hash] = 0
    for one in candidates:
        if one.spec.replicas == 0 and scale_down_deadline(one) is not None:
            deadlines[hash_label(one)] = None
    return replicas, deadlines


def kept(one: ReplicaSet | None) -> dict[str, str | None]:
    """A set that is wanted again has no deadline."""
    if one is None or not one.metadata.annotation(SCALE_DOWN_DEADLINE):
        return {}
    return {hash_label(one): None}


def made(seen: Observed, replicas: dict[str, int]) -> dict[str, Any] | None:
    """The object of the new revision's ReplicaSet while there is none; its count is taken out of `replicas`."""
    if seen.sets.new is not None:
        return None
    return new_object(seen, replicas.pop(seen.sets.hash, 0))


def bindings(*pairs: tuple[str, str]) -> dict[str, str]:
    """Service -> hash, of those (name, hash) that name a Service and have something to bind it to."""
    return {name: pod_hash for name, pod_hash in pairs if name and pod_hash}


def scale_down_delay(given: int | None) -> int:
    """Seconds that an old revision is kept after a promotion."""
    return DEFAULT_SCALE_DOWN_DELAY_SECONDS if given is None else given


def abort_delay(given: int | None) -> int | None:
    """Seconds that an aborted revision is kept; None (said as 0 in the spec) is for ever."""
    return DEFAULT_ABORT_SCALE_DOWN_DELAY_SECONDS if given is None else given or None
