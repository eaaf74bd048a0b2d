"""The driver: objects in an API, a real Envoy that follows them, and status that tells what is live."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import yaml

from rollout.api.resources import (
    CRDS,
    DESTINATION_RULES,
    ENDPOINT_SLICES,
    HTTP_ROUTES,
    NAMESPACES,
    PODS,
    SERVICES,
    VIRTUAL_SERVICES,
    Resource,
)
from rollout.runtime.clock import SystemClock
from rollout.sandbox.inmemory import StorageKube
from rollout.sandbox.mesh.driver import Driver
from rollout.sandbox.mesh.model import Snapshot
from rollout.sandbox.mesh.status import is_live
from rollout.sandbox.storage import Storage
from tests.sandbox.mesh_support import Mesh, Server, running_mesh
from tests.unit.mesh.objects import Object, destination_rule, endpoint_slice, service, to, virtual_service

pytestmark = pytest.mark.sandbox
CRD_DIRECTORY = Path(__file__).parents[2] / "rollout/sandbox/crds"


def complete(obj: Object, resource: Resource) -> Object:
    return {"apiVersion": resource.api_version, "kind": resource.kind, **obj}


async def api() -> StorageKube:
    kube = StorageKube(Storage(SystemClock()))
    for file in sorted(CRD_DIRECTORY.glob("*.yaml")):
        for crd in yaml.load_all(file.read_text(), Loader=yaml.CSafeLoader):
            await kube.create(CRDS, None, crd)
    await kube.create(NAMESPACES, None, complete({"metadata": {"name": "shop"}}, NAMESPACES))
    return kube


async def create(kube: StorageKube, resource: Resource, obj: Object) -> Object:
    return await kube.create(resource, "shop", complete(obj, resource))


@contextlib.asynccontextmanager
async def driven(kube: StorageKube, mesh: Mesh) -> AsyncIterator[Driver]:
    driver = Driver(kube, SystemClock(), mesh.pusher)
    running = asyncio.create_task(driver.run())
    try:
        await asyncio.wait_for(driver.live.wait(), 10)
        yield driver
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


async def until_live(kube: StorageKube, resource: Resource, name: str, value: str = "True") -> Object:
    """Watch as a controller would until the mesh has told about the present generation."""
    async with asyncio.timeout(10):
        async for event in kube.watch(resource, "shop", send_initial_events=True):
            obj = event.object
            if event.type == "BOOKMARK" or obj["metadata"]["name"] != name:
                continue
            conditions = {item["type"]: item for item in (obj.get("status") or {}).get("conditions") or ()}
            if str((obj.get("status") or {}).get("observedGeneration")) != str(obj["metadata"]["generation"]):
                continue
            if conditions.get("Reconciled", {}).get("status") == value:
                return obj
    raise AssertionError("the watch ended")


async def shop(kube: StorageKube, up: dict[str, Server]) -> None:
    await create(kube, SERVICES, service("web"))
    for name, server in up.items():
        labels = {"app": "web", "version": name}
        spec = {"containers": [{"name": "web", "image": "web"}]}
        await create(kube, PODS, {"metadata": {"name": name, "labels": labels}, "spec": spec})
        (piece,) = endpoint_slice("web", {name: server.address})
        await create(kube, ENDPOINT_SLICES, piece)
    subsets = [(name, {"version": name}) for name in up]
    await create(kube, DESTINATION_RULES, destination_rule("web", *subsets))


async def test_a_weight_is_live_when_the_virtual_services_status_says_so(tmp_path: Path):
    kube = await api()
    up = {name: await Server(name).start() for name in ("stable", "canary")}
    async with running_mesh(tmp_path, Snapshot()) as mesh, driven(kube, mesh):
        await shop(kube, up)
        vs = virtual_service({"name": "primary", "route": [to("web", 100, "stable"), to("web", 0, "canary")]})
        await create(kube, VIRTUAL_SERVICES, vs)
        for turn in range(10):
            live = await until_live(kube, VIRTUAL_SERVICES, "web")
            assert is_live(live)
            assert await mesh.get("http://web/") == (200, ("stable", "canary")[turn % 2])
            weights = [100 * (turn % 2), 100 - 100 * (turn % 2)]
            change = [
                {"op": "replace", "path": f"/spec/http/0/route/{index}/weight", "value": weight}
                for index, weight in enumerate(weights)
            ]
            await kube.patch(VIRTUAL_SERVICES, "shop", "web", change, type="json")
    for server in up.values():
        await server.stop()


async def test_a_refused_route_is_held_back_alone_and_heals(tmp_path: Path):
    kube = await api()
    up = {"stable": await Server("stable").start()}
    async with running_mesh(tmp_path, Snapshot()) as mesh, driven(kube, mesh):
        await shop(kube, up)
        bad = virtual_service(
            {"match": [{"uri": {"regex": "(?=a)"}}], "route": [to("web")]},
            hosts=("bad.example.com",),
            name="bad",
        )
        await create(kube, VIRTUAL_SERVICES, bad)
        await create(
            kube,
            VIRTUAL_SERVICES,
            virtual_service({"route": [to("web")]}, hosts=("good.example.com",), name="good"),
        )
        refused = await until_live(kube, VIRTUAL_SERVICES, "bad", "False")
        assert "perl operator" in refused["status"]["conditions"][0]["message"]
        await until_live(kube, VIRTUAL_SERVICES, "good")
        assert await mesh.get("http://good.example.com/") == (200, "stable")
        change = [{"op": "replace", "path": "/spec/http/0/match/0/uri/regex", "value": "/a.*"}]
        await kube.patch(VIRTUAL_SERVICES, "shop", "bad", change, type="json")
        await until_live(kube, VIRTUAL_SERVICES, "bad")
        assert await mesh.get("http://bad.example.com/abc") == (200, "stable")
    await up["stable"].stop()


async def test_an_object_that_is_not_served_never_counts_as_live(tmp_path: Path):
    kube = await api()
    async with running_mesh(tmp_path, Snapshot()) as mesh, driven(kube, mesh):
        vs = virtual_service(
            {"route": [to("web")], "retries": {"attempts": 100_000}}, hosts=("a.example.com",)
        )
        await create(kube, VIRTUAL_SERVICES, vs)
        found = await until_live(kube, VIRTUAL_SERVICES, "web", "False")
        assert not is_live(found)
        assert "spec.http[0].retries.attempts" in found["status"]["conditions"][0]["message"]


async def test_an_http_route_gets_its_status_and_serves_at_the_gateway(tmp_path: Path):
    kube = await api()
    up = {"stable": await Server("stable").start()}
    async with running_mesh(tmp_path, Snapshot()) as mesh, driven(kube, mesh):
        await shop(kube, up)
        route = {
            "metadata": {"name": "r"},
            "spec": {
                "parentRefs": [{"name": "gw"}],
                "hostnames": ["shop.example.com"],
                "rules": [
                    {"backendRefs": [{"name": "web", "port": 80}, {"name": "gone", "port": 80, "weight": 0}]}
                ],
            },
        }
        await create(kube, HTTP_ROUTES, route)
        async with asyncio.timeout(10):
            async for event in kube.watch(HTTP_ROUTES, "shop", send_initial_events=True):
                if event.object.get("status", {}).get("parents"):
                    break
        conditions = {item["type"]: item for item in event.object["status"]["parents"][0]["conditions"]}
        assert conditions["Accepted"]["status"] == "True"
        assert conditions["ResolvedRefs"]["reason"] == "BackendNotFound"
        assert await mesh.gateway("shop.example.com") == (200, "stable")
    await up["stable"].stop()
