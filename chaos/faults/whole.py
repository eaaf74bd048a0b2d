"""Faults that strike a whole version by its labels: whom their receipts are about, and why some cannot be.

Striking some pods of a version would need a label of their own on them, and so a change of the users' objects (which
their ReplicaSet might answer by letting go of them). That is refused, with what to do instead.
"""

from __future__ import annotations

from collections.abc import Sequence

from chaos.faults import receipts
from chaos.faults.base import Obstacle, Refusal
from chaos.faults.pods import pod_of, ready
from chaos.faults.targets import candidates, pods_meant
from chaos.faults.versions import Version, version_of
from chaos.observed import World
from rollout.api.chaos import ChaosRun, Fault, Target, Victim
from rollout.api.meta import LabelSelector, Object

PARTIAL = (
    "this fault is made by labels and strikes all pods of a version: a share of its pods would need labels of "
    "their own, and users' pods are not changed"
)
INSTEAD = (
    "target.percent: 100 (and a limits.maxPercent that allows it), with a share of the requests in the fault's own "
    "percent where it has one; or podDelete for single pods"
)


def versions(pods: Sequence[Victim], world: World) -> tuple[Victim, ...]:
    """One victim per version that was chosen whole; a chosen pod that has none, or only a part of it, stays itself.

    `version_for` refuses the latter, so that the receipt says why.
    """
    chosen = {pod.uid for pod in pods}
    found: dict[str, Victim] = {}
    for victim in pods:
        pod = pod_of(victim, world)
        version = version_of(pod, world) if pod is not None else None
        if isinstance(version, Version):
            found.setdefault(version.owner.uid, version.owner if version.whole(chosen) else victim)
        else:
            found[victim.uid] = victim
    return tuple(found.values())


def version_for(victim: Victim, world: World) -> Version | Refusal:
    """The version that a victim from `versions` stands for, as it is now."""
    if victim.kind == "Pod":
        pod = pod_of(victim, world)
        if pod is None:
            return Refusal(f"pod {victim.namespace}/{victim.name} is not there any more")
        version = version_of(pod, world)
        return Refusal(version if isinstance(version, str) else f"{PARTIAL}; use {INSTEAD}")
    for pod in pods_labelled(victim, world):
        version = version_of(pod, world)
        if isinstance(version, str):
            return Refusal(version)
        return (
            version if version.owner.uid == victim.uid else Refusal(f"{_named(victim)} is not there any more")
        )
    return Refusal(f"{_named(victim)} has no pods")


def pods_labelled(victim: Victim, world: World) -> list[Object]:
    """The living pods that a version's labels select now, by name."""
    return candidates(
        Target(selector=LabelSelector(match_labels=victim.labels or {})), victim.namespace, world
    )


def obstacles(fault: Fault, run: ChaosRun, world: World, pods: Sequence[Object]) -> list[Obstacle]:
    """What the labels of the meant pods, and the number that the target wants, stand in the way of."""
    found = dict.fromkeys(text for pod in pods if isinstance(text := version_of(pod, world), str))
    said = [
        Obstacle(fault.name, text, "podDelete, or a target whose pods have such an owner") for text in found
    ]
    meant = [pod for pod in pods_meant(fault, run, world) if ready(pod)]
    if meant and wanted(receipts.target_of(fault, run), len(meant)) < len(meant) and not said:
        said.append(Obstacle(fault.name, PARTIAL, INSTEAD))
    return said


def wanted(target: Target, there: int) -> int:
    """How many pods the target would choose at most."""
    if target.percent is not None:
        share = there * target.percent
        rounded = {"Down": share // 100, "Up": -(-share // 100), "Nearest": (share + 50) // 100}
        return max(1, rounded[target.rounding])
    if target.count is not None:
        return target.count
    return 1


def _named(victim: Victim) -> str:
    return f"{victim.kind} {victim.namespace}/{victim.name}"
