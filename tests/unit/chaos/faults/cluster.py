"""A cluster as plain objects: a Rollout `web` with two versions, and whatever a test adds."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from chaos.faults.base import Context, Kind, Refusal
from chaos.faults.kinds import KINDS
from chaos.faults.receipts import kind_of
from chaos.observed import Evidence, World
from rollout.api.chaos import ChaosRun, Fault, Receipt, Victim
from rollout.api.codec import view
from rollout.api.meta import key_of
from rollout.api.resources import (
    BACKEND_TRAFFIC_POLICIES,
    CONFIG_MAPS,
    DEPLOYMENTS,
    DESTINATION_RULES,
    ENDPOINT_SLICES,
    ENVOY_FILTERS,
    HPAS,
    HTTP_ROUTES,
    NAMESPACES,
    NETWORK_POLICIES,
    NODES,
    PDBS,
    PODS,
    REPLICA_SETS,
    ROLLOUTS,
    SERVICES,
    STATEFUL_SETS,
    VIRTUAL_SERVICES,
    Resource,
)

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
SERVED = (
    BACKEND_TRAFFIC_POLICIES,
    CONFIG_MAPS,
    DEPLOYMENTS,
    DESTINATION_RULES,
    ENDPOINT_SLICES,
    ENVOY_FILTERS,
    HPAS,
    HTTP_ROUTES,
    NAMESPACES,
    NETWORK_POLICIES,
    NODES,
    PDBS,
    PODS,
    REPLICA_SETS,
    ROLLOUTS,
    SERVICES,
    STATEFUL_SETS,
    VIRTUAL_SERVICES,
)
BY_KIND = {resource.kind: resource for resource in SERVED}
HASH = "rollouts-pod-template-hash"
Plain = dict[str, Any]


def obj(kind: str, name: str, *, namespace: str = "shop", uid: str = "", **fields: Any) -> Plain:
    meta = {"name": name, "uid": uid or f"uid-{name}", **fields.pop("metadata", {})}
    if kind not in {"Node", "Namespace"}:
        meta["namespace"] = namespace
    return {"apiVersion": BY_KIND[kind].api_version, "kind": kind, "metadata": meta, **fields}


def owned(by: Plain) -> list[Plain]:
    meta = by["metadata"]
    return [{"kind": by["kind"], "name": meta["name"], "uid": meta["uid"], "controller": True}]


def rollout(replicas: int = 4, ready: int = 4) -> Plain:
    return obj(
        "Rollout",
        "web",
        spec={"replicas": replicas, "strategy": {"canary": {}}},
        status={"stableRS": "v1", "currentPodHash": "v2", "readyReplicas": ready},
    )


def replica_set(version: str, owner: Plain | None = None) -> Plain:
    return obj(
        "ReplicaSet",
        f"web-{version}",
        metadata={"ownerReferences": owned(owner)} if owner else {},
        spec={"replicas": 2, "selector": {"matchLabels": {"app": "web", HASH: version}}},
    )


def pod(name: str, version: str = "v1", *, owner: Plain | None = None, **fields: Any) -> Plain:
    meta = {
        "labels": {"app": "web", HASH: version},
        "ownerReferences": owned(owner or replica_set(version)),
        **fields.pop("metadata", {}),
    }
    spec = {"containers": [{"name": "web"}], **fields.pop("spec", {})}
    status = {
        "phase": "Running",
        "podIP": f"10.0.0.{len(name)}",
        "hostIP": "192.168.0.7",
        "conditions": [{"type": "Ready", "status": "True"}],
        "containerStatuses": [
            {
                "name": "web",
                "restartCount": 2,
                "containerID": "c://1",
                "state": {"running": {}},
                "ready": True,
            }
        ],
        **fields.pop("status", {}),
    }
    return obj("Pod", name, metadata=meta, spec=spec, status=status, **fields)


def shop(*more: Plain, canary: int = 2, stable: int = 2) -> list[Plain]:
    """The Rollout with its two ReplicaSets and their pods: web-v1-0.. (stable) and web-v2-0.. (canary)."""
    top = rollout()
    sets = {version: replica_set(version, top) for version in ("v1", "v2")}
    pods = [pod(f"web-v1-{at}", "v1") for at in range(stable)] + [
        pod(f"web-v2-{at}", "v2") for at in range(canary)
    ]
    return [top, *sets.values(), *pods, *more]


def sandbox_node() -> Plain:
    return obj("Node", "sandbox", status={"nodeInfo": {"kubeletVersion": "v1.32.0+surefoot-sandbox"}})


def world(
    objects: Iterable[Plain],
    *,
    after: float = 0,
    without: Iterable[Resource] = (),
    evidence: dict[str, Evidence] | None = None,
) -> World:
    found: dict[Resource, dict[Any, Plain]] = {one: {} for one in SERVED if one not in set(without)}
    for one in objects:
        found[BY_KIND[one["kind"]]][key_of(one)] = one
    return World(now=NOW + timedelta(seconds=after), objects=found, evidence=evidence or {})


def run_of(fault: Plain, *, namespace: str = "shop", **spec: Any) -> ChaosRun:
    target = {"workloadRef": {"kind": "Rollout", "name": "web", "role": "canary"}, "percent": 100}
    body = {"target": target, "steps": [{"faults": [{"name": "it", **fault}]}], **spec}
    return view(
        {"metadata": {"name": "run", "namespace": namespace, "uid": "uid-run"}, "spec": body}, ChaosRun
    )


class Case:
    """One fault of one run, and its kind."""

    def __init__(self, fault: Plain, *, seconds: float = 60, **spec: Any) -> None:
        self.run = run_of(fault, **spec)
        self.fault: Fault = self.run.spec.steps[0].faults[0]
        self.kind: Kind = KINDS[kind_of(self.fault)]
        self.context = Context(
            run=self.run,
            fault=self.fault,
            step=0,
            round=0,
            begin_at=NOW,
            deadline=NOW + timedelta(seconds=seconds),
            seed=1,
        )

    def victims(self, seen: World, *names: str) -> list[Victim]:
        chosen = [one for one in seen.of(PODS) if key_of(one).name in names or not names]
        pods = [
            Victim(
                namespace="shop",
                name=key_of(one).name,
                uid=one["metadata"]["uid"],
                labels=one["metadata"]["labels"],
            )
            for one in chosen
        ]
        return list(self.kind.victims(self.context, pods, seen))

    def receipt(self, seen: World, *names: str) -> Receipt:
        made = self.made(seen, *names)
        assert isinstance(made, Receipt), made
        return msgspec.structs.replace(made, state="Injected")

    def refused(self, seen: World, *names: str) -> str:
        made = self.made(seen, *names)
        assert isinstance(made, Refusal), made
        return made.reason

    def made(self, seen: World, *names: str) -> Receipt | Refusal:
        (victim,) = self.victims(seen, *names)
        return self.kind.receipt(self.context, victim, seen)

    def obstacles(self, seen: World) -> list[str]:
        found = self.kind.obstacles(self.fault, self.run, seen)
        assert all(one.fault == "it" and one.reason for one in found)
        return [one.reason for one in found]


def ephemeral(name: str, *, state: Plain | None = None, words: Plain | None = None, code: int = 0) -> Plain:
    """The spec and status fields of a pod with one ephemeral container."""
    if words is not None:
        state = {"terminated": {"exitCode": code, "message": msgspec.json.encode(words).decode()}}
    return {
        "spec": {"containers": [{"name": "web"}], "ephemeralContainers": [{"name": name}]},
        "status": {"ephemeralContainerStatuses": [{"name": name, "state": state or {"running": {}}}]},
    }
