"""scaleDown: a workload runs with fewer replicas for a while, through its scale subresource."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from chaos.actions import Action, Scale
from chaos.faults import receipts
from chaos.faults.base import Context, Obstacle, Plain, Refusal
from chaos.faults.pods import spec, status
from chaos.faults.targets import WORKLOADS, controller_of, workload
from chaos.observed import World
from rollout.api.chaos import ChaosRun, Fault, Receipt, ScaleDown, Victim
from rollout.api.meta import Object, key_of, metadata
from rollout.api.resources import HPAS

_UNNAMED = "scaleDown acts on a workload: name it in target.workloadRef, with role: all"


class Undo(msgspec.Struct, frozen=True):
    """What there was (`original`), what we asked for, and how many pods were ready before."""

    original: int
    replicas: int
    ready: int


class ScalingDown(Plain):
    def victims(self, context: Context, pods: Sequence[Victim], world: World) -> Sequence[Victim]:
        target = receipts.target_of(context.fault, context.run)
        namespace = target.namespace or context.run.metadata.namespace
        ref = target.workload_ref
        if ref is None:
            return [Victim(kind="Workload", namespace=namespace)]
        found = workload(ref, namespace, world)
        uid = metadata(found[1]).get("uid") or "" if found else ""
        return [Victim(kind=ref.kind, namespace=namespace, name=ref.name, uid=uid)]

    def receipt(self, context: Context, victim: Victim, world: World) -> Receipt | Refusal:
        target = receipts.target_of(context.fault, context.run)
        if target.workload_ref is None or target.workload_ref.role != "all":
            return Refusal(_UNNAMED)
        obj = _workload(victim, world)
        if obj is None:
            return Refusal(f"{victim.kind} {victim.namespace}/{victim.name} is not there (any more)")
        undo = _planned(obj, context.fault, context.run, world)
        return Refusal(undo) if isinstance(undo, str) else receipts.receipt(context, victim, _plain(undo))

    def inject(self, receipt: Receipt, context: Context, world: World) -> tuple[Action, ...]:
        undo = _undo(receipt)
        return self._scale(receipt, world, undo.original, undo.replicas)

    def proof(self, receipt: Receipt, world: World) -> str:
        obj, undo = _workload(receipt.victim, world), _undo(receipt)
        if obj is None or _replicas(obj) != undo.replicas:
            return ""
        ready = _ready(obj)
        if ready >= undo.ready:
            return ""
        return f"replicas {undo.original} -> {undo.replicas}, ready pods {undo.ready} -> {ready}"

    def revert(self, receipt: Receipt, world: World) -> tuple[Action, ...]:
        undo = _undo(receipt)
        return self._scale(receipt, world, undo.replicas, undo.original)

    def gone(self, receipt: Receipt, world: World) -> str:
        resource = WORKLOADS.get(receipt.victim.kind)
        if resource is None or not world.serves(resource):
            return ""
        obj, undo = _workload(receipt.victim, world), _undo(receipt)
        if obj is None:
            return f"{receipt.victim.kind} {receipt.victim.name} itself has gone"
        now = _replicas(obj)
        if now == undo.replicas:
            return ""
        if now == undo.original:
            return f"replicas are {now} again"
        return f"somebody has set replicas to {now} meanwhile: left as it is (it was {undo.original})"

    def advice(self, receipt: Receipt) -> str:
        whom, original = receipt.victim, _undo(receipt).original
        what = f"{whom.kind.lower()}/{whom.name} -n {whom.namespace} --replicas={original}"
        return f"it had {original} replicas: kubectl scale {what}"

    def obstacles(self, fault: Fault, run: ChaosRun, world: World) -> tuple[Obstacle, ...]:
        target = receipts.target_of(fault, run)
        if target.workload_ref is None or target.workload_ref.role != "all":
            return (Obstacle(fault.name, _UNNAMED, "podDelete for the pods of one version"),)
        ref, namespace = target.workload_ref, target.namespace or run.metadata.namespace
        found = workload(ref, namespace, world)
        if found is None:
            kinds = ", ".join(WORKLOADS)
            return (
                Obstacle(fault.name, f"there is no {ref.kind} {namespace}/{ref.name} ({kinds} are known)"),
            )
        undo = _planned(found[1], fault, run, world)
        instead = "podDelete, or limits and replicas that leave room"
        return (Obstacle(fault.name, undo, instead),) if isinstance(undo, str) else ()

    def _scale(self, receipt: Receipt, world: World, expected: int, wanted: int) -> tuple[Action, ...]:
        obj = _workload(receipt.victim, world)
        if obj is None or _replicas(obj) != expected:
            return ()
        return (
            Scale(
                receipt=receipt.id,
                resource=WORKLOADS[receipt.victim.kind],
                namespace=receipt.victim.namespace,
                name=receipt.victim.name,
                replicas=wanted,
                expected=expected,
                uid=receipt.victim.uid,
            ),
        )


def remaining(how: ScaleDown, replicas: int) -> int:
    """How many of the replicas stay; by percent at least one goes."""
    return (
        how.replicas if how.replicas is not None else replicas - max(1, replicas * (how.percent or 0) // 100)
    )


def leaving(fault: Fault, run: ChaosRun, world: World) -> int:
    """How many pods a scaleDown takes away; 0 where there is nothing to scale."""
    target = receipts.target_of(fault, run)
    ref = target.workload_ref
    found = workload(ref, target.namespace or run.metadata.namespace, world) if ref is not None else None
    if found is None or fault.scale_down is None:
        return 0
    replicas = _replicas(found[1])
    return max(0, replicas - remaining(fault.scale_down, replicas))


def _planned(obj: Object, fault: Fault, run: ChaosRun, world: World) -> Undo | str:
    """To how many replicas the fault brings the workload; or why it must not."""
    how, original, ready = fault.scale_down or ScaleDown(), _replicas(obj), _ready(obj)
    name = f"{obj.get('kind')} {key_of(obj)}"
    if (how.replicas is None) == (how.percent is None):
        return "scaleDown needs exactly one of replicas and percent"
    if how.percent is not None and not 1 <= how.percent <= 100:
        return f"percent must be 1..100, not {how.percent}"
    wanted = remaining(how, original)
    if not 0 <= wanted < original:
        return f"{name} has {original} replicas: {wanted} is not fewer"
    if (owner := controller_of(obj, world)) is not None:
        return f"{name} belongs to {owner[0].kind} {key_of(owner[1]).name}, which would scale it back: name that one"
    if (hpa := _autoscaler(obj, world)) is not None:
        return f"HorizontalPodAutoscaler {key_of(hpa).name} sets the replicas of {name} and would work against us"
    return _beyond(run, original, wanted, ready) or Undo(original, wanted, ready)


def _beyond(run: ChaosRun, original: int, wanted: int, ready: int) -> str:
    """Which of the run's limits the step from `original` to `wanted` replicas would break; "" for none."""
    limits, fewer = run.spec.limits, original - wanted
    if wanted == 0 and not limits.allow_total:
        return "no pod would be left (limits.allowTotal)"
    if wanted < limits.min_ready and not (wanted == 0 and limits.allow_total):
        return f"{wanted} replicas are fewer than limits.minReady ({limits.min_ready})"
    if limits.max_pods is not None and fewer > limits.max_pods:
        return f"{fewer} pods would go: more than limits.maxPods ({limits.max_pods})"
    if fewer * 100 > limits.max_percent * max(ready, 1):
        return f"{fewer} of {ready} ready pods would go: more than limits.maxPercent ({limits.max_percent})"
    return ""


def _autoscaler(obj: Object, world: World) -> Object | None:
    key = key_of(obj)
    for hpa in world.of(HPAS, key.namespace):
        ref: Mapping[str, Any] = spec(hpa).get("scaleTargetRef") or {}
        if ref.get("kind") == obj.get("kind") and ref.get("name") == key.name:
            return hpa
    return None


def _workload(victim: Victim, world: World) -> Object | None:
    """The victim itself: of its name and its uid."""
    resource = WORKLOADS.get(victim.kind)
    obj = world.get(resource, victim.namespace, victim.name) if resource else None
    return obj if obj is not None and metadata(obj).get("uid") == victim.uid else None


def _replicas(obj: Object) -> int:
    given = spec(obj).get("replicas")
    return 1 if given is None else int(given)


def _ready(obj: Object) -> int:
    return int(status(obj).get("readyReplicas") or 0)


def _undo(receipt: Receipt) -> Undo:
    return msgspec.convert(receipt.undo, Undo)


def _plain(undo: Undo) -> dict[str, Any]:
    return msgspec.structs.asdict(undo)
