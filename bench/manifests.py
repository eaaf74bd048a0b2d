"""The objects that the benchmarks work on."""

from __future__ import annotations

from typing import Any

Object = dict[str, Any]

NAMESPACE = "default"
ROUTE = "primary"


def rollout(name: str, strategy: Object, *, replicas: int, image: str) -> Object:
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Rollout",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [container(image)]},
            },
            "strategy": {"canary": strategy},
        },
    }


def container(image: str) -> Object:
    return {"name": "web", "image": image, "ports": [{"containerPort": 8080}]}


def by_subsets(name: str, steps: list[Object]) -> Object:
    """A canary strategy whose traffic Istio moves between the subsets of a DestinationRule."""
    rule = {"name": name, "canarySubsetName": "canary", "stableSubsetName": "stable"}
    istio = {"virtualService": {"name": name, "routes": [ROUTE]}, "destinationRule": rule}
    return {"steps": steps, "trafficRouting": {"istio": istio}, "scaleDownDelaySeconds": 600}


def service(name: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"selector": {"app": name}, "ports": [{"port": 80, "targetPort": 8080}]},
    }


def virtual_service(name: str) -> Object:
    shares = (("stable", 100), ("canary", 0))
    route = [{"destination": {"host": name, "subset": kind}, "weight": weight} for kind, weight in shares]
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"hosts": [name], "http": [{"name": ROUTE, "route": route}]},
    }


def destination_rule(name: str) -> Object:
    subsets = [{"name": kind, "labels": {"app": name}} for kind in ("stable", "canary")]
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "DestinationRule",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"host": name, "subsets": subsets},
    }
