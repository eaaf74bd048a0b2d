"""Envoy Gateway without processes: it accepts BackendTrafficPolicies, and one Envoy counts what they inject.

It knows of no lease: a policy strikes `RATE` requests every half second until it is silenced or deleted, and `LAG`
seconds more. Its memory is its own: it outlives our processes.
"""

from __future__ import annotations

import asyncio
from typing import Any

from chaos.controller.evidence import GATEWAY_PORT, Gatherer
from chaos.faults.http_route import OWNER
from chaos.faults.traffic_policy import silent
from rollout.api.meta import Key, key_of, metadata, timestamp
from rollout.api.resources import BACKEND_TRAFFIC_POLICIES, CRDS, NAMESPACES, Resource
from rollout.errors import NotFound, ProviderError
from rollout.runtime.clock import LoopClock
from rollout.runtime.http import Request, Response
from rollout.runtime.kube import Kube, Object
from tests.stories.gateway import CONTROLLER
from tests.stories.world import NAMESPACE, World

RATE = 5
SECONDS = 0.5
LAG = 0.3
HOME, NAME = "gateways", "public"


class EnvoyGateway:
    """One for each play. `deaf`: its controller is down, and Envoy goes on as it was told last."""

    def __init__(self) -> None:
        self.deaf = False
        self.delayed = 1000
        self._world: World
        self._tasks: list[asyncio.Task[None]] = []
        self._taken: dict[Key, Object] = {}

    def start(self, world: World) -> None:
        """Be there, with the HTTPRoute `web` and caps that let all pods behind it be struck."""
        self._world = world
        world.storage.create(CRDS, None, definition())
        world.storage.create(NAMESPACES, None, {"metadata": {"name": HOME}})
        world.storage.on_write(self._written)
        world.apply(envoy(), service(), route(), caps())
        self._tasks.append(asyncio.create_task(self._run(), name="envoy"))

    def stop_traffic(self) -> None:
        """Nobody asks any more."""
        self._tasks.pop().cancel()

    def gatherer(self, kube: Kube, clock: LoopClock) -> Gatherer:
        """Of one process of ours: what it remembers dies with it."""
        return Gatherer(self._fetch, kube, clock)

    async def _fetch(self, request: Request, *, deadline: float, max_bytes: int) -> Response:
        if f":{GATEWAY_PORT}/" not in request.url:
            raise ProviderError(f"{request}: nobody is there")
        prefix = '{envoy_http_conn_manager_prefix="http-10080"}'
        text = f"envoy_http_fault_delays_injected{prefix} {self.delayed}\n"
        return Response(status=200, headers={}, body=text.encode(), elapsed_seconds=0.0)

    def _written(self, _kind: str, resource: Resource, old: Object | None, new: Object | None) -> None:
        if resource == BACKEND_TRAFFIC_POLICIES:
            asyncio.get_running_loop().call_later(LAG, self._look, key_of(new or old or {}))

    def _look(self, key: Key) -> None:
        """What is there now is what Envoy does; and it is said in the policy's status."""
        if self.deaf:
            return
        try:
            policy = self._world.storage.get(BACKEND_TRAFFIC_POLICIES, key.namespace, key.name)
        except NotFound:
            self._taken.pop(key, None)
            return
        self._taken[key] = policy
        status = {"ancestors": [ancestor(policy, timestamp(self._world.clock.now()))]}
        told = ((policy.get("status") or {}).get("ancestors") or [{}])[0].get("conditions") or [{}]
        if told[0].get("observedGeneration") != metadata(policy)["generation"]:
            self._world.storage.patch(
                BACKEND_TRAFFIC_POLICIES, key.namespace, key.name, {"status": status}, subresource="status"
            )

    async def _run(self) -> None:
        while True:
            self.delayed += RATE * sum(not silent(one) for one in self._taken.values())
            await self._world.clock.sleep(SECONDS)


def ancestor(policy: Object, now: str) -> Object:
    accepted = {
        "type": "Accepted",
        "status": "True",
        "reason": "Accepted",
        "message": "",
        "observedGeneration": metadata(policy)["generation"],
        "lastTransitionTime": now,
    }
    gateway = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": NAME, "namespace": HOME}
    return {"ancestorRef": gateway, "controllerName": CONTROLLER, "conditions": [accepted]}


def definition() -> Object:
    """The kind, without its schema."""
    free = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version: dict[str, Any] = {
        "name": BACKEND_TRAFFIC_POLICIES.version,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": free, "status": free}}},
        "subresources": {"status": {}},
    }
    group, plural = BACKEND_TRAFFIC_POLICIES.group, BACKEND_TRAFFIC_POLICIES.plural
    names = {"plural": plural, "kind": BACKEND_TRAFFIC_POLICIES.kind, "singular": "backendtrafficpolicy"}
    return {
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {"group": group, "names": names, "scope": "Namespaced", "versions": [version]},
    }


def envoy() -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "envoy",
            "namespace": HOME,
            "labels": {OWNER + "name": NAME, OWNER + "namespace": HOME},
        },
        "spec": {"containers": [{"name": "envoy", "image": "envoy:v1"}]},
    }


def service() -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "namespace": NAMESPACE},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]},
    }


def route(*more: Object) -> Object:
    """To the Service `web`, in a rule named `all`."""
    parent = {"name": NAME, "namespace": HOME}
    rule = {"name": "all", "backendRefs": [{"name": "web", "port": 80}, *more]}
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "web", "namespace": NAMESPACE},
        "spec": {"parentRefs": [parent], "rules": [rule]},
    }


def caps() -> Object:
    return {
        "apiVersion": "surefoot.dev/v1alpha1",
        "kind": "ChaosSwitch",
        "metadata": {"name": "default"},
        "spec": {"caps": {"percentPerNamespace": 100}},
    }
