"""networkLatency and networkLoss: `tc netem` on what a pod sends, by an injector that undoes it by itself.

The injector runs as an ephemeral container with NET_ADMIN alone, in the pod's network namespace and no other. It has
the absolute deadline, and a guardian armed before anything is changed (`chaos.injector`). Undone early: a second
container that only reverts; when that cannot be shown to have worked, `gone` stays "" and the pod is evicted.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import msgspec

from chaos.actions import Action, AddEphemeralContainer
from chaos.faults import injector, receipts
from chaos.faults.base import Context, Obstacle, Plain, Refusal
from chaos.faults.pods import alive, in_sandbox, pod_of, spec, status
from chaos.faults.targets import pods_meant
from chaos.observed import World
from rollout.api.chaos import ChaosRun, Fault, Receipt, Victim
from rollout.api.meta import Object, duration, key_of
from rollout.api.resources import PODS

LEASE_PATH = "/chaos/lease/"
"""Below the controller's own address, before the run's uid."""
GRACE = timedelta(seconds=10)
"""How long after the deadline the injector may take to say that its work is undone."""
MIN_LIMIT, MAX_LIMIT = 1000, 1_000_000
"""Packets that netem's queue holds: the kernel's default, and what a pod's memory should bear."""
ACTIVE = ("Planned", "Injected", "Proved")
_INTERFACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@-]{0,14}")
_HOST = re.compile(r"[A-Za-z0-9:][A-Za-z0-9.:-]{0,252}")


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """What is done to the packets (seconds, percent), to which of them, and how many may wait."""

    interface: str
    rate: int
    hosts: tuple[str, ...]
    ports: tuple[int, ...]
    delay: float = 0.0
    jitter: float = 0.0
    loss: int = 0
    correlation: int = 0

    @property
    def limit(self) -> int:
        """Twice the packets that are under way at `rate`: a full queue would turn the latency into loss."""
        return max(MIN_LIMIT, math.ceil(2 * self.rate * (self.delay + self.jitter)))


class NetworkFault(Plain):
    """`shape` reads a fault's own fields. `image` is the operator's choice, never the fault's: it gets NET_ADMIN in other
    people's pods. `lease_url` is the controller's own address, "" for no lease."""

    def __init__(
        self, shape: Callable[[Fault], Shape], image: str, *, lease_url: str = "", instead: str
    ) -> None:
        self._shape = shape
        self._image = image
        self._lease_url = lease_url
        self._instead = instead

    def victims(self, context: Context, pods: Sequence[Victim], world: World) -> Sequence[Victim]:
        return pods

    def receipt(self, context: Context, victim: Victim, world: World) -> Receipt | Refusal:
        pod, where = pod_of(victim, world), f"pod {victim.namespace}/{victim.name}"
        if pod is None or not alive(pod):
            return Refusal(f"{where} is not there any more, or ending")
        if spec(pod).get("hostNetwork"):
            return Refusal(f"{where} uses its node's network: the fault would strike the whole node")
        if rival := _rival(context, victim):
            return Refusal(f"{where} has a network fault already (receipt {rival})")
        try:
            shape = self._checked(context.fault)
        except ValueError as error:
            return Refusal(str(error))
        undo = {
            "image": self._image,
            "interface": shape.interface,
            "args": _args(shape, int(context.deadline.timestamp()), _nodes(pod), self._lease(context.run)),
        }
        return receipts.receipt(context, victim, undo)

    def inject(self, receipt: Receipt, context: Context, world: World) -> tuple[Action, ...]:
        pod, name = pod_of(receipt.victim, world), receipts.object_name(receipt.id)
        if pod is None or not alive(pod) or injector.added(pod, name):
            return ()
        if world.now >= receipts.deadline_of(receipt):
            return ()
        return (_add(receipt, name, receipt.undo["args"]),)

    def proof(self, receipt: Receipt, world: World) -> str:
        seen, pod = world.evidence.get(receipt.id), pod_of(receipt.victim, world)
        said = injector.words(pod, receipts.object_name(receipt.id)) if pod is not None else None
        packets = max(said.packets if said else 0, (seen and seen.delayed) or 0)
        dropped = max(said.dropped if said else 0, (seen and seen.aborted) or 0)
        if receipt.kind == "networkLoss":
            return f"netem dropped {dropped} packets" if dropped else ""
        return f"netem delayed {packets} packets" if packets else ""

    def revert(self, receipt: Receipt, world: World) -> tuple[Action, ...]:
        pod = pod_of(receipt.victim, world)
        name, undo = receipts.object_name(receipt.id), receipts.object_name(receipt.id, "undo")
        if pod is None or not injector.added(pod, name) or injector.added(pod, undo) or _undone(pod, name):
            return ()
        if injector.ended(pod, name) or (injector.running(pod, name) and not _ending(receipt, world)):
            return (_add(receipt, undo, ["revert", f"--interface={receipt.undo['interface']}"]),)
        return ()

    def begun(self, receipt: Receipt, world: World) -> bool:
        pod = pod_of(receipt.victim, world)
        return pod is not None and injector.added(pod, receipts.object_name(receipt.id))

    def gone(self, receipt: Receipt, world: World) -> str:
        if not world.serves(PODS):
            return ""
        pod = pod_of(receipt.victim, world)
        if pod is None:
            return f"pod {receipt.victim.name} (uid {receipt.victim.uid}) has gone, and its network with it"
        name, undo = receipts.object_name(receipt.id), receipts.object_name(receipt.id, "undo")
        if not injector.added(pod, name):
            return f"no injector was ever added to pod {receipt.victim.name}"
        if not injector.ended(pod, name):
            return ""  # it may still add its qdisc, also after another container has removed one
        for who in (name, undo):
            if (said := injector.words(pod, who)) is not None and said.verified:
                return f"container {who}: {said.message or said.outcome}"
        return ""

    def said(self, receipt: Receipt, world: World) -> str:
        """The latest word: of the container that undoes it, or else of the one that did it."""
        pod = pod_of(receipt.victim, world)
        if pod is None:
            return ""
        name, undo = receipts.object_name(receipt.id), receipts.object_name(receipt.id, "undo")
        return injector.said(pod, undo) or injector.said(pod, name)

    def obstacles(self, fault: Fault, run: ChaosRun, world: World) -> tuple[Obstacle, ...]:
        if in_sandbox(world):
            reason = "the sandbox's pods are processes that share one network: there is nothing to impair"
            return (Obstacle(fault.name, reason, self._instead),)
        found = injector.unserved(fault.name, world)
        pods = pods_meant(fault, run, world)
        for namespace in sorted({key_of(pod).namespace for pod in pods}):
            if (level := injector.enforced(namespace, world)) in {"baseline", "restricted"}:
                reason = f"namespace {namespace} enforces the {level} Pod Security Standard, which forbids NET_ADMIN"
                found.append(
                    Obstacle(
                        fault.name, reason, f"{self._instead}; or the label {injector.ENFORCED}: privileged"
                    )
                )
        for pod in pods:
            if spec(pod).get("hostNetwork"):
                reason = f"pod {key_of(pod)} uses its node's network: the fault would strike the whole node"
                found.append(Obstacle(fault.name, reason, self._instead))
        try:
            self._checked(fault)
        except ValueError as error:
            found.append(Obstacle(fault.name, str(error), "another value"))
        return tuple(found)

    def _lease(self, run: ChaosRun) -> str:
        """Where the injector asks whether the run goes on; "" where nobody answers."""
        return f"{self._lease_url.rstrip('/')}{LEASE_PATH}{run.metadata.uid}" if self._lease_url else ""

    def _checked(self, fault: Fault) -> Shape:
        """The fault's shape. ValueError for what must not become an argument of `tc`."""
        shape = self._shape(fault)
        _demand(_INTERFACE.fullmatch(shape.interface), f"{shape.interface!r} is not the name of an interface")
        for host in shape.hosts:
            _demand(_HOST.fullmatch(host), f"{host!r} is neither a host name nor an address")
        _demand(all(1 <= port <= 65535 for port in shape.ports), "ports must be 1..65535")
        _demand(0 <= shape.correlation <= 100, "correlation must be 0..100 percent")
        _demand(0 <= shape.loss <= 100, "percent must be 0..100")
        _demand(shape.delay > 0 or shape.loss > 0, "neither a delay nor a loss is asked for")
        _demand(
            0 <= shape.jitter <= shape.delay <= 3600,
            "delay must be at most 1h, and jitter no longer than delay",
        )
        _demand(
            shape.rate >= 1 and shape.limit <= MAX_LIMIT,
            f"rate x delay needs a queue of over {MAX_LIMIT} packets",
        )
        return shape


def latency(fault: Fault) -> Shape:
    how = fault.network_latency
    assert how is not None
    return Shape(
        interface=how.interface,
        rate=how.rate,
        hosts=how.hosts,
        ports=how.ports,
        delay=duration(how.delay),
        jitter=duration(how.jitter),
        correlation=how.correlation,
    )


def loss(fault: Fault) -> Shape:
    how = fault.network_loss
    assert how is not None
    return Shape(
        interface=how.interface,
        rate=how.rate,
        hosts=how.hosts,
        ports=how.ports,
        loss=how.percent,
        correlation=how.correlation,
    )


def _args(shape: Shape, deadline: int, exempt: Sequence[str], lease_url: str) -> list[str]:
    """The injector's arguments, each with its value in one word, so that no value is ever read as an option."""
    args = ["netem", f"--deadline={deadline}", f"--interface={shape.interface}", f"--limit={shape.limit}"]
    if shape.delay:
        args += [f"--delay={shape.delay * 1000:.3f}", f"--jitter={shape.jitter * 1000:.3f}"]
    if shape.loss:
        args.append(f"--loss={shape.loss}")
    if shape.correlation:
        args.append(f"--correlation={shape.correlation}")
    args += [f"--host={host}" for host in shape.hosts]
    args += [f"--port={port}" for port in shape.ports]
    args += [f"--exempt={address}" for address in exempt]
    return args + ([f"--lease-url={lease_url}"] if lease_url else [])


def _rival(context: Context, victim: Victim) -> str:
    """Another receipt of the run whose injector may be at work on the same pod: one interface bears one fault."""
    own = receipts.receipt_id(context, victim)
    others = (other for other in context.run.status.receipts if other.id != own and other.state in ACTIVE)
    same = (one for one in others if one.kind.startswith("network") and one.victim.uid == victim.uid)
    return next((one.id for one in same), "")


def _nodes(pod: Object) -> list[str]:
    """The addresses of the pod's node: from there its kubelet asks the probes, and they must not be delayed."""
    several = [one.get("ip") for one in status(pod).get("hostIPs") or ()]
    return list(dict.fromkeys(ip for ip in (status(pod).get("hostIP"), *several) if ip))


def _add(receipt: Receipt, name: str, args: Sequence[str]) -> AddEphemeralContainer:
    security: dict[str, Any] = {
        "runAsUser": 0,
        "runAsNonRoot": False,
        "capabilities": injector.capable("NET_ADMIN"),
    }
    return AddEphemeralContainer(
        receipt=receipt.id,
        namespace=receipt.victim.namespace,
        name=receipt.victim.name,
        uid=receipt.victim.uid,
        container=injector.container(name, receipt.undo["image"], args, **security),
    )


def _undone(pod: Object, name: str) -> bool:
    said = injector.words(pod, name)
    return said is not None and said.verified


def _ending(receipt: Receipt, world: World) -> bool:
    """Whether the injector is just undoing its work by itself."""
    deadline = receipts.deadline_of(receipt)
    return deadline <= world.now < deadline + GRACE


def _demand(holds: object, text: str) -> None:
    if not holds:
        raise ValueError(text)
