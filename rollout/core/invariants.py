"""What must never happen, whatever anybody decides (study/reliability.md 8.2).

`Picture` is the part of the world that the safety rules speak of: how many pods each version has, which share
of the traffic it gets, and who names it. `violations` compares two pictures around one write. The controller
checks every plan with it before a single write is made (`check`); the stories check the server's state after
every write of anybody.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from rollout.api.rollout import HASH_LABEL
from rollout.core.actions import (
    Action,
    CreateReplicaSet,
    DeleteReplicaSet,
    PatchReplicaSet,
    PointService,
    ScaleWorkload,
)
from rollout.core.capacity import least_ready, surge_and_unavailable
from rollout.core.observed import Observed, available, hash_label


class Version(msgspec.Struct, frozen=True, gc=False):
    """Pods of one pod-template hash: how many its ReplicaSet asks for, how many of them are ready."""

    spec: int
    ready: int


class Picture(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One moment. Hashes are pod-template hashes; weights are percent.

    `weights` are the (canary, stable) weights of each route of ours; `shares` the largest share that any route
    gives to each hash; `selectors` what each Service of the Rollout selects; `routed` every hash
    that a destination of the router selects, whatever its weight. `workload` are the pods that the workload
    whose place the Rollout takes asks for.
    """

    replicas: int
    unavailable: int
    versions: Mapping[str, Version]
    stable: str = ""
    weights: tuple[tuple[int, int], ...] = ()
    shares: Mapping[str, int] = {}
    selectors: Mapping[str, str] = {}
    routed: frozenset[str] = frozenset()
    workload: int = 0

    @property
    def named(self) -> frozenset[str]:
        """Every hash that any route, subset or Service names."""
        return self.routed | {pod_hash for pod_hash in self.selectors.values() if pod_hash}


def violations(before: Picture, after: Picture) -> list[str]:
    """The rules that the write between the two pictures breaks; [] when it is safe."""
    return [
        *_weights_are_whole(after),
        *_capacity_before_weight(before, after),
        *_never_nobody(before, after),
        *_named_sets_stay(before, after),
        *_selectors_name_pods(before, after),
        *_bindings_have_pods(before, after),
        *_workload_is_replaced(before, after),
    ]


def _weights_are_whole(after: Picture) -> Iterable[str]:
    for canary, stable in after.weights:
        if canary < 0 or stable < 0 or canary + stable != 100:
            yield f"I1: weights {canary} and {stable} of a route do not sum to 100"


def _capacity_before_weight(before: Picture, after: Picture) -> Iterable[str]:
    for pod_hash in {*after.shares, *after.versions}:
        share = after.shares.get(pod_hash, 0)
        old, new = before.versions.get(pod_hash, _NONE), after.versions.get(pod_hash, _NONE)
        raised = share > before.shares.get(pod_hash, 0)
        shrunk = new.spec < old.spec
        need = least_ready(share, after.replicas, after.unavailable)
        ready = min(new.ready, new.spec)
        if ready >= need or not (raised or shrunk):
            continue
        # Going home to a stable set that was asked for enough pods, some of which failed on their own.
        if raised and not shrunk and pod_hash == after.stable and new.spec >= need and ready > 0:
            continue
        # A person asks for fewer pods, and those that go are not ready.
        if shrunk and not raised and new.spec >= need and new.ready >= old.ready:
            continue
        verb = "shrunk" if shrunk else "given more traffic"
        yield f"I2: version {pod_hash} is {verb} with {ready} ready pods, {share} % of the traffic needs {need}"


def _never_nobody(before: Picture, after: Picture) -> Iterable[str]:
    def serving(picture: Picture) -> int:
        return sum(min(one.ready, one.spec) for one in picture.versions.values())

    if after.replicas > 0 and serving(before) > 0 and serving(after) == 0 and _shrinks(before, after):
        yield "I3: the last ready pods of all versions are taken away"


def _named_sets_stay(before: Picture, after: Picture) -> Iterable[str]:
    for pod_hash in after.named:
        old, new = before.versions.get(pod_hash), after.versions.get(pod_hash)
        gone = old is not None and new is None
        emptied = old is not None and new is not None and new.spec == 0 < old.spec
        if (gone or emptied) and after.replicas > 0:
            yield f"I4: version {pod_hash} is {'deleted' if gone else 'scaled to zero'} while traffic still names it"


def _selectors_name_pods(before: Picture, after: Picture) -> Iterable[str]:
    for name, pod_hash in after.selectors.items():
        if before.selectors.get(name) == pod_hash:
            continue
        if not pod_hash:
            yield f"I5: the selector of Service {name} loses its pod-template hash"
        elif pod_hash not in after.versions:
            yield f"I5: the selector of Service {name} names {pod_hash}, which no ReplicaSet has"


def _bindings_have_pods(before: Picture, after: Picture) -> Iterable[str]:
    """A Service or a destination leaves pods that are ready only for others that are."""
    if after.replicas <= 0:
        return
    moved = [
        (before.selectors[name], pod_hash)
        for name, pod_hash in after.selectors.items()
        if before.selectors.get(name, pod_hash) != pod_hash
    ]
    if before.routed != after.routed and before.routed:
        moved += [(old, new) for old in before.routed - after.routed for new in after.routed - before.routed]
    for old, new in moved:
        if not old or not new:
            continue
        left, taken = before.versions.get(old, _NONE), after.versions.get(new, _NONE)
        if min(left.ready, left.spec) > 0 and min(taken.ready, taken.spec) == 0:
            yield f"I5: traffic that selected {old} is bound to {new}, which has no ready pods"


def _workload_is_replaced(before: Picture, after: Picture) -> Iterable[str]:
    """The pods of the workload leave only for ready ones of the revision that serves."""
    if after.workload >= before.workload:
        return
    counts = {pod_hash: min(one.ready, one.spec) for pod_hash, one in after.versions.items()}
    ready = counts.get(after.stable, 0) if after.stable else max(counts.values(), default=0)
    if after.workload + ready < after.replicas:
        yield (
            f"I2: the workload is shrunk to {after.workload} pods while {ready} of the {after.replicas} "
            "that are to stand in for it are ready"
        )


def _shrinks(before: Picture, after: Picture) -> bool:
    return any(
        after.versions.get(pod_hash, _NONE).spec < version.spec
        for pod_hash, version in before.versions.items()
    )


_NONE = Version(0, 0)


def picture(
    seen: Observed, routes: Iterable[tuple[int, int]], shares: Mapping[str, int], routed: Iterable[str]
) -> Picture:
    """The picture of a snapshot, given what its router reads back."""
    return Picture(
        replicas=seen.rollout.replicas,
        unavailable=surge_and_unavailable(seen.rollout)[1],
        versions={hash_label(one): Version(one.spec.replicas, available(one)) for one in seen.replica_sets},
        stable=seen.rollout.status.stable_rs,
        weights=tuple(routes),
        shares=dict(shares),
        selectors={
            name: (service.spec.selector or {}).get(HASH_LABEL, "") for name, service in seen.services.items()
        },
        routed=frozenset(name for name in routed if name),
        workload=seen.workload.replicas if seen.workload is not None else 0,
    )


def after_action(before: Picture, action: Action, names: Mapping[str, str]) -> Picture:
    """The picture after a write to a ReplicaSet, a Service or the workload. `names` maps ReplicaSet names to hashes."""
    versions = dict(before.versions)
    match action:
        case CreateReplicaSet(object=obj):
            pod_hash = obj["metadata"]["labels"][HASH_LABEL]
            versions.setdefault(pod_hash, Version(obj["spec"]["replicas"], 0))
        case PatchReplicaSet(name=name, replicas=int(replicas)):
            versions[names[name]] = Version(replicas, min(versions[names[name]].ready, replicas))
        case DeleteReplicaSet(name=name):
            versions.pop(names[name], None)
        case PointService(name=name, hash=pod_hash):
            return msgspec.structs.replace(before, selectors={**before.selectors, name: pod_hash})
        case ScaleWorkload(replicas=replicas):
            return msgspec.structs.replace(before, workload=replicas)
        case _:
            return before
    return msgspec.structs.replace(before, versions=versions)
