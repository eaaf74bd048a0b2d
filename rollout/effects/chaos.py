"""The only writes of chaos runs: one match over `chaos.actions`.

An action that fails does not keep the others from being done (a fault that cannot be reverted must not keep the next
one in the world): what went wrong is told back, by action, and goes into the status. Only a change of the run itself
that rests on an old version of it raises: then everything is decided again.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import structlog

from chaos.actions import (
    Action,
    AddEphemeralContainer,
    Create,
    Delete,
    Patch,
    RemovePod,
    Scale,
    SetFinalizer,
    Trouble,
)
from rollout.api.chaos import FINALIZER, RUN_UID
from rollout.api.meta import metadata
from rollout.api.resources import CHAOS_RUNS, PODS, Resource
from rollout.errors import AlreadyExists, ApiError, Conflict, Invalid, NotFound, Throttled
from rollout.runtime.kube import Kube, Object

log = structlog.get_logger()


async def apply(actions: Iterable[Action], raw: Object, kube: Kube) -> tuple[str, tuple[Trouble, ...]]:
    """Carry the actions out, in order. The run's resourceVersion afterwards, and what was not done.

    Raises ApiError only for the run's own finalizer.
    """
    version = str(metadata(raw).get("resourceVersion", ""))
    troubles: list[Trouble] = []
    for action in actions:
        if isinstance(action, SetFinalizer):
            version = await _set_finalizer(action, raw, kube)
            continue
        try:
            await _apply(action, str(metadata(raw).get("uid", "")), kube)
        except Throttled as error:
            troubles.append(Trouble(action, error.message, refused=isinstance(action, RemovePod)))
        except ApiError as error:
            log.warning("a chaos action failed", action=type(action).__name__, error=str(error))
            troubles.append(Trouble(action, error.message))
    return version, tuple(troubles)


async def patch_status(raw: Object, patch: dict[str, Any], version: str, kube: Kube) -> Object:
    """Write the status, unless somebody has changed the run since `version` (Conflict)."""
    meta = metadata(raw)
    body = {"metadata": {"resourceVersion": version}, "status": patch}
    return await kube.patch(CHAOS_RUNS, meta["namespace"], meta["name"], body, subresource="status")


async def delete_run(raw: Object, kube: Kube) -> None:
    """Away with a completed run whose time to live is over."""
    meta = metadata(raw)
    await _if_same(kube.delete(CHAOS_RUNS, meta["namespace"], meta["name"], uid=str(meta.get("uid", ""))))


async def _set_finalizer(action: SetFinalizer, raw: Object, kube: Kube) -> str:
    meta = metadata(raw)
    others = [name for name in meta.get("finalizers") or () if name != FINALIZER]
    wanted = [*others, FINALIZER] if action.present else others
    body = {"metadata": {"finalizers": wanted, "resourceVersion": action.resource_version}}
    try:
        new = await kube.patch(CHAOS_RUNS, meta["namespace"], meta["name"], body)
    except NotFound:
        if action.present:
            raise
        return ""  # it was deleted meanwhile, which is what the finalizer stood for
    return str(metadata(new).get("resourceVersion", ""))


async def _apply(action: Action, run_uid: str, kube: Kube) -> None:
    match action:
        case RemovePod(namespace=namespace, name=name, uid=uid, evict=True, grace_seconds=grace):
            await _if_there(kube.evict(namespace, name, uid=uid, grace_seconds=grace))
        case RemovePod(namespace=namespace, name=name, uid=uid, grace_seconds=grace):
            await _if_there(kube.delete(PODS, namespace, name, uid=uid, grace_seconds=grace))
        case Create(resource=resource, object=obj):
            await _create(resource, obj, run_uid, kube)
        case Patch(resource=resource, namespace=namespace, name=name, patch=patch):
            meta = dict(patch.get("metadata") or {})
            if action.resource_version:
                meta["resourceVersion"] = action.resource_version
            body = {**patch, "metadata": meta} if meta else patch
            sub = "status" if action.status else ""
            await _if_there(kube.patch(resource, namespace, name, body, subresource=sub))
        case Delete(resource=resource, namespace=namespace, name=name, uid=uid):
            await _if_same(kube.delete(resource, namespace, name, uid=uid))
        case Scale():
            await _scale(action, kube)
        case AddEphemeralContainer(namespace=namespace, name=name, uid=uid, container=container):
            # A uid that differs from the live one is refused by the server (as Invalid).
            body = {"metadata": {"uid": uid}, "spec": {"ephemeralContainers": [container]}}
            await kube.patch(PODS, namespace, name, body, type="strategic", subresource="ephemeralcontainers")


async def _create(resource: Resource, obj: dict[str, Any], run_uid: str, kube: Kube) -> None:
    """Create it. One of this name that is this run's already was made by a pass that was cut off."""
    meta = metadata(obj)
    namespace = meta.get("namespace")
    try:
        await kube.create(resource, namespace, obj)
    except AlreadyExists:
        live = metadata(await kube.get(resource, namespace, meta["name"]))
        owners = {ref.get("uid") for ref in live.get("ownerReferences") or ()}
        if run_uid not in {*owners, (live.get("labels") or {}).get(RUN_UID)}:
            raise Conflict(
                f'{resource} "{meta["name"]}" already exists and belongs to somebody else; '
                "rename the ChaosRun or delete that object"
            ) from None


async def _scale(action: Scale, kube: Kube) -> None:
    operations = [
        {"op": "test", "path": "/metadata/uid", "value": action.uid},
        {"op": "test", "path": "/spec/replicas", "value": action.expected},
        {"op": "replace", "path": "/spec/replicas", "value": action.replicas},
    ]
    try:
        await kube.patch(
            action.resource, action.namespace, action.name, operations, type="json", subresource="scale"
        )
    except Invalid:
        # The server calls a failed `test` Invalid, as it does a wrong patch.
        raise Conflict(
            f'{action.resource} "{action.namespace}/{action.name}" has not {action.expected} replicas any more: '
            "somebody else has scaled it"
        ) from None


async def _if_there(write: Any) -> None:
    try:
        await write
    except NotFound:
        return


async def _if_same(write: Any) -> None:
    """A removal of one object by uid: when it is gone, or another has its name, that is as good."""
    try:
        await write
    except (NotFound, Conflict):
        return
