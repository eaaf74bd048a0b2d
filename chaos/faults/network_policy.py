"""dependencyOutage by a NetworkPolicy: the victims may send to everything but one host's addresses.

What the API cannot show, a witness does: an injector in one victim's pod, without any privilege, that ends when the
host cannot be reached (the proof), and a second one that ends when it can be reached again.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import msgspec

from chaos.actions import Action, AddEphemeralContainer, Create, Delete, Patch
from chaos.faults import hosts, injector, receipts, whole
from chaos.faults.base import Context, Obstacle, Plain, Refusal
from chaos.faults.pods import in_sandbox, pod_of, ready, spec
from chaos.faults.targets import pods_meant
from chaos.faults.versions import uid_of
from chaos.observed import World
from rollout.api.chaos import EXPIRES_AT, ChaosRun, DependencyOutage, Fault, Receipt, Victim
from rollout.api.codec import view
from rollout.api.meta import LabelSelector, Object, View, key_of, metadata
from rollout.api.resources import NETWORK_POLICIES

MAX_ADDRESSES = 64
WITNESS_SECONDS = 60
"""How long after a receipt's deadline a witness looks for the host at most."""
INSTEAD = "method: mesh, which is proved by counters"
_EVERYTHING = {4: "0.0.0.0/0", 6: "::/0"}


class Undo(View, frozen=True):
    """The policy's name, whom it cuts off from where, and the pod from which a witness looks. `port` 0 = all."""

    name: str
    selector: dict[str, str]
    addresses: tuple[str, ...]
    port: int
    probe: str
    image: str
    witness: Victim


class PolicyOutage(Plain):
    def __init__(self, image: str) -> None:
        self._image = image

    def victims(self, context: Context, pods: Sequence[Victim], world: World) -> Sequence[Victim]:
        return whole.versions(pods, world)

    def receipt(self, context: Context, victim: Victim, world: World) -> Receipt | Refusal:
        version, how = whole.version_for(victim, world), context.fault.dependency_outage
        if isinstance(version, Refusal):
            return version
        assert how is not None
        owner = version.owner
        looking = next((pod for pod in version.pods if ready(pod)), None)
        if looking is None:
            return Refusal(f"{owner.kind} {owner.name} has no ready pod from which to see that it is cut off")
        if rival := _rivals(owner.labels or {}, owner.namespace, world):
            return Refusal(rival)
        try:
            addresses, probe = _meant(how, owner.namespace, world)
        except ValueError as error:
            return Refusal(str(error))
        key = key_of(looking)
        undo = {
            "name": receipts.object_name(receipts.receipt_id(context, owner)),
            "selector": owner.labels or {},
            "addresses": list(addresses),
            "port": how.port,
            "probe": probe,
            "image": self._image,
            "witness": {"kind": "Pod", "namespace": key.namespace, "name": key.name, "uid": uid_of(looking)},
        }
        return receipts.receipt(context, owner, undo)

    def inject(self, receipt: Receipt, context: Context, world: World) -> tuple[Action, ...]:
        if world.now >= receipts.deadline_of(receipt):
            return ()
        made = {
            "apiVersion": NETWORK_POLICIES.api_version,
            "kind": NETWORK_POLICIES.kind,
            "metadata": receipts.made_for(receipt, context, world.now),
            "spec": policy(_undo(receipt)),
        }
        create = Create(receipt=receipt.id, resource=NETWORK_POLICIES, object=made)
        there = _made(receipt, world) is not None
        return (() if there else (create,)) + _look(
            receipt, world, "blocked", receipts.object_name(receipt.id)
        )

    def renew(self, receipt: Receipt, world: World) -> tuple[Action, ...]:
        made = _made(receipt, world)
        until = receipts.lease_due(receipt, made, world.now) if made is not None else None
        if until is None:
            return ()
        return (
            Patch(
                receipt=receipt.id,
                resource=NETWORK_POLICIES,
                namespace=receipt.victim.namespace,
                name=_undo(receipt).name,
                patch={"metadata": {"annotations": {EXPIRES_AT: until}}},
            ),
        )

    def proof(self, receipt: Receipt, world: World) -> str:
        return _seen(receipt, world, receipts.object_name(receipt.id))

    def revert(self, receipt: Receipt, world: World) -> tuple[Action, ...]:
        made = _made(receipt, world)
        if made is None and receipt.state == "Planned" and not self.begun(receipt, world):
            return ()
        if made is None:
            return _look(receipt, world, "open", receipts.object_name(receipt.id, "open"))
        uid = metadata(made).get("uid") or ""
        name, namespace = _undo(receipt).name, receipt.victim.namespace
        return (
            Delete(receipt=receipt.id, resource=NETWORK_POLICIES, namespace=namespace, name=name, uid=uid),
        )

    def begun(self, receipt: Receipt, world: World) -> bool:
        return _made(receipt, world) is not None or _watched(receipt, world)

    def gone(self, receipt: Receipt, world: World) -> str:
        if not world.serves(NETWORK_POLICIES) or _made(receipt, world) is not None:
            return ""
        name = f"NetworkPolicy {_undo(receipt).name}"
        if seen := _seen(receipt, world, receipts.object_name(receipt.id, "open")):
            return f"{name} is deleted; {seen}"
        if pod_of(_undo(receipt).witness, world) is None:
            return f"{name} is deleted; the pod that would have looked has gone, so nobody has seen the host again"
        return ""

    def said(self, receipt: Receipt, world: World) -> str:
        pod = pod_of(_undo(receipt).witness, world)
        if pod is None:
            return ""
        looked, again = receipts.object_name(receipt.id), receipts.object_name(receipt.id, "open")
        return injector.said(pod, again) or injector.said(pod, looked)

    def advice(self, receipt: Receipt) -> str:
        where = f"-n {receipt.victim.namespace}"
        return f"see that NetworkPolicy {_undo(receipt).name} is away: kubectl delete netpol {_undo(receipt).name} {where}"

    def obstacles(self, fault: Fault, run: ChaosRun, world: World) -> tuple[Obstacle, ...]:
        if in_sandbox(world):
            return (Obstacle(fault.name, "nothing enforces NetworkPolicies in the sandbox", INSTEAD),)
        if not world.serves(NETWORK_POLICIES):
            return (Obstacle(fault.name, "NetworkPolicies cannot be seen in this cluster", INSTEAD),)
        how, pods = fault.dependency_outage, pods_meant(fault, run, world)
        assert how is not None
        found = [*injector.unserved(fault.name, world), *whole.obstacles(fault, run, world, pods)]
        texts = {_rivals(metadata(pod).get("labels") or {}, key_of(pod).namespace, world) for pod in pods}
        found += [Obstacle(fault.name, text, INSTEAD) for text in sorted(texts - {""})]
        try:
            _meant(how, receipts.target_of(fault, run).namespace or run.metadata.namespace, world)
        except ValueError as error:
            found.append(Obstacle(fault.name, str(error), INSTEAD))
        return tuple(found)


def policy(undo: Undo) -> dict[str, Any]:
    """The NetworkPolicy's spec: egress to everything but the addresses; to those, all ports but `port` if given.

    Policies only ever allow, so "all but" is the sum of what is allowed. In-cluster peers are allowed through ipBlock
    alone: some CNIs match ipBlock against nothing inside the cluster, and then cut off more than is meant.
    """
    addresses = [ipaddress.ip_address(one) for one in undo.addresses]
    blocks = [
        {"ipBlock": {"cidr": cidr, "except": [_cidr(one) for one in addresses if one.version == family]}}
        if any(one.version == family for one in addresses)
        else {"ipBlock": {"cidr": cidr}}
        for family, cidr in _EVERYTHING.items()
    ]
    egress: list[dict[str, Any]] = [{"to": blocks}]
    if undo.port:
        these = [{"ipBlock": {"cidr": _cidr(one)}} for one in addresses]
        ranges = [(1, undo.port - 1), (undo.port + 1, 65535)]
        ports = [
            {"protocol": "TCP", "port": first, "endPort": last} for first, last in ranges if first <= last
        ]
        egress.append({"to": these, "ports": [*ports, {"protocol": "UDP"}, {"protocol": "SCTP"}]})
    return {
        "podSelector": {"matchLabels": dict(undo.selector)},
        "policyTypes": ["Egress"],
        "egress": egress,
    }


def _meant(how: DependencyOutage, namespace: str, world: World) -> tuple[tuple[str, ...], str]:
    """The host's addresses, and `address:port` at which a witness tries it. ValueError when they are unknown."""
    host = hosts.host_of(how.host, namespace, world)
    if (host.service is not None) and key_of(host.service).namespace == "kube-system":
        raise ValueError(f"{host.fqdn} is the cluster's own: no fault cuts it off")
    found = hosts.addresses(host, world)
    if not found:
        raise ValueError(f"the addresses of {host.fqdn} are not known to the API: a NetworkPolicy needs them")
    if len(found) > MAX_ADDRESSES:
        raise ValueError(f"{host.fqdn} has {len(found)} addresses: more than {MAX_ADDRESSES}")
    first = found[0]
    return (
        found,
        f"[{first}]:{hosts.port_of(host, how.port)}"
        if ":" in first
        else f"{first}:{hosts.port_of(host, how.port)}",
    )


def _rivals(labels: Mapping[str, str], namespace: str, world: World) -> str:
    """Why a policy of ours must not stand beside those there are: policies add up, so it would open what they close."""
    for one in world.of(NETWORK_POLICIES, namespace):
        rules = spec(one)
        types = rules.get("policyTypes") or (["Egress"] if rules.get("egress") else [])
        if "Egress" in types and view(rules.get("podSelector") or {}, LabelSelector).matches(labels):
            return (
                f"NetworkPolicy {key_of(one)} limits what these pods may send already: policies add up, so ours would "
                "open what it closes, and could not close what it opens"
            )
    return ""


def _look(receipt: Receipt, world: World, expected: str, name: str) -> tuple[Action, ...]:
    """A witness that waits until the host is (`expected`) blocked or open, unless it was sent already."""
    undo = _undo(receipt)
    pod = pod_of(undo.witness, world)
    if pod is None or injector.added(pod, name):
        return ()
    until = receipts.deadline_of(receipt)
    if expected == "open":
        until = max(until, world.now) + timedelta(seconds=WITNESS_SECONDS)
    args = [
        "reach",
        f"--address={undo.probe}",
        f"--expect={expected}",
        f"--deadline={int(until.timestamp())}",
    ]
    made = injector.container(name, undo.image, args, runAsUser=65534, runAsNonRoot=True)
    return (
        AddEphemeralContainer(
            receipt=receipt.id,
            namespace=undo.witness.namespace,
            name=undo.witness.name,
            uid=undo.witness.uid,
            container=made,
        ),
    )


def _watched(receipt: Receipt, world: World) -> bool:
    """Whether a witness was sent: a pass that was cut off may have done so, and created the policy before."""
    pod = pod_of(_undo(receipt).witness, world)
    return pod is not None and injector.added(pod, receipts.object_name(receipt.id))


def _seen(receipt: Receipt, world: World, name: str) -> str:
    pod = pod_of(_undo(receipt).witness, world)
    said = injector.words(pod, name) if pod is not None else None
    return f"seen from pod {_undo(receipt).witness.name}: {said.message}" if said and said.verified else ""


def _undo(receipt: Receipt) -> Undo:
    return msgspec.convert(receipt.undo, Undo)


def _made(receipt: Receipt, world: World) -> Object | None:
    found = world.get(NETWORK_POLICIES, receipt.victim.namespace, _undo(receipt).name)
    return found if receipts.made_by(receipt, found) else None


def _cidr(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    return f"{address}/{address.max_prefixlen}"
