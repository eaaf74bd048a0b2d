"""The objects of one canary on the real control plane: as in the fleet, and an analysis of three samples."""

from __future__ import annotations

from typing import Any

from bench import manifests
from rollout.api.resources import DESTINATION_RULES, ROLLOUTS, SERVICES, VIRTUAL_SERVICES, Resource

Object = dict[str, Any]

REPLICAS = 3
OLD, NEW = "web:v1", "web:v2"
ENOUGH = "enough"
FOREVER = 1000
"""Samples of an analysis that shall last until it fails."""
NODE = "bench"
"""The node that pods name themselves: no scheduler is needed. It is an object without a machine."""


def node() -> Object:
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}}


def template(address: str) -> Object:
    """The AnalysisTemplate that all share: a query a second to the Prometheus at `address`, `count` times."""
    metric = {
        "name": "success-rate",
        "interval": "1s",
        "count": "{{args.count}}",
        "successCondition": "result[0] >= 0.95",
        "provider": {
            "prometheus": {
                "address": address,
                "query": (
                    'sum(rate(istio_requests_total{app="{{args.app}}",code!~"5.."}[1m])) / '
                    'sum(rate(istio_requests_total{app="{{args.app}}"}[1m]))'
                ),
            }
        },
    }
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "AnalysisTemplate",
        "metadata": {"name": ENOUGH, "namespace": manifests.NAMESPACE},
        "spec": {"args": [{"name": "app"}, {"name": "count"}], "metrics": [metric]},
    }


def canary(name: str, *, samples: int = 3) -> list[tuple[Resource, Object]]:
    """One application: Service, VirtualService, DestinationRule, Rollout."""
    arguments = [{"name": "app", "value": name}, {"name": "count", "value": str(samples)}]
    gate = {"templates": [{"templateName": ENOUGH}], "args": arguments}
    steps: list[Object] = [
        {"setWeight": 20},
        {"pause": {"duration": "2s"}},
        {"setWeight": 50},
        {"analysis": gate},
    ]
    rollout = manifests.rollout(name, manifests.by_subsets(name, steps), replicas=REPLICAS, image=OLD)
    rollout["spec"]["template"]["spec"]["nodeName"] = NODE
    return [
        (SERVICES, manifests.service(name)),
        (VIRTUAL_SERVICES, manifests.virtual_service(name)),
        (DESTINATION_RULES, manifests.destination_rule(name)),
        (ROLLOUTS, rollout),
    ]


def update() -> Object:
    """The patch of a Rollout that begins a release."""
    return {"spec": {"template": {"spec": {"containers": [manifests.container(NEW)]}}}}
