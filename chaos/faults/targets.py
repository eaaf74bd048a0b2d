"""Which pods a target means, before a number of them is chosen: by workload and role, by labels, by names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chaos.faults import receipts
from chaos.faults.pods import alive, spec, status
from chaos.observed import World
from rollout.api.chaos import ChaosRun, Fault, Target, WorkloadRef
from rollout.api.meta import Object, key_of, metadata
from rollout.api.resources import DEPLOYMENTS, PODS, REPLICA_SETS, ROLLOUTS, STATEFUL_SETS, Resource

WORKLOADS: Mapping[str, Resource] = {
    resource.kind: resource for resource in (ROLLOUTS, DEPLOYMENTS, STATEFUL_SETS, REPLICA_SETS)
}
"""The kinds of workload that a target may name."""
ROLLOUT_HASH = "rollouts-pod-template-hash"


def pods_meant(fault: Fault, run: ChaosRun, world: World) -> list[Object]:
    """The living pods that the fault's target means; count, percent and limits are not asked."""
    return candidates(receipts.target_of(fault, run), run.metadata.namespace, world)


def candidates(target: Target, run_namespace: str, world: World) -> list[Object]:
    """The living pods that satisfy all that the target says, by name. A target that says nothing means none."""
    if target.workload_ref is None and target.selector is None and not target.pod_names:
        return []
    namespace = target.namespace or run_namespace
    pods = [pod for pod in world.of(PODS, namespace) if alive(pod) and _meant(pod, target, world)]
    return sorted(pods, key=key_of)


def workload(ref: WorkloadRef, namespace: str, world: World) -> tuple[Resource, Object] | None:
    """The named workload; None when its kind is not one of ours, or it is not there."""
    resource = WORKLOADS.get(ref.kind)
    found = resource and world.get(resource, namespace, ref.name)
    return (resource, found) if resource is not None and found else None


def controller_of(obj: Object, world: World) -> tuple[Resource, Object] | None:
    """The object's controlling owner, where it is of a kind we know and still the same one."""
    for owner in metadata(obj).get("ownerReferences") or ():
        resource = WORKLOADS.get(owner.get("kind", ""))
        if not owner.get("controller") or resource is None:
            continue
        found = world.get(resource, key_of(obj).namespace, owner.get("name", ""))
        if found is not None and metadata(found).get("uid") == owner.get("uid"):
            return resource, found
    return None


def _meant(pod: Object, target: Target, world: World) -> bool:
    if target.pod_names and key_of(pod).name not in target.pod_names:
        return False
    if target.selector is not None and not target.selector.matches(metadata(pod).get("labels")):
        return False
    return target.workload_ref is None or _of_workload(pod, target.workload_ref, world)


def _of_workload(pod: Object, ref: WorkloadRef, world: World) -> bool:
    owner = controller_of(pod, world)
    while owner is not None:
        resource, obj = owner
        if resource.kind == ref.kind and key_of(obj).name == ref.name:
            return ref.role == "all" or _pod_hash(pod) == _hash_of(obj, ref.role)
        owner = controller_of(obj, world)
    return False


def _pod_hash(pod: Object) -> str:
    labels: Mapping[str, str] = metadata(pod).get("labels") or {}
    return labels.get(ROLLOUT_HASH, "")


def _hash_of(rollout: Object, role: str) -> str | None:
    """The pod-template hash of a Rollout's version; None (nobody's) while there is no such version."""
    now: Mapping[str, Any] = status(rollout)
    stable, current = now.get("stableRS") or None, now.get("currentPodHash") or None
    if role == "stable":
        return stable
    blue_green = "blueGreen" in (spec(rollout).get("strategy") or {})
    if blue_green != (role == "preview"):
        return None
    return current if current != stable else None
