"""Objects for the stories: a Rollout and what it refers to, with the fields that a story is about."""

from __future__ import annotations

from typing import Any

from rollout.runtime.kube import Object
from tests.stories.world import NAMESPACE

ISTIO_SUBSETS: Object = {
    "istio": {
        "virtualService": {"name": "web-vs", "routes": ["primary"]},
        "destinationRule": {"name": "web-dr", "canarySubsetName": "canary", "stableSubsetName": "stable"},
    }
}
ISTIO_HOSTS: Object = {"istio": {"virtualService": {"name": "web-vs", "routes": ["primary"]}}}

HTTP_ROUTE: Object = {"gatewayAPI": {"httpRoute": "web"}}


def rollout(
    strategy: Object, *, name: str = "web", replicas: int = 5, image: str = "web:v1", **spec: Any
) -> Object:
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Rollout",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "web", "image": image}]},
            },
            "strategy": strategy,
            **spec,
        },
    }


def canary(*steps: Object, **fields: Any) -> Object:
    return {"canary": {"steps": list(steps), **fields}}


def service(name: str, *, app: str = "web") -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"selector": {"app": app}, "ports": [{"port": 80, "targetPort": 8080}]},
    }


def virtual_service(*, subsets: bool) -> Object:
    def destination(kind: str) -> Object:
        return {"host": "web", "subset": kind} if subsets else {"host": f"web-{kind}"}

    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": "web-vs", "namespace": NAMESPACE},
        "spec": {
            "hosts": ["web"],
            "http": [
                {
                    "name": "primary",
                    "route": [
                        {"destination": destination("stable"), "weight": 100},
                        {"destination": destination("canary"), "weight": 0},
                    ],
                }
            ],
        },
    }


def destination_rule() -> Object:
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "DestinationRule",
        "metadata": {"name": "web-dr", "namespace": NAMESPACE},
        "spec": {
            "host": "web",
            "subsets": [
                {"name": "stable", "labels": {"app": "web"}},
                {"name": "canary", "labels": {"app": "web"}},
            ],
        },
    }


def http_route() -> Object:
    """A route of two rules: one that is split, and one that only stable answers."""
    admin = {
        "matches": [{"path": {"type": "PathPrefix", "value": "/admin"}}],
        "backendRefs": [{"name": "web-stable", "port": 80}],
    }
    split = {
        "timeouts": {"request": "5s"},
        "backendRefs": [
            {"name": "web-stable", "port": 80, "weight": 100},
            {"name": "web-canary", "port": 80, "weight": 0},
        ],
    }
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "web", "namespace": NAMESPACE},
        "spec": {"parentRefs": [{"name": "door"}], "hostnames": ["web.example"], "rules": [admin, split]},
    }


def template(name: str = "success-rate", **metric: Any) -> Object:
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "AnalysisTemplate",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "args": [{"name": "service-name"}],
            "metrics": [
                {
                    "name": name,
                    "successCondition": "result[0] >= 0.95",
                    "provider": {
                        "prometheus": {
                            "address": "http://prometheus.monitoring:9090",
                            "query": 'ratio{service="{{args.service-name}}"}',
                        }
                    },
                    **metric,
                }
            ],
        },
    }


def analysis(name: str = "success-rate", **more: Any) -> Object:
    return {
        "templates": [{"templateName": name}],
        "args": [{"name": "service-name", "value": "web"}],
        **more,
    }


def mesh() -> list[Object]:
    """Everything that a canary by subsets refers to."""
    return [service("web"), virtual_service(subsets=True), destination_rule(), template()]


def hosts() -> list[Object]:
    """Everything that a canary by hosts refers to."""
    return [service("web-stable"), service("web-canary"), virtual_service(subsets=False), template()]


def gateway() -> list[Object]:
    """Everything that a canary by an HTTPRoute refers to."""
    return [service("web-stable"), service("web-canary"), http_route(), template()]
