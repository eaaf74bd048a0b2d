"""Small objects for the conformance cases."""

from __future__ import annotations

from typing import Any

Object = dict[str, Any]


def config_map(name: str = "settings", **data: str) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data or {"a": "1"}}


def pod_spec(image: str = "web:1") -> Object:
    return {"containers": [{"name": "web", "image": image, "ports": [{"containerPort": 80}]}]}


def pod(name: str = "web", **labels: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": labels or {"app": "web"}},
        "spec": pod_spec(),
    }


def deployment(name: str = "web", *, replicas: int = 2, image: str = "web:1") -> Object:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": pod_spec(image)},
        },
    }


def crd(group: str) -> Object:
    """A namespaced custom resource Release with defaults, limits, a status and a scale subresource."""
    spec: Object = {
        "type": "object",
        "required": ["version"],
        "properties": {
            "version": {"type": "string", "pattern": "^v[0-9]+$"},
            "replicas": {"type": "integer", "minimum": 0, "default": 1},
            "tier": {"type": "string", "enum": ["gold", "silver"], "default": "silver"},
        },
    }
    status: Object = {
        "type": "object",
        "properties": {"phase": {"type": "string"}, "replicas": {"type": "integer"}},
    }
    schema = {
        "type": "object",
        "required": ["spec"],
        "description": "A release of something.",
        "properties": {"spec": spec, "status": status},
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"releases.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"plural": "releases", "singular": "release", "kind": "Release", "shortNames": ["rel"]},
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": schema},
                    "subresources": {
                        "status": {},
                        "scale": {
                            "specReplicasPath": ".spec.replicas",
                            "statusReplicasPath": ".status.replicas",
                        },
                    },
                    "additionalPrinterColumns": [
                        {"name": "Version", "type": "string", "jsonPath": ".spec.version"},
                        {"name": "Phase", "type": "string", "jsonPath": ".status.phase"},
                    ],
                }
            ],
        },
    }


def release(group: str, name: str = "first", **spec: Any) -> Object:
    return {
        "apiVersion": f"{group}/v1",
        "kind": "Release",
        "metadata": {"name": name},
        "spec": spec or {"version": "v1"},
    }
