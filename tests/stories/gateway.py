"""A Gateway's controller for the stories: some time after an HTTPRoute was written it says that the route is served."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from rollout.api.meta import Key, key_of, metadata, timestamp
from rollout.api.resources import HTTP_ROUTES, Resource
from rollout.runtime.clock import Clock
from rollout.runtime.kube import Object
from rollout.sandbox.storage import Storage


class GatewayModel:
    """`seconds` pass between a write and the word on it. While `silent` it says nothing, as if its process were down.

    `refuses` are conditions (type -> reason) that it says are False. `served` is what the data plane works by: the
    spec of the generation of each route that was last said to be served.
    """

    def __init__(self, storage: Storage, clock: Clock) -> None:
        self.seconds = 0.3
        self.silent = False
        self.refuses: dict[str, str] = {}
        self.served: dict[Key, Mapping[str, Any]] = {}
        self._storage, self._clock = storage, clock
        storage.on_write(self._written)

    def look(self) -> None:
        """Say of every route what is to be said now, as after a restart."""
        for route in self._storage.list(HTTP_ROUTES).items:
            self._tell(key_of(route))

    def _written(self, _kind: str, resource: Resource, old: Object | None, new: Object | None) -> None:
        if resource != HTTP_ROUTES:
            return
        key = key_of(new or old or {})
        if new is None:
            self.served.pop(key, None)
        elif old is None or metadata(old).get("generation") != metadata(new).get("generation"):
            asyncio.get_running_loop().call_later(self.seconds, self._tell, key)

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
            {"parentRef": dict(one), "controllerName": "example.com/gateway", "conditions": conditions}
            for one in route["spec"].get("parentRefs") or ()
        ]
        if not self.refuses:
            self.served[key] = route["spec"]
        status = {"status": {"parents": parents}}
        self._storage.patch(HTTP_ROUTES, key.namespace, key.name, status, subresource="status")
