"""Deployment: the newest template in the right number, reached by RollingUpdate or Recreate.

Semantics: https://kubernetes.io/docs/concepts/workloads/controllers/deployment/ . A pass changes sizes in
one direction at a time, as kube-controller-manager does: first the new ReplicaSet, then the old ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from rollout.api.codec import view
from rollout.api.meta import LabelSelector, Object, metadata, scaled
from rollout.api.resources import DEPLOYMENTS, REPLICA_SETS
from rollout.sandbox.workloads import pods as facts
from rollout.sandbox.workloads.decision import (
    Action,
    Create,
    Decision,
    Delete,
    Note,
    Patch,
    claim,
    controller_reference,
    status_patch,
)
from rollout.sandbox.workloads.deploystatus import Progress, next_status, progress_wait
from rollout.sandbox.workloads.replicaset import wanted
from rollout.sandbox.workloads.templates import same_template, template_hash

REVISION = "deployment.kubernetes.io/revision"
HISTORY = "deployment.kubernetes.io/revision-history"
DESIRED = "deployment.kubernetes.io/desired-replicas"
MAXIMUM = "deployment.kubernetes.io/max-replicas"
_OWN_ANNOTATIONS = {REVISION, HISTORY, DESIRED, MAXIMUM, "kubectl.kubernetes.io/last-applied-configuration"}


class Limits(msgspec.Struct, frozen=True):
    """How far a rolling update may deviate from `replicas`, in pods."""

    replicas: int
    surge: int
    unavailable: int

    @property
    def maximum(self) -> int:
        return self.replicas + self.surge if self.replicas else 0

    @property
    def minimum(self) -> int:
        return self.replicas - self.unavailable


def limits(deployment: Object) -> Limits:
    """Surge rounds up, unavailable down; both 0 would never move, so unavailable becomes 1."""
    spec, replicas = facts.spec(deployment), wanted(deployment)
    strategy = spec.get("strategy") or {}
    if strategy.get("type") == "Recreate":
        return Limits(replicas, 0, 0)
    rolling = strategy.get("rollingUpdate") or {}
    surge = scaled(rolling.get("maxSurge", "25%"), replicas, round_up=True)
    unavailable = scaled(rolling.get("maxUnavailable", "25%"), replicas, round_up=False)
    if surge == 0 and unavailable == 0:
        unavailable = 1
    return Limits(replicas, surge, min(unavailable, replicas))


class Sets(msgspec.Struct):
    """The Deployment's ReplicaSets, and the sizes decided for them in this pass."""

    new: Object | None
    old: list[Object]
    sizes: dict[str, int]
    """By uid. A ReplicaSet that is not in here keeps its size."""

    @property
    def all(self) -> list[Object]:
        return [*self.old, *([self.new] if self.new else [])]

    def size(self, item: Object) -> int:
        return self.sizes.get(metadata(item)["uid"], wanted(item))

    def resize(self, item: Object, size: int) -> bool:
        """Decides a size; whether it is another one."""
        if size == self.size(item):
            return False
        self.sizes[metadata(item)["uid"]] = size
        return True

    def total(self) -> int:
        return sum(self.size(item) for item in self.all)


def decide(
    deployment: Object, candidates: Sequence[Object], pods: Mapping[str, Sequence[Object]], now: datetime
) -> Decision:
    """What to do about one Deployment.

    `candidates` are the ReplicaSets of its namespace, `pods` the pods of each by the ReplicaSet's uid.
    """
    selector = view(facts.spec(deployment).get("selector") or {}, LabelSelector, path="spec.selector")
    claimed = claim(
        REPLICA_SETS, deployment, candidates, lambda item: selector.matches(metadata(item).get("labels"))
    )
    sets = sort_out(deployment, claimed.owned)
    if facts.is_terminating(deployment):
        return Decision(
            status_patch(
                DEPLOYMENTS,
                deployment,
                next_status(deployment, _progress(sets), limits(deployment).unavailable, now),
            )
        )
    created = _plan(deployment, sets, pods)
    actions: list[Action] = [*claimed.patches]
    collisions = _collisions(deployment)
    if created is not None:
        create, clash = _create(deployment, sets, created, collisions, candidates)
        collisions += clash
        actions += create
    actions += _apply_sizes(deployment, sets)
    revision = str(_revision(sets))
    if (metadata(deployment).get("annotations") or {}).get(REVISION) != revision and (
        sets.new or created is not None
    ):
        actions.append(_annotate(deployment, revision))
    progress = _progress(sets, created=_new_name(deployment, collisions) if created is not None else "")
    status = next_status(deployment, progress, limits(deployment).unavailable, now, collisions)
    if not facts.spec(deployment).get("paused") and progress.complete(deployment, status):
        actions += _forget_history(deployment, sets)
    told = status_patch(DEPLOYMENTS, deployment, status)
    return Decision((*told, *actions), progress_wait(deployment, status, now))


def sort_out(deployment: Object, owned: Sequence[Object]) -> Sets:
    """The oldest ReplicaSet with the Deployment's template is the new one; the others are old ones."""
    template = facts.spec(deployment).get("template") or {}
    ordered = sorted(owned, key=_age)
    new = next(
        (item for item in ordered if same_template(facts.spec(item).get("template") or {}, template)), None
    )
    return Sets(new, [item for item in ordered if item is not new], {})


def _age(item: Object) -> tuple[str, str]:
    meta = metadata(item)
    return str(meta.get("creationTimestamp") or ""), str(meta["name"])


# --- sizes ------------------------------------------------------------------------------------------


def _plan(deployment: Object, sets: Sets, pods: Mapping[str, Sequence[Object]]) -> int | None:
    """Decides the sizes. The size of a new ReplicaSet that has to be created, or None."""
    bounds = limits(deployment)
    strategy = (facts.spec(deployment).get("strategy") or {}).get("type") or "RollingUpdate"
    if facts.spec(deployment).get("paused") or _was_scaled(sets, bounds):
        _scale(sets, bounds, strategy)
        return None
    if strategy == "Recreate":
        return _recreate(sets, bounds, pods)
    return _roll(sets, bounds)


def _was_scaled(sets: Sets, bounds: Limits) -> bool:
    """Whether `spec.replicas` changed since the ReplicaSets were sized."""
    told = [_annotation(item, DESIRED) for item in sets.all if wanted(item)]
    return any(desired is not None and desired != bounds.replicas for desired in told)


def _recreate(sets: Sets, bounds: Limits, pods: Mapping[str, Sequence[Object]]) -> int | None:
    """All old pods go, and only when none of them runs any more the new ones come."""
    shrunk = [item for item in sets.old if sets.resize(item, 0)]
    if shrunk:
        return None
    if any(not facts.is_finished(pod) for item in sets.old for pod in pods.get(metadata(item)["uid"], ())):
        return None
    if sets.new is None:
        return bounds.replicas
    sets.resize(sets.new, bounds.replicas)
    return None


def _roll(sets: Sets, bounds: Limits) -> int | None:
    """The new ReplicaSet grows as far as the surge allows, then old ones shrink as availability allows."""
    room = max(0, bounds.replicas + bounds.surge - sets.total())
    if sets.new is None:
        return min(room, bounds.replicas)
    size = sets.size(sets.new)
    target = bounds.replicas if size > bounds.replicas else min(size + room, bounds.replicas)
    if not sets.resize(sets.new, target):
        _shrink_old(sets, sets.new, bounds)
    return None


def _shrink_old(sets: Sets, new: Object, bounds: Limits) -> None:
    """First old pods that are not available anyway, then as many available ones as can be spared."""
    unavailable_new = max(0, sets.size(new) - _count(new, "availableReplicas"))
    spare = sets.total() - bounds.minimum - unavailable_new
    for item in sets.old:
        useless = max(0, sets.size(item) - _count(item, "availableReplicas"))
        gone = min(useless, max(spare, 0))
        sets.resize(item, sets.size(item) - gone)
        spare -= gone
    available = sum(_count(item, "availableReplicas") for item in sets.all)
    spare = min(spare, available - bounds.minimum)
    for item in sets.old:
        gone = min(sets.size(item), max(spare, 0))
        sets.resize(item, sets.size(item) - gone)
        spare -= gone


def _scale(sets: Sets, bounds: Limits, strategy: str) -> None:
    """A change of `spec.replicas` (also in the middle of, or while holding, an update): sizes in proportion."""
    active = [item for item in sets.all if wanted(item)]
    latest = sets.new or (max(sets.old, key=_age) if sets.old else None)
    if len(active) <= 1:
        only = active[0] if active else latest
        if only is not None:
            sets.resize(only, bounds.replicas)
        return
    if sets.new is not None and _saturated(sets.new, bounds):
        for item in sets.old:
            sets.resize(item, 0)
        return
    if strategy == "RollingUpdate":
        _proportionally(sets, active, bounds)


def _proportionally(sets: Sets, active: list[Object], bounds: Limits) -> None:
    to_add = bounds.maximum - sum(wanted(item) for item in active)
    newest_first = sorted(active, key=_age, reverse=to_add > 0)
    ordered = sorted(newest_first, key=lambda item: -wanted(item))
    added = 0
    for item in ordered:
        share = _share(item, bounds) if to_add else 0
        left = to_add - added
        share = min(share, left) if to_add > 0 else max(share, left)
        sets.resize(item, max(0, wanted(item) + share))
        added += share
    # What rounding left over goes to the largest.
    sets.resize(ordered[0], max(0, sets.size(ordered[0]) + to_add - added))


def _share(item: Object, bounds: Limits) -> int:
    """How many pods this ReplicaSet gains or loses to keep its share of the whole."""
    if bounds.replicas == 0:
        return -wanted(item)
    before = _annotation(item, MAXIMUM) or bounds.maximum
    return (2 * wanted(item) * bounds.maximum + before) // (2 * before) - wanted(item)


def _saturated(new: Object, bounds: Limits) -> bool:
    return (
        wanted(new) == bounds.replicas
        and _annotation(new, DESIRED) == bounds.replicas
        and _count(new, "availableReplicas") == bounds.replicas
    )


def _annotation(item: Object, name: str) -> int | None:
    text = (metadata(item).get("annotations") or {}).get(name, "")
    return int(text) if text.isdecimal() else None


def _count(item: Object, name: str) -> int:
    return int(facts.status(item).get(name) or 0)


# --- what is written --------------------------------------------------------------------------------


def _apply_sizes(deployment: Object, sets: Sets) -> list[Action]:
    bounds = limits(deployment)
    actions: list[Action] = []
    for item in sets.all:
        size, meta = sets.size(item), metadata(item)
        annotations = dict(meta.get("annotations") or {})
        told = {DESIRED: str(bounds.replicas), MAXIMUM: str(bounds.maximum)} if size or wanted(item) else {}
        if item is sets.new:
            told |= _new_annotations(deployment, sets, annotations)
        changed = {name: value for name, value in told.items() if annotations.get(name) != value}
        patch: dict[str, Any] = {}
        if changed:
            patch["metadata"] = {"annotations": changed}
        spec = {"replicas": size} if size != wanted(item) else {}
        minimum = facts.spec(deployment).get("minReadySeconds") or 0
        if item is sets.new and (facts.spec(item).get("minReadySeconds") or 0) != minimum:
            spec["minReadySeconds"] = minimum
        if spec:
            patch["spec"] = spec
        if patch:
            version = {"resourceVersion": meta.get("resourceVersion")}
            patch["metadata"] = {**patch.get("metadata", {}), **version}
            note = _scaled_note(meta["name"], wanted(item), size)
            actions.append(Patch(REPLICA_SETS, meta["namespace"], meta["name"], patch, note=note))
    return actions


def _scaled_note(name: str, before: int, after: int) -> Note | None:
    if before == after:
        return None
    way = "up" if after > before else "down"
    return Note("ScalingReplicaSet", f"Scaled {way} replica set {name} from {before} to {after}")


def _new_annotations(deployment: Object, sets: Sets, before: Mapping[str, str]) -> dict[str, str]:
    """The Deployment's own annotations, and the revision; a template that comes back keeps its history."""
    own = metadata(deployment).get("annotations") or {}
    told = {name: value for name, value in own.items() if name not in _OWN_ANNOTATIONS}
    told[REVISION] = str(_revision(sets))
    if REVISION in before and before[REVISION] != told[REVISION]:
        told[HISTORY] = ",".join(part for part in (before.get(HISTORY, ""), before[REVISION]) if part)
    return told


def _revision(sets: Sets) -> int:
    """One more than the newest old revision; never less than the new ReplicaSet has already."""
    newest = max((_annotation(item, REVISION) or 0 for item in sets.old), default=0)
    return max(newest + 1, (_annotation(sets.new, REVISION) or 0) if sets.new else 0)


def _annotate(deployment: Object, revision: str) -> Patch:
    meta = metadata(deployment)
    patch = {"metadata": {"annotations": {REVISION: revision}}}
    return Patch(DEPLOYMENTS, meta["namespace"], meta["name"], patch)


def _collisions(deployment: Object) -> int:
    return int(facts.status(deployment).get("collisionCount") or 0)


def _new_name(deployment: Object, collisions: int) -> str:
    hash = template_hash(facts.spec(deployment).get("template") or {}, collisions)
    return f"{metadata(deployment)['name']}-{hash}"


def _create(
    deployment: Object, sets: Sets, size: int, collisions: int, candidates: Sequence[Object]
) -> tuple[list[Action], int]:
    """The new ReplicaSet; or, when another one has taken its name, one more collision for the next try."""
    name = _new_name(deployment, collisions)
    if any(metadata(item)["name"] == name for item in candidates):
        return [], 1
    spec, bounds = facts.spec(deployment), limits(deployment)
    template = spec.get("template") or {}
    labels = {
        **((template.get("metadata") or {}).get("labels") or {}),
        facts.HASH_LABEL: name.rpartition("-")[2],
    }
    selector = spec.get("selector") or {}
    match = {**(selector.get("matchLabels") or {}), facts.HASH_LABEL: labels[facts.HASH_LABEL]}
    replica_set = {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": name,
            "namespace": metadata(deployment)["namespace"],
            "labels": labels,
            "annotations": {
                **_new_annotations(deployment, sets, {}),
                DESIRED: str(bounds.replicas),
                MAXIMUM: str(bounds.maximum),
            },
            "ownerReferences": [controller_reference(deployment)],
        },
        "spec": {
            "replicas": size,
            **({"minReadySeconds": spec["minReadySeconds"]} if spec.get("minReadySeconds") else {}),
            "selector": {**selector, "matchLabels": match},
            "template": {**template, "metadata": {**(template.get("metadata") or {}), "labels": labels}},
        },
    }
    note = _scaled_note(name, 0, size)
    return [Create(REPLICA_SETS, replica_set, note, "ReplicaSetCreateError")], 0


def _forget_history(deployment: Object, sets: Sets) -> list[Action]:
    """Old, empty ReplicaSets beyond revisionHistoryLimit, the oldest revision first."""
    limit = facts.spec(deployment).get("revisionHistoryLimit")
    surplus = len(sets.old) - (10 if limit is None else int(limit))
    ordered = sorted(sets.old, key=lambda item: (_annotation(item, REVISION) or 0, _age(item)))
    actions: list[Action] = []
    for item in ordered[: max(surplus, 0)]:
        meta = metadata(item)
        idle = not sets.size(item) and not wanted(item) and not _count(item, "replicas")
        if idle and not facts.is_terminating(item) and _observed(item):
            actions.append(Delete(REPLICA_SETS, meta["namespace"], meta["name"], meta["uid"]))
    return actions


def _observed(item: Object) -> bool:
    return int(facts.status(item).get("observedGeneration") or 0) >= int(
        metadata(item).get("generation") or 0
    )


def _progress(sets: Sets, created: str = "") -> Progress:
    name = metadata(sets.new)["name"] if sets.new else created
    failure = next((found for item in sets.all if (found := facts.condition(item, "ReplicaFailure"))), None)
    return Progress(
        new_name=name,
        created=created,
        planned=sets.total(),
        replicas=sum(_count(item, "replicas") for item in sets.all),
        updated=_count(sets.new, "replicas") if sets.new else 0,
        ready=sum(_count(item, "readyReplicas") for item in sets.all),
        available=sum(_count(item, "availableReplicas") for item in sets.all),
        failure=dict(failure) if failure else None,
    )
