"""The only writes of the step controller: one match over the actions, in order, stopping at the first error.

Every write is preconditioned on what it was decided from (resourceVersion, uid, JSON patch `test`), or creates
an object whose name is computed. A crash or a conflict anywhere simply means: look again, decide again.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rollout.api.meta import metadata
from rollout.api.resources import ANALYSIS_RUNS, REPLICA_SETS, ROLLOUTS, SERVICES, Resource
from rollout.api.rollout import HASH_LABEL, MANAGED_BY, TURN, Rollout
from rollout.core.actions import (
    Action,
    CreateReplicaSet,
    DeleteReplicaSet,
    DeleteRun,
    EvictPod,
    PatchReplicaSet,
    PatchRollout,
    PatchRoute,
    PointService,
    RetireRun,
    ScaleWorkload,
    Stamp,
    StartRun,
    TerminateRun,
)
from rollout.errors import AlreadyExists, Conflict, Invalid, NotFound, Throttled
from rollout.plan.runs import SUPERSEDED
from rollout.runtime.kube import Kube, Object


async def apply(actions: Iterable[Action], rollout: Rollout, kube: Kube) -> str:
    """Carry the actions out. Raises the first ApiError; what came before it has been done.

    Returns the Rollout's resourceVersion afterwards: the precondition of the status that tells of the actions.
    """
    version = rollout.metadata.resource_version
    for action in actions:
        if isinstance(action, PatchRollout):
            version = await _patch_rollout(action, rollout, kube)
        else:
            await _apply(action, rollout, kube)
    return version


async def patch_status(rollout: Rollout, patch: dict[str, Any], version: str, kube: Kube) -> Object:
    """Write the status, unless somebody has changed the Rollout since `version` (Conflict)."""
    meta = rollout.metadata
    body = {"metadata": {"resourceVersion": version}, "status": patch}
    return await kube.patch(ROLLOUTS, meta.namespace, meta.name, body, subresource="status")


async def _patch_rollout(action: PatchRollout, rollout: Rollout, kube: Kube) -> str:
    meta = {**action.patch.get("metadata", {}), "resourceVersion": action.resource_version}
    namespace, name = rollout.metadata.namespace, rollout.metadata.name
    new = await kube.patch(ROLLOUTS, namespace, name, {**action.patch, "metadata": meta})
    return str(metadata(new).get("resourceVersion", ""))


async def _apply(action: Action, rollout: Rollout, kube: Kube) -> None:
    namespace, uid = rollout.metadata.namespace, rollout.metadata.uid
    match action:
        case CreateReplicaSet(object=obj):
            await _create(REPLICA_SETS, obj, uid, kube)
        case StartRun(object=obj):
            await _create(ANALYSIS_RUNS, obj, uid, kube)
        case PatchReplicaSet(name=name, resource_version=version, replicas=replicas, annotations=annotations):
            meta: dict[str, Any] = {"resourceVersion": version}
            if annotations:
                meta["annotations"] = annotations
            body: dict[str, Any] = {"metadata": meta}
            if replicas is not None:
                body["spec"] = {"replicas": replicas}
            await kube.patch(REPLICA_SETS, namespace, name, body)
        case DeleteReplicaSet(name=name, uid=set_uid, resource_version=version):
            await kube.delete(REPLICA_SETS, namespace, name, uid=set_uid, resource_version=version)
        case PointService(name=name, resource_version=version, hash=pod_hash, owner=owner):
            meta = {"resourceVersion": version, "annotations": {MANAGED_BY: owner}}
            selector = {"selector": {HASH_LABEL: pod_hash}}
            await kube.patch(SERVICES, namespace, name, {"metadata": meta, "spec": selector})
        case PatchRoute(resource=resource, namespace=where, name=name, operations=operations):
            await _patch_route(resource, where, name, operations, kube)
        case Stamp(resource=resource, namespace=where, name=name, resource_version=version, value=value):
            meta = {"resourceVersion": version, "annotations": {TURN: value}}
            await kube.patch(resource, where, name, {"metadata": meta})
        case RetireRun(name=name, terminate=terminate):
            body = {"metadata": {"annotations": {SUPERSEDED: "true"}}}
            if terminate:
                body["spec"] = {"terminate": True}
            await _if_there(kube.patch(ANALYSIS_RUNS, namespace, name, body))
        case TerminateRun(name=name):
            await _if_there(kube.patch(ANALYSIS_RUNS, namespace, name, {"spec": {"terminate": True}}))
        case DeleteRun(name=name, uid=run_uid):
            await _if_there(kube.delete(ANALYSIS_RUNS, namespace, name, uid=run_uid))
        case ScaleWorkload(resource=resource, name=name, resource_version=version, replicas=replicas):
            body = {"metadata": {"resourceVersion": version}, "spec": {"replicas": replicas}}
            await kube.patch(resource, namespace, name, body, subresource="scale")
        case EvictPod(name=name, uid=pod_uid):
            await _evict(namespace, name, pod_uid, kube)


async def _patch_route(
    resource: Resource, namespace: str, name: str, operations: tuple[dict[str, Any], ...], kube: Kube
) -> None:
    """A JSON patch. The server calls a failed `test` Invalid, as it does a wrong patch: told apart by reading."""
    try:
        await kube.patch(resource, namespace, name, list(operations), type="json")
    except Invalid:
        live = metadata(await kube.get(resource, namespace, name)).get("resourceVersion")
        tested = [one["value"] for one in operations if one["op"] == "test"]
        if live in tested:
            raise
        raise Conflict(f'{resource} "{namespace}/{name}" has changed since it was read') from None


async def _create(resource: Resource, obj: dict[str, Any], owner_uid: str, kube: Kube) -> None:
    """Create a child. One of this name that is already ours is the same child, made by a pass that was cut off."""
    meta = metadata(obj)
    try:
        await kube.create(resource, meta["namespace"], obj)
    except AlreadyExists:
        live = metadata(await kube.get(resource, meta["namespace"], meta["name"]))
        owners = [ref for ref in live.get("ownerReferences") or () if ref.get("controller")]
        if not any(ref.get("uid") == owner_uid for ref in owners):
            raise Conflict(
                f'{resource} "{meta["name"]}" already exists and belongs to somebody else; '
                "rename the Rollout or delete that object",
            ) from None


async def _evict(namespace: str, name: str, uid: str, kube: Kube) -> None:
    try:
        await _if_there(kube.evict(namespace, name, uid=uid))
    except Throttled:
        # A disruption budget says not now; the plan asks again in a while.
        return


async def _if_there(write: Any) -> None:
    """A write to something that may be gone already, which is as good."""
    try:
        await write
    except NotFound:
        return
