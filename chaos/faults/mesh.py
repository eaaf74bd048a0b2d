"""Faults in the proxies of one version: httpLatency, httpAbort, dependencyLatency and dependencyOutage by the mesh.

Each is one EnvoyFilter of our own; nobody's VirtualService is touched, and callers keep their retries and timeouts. It
has a lease: the sandbox's mesh gives it no effect after EXPIRES_AT, on Istio `chaos.reap` deletes it then.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import msgspec

from chaos.actions import Action, Create, Delete, Patch
from chaos.faults import envoy_filter, hosts, istio, receipts, whole
from chaos.faults.base import Context, Obstacle, Plain, Refusal
from chaos.faults.envoy_filter import Filter
from chaos.faults.pods import condition, in_sandbox
from chaos.faults.targets import pods_meant
from chaos.observed import Evidence, World
from rollout.api.chaos import EXPIRES_AT, SILENCED_AT, ChaosRun, Fault, Receipt, Victim
from rollout.api.codec import plain, view
from rollout.api.meta import Object, duration, metadata, timestamp
from rollout.api.resources import ENVOY_FILTERS

PATIENCE = timedelta(seconds=10)
"""How long the proxies may take to say that a silenced fault has ended, after which its lease alone is believed."""

Fill = Callable[[Fault, Filter, str, World], Filter]
"""(fault, an empty filter, the victims' namespace, world) -> the whole filter. ValueError says what is wrong."""


class MeshFault(Plain):
    """`fill` says what the fault does to a request; `instead` what to use where there is no mesh."""

    def __init__(self, fill: Fill, *, outbound: bool, instead: str) -> None:
        self._fill = fill
        self._outbound = outbound
        self._instead = instead

    def victims(self, context: Context, pods: Sequence[Victim], world: World) -> Sequence[Victim]:
        return whole.versions(pods, world)

    def receipt(self, context: Context, victim: Victim, world: World) -> Receipt | Refusal:
        version = whole.version_for(victim, world)
        if isinstance(version, Refusal):
            return version
        id = receipts.receipt_id(context, victim)
        try:
            filled = self._filter(context.fault, id, version.owner, world)
        except ValueError as error:
            return Refusal(str(error))
        return receipts.receipt(context, version.owner, plain(filled))

    def inject(self, receipt: Receipt, context: Context, world: World) -> tuple[Action, ...]:
        if _made(receipt, world) is not None or world.now >= receipts.deadline_of(receipt):
            return ()
        made = {
            "apiVersion": ENVOY_FILTERS.api_version,
            "kind": ENVOY_FILTERS.kind,
            "metadata": receipts.made_for(receipt, context, world.now),
            "spec": envoy_filter.spec(_undo(receipt)),
        }
        return (Create(receipt=receipt.id, resource=ENVOY_FILTERS, object=made),)

    def renew(self, receipt: Receipt, world: World) -> tuple[Action, ...]:
        made = _made(receipt, world)
        if made is None or envoy_filter.silent(made):
            return ()
        until = receipts.lease_due(receipt, made, world.now)
        return () if until is None else (_patch(receipt, {"metadata": {"annotations": {EXPIRES_AT: until}}}),)

    def proof(self, receipt: Receipt, world: World) -> str:
        seen, fault = world.evidence.get(receipt.id), _undo(receipt)
        if seen is None or (seen.partial and receipt.proof):
            return receipt.proof
        count, did = (
            (seen.delayed, "delayed") if fault.delay else (seen.aborted, f"answered {fault.status} to")
        )
        return f"Envoy {did} {count} requests of {_whose(receipt)}" if count else receipt.proof

    def revert(self, receipt: Receipt, world: World) -> tuple[Action, ...]:
        """Silence it, and delete it once `gone` is on record: what is deleted can no more be asked about."""
        made = _made(receipt, world)
        if made is None:
            return ()
        ended = _inactive(receipt, world)
        if not envoy_filter.silent(made) and not (ended and _expired(made, world.now)):
            nothing = msgspec.structs.replace(_undo(receipt), percent=0)
            said = {SILENCED_AT: timestamp(world.now)}
            return (_patch(receipt, {"spec": envoy_filter.spec(nothing), "metadata": {"annotations": said}}),)
        if (ended and receipt.gone) or _unheard(made, world.now):
            uid = metadata(made).get("uid") or ""
            name, namespace = _undo(receipt).name, receipt.victim.namespace
            return (
                Delete(receipt=receipt.id, resource=ENVOY_FILTERS, namespace=namespace, name=name, uid=uid),
            )
        return ()

    def begun(self, receipt: Receipt, world: World) -> bool:
        return _made(receipt, world) is not None

    def ended(self, receipt: Receipt, world: World) -> str:
        made, seen = _made(receipt, world), world.evidence.get(receipt.id)
        if made is None or seen is None or seen.active is not False:
            return ""
        over = envoy_filter.silent(made) or _expired(made, world.now)
        return _without_effect(receipt, seen) if over else ""

    def gone(self, receipt: Receipt, world: World) -> str:
        if not world.serves(ENVOY_FILTERS) or _made(receipt, world) is not None:
            return ""
        name, seen = f"EnvoyFilter {_undo(receipt).name}", world.evidence.get(receipt.id) or Evidence()
        if receipt.gone or seen.active is False:
            return f"{receipt.gone or _without_effect(receipt, seen)}; it is deleted"
        over = seen.expired or world.now >= receipts.deadline_of(receipt) + PATIENCE
        if seen.active is None and over:
            return f"{name} is deleted and its lease is over; the proxies could not be asked whether it has ended"
        return ""

    def said(self, receipt: Receipt, world: World) -> str:
        """Why a mesh that says so (the sandbox's) does not use the filter."""
        refused = condition(_made(receipt, world) or {}, "Reconciled")
        return str(refused.get("message") or "") if refused.get("status") == "False" else ""

    def advice(self, receipt: Receipt) -> str:
        name, where = _undo(receipt).name, f"-n {receipt.victim.namespace}"
        return f"see that EnvoyFilter {name} is away: kubectl delete envoyfilter {name} {where}"

    def obstacles(self, fault: Fault, run: ChaosRun, world: World) -> tuple[Obstacle, ...]:
        if not world.serves(ENVOY_FILTERS):
            reason = "this cluster serves no EnvoyFilter (networking.istio.io/v1alpha3): there is no mesh to act in"
            return (Obstacle(fault.name, reason, self._instead),)
        pods = pods_meant(fault, run, world)
        found = whole.obstacles(fault, run, world, pods)
        if not in_sandbox(world):
            found += istio.obstacles(fault, world, pods, outbound=self._outbound, instead=self._instead)
        namespace = receipts.target_of(fault, run).namespace or run.metadata.namespace
        try:
            self._filter(fault, "preflight", Victim(namespace=namespace), world)
        except ValueError as error:
            found.append(Obstacle(fault.name, str(error), "another value"))
        return tuple(found)

    def _filter(self, fault: Fault, id: str, owner: Victim, world: World) -> Filter:
        empty = Filter(
            name=receipts.object_name(id),
            id=id,
            selector=dict(owner.labels or {}),
            direction="SIDECAR_OUTBOUND" if self._outbound else "SIDECAR_INBOUND",
            percent=100,
        )
        filled = self._fill(fault, empty, owner.namespace, world)
        if not 1 <= filled.percent <= 100:
            raise ValueError(f"percent must be 1..100 of the requests, not {filled.percent}")
        if not 0 <= filled.port <= 65535:
            raise ValueError(f"port must be 1..65535, or 0 for all, not {filled.port}")
        if filled.status and not 200 <= filled.status < 600:
            raise ValueError(f"status must be 200..599, not {filled.status}")
        return filled


def http_latency(fault: Fault, empty: Filter, namespace: str, world: World) -> Filter:
    how = fault.http_latency
    assert how is not None
    return msgspec.structs.replace(empty, delay=_delay(how.delay), percent=how.percent, port=how.port)


def http_abort(fault: Fault, empty: Filter, namespace: str, world: World) -> Filter:
    how = fault.http_abort
    assert how is not None
    return msgspec.structs.replace(empty, status=how.status, percent=how.percent, port=how.port)


def dependency_latency(fault: Fault, empty: Filter, namespace: str, world: World) -> Filter:
    how = fault.dependency_latency
    assert how is not None
    meant = _clusters(how.host, how.port, namespace, world)
    return msgspec.structs.replace(empty, delay=_delay(how.delay), percent=how.percent, clusters=meant)


def dependency_outage(fault: Fault, empty: Filter, namespace: str, world: World) -> Filter:
    how = fault.dependency_outage
    assert how is not None
    meant = _clusters(how.host, how.port, namespace, world)
    return msgspec.structs.replace(empty, status=how.status, clusters=meant)


def _clusters(text: str, port: int, namespace: str, world: World) -> tuple[str, ...]:
    host = hosts.host_of(text, namespace, world)
    return hosts.clusters(host, hosts.port_of(host, port), world)


def _delay(text: str) -> float:
    seconds = duration(text)
    if not 0.001 <= seconds <= 3600:
        raise ValueError(f"delay must be between 1ms and 1h, not {text!r}")
    return seconds


def _undo(receipt: Receipt) -> Filter:
    return view(receipt.undo, Filter)


def _made(receipt: Receipt, world: World) -> Object | None:
    """The receipt's own EnvoyFilter, while it is there."""
    found = world.get(ENVOY_FILTERS, receipt.victim.namespace, _undo(receipt).name)
    return found if receipts.made_by(receipt, found) else None


def _patch(receipt: Receipt, patch: dict[str, object]) -> Patch:
    return Patch(
        receipt=receipt.id,
        resource=ENVOY_FILTERS,
        namespace=receipt.victim.namespace,
        name=_undo(receipt).name,
        patch=patch,
    )


def _inactive(receipt: Receipt, world: World) -> bool:
    seen = world.evidence.get(receipt.id)
    return seen is not None and seen.active is False


def _expired(made: Object, now: datetime) -> bool:
    ends = receipts.expires_at(made)
    return ends is not None and now >= ends


def _unheard(made: Object, now: datetime) -> bool:
    """Whether it is silent, its lease is over, and nobody has told of its end for PATIENCE."""
    over = receipts.over_since(made)
    return envoy_filter.silent(made) and over is not None and now >= over + PATIENCE


def _without_effect(receipt: Receipt, seen: Evidence) -> str:
    return f"EnvoyFilter {_undo(receipt).name} has no effect any more: {seen.how}"


def _whose(receipt: Receipt) -> str:
    return f"{receipt.victim.kind} {receipt.victim.name}"
