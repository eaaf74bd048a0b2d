"""What the node agent says about a pod: phase, conditions, container statuses. Pure.

Contract: https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/ .
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

from rollout.api.meta import Object, time_of, timestamp

RestartPolicy = Literal["Always", "OnFailure", "Never"]


_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


class Waiting(msgspec.Struct, frozen=True):
    reason: str = "ContainerCreating"
    message: str = ""


class Running(msgspec.Struct, frozen=True):
    since: datetime


class Terminated(msgspec.Struct, frozen=True):
    """`exit_code` is 128 + signal for a signal, as a container runtime reports it."""

    exit_code: int
    finished: datetime
    started: datetime | None = None
    reason: str = ""
    message: str = ""
    container_id: str = ""

    @property
    def said(self) -> str:
        return self.reason or ("Completed" if self.exit_code == 0 else "Error")


class Container(msgspec.Struct, frozen=True):
    """All that is known about one container of a pod. `started`, `ready` are its probes' verdict."""

    name: str
    image: str
    state: Waiting | Running | Terminated = Waiting()
    last: Terminated | None = None
    restarts: int = 0
    started: bool = False
    ready: bool = False
    id: str = ""

    @property
    def done(self) -> bool:
        """Ended, with nothing that will start it again decided yet."""
        return isinstance(self.state, Terminated)


def should_restart(policy: RestartPolicy, exit_code: int) -> bool:
    return policy == "Always" or (policy == "OnFailure" and exit_code != 0)


def restart_policy(pod: Object) -> RestartPolicy:
    value: RestartPolicy = (pod.get("spec") or {}).get("restartPolicy") or "Always"
    return value


def phase(
    policy: RestartPolicy, inits: Sequence[Container], apps: Sequence[Container], *, over: bool = False
) -> str:
    """The pod's phase. `over` when no container will ever start again (the pod is being deleted)."""
    for item in inits:
        if isinstance(item.state, Terminated) and item.state.exit_code != 0:
            if policy == "Never" or over:
                return "Failed"
            return "Pending"
        if not item.done:
            return "Failed" if over else "Pending"
    if any(isinstance(item.state, Waiting) and item.last is None for item in apps):
        return "Failed" if over else "Pending"
    if any(isinstance(item.state, Running) for item in apps):
        return "Running"
    codes = [_code(item) for item in apps]
    failed = any(code != 0 for code in codes)
    if over or policy == "Never":
        return "Failed" if failed else "Succeeded"
    if policy == "OnFailure":
        return "Running" if failed else "Succeeded"
    return "Running"


def _code(item: Container) -> int:
    ended = item.state if isinstance(item.state, Terminated) else item.last
    return ended.exit_code if ended else 1


def pod_status(
    pod: Object,
    inits: Sequence[Container],
    apps: Sequence[Container],
    now: datetime,
    host_ip: str,
    *,
    over: bool = False,
    extras: Sequence[Container] = (),
) -> dict[str, Any]:
    """The whole status of a pod whose address is already in `pod.status.podIP`.

    Conditions of others (readiness gates) are kept; transition times move only with the status. `extras` are the
    ephemeral containers, of which nothing else depends.
    """
    before = pod.get("status") or {}
    policy = restart_policy(pod)
    at = phase(policy, inits, apps, over=over)
    ip = before.get("podIP", "")
    return {
        "phase": at,
        "conditions": _conditions(pod, at, inits, apps, now),
        "hostIP": host_ip,
        "hostIPs": [{"ip": host_ip}],
        **({"podIP": ip, "podIPs": [{"ip": ip}]} if ip else {}),
        "startTime": before.get("startTime") or timestamp(now),
        **({"initContainerStatuses": [_container(item, init=True) for item in inits]} if inits else {}),
        "containerStatuses": [_container(item, init=False) for item in apps],
        **({"ephemeralContainerStatuses": [_extra(item) for item in extras]} if extras else {}),
        "qosClass": before.get("qosClass") or _quality(pod),
    }


def _container(item: Container, *, init: bool) -> dict[str, Any]:
    ended_well = isinstance(item.state, Terminated) and item.state.exit_code == 0
    running = isinstance(item.state, Running)
    return {
        "name": item.name,
        "image": item.image,
        "imageID": f"sandbox://{item.image}" if item.id else "",
        **({"containerID": item.id} if item.id else {}),
        "state": _state(item.state),
        "lastState": _state(item.last) if item.last else {},
        "restartCount": item.restarts,
        "started": item.started and running,
        "ready": ended_well if init else item.ready and running,
    }


def _extra(item: Container) -> dict[str, Any]:
    """An ephemeral container is never ready and has no probe that could say it has started."""
    told = _container(item, init=False)
    return {key: value for key, value in told.items() if key != "started"} | {"ready": False}


def _state(state: Waiting | Running | Terminated) -> dict[str, Any]:
    match state:
        case Waiting(reason, message):
            return {"waiting": {"reason": reason, **({"message": message} if message else {})}}
        case Running(since):
            return {"running": {"startedAt": timestamp(since)}}
        case Terminated():
            return {
                "terminated": {
                    "exitCode": state.exit_code,
                    "reason": state.said,
                    **({"message": state.message} if state.message else {}),
                    **({"startedAt": timestamp(state.started)} if state.started else {}),
                    "finishedAt": timestamp(state.finished),
                    **({"containerID": state.container_id} if state.container_id else {}),
                }
            }


_OURS = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")


def _conditions(
    pod: Object, at: str, inits: Sequence[Container], apps: Sequence[Container], now: datetime
) -> list[dict[str, Any]]:
    incomplete = [
        item.name for item in inits if not (isinstance(item.state, Terminated) and item.state.exit_code == 0)
    ]
    unready = [item.name for item in apps if not (item.ready and isinstance(item.state, Running))]
    facts: dict[str, tuple[bool, str, str]] = {
        "PodReadyToStartContainers": (
            bool((pod.get("status") or {}).get("podIP")) and at not in {"Succeeded", "Failed"},
            "",
            "",
        ),
        "Initialized": _initialized(at, incomplete),
        "PodScheduled": (True, "", ""),
    }
    containers = _containers_ready(at, unready)
    facts["ContainersReady"] = containers
    facts["Ready"] = containers if not containers[0] else _gates(pod)
    before = {item["type"]: item for item in (pod.get("status") or {}).get("conditions") or ()}
    ours = [_condition(name, facts[name], before.get(name), now) for name in _OURS]
    return [*ours, *(item for name, item in before.items() if name not in _OURS)]


def _initialized(at: str, incomplete: Sequence[str]) -> tuple[bool, str, str]:
    if not incomplete:
        return True, ("PodCompleted" if at == "Succeeded" else ""), ""
    return False, "ContainersNotInitialized", f"containers with incomplete status: [{' '.join(incomplete)}]"


def _containers_ready(at: str, unready: Sequence[str]) -> tuple[bool, str, str]:
    if at == "Succeeded":
        return False, "PodCompleted", ""
    if at == "Failed":
        return False, "PodFailed", ""
    if unready:
        return False, "ContainersNotReady", f"containers with unready status: [{' '.join(unready)}]"
    return True, "", ""


def _gates(pod: Object) -> tuple[bool, str, str]:
    """Readiness gates: conditions that others set on the pod and that must be True."""
    said = {item["type"]: item.get("status") for item in (pod.get("status") or {}).get("conditions") or ()}
    for gate in (pod.get("spec") or {}).get("readinessGates") or ():
        name = gate["conditionType"]
        if name not in said:
            return (
                False,
                "ReadinessGatesNotReady",
                f'corresponding condition of pod readiness gate "{name}" does not exist.',
            )
        if said[name] != "True":
            message = f'the status of pod readiness gate "{name}" is not "True", but {said[name]}'
            return False, "ReadinessGatesNotReady", message
    return True, "", ""


def _condition(
    name: str, fact: tuple[bool, str, str], before: Mapping[str, Any] | None, now: datetime
) -> dict[str, Any]:
    holds, reason, message = fact
    status = "True" if holds else "False"
    same = before is not None and before.get("status") == status
    moved = (before or {}).get("lastTransitionTime") if same else timestamp(now)
    return {
        "type": name,
        "status": status,
        **({"reason": reason} if reason else {}),
        **({"message": message} if message else {}),
        "lastTransitionTime": moved,
    }


def _quality(pod: Object) -> str:
    """The QoS class, from the containers' requests and limits."""
    resources = [item.get("resources") or {} for item in (pod.get("spec") or {}).get("containers") or ()]
    if not any(item.get("requests") or item.get("limits") for item in resources):
        return "BestEffort"
    for item in resources:
        limits, requests = item.get("limits") or {}, item.get("requests") or item.get("limits") or {}
        if {"cpu", "memory"} - limits.keys() or any(
            requests.get(name) != limits[name] for name in ("cpu", "memory")
        ):
            return "Burstable"
    return "Guaranteed"


def containers_of(pod: Object, field: str, now: datetime) -> list[Container]:
    """The containers of `field` (of the pod's spec) as a node agent finds them when it starts.

    What an earlier agent left running died with it: such a container counts one restart, and its end is
    told as the kubelet tells it of a container it can no longer find.
    """
    name = f"{field.removesuffix('s')}Statuses"
    known = {item["name"]: item for item in (pod.get("status") or {}).get(name) or ()}
    found = []
    waiting = Waiting("PodInitializing") if (pod.get("spec") or {}).get("initContainers") else Waiting()
    for spec in (pod.get("spec") or {}).get(field) or ():
        base = Container(spec["name"], spec.get("image", ""), waiting)
        found.append(_remembered(base, known.get(spec["name"]) or {}, now))
    return found


def _remembered(base: Container, told: Mapping[str, Any], now: datetime) -> Container:
    restarts = int(told.get("restartCount", 0))
    state, last = told.get("state") or {}, _ended(told.get("lastState") or {})
    if ended := _ended(state):
        return msgspec.structs.replace(base, state=ended, last=last, restarts=restarts)
    if running := state.get("running"):
        lost = Terminated(
            137,
            now,
            time_of(running.get("startedAt")),
            "ContainerStatusUnknown",
            "The node agent was restarted; the container ended with it.",
        )
        return msgspec.structs.replace(base, state=lost, last=last, restarts=restarts)
    return msgspec.structs.replace(base, last=last, restarts=restarts)


def _ended(state: Mapping[str, Any]) -> Terminated | None:
    told = state.get("terminated")
    if not told:
        return None
    return Terminated(
        int(told.get("exitCode", 0)),
        time_of(told.get("finishedAt")) or _LONG_AGO,
        time_of(told.get("startedAt")),
        told.get("reason", ""),
        told.get("message", ""),
        told.get("containerID", ""),
    )
