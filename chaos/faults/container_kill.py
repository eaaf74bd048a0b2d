"""containerKill: a signal to the first process of one container, from an ephemeral container that shares its processes.

Within a process namespace the kernel gives process 1 only the signals that it handles, and never KILL from inside
(pid_namespaces(7)). So a process without a handler is not hurt by TERM, and then nothing is proved.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from chaos.actions import Action, AddEphemeralContainer
from chaos.faults import injector, receipts
from chaos.faults.base import Context, Obstacle, Plain, Refusal
from chaos.faults.pods import alive, in_sandbox, named, pod_of, spec, status
from chaos.faults.targets import pods_meant
from chaos.observed import World
from rollout.api.chaos import ChaosRun, ContainerKill, Fault, Receipt, Victim
from rollout.api.meta import Object, key_of
from rollout.api.resources import PODS


class ContainerKilling(Plain):
    def __init__(self, image: str) -> None:
        self._image = image

    def victims(self, context: Context, pods: Sequence[Victim], world: World) -> Sequence[Victim]:
        return pods

    def receipt(self, context: Context, victim: Victim, world: World) -> Receipt | Refusal:
        pod, how = pod_of(victim, world), context.fault.container_kill or ContainerKill()
        where = f"pod {victim.namespace}/{victim.name}"
        if pod is None or not alive(pod):
            return Refusal(f"{where} is not there any more, or ending")
        container = _container(pod, how.container)
        if container is None:
            return Refusal(f"{where} has no container {how.container!r}")
        if spec(pod).get("shareProcessNamespace"):
            return Refusal(f"the containers of {where} share their processes: process 1 is none of theirs")
        now = _state(pod, container["name"])
        if "running" not in (now.get("state") or {}):
            return Refusal(f"container {container['name']} of {where} is not running")
        undo = {
            "container": container["name"],
            "restartCount": now.get("restartCount") or 0,
            "containerID": now.get("containerID") or "",
        }
        return receipts.receipt(context, victim, undo)

    def inject(self, receipt: Receipt, context: Context, world: World) -> tuple[Action, ...]:
        pod, name = pod_of(receipt.victim, world), receipts.object_name(receipt.id)
        if pod is None or not alive(pod) or injector.added(pod, name) or self.proof(receipt, world):
            return ()
        how = context.fault.container_kill or ContainerKill()
        target = receipt.undo["container"]
        made = injector.container(
            name, self._image, ["kill", f"--signal={how.signal}"], target=target, **_user(pod, target)
        )
        return (
            AddEphemeralContainer(
                receipt=receipt.id,
                namespace=receipt.victim.namespace,
                name=receipt.victim.name,
                uid=receipt.victim.uid,
                container=made,
            ),
        )

    def proof(self, receipt: Receipt, world: World) -> str:
        pod = pod_of(receipt.victim, world)
        if pod is None:
            return ""
        name, before = receipt.undo["container"], receipt.undo["restartCount"]
        now = _state(pod, name)
        count, id = now.get("restartCount") or 0, now.get("containerID") or ""
        if count > before:
            return f"container {name} was started again: restartCount {before} -> {count}"
        if id and id != receipt.undo["containerID"]:
            return f"container {name} is another one: {receipt.undo['containerID']} -> {id}"
        return ""

    def revert(self, receipt: Receipt, world: World) -> tuple[Action, ...]:
        return ()

    def begun(self, receipt: Receipt, world: World) -> bool:
        pod = pod_of(receipt.victim, world)
        return pod is not None and injector.added(pod, receipts.object_name(receipt.id))

    def gone(self, receipt: Receipt, world: World) -> str:
        if not world.serves(PODS):
            return ""
        pod, name = pod_of(receipt.victim, world), receipt.undo["container"]
        if pod is None:
            return f"pod {receipt.victim.name} (uid {receipt.victim.uid}) has gone"
        killer = receipts.object_name(receipt.id)
        if injector.added(pod, killer) and not injector.ended(pod, killer):
            return ""  # its signal may still come
        return f"container {name} is running" if "running" in (_state(pod, name).get("state") or {}) else ""

    def said(self, receipt: Receipt, world: World) -> str:
        pod = pod_of(receipt.victim, world)
        return injector.said(pod, receipts.object_name(receipt.id)) if pod is not None else ""

    def obstacles(self, fault: Fault, run: ChaosRun, world: World) -> tuple[Obstacle, ...]:
        how, found = fault.container_kill or ContainerKill(), injector.unserved(fault.name, world)
        pods = pods_meant(fault, run, world)
        if how.signal == "KILL" and not in_sandbox(world):
            reason = "the kernel ignores KILL for process 1 when it comes from its own process namespace"
            found.append(Obstacle(fault.name, reason, "signal: TERM, or podDelete with method: force"))
        for pod in pods:
            container = _container(pod, how.container)
            if container is None:
                reason = f"pod {key_of(pod)} has no container {how.container!r}"
                found.append(Obstacle(fault.name, reason, "the name of one of its containers"))
            elif spec(pod).get("shareProcessNamespace"):
                reason = (
                    f"the containers of pod {key_of(pod)} share their processes: process 1 is none of theirs"
                )
                found.append(Obstacle(fault.name, reason, "podDelete"))
            elif injector.enforced(key_of(pod).namespace, world) == "restricted" and not _uid(pod, container):
                reason = (
                    f"namespace {key_of(pod).namespace} enforces the restricted Pod Security Standard, and pod "
                    f"{key_of(pod)} does not say as which user container {container['name']} runs"
                )
                found.append(Obstacle(fault.name, reason, "runAsUser in its securityContext, or podDelete"))
        return tuple(found)


def _container(pod: Object, name: str) -> Mapping[str, Any] | None:
    containers = spec(pod).get("containers") or ()
    return named(containers, name) if name else next(iter(containers), None)


def _state(pod: Object, name: str) -> Mapping[str, Any]:
    return named(status(pod).get("containerStatuses"), name) or {}


def _uid(pod: Object, container: Mapping[str, Any]) -> int | None:
    """The user that the container runs as, if its spec says so: the same user may send it signals."""
    for context in (container.get("securityContext"), spec(pod).get("securityContext")):
        uid = (context or {}).get("runAsUser")
        if isinstance(uid, int):
            return uid
    return None


def _user(pod: Object, name: str) -> dict[str, Any]:
    """As the target's user where it is known, and so without any capability; else as root with KILL alone."""
    uid = _uid(pod, _container(pod, name) or {})
    if uid:
        return {"runAsUser": uid, "runAsNonRoot": True}
    return {"runAsUser": 0, "runAsNonRoot": False, "capabilities": injector.capable("KILL")}
