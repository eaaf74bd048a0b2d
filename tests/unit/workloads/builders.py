"""Objects for the tests of the workload controllers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from rollout.api.meta import timestamp

NOW = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)


def ago(seconds: float) -> str:
    return timestamp(NOW - timedelta(seconds=seconds))


def suffixes(*names: str) -> Any:
    return iter(names or tuple(f"n{i:04d}" for i in range(1000))).__next__


def replica_set(replicas: int = 3, *, name: str = "web", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": name,
            "namespace": "shop",
            "uid": f"uid-{name}",
            "generation": 4,
            "resourceVersion": "7",
        },
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "web", "image": "web:v1"}]},
            },
            **spec,
        },
    }


def owner(name: str = "web", kind: str = "ReplicaSet", api: str = "apps/v1") -> dict[str, Any]:
    return {
        "apiVersion": api,
        "kind": kind,
        "name": name,
        "uid": f"uid-{name}",
        "controller": True,
        "blockOwnerDeletion": True,
    }


def pod(
    name: str,
    *,
    phase: str = "Running",
    ready: bool = True,
    ready_for: float = 60,
    age: float = 120,
    node: str = "sandbox",
    ip: str = "127.9.0.2",
    restarts: int = 0,
    deleting: bool = False,
    owned_by: dict[str, Any] | str | None = "default",
    labels: dict[str, str] | None = None,
    annotations: dict[str, str] | None = None,
    ports: list[dict[str, Any]] | None = None,
) -> dict[str, Any]:
    references = [owner()] if owned_by == "default" else [owned_by] if owned_by else []
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": "shop",
            "uid": f"uid-{name}",
            "resourceVersion": "5",
            "creationTimestamp": ago(age),
            "labels": {"app": "web"} if labels is None else labels,
            "annotations": annotations or {},
            "ownerReferences": references,
            **({"deletionTimestamp": ago(1)} if deleting else {}),
        },
        "spec": {"nodeName": node, "containers": [{"name": "web", "image": "web:v1", "ports": ports or []}]},
        "status": {
            "phase": phase,
            "podIP": ip,
            "conditions": [
                {"type": "Ready", "status": str(ready), "lastTransitionTime": ago(ready_for)},
            ],
            "containerStatuses": [{"name": "web", "restartCount": restarts}],
        },
    }
