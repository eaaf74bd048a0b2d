"""A Rollout together with the workload that its pods are read from."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from rollout.api.meta import Key, key_of, metadata
from rollout.api.resources import DEPLOYMENTS, REPLICA_SETS
from rollout.api.rollout import WorkloadRef
from rollout.api.workload import ReplicaSet
from rollout.controller.caches import Caches
from rollout.core.observed import hash_label
from rollout.core.problem import Problem, invalid
from rollout.core.workload import RESOURCES, Workload, filled, problems, ref_of, remembered, workload_of
from rollout.errors import Forbidden, NotFound
from rollout.runtime.kube import Kube, Object

POLL_SECONDS = 30.0
"""How often a workload is looked at that is not followed by a watch."""


class Resolved(msgspec.Struct, frozen=True):
    """The Rollout with its workload's template filled in; as it is where it has one of its own.

    `problems` say why that could not be done. `poll` is the seconds after which to look again, None where a watch
    tells of changes.
    """

    raw: Object
    workload: Workload | None = None
    problems: tuple[Problem, ...] = ()
    poll: float | None = None


async def resolve(raw: Object, caches: Caches, kube: Kube) -> Resolved:
    """Deployments come from the cache; until it is filled, and for the other kinds, the server is asked."""
    ref = ref_of(raw)
    if ref is None:
        return Resolved(raw)
    key = Key(key_of(raw).namespace, ref.name)
    followed = caches.informers[DEPLOYMENTS]
    if followed.state == "left out":
        found = invalid("spec.workloadRef", f"{ref.kind} {key}", followed.lack, "switch it on")
        return _without(raw, caches, (found,), None)
    watched = ref.kind == "Deployment" and followed.synced()
    poll = None if watched else POLL_SECONDS
    try:
        there = caches.get(DEPLOYMENTS, key) if watched else await _read(kube, ref, key)
    except Forbidden as error:
        rule = f"may not be read ({error.message})"
        fix = f"let the controller get, list and watch {RESOURCES[ref.kind]}"
        return _without(raw, caches, (invalid("spec.workloadRef", f"{ref.kind} {key}", rule, fix),), poll)
    wrong = problems(ref, key.namespace, raw, there)
    if wrong or there is None:
        return _without(raw, caches, wrong, poll)
    return Resolved(filled(raw, ref, there), workload_of(ref, there), (), poll)


async def _read(kube: Kube, ref: WorkloadRef, key: Key) -> Object | None:
    try:
        return await kube.get(RESOURCES[ref.kind], key.namespace, key.name)
    except NotFound:
        return None


def _without(raw: Object, caches: Caches, wrong: Sequence[Problem], poll: float | None) -> Resolved:
    """The Rollout with the template that it wanted last: an abort needs no more than that."""
    status, uid = raw.get("status") or {}, str(metadata(raw).get("uid"))
    wanted = status.get("currentPodHash")
    ours = caches.owned(REPLICA_SETS, uid, ReplicaSet)
    last = next((one for one in ours if wanted and hash_label(one) == wanted), None)
    return Resolved(dict(remembered(raw, last)), None, tuple(wrong), poll)
