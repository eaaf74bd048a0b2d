"""A Gateway's controller for the stories: some time after an HTTPRoute was written it says that the route is served."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from rollout.api.meta import Key, key_of, metadata, timestamp
from rollout.api.resources import HTTP_ROUTES, ROLLOUTS, Resource
from rollout.runtime.clock import Clock
from rollout.runtime.kube import Object
from rollout.sandbox.storage import Storage
from tests.stories.rules import Rules

CONTROLLER = "gateway.envoyproxy.io/gatewayclass-controller"
"""Envoy Gateway's name, unless somebody gives it another one."""


class GatewayModel:
    """`seconds` pass between a write and the word on it. While `silent` it says nothing, as if its process were down.

    `refuses` are conditions (type -> reason) that it says are False. `served` is what the data plane works by: the
    spec of the generation of each route that was last said to be served. The `rules` hear of I4 as requests see it:
    a Rollout that says its weight is verified while the data plane works by another one.
    """

    def __init__(self, storage: Storage, clock: Clock, rules: Rules) -> None:
        self.seconds = 0.3
        self.silent = False
        self.refuses: dict[str, str] = {}
        self.served: dict[Key, Mapping[str, Any]] = {}
        self._storage, self._clock, self._rules = storage, clock, rules
        self._past: list[tuple[float, frozenset[tuple[str, int]]]] = []  # until when it was served, and what
        storage.on_write(self._written)

    def look(self) -> None:
        """Say of every route what is to be said now, as after a restart."""
        for route in self._storage.list(HTTP_ROUTES).items:
            self._tell(key_of(route))

    def _written(self, _kind: str, resource: Resource, old: Object | None, new: Object | None) -> None:
        if resource == ROLLOUTS and new is not None:
            self._verified(_told(old or {}), _told(new))
        if resource != HTTP_ROUTES:
            return
        key = key_of(new or old or {})
        if new is None:
            self._past.append((self._clock.monotonic(), self._weights()))
            self.served.pop(key, None)
        elif old is None or metadata(old).get("generation") != metadata(new).get("generation"):
            asyncio.get_running_loop().call_later(self.seconds, self._tell, key)

    def _verified(self, before: Mapping[str, Any], told: Mapping[str, Any]) -> None:
        ours = told.get("canary") or {}
        if told == before or not told.get("verified") or not self._past or not ours.get("serviceName"):
            return
        since = self._clock.monotonic() - self._rules.lag
        known = [weights for until, weights in self._past if until >= since] + [self._weights()]
        if not any((ours["serviceName"], ours.get("weight", 0)) in weights for weights in known):
            self._rules.broken.append(
                f"I4: weight {ours.get('weight', 0)} is verified, and {known[-1]} is served"
            )

    def _weights(self) -> frozenset[tuple[str, int]]:
        """(Service, weight) of every backend that the data plane works by now."""
        rules = [rule for spec in self.served.values() for rule in spec["rules"]]
        return frozenset((one["name"], one["weight"]) for rule in rules for one in rule["backendRefs"])

    def _tell(self, key: Key) -> None:
        if self.silent or not self._storage.exists(HTTP_ROUTES, key.namespace, key.name):
            return
        route = self._storage.get(HTTP_ROUTES, key.namespace, key.name)
        conditions = [
            {
                "type": kind,
                "status": "False" if kind in self.refuses else "True",
                "reason": self.refuses.get(kind, kind),
                "message": "",
                "observedGeneration": metadata(route)["generation"],
                "lastTransitionTime": timestamp(self._clock.now()),
            }
            for kind in ("Accepted", "ResolvedRefs")
        ]
        parents = [
            {"parentRef": dict(one), "controllerName": CONTROLLER, "conditions": conditions}
            for one in route["spec"].get("parentRefs") or ()
        ]
        if not self.refuses:
            self._past.append((self._clock.monotonic(), self._weights()))
            self.served[key] = route["spec"]
        status = {"status": {"parents": parents}}
        self._storage.patch(HTTP_ROUTES, key.namespace, key.name, status, subresource="status")


def _told(rollout: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a Rollout says of its weights."""
    return ((rollout.get("status") or {}).get("canary") or {}).get("weights") or {}
