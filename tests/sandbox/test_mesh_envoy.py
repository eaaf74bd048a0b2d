"""The mesh against a real Envoy."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from rollout.sandbox.mesh.model import Snapshot
from rollout.sandbox.mesh.push import Refused
from tests.sandbox.mesh_support import Server, load, running_mesh
from tests.unit.mesh.objects import (
    Object,
    destination_rule,
    endpoint_slice,
    pod,
    service,
    to,
    virtual_service,
)

pytestmark = pytest.mark.sandbox

RULE = destination_rule("web", ("stable", {"hash": "a"}), ("canary", {"hash": "b"}))
PODS = (pod("stable", owner="web-a", hash="a"), pod("canary", owner="web-b", hash="b"))


@contextlib.asynccontextmanager
async def servers(*names: str) -> AsyncIterator[dict[str, Server]]:
    found = {name: await Server(name).start() for name in names}
    try:
        yield found
    finally:
        for server in found.values():
            await server.stop()


def world(up: dict[str, Server], *http: Object, only: tuple[str, ...] = (), **spec: object) -> Snapshot:
    there = {name: server.address for name, server in up.items() if not only or name in only}
    return Snapshot(
        services=(service("web"),),
        pods=PODS,
        endpoint_slices=tuple(endpoint_slice("web", there)),
        destination_rules=(RULE,),
        virtual_services=(virtual_service(*http, **spec),) if http else (),
    )


def split(up: dict[str, Server], canary: int, **options: object) -> Snapshot:
    return world(up, {"route": [to("web", 100 - canary, "stable"), to("web", canary, "canary")]}, **options)


async def test_weights_move_under_load_without_a_failed_request(tmp_path: Path):
    async with servers("stable", "canary") as up, running_mesh(tmp_path, split(up, 0)) as mesh:
        done = asyncio.Event()
        running = asyncio.create_task(load(lambda: mesh.get("http://web/"), clients=8, until=done))
        for weight in [*range(0, 101, 5), *range(100, -1, -5)] * 2:
            await mesh.push(split(up, weight))
            seen = len(up["stable"].requests) + len(up["canary"].requests)
            while len(up["stable"].requests) + len(up["canary"].requests) < seen + 20:
                await asyncio.sleep(0)
        done.set()
        results = await running
    assert Counter(status for status, _ in results) == {200: len(results)}
    assert {text for _, text in results} == {"stable", "canary"}
    assert len(results) > 1500


async def test_the_share_of_the_canary_is_its_weight(tmp_path: Path):
    async with servers("stable", "canary") as up, running_mesh(tmp_path, split(up, 0)) as mesh:
        for weight in (20, 70):
            await mesh.push(split(up, weight))
            answers = [
                text
                for _ in range(125)
                for text in await asyncio.gather(*(mesh.get("http://web/") for _ in range(8)))
            ]
            share = Counter(text for _, text in answers)["canary"] / len(answers)
            # 1,000 independent choices: five standard deviations on both sides.
            spread = 5 * (weight / 100 * (1 - weight / 100) / len(answers)) ** 0.5
            assert abs(share - weight / 100) < spread


async def test_a_live_configuration_holds_for_the_next_request(tmp_path: Path):
    async with servers("stable", "canary") as up, running_mesh(tmp_path, split(up, 0)) as mesh:
        for turn in range(50):
            await mesh.push(split(up, 100 * (turn % 2)))
            assert await mesh.get("http://web/") == (200, ("stable", "canary")[turn % 2])
        assert await mesh.push(split(up, 100)) is False


async def test_endpoints_that_leave_finish_what_they_have_and_get_nothing_new(tmp_path: Path):
    async with servers("stable", "canary") as up, running_mesh(tmp_path, world(up)) as mesh:
        canary = up["canary"]
        canary.gate = asyncio.Event()
        waiting = []
        while not canary.arrived.is_set():
            waiting.append(asyncio.create_task(mesh.get("http://web/")))
            await asyncio.wait([waiting[-1]], timeout=0.05)
        await mesh.push(world(up, only=("stable",)))
        before = len(canary.requests)
        assert {await mesh.get("http://web/") for _ in range(20)} == {(200, "stable")}
        assert len(canary.requests) == before
        canary.gate.set()
        assert {status for status, _ in await asyncio.gather(*waiting)} == {200}


async def test_requests_under_way_outlive_every_change_around_them(tmp_path: Path):
    """Endpoints come and go, policies change, the route moves away: what is under way is not touched."""
    async with servers("stable", "canary") as up, running_mesh(tmp_path, split(up, 0)) as mesh:
        up["stable"].gate = asyncio.Event()
        waiting = [asyncio.create_task(mesh.get("http://web/")) for _ in range(5)]
        while len(up["stable"].requests) < 5:
            await asyncio.sleep(0)
        for _ in range(3):
            await mesh.push(split(up, 0, only=("stable",)))
            await mesh.push(split(up, 50))
            await mesh.push(split(up, 100, only=("canary",)))
        await mesh.push(Snapshot())
        up["stable"].gate.set()
        assert set(await asyncio.gather(*waiting)) == {(200, "stable")}


async def test_pods_come_and_go_under_load_without_a_failed_request(tmp_path: Path):
    """Servers that shut down gracefully once Envoy has let go of them, with kept-alive connections."""
    async with servers("stable", "canary") as up, running_mesh(tmp_path, world(up)) as mesh:
        done = asyncio.Event()
        running = asyncio.create_task(load(lambda: mesh.get("http://web/"), clients=8, until=done))
        for _ in range(15):
            old = up["canary"]
            fresh = await Server("canary").start()
            await mesh.push(world(up, only=("stable",)))
            await old.stop()
            up["canary"] = fresh
            await mesh.push(world(up))
            while len(fresh.requests) < 20:
                await asyncio.sleep(0)
        done.set()
        results = await running
    assert Counter(status for status, _ in results) == {200: len(results)}


async def test_a_server_that_stops_listening_unannounced_costs_no_request(tmp_path: Path):
    """Connections refused are tried again elsewhere: Istio's default retries."""
    async with servers("stable", "canary") as up, running_mesh(tmp_path, world(up)) as mesh:
        await up["canary"].stop()
        assert {await mesh.get("http://web/") for _ in range(30)} == {(200, "stable")}


async def test_routes_without_endpoints_answer_503_as_in_istio(tmp_path: Path):
    async with servers("stable") as up, running_mesh(tmp_path, split(up, 100)) as mesh:
        assert await mesh.get("http://web/") == (503, "no healthy upstream")
        await mesh.push(world(up, {"route": [to("web", subset="undefined")]}))
        assert (await mesh.get("http://web/"))[0] == 503
        assert (await mesh.get("http://nowhere/"))[0] == 502


async def test_a_canary_emptied_together_with_its_weight_fails_no_request(tmp_path: Path):
    """One change that takes away the weight and the endpoints: routes first, endpoints after."""
    async with servers("stable", "canary") as up, running_mesh(tmp_path, split(up, 50)) as mesh:
        done = asyncio.Event()
        running = asyncio.create_task(load(lambda: mesh.get("http://web/"), clients=8, until=done))
        for _ in range(20):
            await mesh.push(split(up, 0, only=("stable",)))
            await mesh.push(split(up, 50))
        done.set()
        results = await running
    assert Counter(status for status, _ in results) == {200: len(results)}


async def test_what_routes_ask_for_happens(tmp_path: Path):
    routes: list[Object] = [
        {
            "match": [{"uri": {"prefix": "/canary"}}],
            "route": [to("web", subset="canary")],
            "rewrite": {"uri": "/x"},
        },
        {"match": [{"headers": {"x-user": {"regex": "e.e"}}}], "route": [to("web", subset="canary")]},
        {"match": [{"queryParams": {"v": {"exact": "2"}}}], "route": [to("web", subset="canary")]},
        {"match": [{"uri": {"exact": "/moved"}}], "redirect": {"uri": "/new", "redirectCode": 302}},
        {
            "match": [{"uri": {"exact": "/broken"}}],
            "fault": {"abort": {"httpStatus": 418, "percentage": {"value": 100}}},
            "route": [to("web", subset="stable")],
        },
        {
            "match": [{"uri": {"exact": "/mirrored"}}],
            "route": [to("web", subset="stable")],
            "mirror": {"host": "web", "subset": "canary"},
            "headers": {"request": {"set": {"x-added": "yes"}}},
        },
        {"match": [{"uri": {"exact": "/slow"}}], "route": [to("web", subset="canary")], "timeout": "50ms"},
        {"route": [to("web", subset="stable")]},
    ]
    async with servers("stable", "canary") as up, running_mesh(tmp_path, world(up, *routes)) as mesh:
        assert await mesh.get("http://web/") == (200, "stable")
        assert await mesh.get("http://web/canary/1") == (200, "canary")
        assert up["canary"].requests[-1].startswith(b"GET /x/1 ")
        assert await mesh.get("http://web/", headers={"x-user": "eve"}) == (200, "canary")
        assert await mesh.get("http://web/?v=2") == (200, "canary")
        assert (await mesh.get("http://web/moved"))[0] == 302
        assert await mesh.get("http://web/broken") == (418, "fault filter abort")
        up["canary"].arrived.clear()
        assert await mesh.get("http://web/mirrored") == (200, "stable")
        assert b"x-added: yes" in up["stable"].requests[-1]
        assert b"proxy-authorization" not in up["stable"].requests[-1].lower()
        await asyncio.wait_for(up["canary"].arrived.wait(), 5)
        up["canary"].gate = asyncio.Event()
        assert (await mesh.get("http://web/slow"))[0] == 504
        up["canary"].gate.set()


async def test_names_work_as_in_a_cluster(tmp_path: Path):
    async with servers("stable") as up:
        snapshot = world(
            up, {"route": [to("web", subset="stable")]}, gateways=["edge"], hosts=("shop.example.com",)
        )
        async with running_mesh(tmp_path, snapshot) as mesh:
            for name in ("web", "web:80", "web.shop", "web.shop.svc", "web.shop.svc.cluster.local:80"):
                assert await mesh.get(f"http://{name}/") == (200, "stable"), name
            assert (await mesh.get("http://web/", namespace="elsewhere"))[0] == 502
            assert await mesh.get("http://web.shop/", namespace="elsewhere") == (200, "stable")
            assert (await mesh.get("http://web:81/"))[0] == 502
            assert (await mesh.get("http://shop.example.com/"))[0] == 502
            assert await mesh.gateway("shop.example.com") == (200, "stable")
            assert await mesh.gateway("web.shop") == (200, "stable")
            assert (await mesh.gateway("other.example.com"))[0] == 404


async def test_a_configuration_that_envoy_refuses_leaves_the_one_before(tmp_path: Path):
    async with servers("stable", "canary") as up, running_mesh(tmp_path, split(up, 0)) as mesh:
        bad = world(up, {"match": [{"uri": {"regex": "(?=a)"}}], "route": [to("web", subset="canary")]})
        with pytest.raises(Refused, match="invalid"):
            await mesh.push(bad)
        assert await mesh.get("http://web/") == (200, "stable")
        assert await mesh.push(split(up, 100))
        assert await mesh.get("http://web/") == (200, "canary")


async def test_requests_are_counted_by_version_and_only_metrics_are_shown(tmp_path: Path):
    async with servers("stable", "canary") as up, running_mesh(tmp_path, split(up, 100)) as mesh:
        up["canary"].status = 500
        for _ in range(3):
            assert (await mesh.get("http://web/"))[0] == 500
        await mesh.push(split(up, 0))
        assert (await mesh.get("http://web/"))[0] == 200
        lines = [
            line
            for line in (await mesh.metrics()).splitlines()
            if line.startswith("envoy_mesh_istio_requests")
        ]
        assert len(lines) == 4
        for reporter in ("source", "destination"):
            bad = next(line for line in lines if f'"{reporter}"' in line and 'response_code="500"' in line)
            assert bad.endswith(" 3")
            assert 'destination_subset="canary"' in bad
            assert 'destination_workload="web-b"' in bad
        async with mesh.session.post(f"http://127.0.0.1:{mesh.ports.metrics}/quitquitquit") as answer:
            assert answer.status == 404
        async with mesh.session.get(f"http://127.0.0.1:{mesh.ports.metrics}/config_dump") as answer:
            assert answer.status == 404


async def test_a_dead_server_is_no_business_of_its_own_metrics(tmp_path: Path):
    async with servers("stable") as up, running_mesh(tmp_path, split(up, 0)) as mesh:
        await up["stable"].stop()
        assert (await mesh.get("http://web/"))[0] == 503
        lines = (await mesh.metrics()).splitlines()
        source = [line for line in lines if "istio_requests_total" in line and 'reporter="source"' in line]
        assert any('response_code="503"' in line and "UF" in line for line in source)


async def test_an_http_routes_missing_backend_answers_500_for_its_share_alone(tmp_path: Path):
    route: Object = {
        "metadata": {"name": "r", "namespace": "shop"},
        "spec": {
            "parentRefs": [{"kind": "Service", "group": "", "name": "web"}],
            "rules": [
                {"backendRefs": [{"name": "web", "port": 80, "weight": 1}, {"name": "gone", "port": 80}]}
            ],
        },
    }
    async with servers("stable") as up:
        snapshot = msgspec.structs.replace(world(up), http_routes=(route,))
        async with running_mesh(tmp_path, snapshot) as mesh:
            answers = Counter([(await mesh.get("http://web/"))[0] for _ in range(100)])
    assert set(answers) == {200, 500}
    assert abs(answers[200] - 50) < 25  # five standard deviations


async def test_consistent_hashing_keeps_a_user_on_one_pod(tmp_path: Path):
    hashing = {"consistentHash": {"httpHeaderName": "x-user", "minimumRingSize": 1024}}
    async with servers("stable", "canary") as up:
        rule = destination_rule("web", loadBalancer=hashing)
        snapshot = msgspec.structs.replace(world(up), destination_rules=(rule,))
        async with running_mesh(tmp_path, snapshot) as mesh:
            homes = {}
            for user in range(20):
                seen = {(await mesh.get("http://web/", headers={"x-user": str(user)}))[1] for _ in range(5)}
                assert len(seen) == 1
                homes[user] = seen.pop()
    assert set(homes.values()) == {"stable", "canary"}
