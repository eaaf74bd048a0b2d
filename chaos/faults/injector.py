"""The ephemeral container that runs `chaos.injector` in a victim's pod, and what it tells afterwards.

An ephemeral container cannot be removed or started again: its name is computed from the receipt, so a second attempt
finds the first. Its last words are JSON in status.ephemeralContainerStatuses[].state.terminated.message.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from chaos.faults.base import Obstacle
from chaos.faults.pods import named, spec, status
from chaos.observed import World
from rollout import __version__
from rollout.api.meta import Object, metadata
from rollout.api.resources import NAMESPACES, NODES

IMAGE = f"surefoot/injector:{__version__}"
IMAGE_VARIABLE = "SUREFOOT_INJECTOR_IMAGE"
"""The controller's environment variable that names another image."""
LEASE_VARIABLE = "SUREFOOT_LEASE_URL"
"""The controller's environment variable that says where injectors reach it (`rollout controller run --lease-url`)."""
ENFORCED = "pod-security.kubernetes.io/enforce"
"""Label of a namespace: the Pod Security Standard that pods and ephemeral containers must meet there."""
_STARTING = frozenset({None, "", "ContainerCreating", "PodInitializing"})
FIRST_MINOR = 25
"""The Kubernetes release (1.25) since which ephemeral containers are generally available."""

CAGED: Mapping[str, Any] = {
    "privileged": False,
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}
"""What every injector runs with; each adds one capability or one user, no more."""


class Words(msgspec.Struct, frozen=True):
    """What a finished injector said. `verified`: it saw itself that what it was to do, or to undo, is done."""

    verified: bool = False
    outcome: str = ""
    message: str = ""
    packets: int = 0
    dropped: int = 0


def container(
    name: str, image: str, args: Sequence[str], *, target: str = "", **security: Any
) -> dict[str, Any]:
    """An ephemeral container; `security` goes over CAGED. `target`: whose processes it may see and signal."""
    made: dict[str, Any] = {
        "name": name,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "args": list(args),
        "terminationMessagePolicy": "File",
        "securityContext": {**CAGED, **security},
    }
    return made | ({"targetContainerName": target} if target else {})


def capable(*capabilities: str) -> dict[str, Any]:
    return {"drop": ["ALL"], "add": list(capabilities)}


def added(pod: Object, name: str) -> bool:
    """Whether the pod has the ephemeral container, in whatever state."""
    return named(spec(pod).get("ephemeralContainers"), name) is not None


def state(pod: Object, name: str) -> Mapping[str, Any]:
    """The container's state: one of {"waiting": ...}, {"running": ...}, {"terminated": ...}; {} before any."""
    found = named(status(pod).get("ephemeralContainerStatuses"), name) or {}
    return found.get("state") or {}


def running(pod: Object, name: str) -> bool:
    return "running" in state(pod, name)


def ended(pod: Object, name: str) -> bool:
    return "terminated" in state(pod, name)


def words(pod: Object, name: str) -> Words | None:
    """What the container said when it ended; None while it runs, or when it said nothing that we know."""
    over = state(pod, name).get("terminated") or {}
    try:
        return msgspec.convert(json.loads(over.get("message") or ""), Words)
    except (ValueError, msgspec.ValidationError):
        return None


def said(pod: Object, name: str) -> str:
    """What the container says of itself: its last words, why it does not start, or how it ended without a word."""
    now = state(pod, name)
    if (last := words(pod, name)) is not None:
        return last.message or last.outcome
    waiting, over = now.get("waiting") or {}, now.get("terminated") or {}
    if waiting and waiting.get("reason") not in _STARTING:
        return _line(f"container {name} does not start: {waiting.get('reason')}", waiting.get("message"))
    if over:
        ended = f"container {name} ended with exit code {over.get('exitCode')} and without a word"
        return _line(ended, over.get("reason"))
    return ""


def _line(text: str, detail: object) -> str:
    return f"{text} ({str(detail)[:300]})" if detail else text


def unserved(fault: str, world: World) -> list[Obstacle]:
    """What stands in the way of ephemeral containers as such."""
    old = sorted({v for node in world.of(NODES) if _minor(v := _version(node)) < FIRST_MINOR})
    if not old:
        return []
    reason = f"nodes run Kubernetes {', '.join(old)}: ephemeral containers need 1.{FIRST_MINOR}"
    return [Obstacle(fault, reason, "podDelete or a mesh fault")]


def enforced(namespace: str, world: World) -> str:
    """The Pod Security Standard that the namespace enforces by label: "", privileged, baseline or restricted."""
    found = world.get(NAMESPACES, "", namespace)
    labels = metadata(found).get("labels") or {} if found is not None else {}
    return str(labels.get(ENFORCED, ""))


def _version(node: Object) -> str:
    return str((status(node).get("nodeInfo") or {}).get("kubeletVersion") or "")


def _minor(version: str) -> int:
    parts = version.removeprefix("v").split(".")
    return int(parts[1]) if len(parts) > 1 and parts[0] == "1" and parts[1].isdigit() else FIRST_MINOR
