"""Objects for the chaos stories."""

from __future__ import annotations

from typing import Any

from rollout.api.chaos import OPT_IN
from rollout.runtime.kube import Object
from tests.stories.world import NAMESPACE

DEPLOYMENT = {"workloadRef": {"kind": "Deployment", "name": "web"}}


def opted_in(name: str = NAMESPACE) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name, "labels": {OPT_IN: "enabled"}},
    }


def deployment(name: str = "web", replicas: int = 4) -> Object:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "web", "image": f"{name}:v1"}]},
            },
        },
    }


def budget(min_available: int, *, app: str = "web") -> Object:
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": app, "namespace": NAMESPACE},
        "spec": {"minAvailable": min_available, "selector": {"matchLabels": {"app": app}}},
    }


def kill(name: str = "kill", **fields: Any) -> Object:
    return {"name": name, "podDelete": fields}


def probe(name: str, mode: str, query: str = "up", **fields: Any) -> Object:
    return {
        "name": name,
        "mode": mode,
        "provider": {"prometheus": {"address": "http://prometheus:9090", "query": query}},
        "successCondition": "result[0] >= 0.95",
        **fields,
    }


def chaos_run(*faults: Object, name: str = "run", **spec: Any) -> Object:
    return {
        "apiVersion": "surefoot.dev/v1alpha1",
        "kind": "ChaosRun",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "target": DEPLOYMENT,
            "duration": "10s",
            "steps": [{"faults": list(faults or (kill(),))}],
            **spec,
        },
    }
