"""The writes of chaos schedules and switches: a status that rests on what was read, and the run of a decided time."""

from __future__ import annotations

from typing import Any

from rollout.api.codec import decode, encode
from rollout.api.meta import metadata
from rollout.api.resources import CHAOS_RUNS, Resource
from rollout.errors import AlreadyExists, Conflict, Throttled, Unavailable
from rollout.runtime.clock import Clock
from rollout.runtime.kube import Kube, Object

_TRIES_AFTER = (0.5, 2.0, 5.0)
"""Seconds between the tries to create a run: its time is decided, so nobody will make it later."""


async def patch_status(resource: Resource, raw: Object, patch: dict[str, Any], kube: Kube) -> Object:
    """Write the status, unless somebody has changed the object since it was read (Conflict).

    When the answer is lost, the object is read: what was saved is saved.
    """
    meta = metadata(raw)
    namespace, name = meta.get("namespace"), meta["name"]
    body = {"metadata": {"resourceVersion": meta["resourceVersion"], "uid": meta["uid"]}, "status": patch}
    try:
        return await kube.patch(resource, namespace, name, body, subresource="status")
    except Unavailable:
        now = await kube.get(resource, namespace, name)
        if metadata(now)["uid"] != meta["uid"] or not _has(now.get("status") or {}, decode(encode(patch))):
            raise
        return now


def _has(status: dict[str, Any], patch: dict[str, Any]) -> bool:
    """Whether a merge patch would change nothing."""
    return all(status.get(name) == value for name, value in patch.items())


async def create_run(run: dict[str, Any], owner: Object, kube: Kube, clock: Clock) -> None:
    """Create the ChaosRun. One of its name that is the owner's already is the same run.

    Tried again, within this call, where the server could not do it just now or did not answer. Raises ApiError.
    """
    for wait in (*_TRIES_AFTER, None):
        try:
            await _create(run, owner, kube)
        except (Unavailable, Throttled, Conflict):
            if wait is None:
                raise
            await clock.sleep(wait)
        else:
            return


async def _create(run: dict[str, Any], owner: Object, kube: Kube) -> None:
    meta = metadata(run)
    try:
        await kube.create(CHAOS_RUNS, meta["namespace"], run)
    except AlreadyExists:
        live = metadata(await kube.get(CHAOS_RUNS, meta["namespace"], meta["name"]))
        owners = [ref.get("uid") for ref in live.get("ownerReferences") or () if ref.get("controller")]
        if metadata(owner)["uid"] not in owners:
            raise AlreadyExists(
                f'the ChaosRun "{meta["name"]}" already exists and belongs to somebody else; '
                "rename the ChaosSchedule or delete that run"
            ) from None
