"""Facts about pods that faults ask for, read from plain objects."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from chaos.observed import World
from rollout.api.chaos import Victim
from rollout.api.meta import Object, metadata
from rollout.api.resources import NODES, PODS

SANDBOX_VERSION = "+surefoot-sandbox"
"""In status.nodeInfo.kubeletVersion of the sandbox's node."""


def pod_of(victim: Victim, world: World) -> Object | None:
    """The victim's own pod: of its name and its uid. None when it has gone, also when another took its name."""
    pod = world.get(PODS, victim.namespace, victim.name)
    return pod if pod is not None and metadata(pod).get("uid") == victim.uid else None


def terminating(pod: Object) -> bool:
    return bool(metadata(pod).get("deletionTimestamp"))


def finished(pod: Object) -> bool:
    """Whether the pod has run to its end: it serves nobody, and nothing can be done to it."""
    return status(pod).get("phase") in {"Succeeded", "Failed"}


def alive(pod: Object) -> bool:
    return not terminating(pod) and not finished(pod)


def ready(pod: Object) -> bool:
    return alive(pod) and condition(pod, "Ready").get("status") == "True"


def condition(obj: Object, type: str) -> Mapping[str, Any]:
    """status.conditions' entry of this type; {} when there is none."""
    return next((one for one in status(obj).get("conditions") or () if one.get("type") == type), {})


def status(obj: Object) -> Mapping[str, Any]:
    return obj.get("status") or {}


def spec(obj: Object) -> Mapping[str, Any]:
    return obj.get("spec") or {}


def named(entries: Iterable[Mapping[str, Any]] | None, name: str) -> Mapping[str, Any] | None:
    """The entry of a list of containers, or of their statuses, that has this name."""
    return next((one for one in entries or () if one.get("name") == name), None)


def in_sandbox(world: World) -> bool:
    """Whether the pods are our sandbox's processes. Its node says so."""
    nodes = (status(node).get("nodeInfo") or {} for node in world.of(NODES))
    return any(SANDBOX_VERSION in info.get("kubeletVersion", "") for info in nodes)
