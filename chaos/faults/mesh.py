"""Faults in the proxies of one version: httpLatency, httpAbort, dependencyLatency and dependencyOutage by the mesh.

Each is one EnvoyFilter of our own; nobody's VirtualService is touched, and callers keep their retries and timeouts. It
has a lease: the sandbox's mesh gives it no effect after EXPIRES_AT, on Istio `chaos.reap` deletes it then.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from chaos.faults import envoy_filter, hosts, istio, receipts, whole
from chaos.faults.base import Context, Obstacle, Refusal
from chaos.faults.envoy_filter import Filter
from chaos.faults.leased import Leased, check, delay_of
from chaos.faults.pods import condition, in_sandbox
from chaos.faults.targets import pods_meant
from chaos.observed import World
from rollout.api.chaos import ChaosRun, Fault, Receipt, Victim
from rollout.api.codec import plain, view
from rollout.api.meta import Object
from rollout.api.resources import ENVOY_FILTERS

Fill = Callable[[Fault, Filter, str, World], Filter]
"""(fault, an empty filter, the victims' namespace, world) -> the whole filter. ValueError says what is wrong."""


class MeshFault(Leased):
    """`fill` says what the fault does to a request; `instead` what to use where there is no mesh."""

    resource = ENVOY_FILTERS

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

    def spec(self, receipt: Receipt, *, silent: bool) -> dict[str, Any]:
        undo = _undo(receipt)
        return envoy_filter.spec(msgspec.structs.replace(undo, percent=0) if silent else undo)

    def silent(self, made: Object) -> bool:
        return envoy_filter.silent(made)

    def said(self, receipt: Receipt, world: World) -> str:
        """Why a mesh that says so (the sandbox's) does not use the filter."""
        refused = condition(self._made(receipt, world) or {}, "Reconciled")
        return str(refused.get("message") or "") if refused.get("status") == "False" else ""

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
        check(filled.percent, filled.status)
        if not 0 <= filled.port <= 65535:
            raise ValueError(f"port must be 1..65535, or 0 for all, not {filled.port}")
        return filled


def http_latency(fault: Fault, empty: Filter, namespace: str, world: World) -> Filter:
    how = fault.http_latency
    assert how is not None
    return msgspec.structs.replace(empty, delay=delay_of(how.delay), percent=how.percent, port=how.port)


def http_abort(fault: Fault, empty: Filter, namespace: str, world: World) -> Filter:
    how = fault.http_abort
    assert how is not None
    return msgspec.structs.replace(empty, status=how.status, percent=how.percent, port=how.port)


def dependency_latency(fault: Fault, empty: Filter, namespace: str, world: World) -> Filter:
    how = fault.dependency_latency
    assert how is not None
    meant = _clusters(how.host, how.port, namespace, world)
    return msgspec.structs.replace(empty, delay=delay_of(how.delay), percent=how.percent, clusters=meant)


def dependency_outage(fault: Fault, empty: Filter, namespace: str, world: World) -> Filter:
    how = fault.dependency_outage
    assert how is not None
    meant = _clusters(how.host, how.port, namespace, world)
    return msgspec.structs.replace(empty, status=how.status, clusters=meant)


def _clusters(text: str, port: int, namespace: str, world: World) -> tuple[str, ...]:
    host = hosts.host_of(text, namespace, world)
    return hosts.clusters(host, hosts.port_of(host, port), world)


def _undo(receipt: Receipt) -> Filter:
    return view(receipt.undo, Filter)
