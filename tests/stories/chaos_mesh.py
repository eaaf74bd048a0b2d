"""A mesh without processes: what the sandbox's Envoy says of our EnvoyFilters, by the same status fields.

A filter that strikes requests delays or aborts `RATE` of them every half second, until its lease is over.
"""

from __future__ import annotations

import asyncio

from chaos.controller.evidence import Gatherer
from chaos.faults.envoy_filter import silent
from chaos.faults.pods import SANDBOX_VERSION
from chaos.faults.receipts import expires_at
from rollout.api.meta import key_of, metadata
from rollout.api.resources import ENVOY_FILTERS, NODES
from rollout.errors import ProviderError
from rollout.runtime.clock import LoopClock
from rollout.runtime.http import Request, Response
from rollout.runtime.kube import Kube
from tests.stories.world import World

RATE = 5
SECONDS = 0.5
_NODE_INFO = (
    "machineID",
    "systemUUID",
    "bootID",
    "kernelVersion",
    "osImage",
    "containerRuntimeVersion",
    "kubeProxyVersion",
    "operatingSystem",
    "architecture",
)


class Mesh:
    def __init__(self, world: World) -> None:
        self._world = world
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Be the mesh of the sandbox from now on, in a cluster whose caps let a whole version be struck."""
        info = dict.fromkeys(_NODE_INFO, "") | {"kubeletVersion": f"v1.34.0{SANDBOX_VERSION}"}
        self._world.storage.create(NODES, None, {"metadata": {"name": "sandbox"}})
        self._world.storage.patch(
            NODES, None, "sandbox", {"status": {"nodeInfo": info}}, subresource="status"
        )
        self._world.apply(
            {
                "apiVersion": "surefoot.dev/v1alpha1",
                "kind": "ChaosSwitch",
                "metadata": {"name": "default"},
                "spec": {"caps": {"percentPerNamespace": 100}},
            }
        )
        self._task = asyncio.create_task(self._run(), name="mesh")

    def stop(self) -> None:
        """The mesh dies: nobody says anything about a filter any more."""
        assert self._task is not None
        self._task.cancel()

    async def _run(self) -> None:
        while True:
            for obj in self._world.storage.list(ENVOY_FILTERS).items:
                self._tell(obj)
            await self._world.clock.sleep(SECONDS)

    def _tell(self, obj) -> None:
        expires = expires_at(obj)
        active = not silent(obj) and (expires is None or self._world.clock.now() < expires)
        before = (obj.get("status") or {}).get("surefoot") or {}
        config = obj["spec"]["configPatches"][0]["patch"]["value"]["typed_config"]
        what = "delayed" if "delay" in config else "aborted"
        now = {"delayed": 0, "aborted": 0, **before, "active": active}
        now[what] += RATE if active else 0
        status = {"surefoot": now, "observedGeneration": metadata(obj)["generation"]}
        if status != obj.get("status"):
            key = key_of(obj)
            self._world.storage.patch(
                ENVOY_FILTERS, key.namespace, key.name, {"status": status}, subresource="status"
            )


def gatherer(kube: Kube, clock: LoopClock) -> Gatherer:
    """Of one process of ours: what it remembers dies with it."""

    async def nobody(request: Request, *, deadline: float, max_bytes: int) -> Response:
        raise ProviderError(f"{request}: there are no proxies here")

    return Gatherer(nobody, kube, clock)
