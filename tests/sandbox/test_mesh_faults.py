"""EnvoyFilters with faults on a real Envoy: whom they hit, what is counted, and that no request is lost."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from rollout.api.meta import timestamp
from rollout.api.resources import ENDPOINT_SLICES, ENVOY_FILTERS, PODS, SERVICES, VIRTUAL_SERVICES
from rollout.runtime.clock import SystemClock
from rollout.sandbox.inmemory import StorageKube
from rollout.sandbox.mesh.model import Snapshot
from tests.sandbox.mesh_support import Mesh, Server, load, running_mesh
from tests.sandbox.test_mesh_driver import api, create, driven, shop, until_live
from tests.unit.mesh.objects import (
    Object,
    endpoint_slice,
    envoy_filter,
    http_fault,
    service,
    to,
    virtual_service,
)

pytestmark = pytest.mark.sandbox
CANARY = {"app": "web", "version": "canary"}
SLOW = "0.200s"
LONG = 0.150
"""Seconds. Envoy's clock is that of its event loop: a delay may be milliseconds short."""


async def until(kube: StorageKube, name: str, holds, what: str) -> Object:
    """Watch an EnvoyFilter as a controller would until its status says that `holds`."""
    seen: Object = {}
    try:
        async with asyncio.timeout(15):
            async for event in kube.watch(ENVOY_FILTERS, "shop", send_initial_events=True):
                seen = event.object
                if event.type == "BOOKMARK" or seen["metadata"]["name"] != name:
                    continue
                status = seen.get("status") or {}
                if str(status.get("observedGeneration")) == str(seen["metadata"]["generation"]) and holds(
                    status["surefoot"]
                ):
                    return seen
    except TimeoutError:
        raise AssertionError(f"{what} never came: {seen.get('status')}") from None
    raise AssertionError("the watch ended")


async def active(kube: StorageKube, name: str, *, wanted: bool = True) -> Object:
    return await until(kube, name, lambda told: told["active"] is wanted, f"active={wanted}")


async def timed(mesh: Mesh, url: str, **options) -> tuple[int, str, bool]:
    """(status, who answered, whether it took as long as a delayed request must)."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    status, who = await mesh.get(url, **options)
    return status, who, loop.time() - began >= LONG


async def servers(*names: str) -> dict[str, Server]:
    return {name: await Server(name).start() for name in names}


async def test_the_canary_of_a_mixed_cluster_is_delayed_and_the_stable_pods_are_not(tmp_path: Path):
    kube, up = await api(), await servers("stable", "canary")
    async with running_mesh(tmp_path, Snapshot()) as mesh, driven(kube, mesh):
        await shop(kube, up)
        await create(kube, ENVOY_FILTERS, envoy_filter("slow", CANARY, http_fault(delay=SLOW)))
        assert (await active(kube, "slow"))["status"]["surefoot"]["pods"] == 1
        answers = [await timed(mesh, "http://web/") for _ in range(40)]
        assert {status for status, _, _ in answers} == {200}
        assert {(who, slow) for _, who, slow in answers if who == "canary"} == {("canary", True)}
        delayed = sum(who == "canary" for _, who, _ in answers)
        assert 0 < delayed < 40
        # Envoy's own count is what the client measured.
        await until(kube, "slow", lambda told: told["delayed"] == delayed, f"delayed={delayed}")
        # The stable pods' path has not changed at all: no connection of theirs goes through a listener.
        seen = await mesh.pusher.look()
        assert sum(one.delayed for one in seen.counts.values()) == delayed
    for server in up.values():
        await server.stop()


async def test_an_abort_answers_in_the_pods_place_and_the_callers_retries_go_around_it(tmp_path: Path):
    kube, up = await api(), await servers("stable", "canary")
    async with running_mesh(tmp_path, Snapshot()) as mesh, driven(kube, mesh):
        await shop(kube, up)
        await create(kube, ENVOY_FILTERS, envoy_filter("broken", CANARY, http_fault(abort=503)))
        await active(kube, "broken")
        without = [await mesh.get("http://web/") for _ in range(30)]
        assert {status for status, _ in without} == {200, 503}
        assert not up["canary"].requests
        told = await until(kube, "broken", lambda told: told["aborted"] > 0, "aborted")
        await until(
            kube,
            "broken",
            lambda told: told["aborted"] == sum(status == 503 for status, _ in without),
            "the client's count",
        )
        assert told["status"]["surefoot"]["delayed"] == 0
        retrying = virtual_service({"route": [to("web")], "retries": {"attempts": 3, "retryOn": "5xx"}})
        await create(kube, VIRTUAL_SERVICES, retrying)
        async with asyncio.timeout(10):
            while {status for status, _ in [await mesh.get("http://web/") for _ in range(20)]} != {200}:
                await asyncio.sleep(0.02)
    for server in up.values():
        await server.stop()


async def test_no_request_is_lost_when_a_fault_comes_changes_and_goes_under_load(tmp_path: Path):
    kube, up = await api(), await servers("stable", "canary")
    async with running_mesh(tmp_path, Snapshot()) as mesh, driven(kube, mesh):
        await shop(kube, up)
        async with asyncio.timeout(10):
            while (await mesh.get("http://web/"))[0] != 200:
                await asyncio.sleep(0.02)
        done = asyncio.Event()
        loading = asyncio.create_task(load(lambda: mesh.get("http://web/"), clients=8, until=done))
        for turn in range(3):
            name = f"slow{turn}"
            await create(kube, ENVOY_FILTERS, envoy_filter(name, CANARY, http_fault(delay="0.050s")))
            await active(kube, name)
            other = envoy_filter(name, CANARY, http_fault(delay="1.500s", percent=30))["spec"]
            await kube.patch(ENVOY_FILTERS, "shop", name, {"spec": other})
            await active(kube, name)
            before = (await until(kube, name, lambda told: told["delayed"] > 0, "delayed"))["status"][
                "surefoot"
            ]
            calm = envoy_filter(name, CANARY, http_fault(delay="1.500s", percent=0))["spec"]
            await kube.patch(ENVOY_FILTERS, "shop", name, {"spec": calm})
            after = (await active(kube, name, wanted=False))["status"]["surefoot"]
            assert after["delayed"] >= before["delayed"]
            await kube.delete(ENVOY_FILTERS, "shop", name)
        done.set()
        results = await loading
        assert len(results) > 100
        assert {status for status, _ in results} == {200}
        # What was put up for the faults is gone again.
        async with asyncio.timeout(20):
            while any(name.startswith("fault-") for name in (await mesh.pusher.look()).listeners):
                await asyncio.sleep(0.05)
        assert b"sidecar|" not in (mesh.files.config / "clusters.json").read_bytes()
        assert b"inbound|" not in (mesh.files.config / "clusters.json").read_bytes()
    for server in up.values():
        await server.stop()


async def test_calls_of_selected_pods_to_a_dependency_are_faulted_and_nobody_elses(tmp_path: Path):
    kube, up = await api(), await servers("stable", "canary")
    db = await Server("db").start()
    cluster = "outbound|80||db.shop.svc.cluster.local"
    async with running_mesh(tmp_path, Snapshot()) as mesh, driven(kube, mesh):
        await shop(kube, up)
        await create(kube, SERVICES, service("db"))
        for piece in endpoint_slice("db", {"db": db.address}):
            await create(kube, ENDPOINT_SLICES, piece)
        fault = envoy_filter("slowdb", CANARY, http_fault(delay=SLOW, cluster=cluster))
        await create(kube, ENVOY_FILTERS, fault)
        assert (await active(kube, "slowdb"))["status"]["surefoot"]["pods"] == 1
        for name in ("http://db/", "http://db.shop.svc.cluster.local/"):
            assert await timed(mesh, name, pod="canary") == (200, "db", True)
        # Others do not come near the fault: the counter is at the canary's own calls in the end.
        for pod in ("stable", "", "canary2"):
            for _ in range(5):
                assert (await mesh.get("http://db/", pod=pod)) == (200, "db")
        assert (await mesh.get("http://web/", pod="canary"))[0] == 200
        assert (await mesh.get("http://db.shop/", pod="canary", namespace="other"))[0] == 200
        assert await mesh.gateway("db.shop") == (200, "db")
        await until(kube, "slowdb", lambda told: told["delayed"] == 2, "delayed=2")
        assert sum(one.delayed for one in (await mesh.pusher.look()).counts.values()) == 2
        # The sidecar's identity header stays inside.
        assert not any(b"surefoot" in one or b"proxy-auth" in one for one in db.requests)
        # Counted once each, as the caller's sidecar would.
        assert await counted(mesh, "db") == len(db.requests)
        outage = envoy_filter("slowdb", CANARY, http_fault(abort=503, cluster=cluster))["spec"]
        await kube.patch(ENVOY_FILTERS, "shop", "slowdb", {"spec": outage})
        await active(kube, "slowdb")
        seen = len(db.requests)
        assert (await mesh.get("http://db/", pod="canary"))[0] == 503
        assert len(db.requests) == seen
        told = await until(kube, "slowdb", lambda told: told["aborted"] == 1, "aborted=1")
        assert told["status"]["surefoot"]["delayed"] == 2
        await kube.delete(ENVOY_FILTERS, "shop", "slowdb")
        async with asyncio.timeout(10):
            while (await mesh.get("http://db/", pod="canary"))[0] != 200:
                await asyncio.sleep(0.02)
    for server in (*up.values(), db):
        await server.stop()


async def counted(mesh: Mesh, service_name: str) -> int:
    """Requests that Envoy has counted as the caller's sidecar."""
    total = 0
    for line in (await mesh.metrics()).splitlines():
        ours = line.startswith("envoy_mesh_istio_requests_total{") and 'reporter="source"' in line
        if ours and f'destination_service_name="{service_name}"' in line:
            total += int(float(line.rsplit(" ", 1)[1]))
    assert "unknown" not in service_name
    return total


async def test_from_its_expiry_on_a_fault_is_gone_though_nobody_touches_it(tmp_path: Path):
    kube, up = await api(), await servers("canary")
    async with running_mesh(tmp_path, Snapshot()) as mesh, driven(kube, mesh):
        await shop(kube, up)
        at = SystemClock().now() + timedelta(seconds=3)
        fault = envoy_filter("slow", CANARY, http_fault(abort=503), expires=timestamp(at))
        await create(kube, ENVOY_FILTERS, fault)
        await active(kube, "slow")
        assert (await mesh.get("http://web/"))[0] == 503
        found = await active(kube, "slow", wanted=False)
        assert SystemClock().now() >= at - timedelta(seconds=1)  # a timestamp has no fractions
        assert found["status"]["conditions"][0]["reason"] == "Expired"
        assert found["status"]["surefoot"]["aborted"] == 1
        assert await mesh.get("http://web/") == (200, "canary")
        later = timestamp(SystemClock().now() + timedelta(minutes=5))
        annotations = {"metadata": {"annotations": {"surefoot.dev/expires-at": later}}}
        await kube.patch(ENVOY_FILTERS, "shop", "slow", annotations)
        await active(kube, "slow")
        assert (await mesh.get("http://web/"))[0] == 503
    await up["canary"].stop()


async def test_a_pod_that_dies_under_a_fault_costs_its_caller_no_request(tmp_path: Path):
    """Its connections are made behind the fault; that they fail is told to the caller's retries."""
    kube, up = await api(), await servers("stable", "canary")
    async with running_mesh(tmp_path, Snapshot()) as mesh, driven(kube, mesh):
        await shop(kube, up)
        await create(kube, ENVOY_FILTERS, envoy_filter("slow", CANARY, http_fault(delay="0.001s")))
        await active(kube, "slow")
        await up["canary"].stop()
        answers = [await mesh.get("http://web/") for _ in range(20)]
        assert answers == [(200, "stable")] * 20
        assert await until(kube, "slow", lambda told: told["delayed"] > 0, "delayed")
    await up["stable"].stop()


async def test_two_faults_of_one_pod_both_count_for_themselves(tmp_path: Path):
    kube, up = await api(), await servers("canary")
    async with running_mesh(tmp_path, Snapshot()) as mesh, driven(kube, mesh):
        await shop(kube, up)
        await create(kube, ENVOY_FILTERS, envoy_filter("a", CANARY, http_fault(delay=SLOW)))
        await create(kube, ENVOY_FILTERS, envoy_filter("b", {"app": "web"}, http_fault(delay=SLOW)))
        await active(kube, "a")
        await active(kube, "b")
        loop = asyncio.get_running_loop()
        began = loop.time()
        assert await mesh.get("http://web/") == (200, "canary")
        assert loop.time() - began >= 2 * LONG
        await until(kube, "a", lambda told: told["delayed"] == 1, "delayed=1")
        await until(kube, "b", lambda told: told["delayed"] == 1, "delayed=1")
        await kube.delete(ENVOY_FILTERS, "shop", "a")
        await until(kube, "b", lambda told: told["active"], "b goes on")
        assert await timed(mesh, "http://web/") == (200, "canary", True)
        await until(kube, "b", lambda told: told["delayed"] == 2, "delayed=2")
    await up["canary"].stop()


async def test_what_is_not_understood_is_said_and_does_nothing(tmp_path: Path):
    kube, up = await api(), await servers("canary")
    async with running_mesh(tmp_path, Snapshot()) as mesh, driven(kube, mesh):
        await shop(kube, up)
        strange = http_fault(abort=503, response_rate_limit={"fixed_limit": {"limit_kbps": 1}})
        await create(kube, ENVOY_FILTERS, envoy_filter("strange", CANARY, strange))
        bad = http_fault(abort=503, headers=[{"name": "x", "string_match": {"safe_regex": {"regex": "("}}}])
        await create(kube, ENVOY_FILTERS, envoy_filter("bad", CANARY, bad))
        for name, why in (("strange", "response_rate_limit"), ("bad", "missing )")):
            found = await active(kube, name, wanted=False)
            condition = found["status"]["conditions"][0]
            assert (condition["status"], condition["reason"]) == ("False", "Refused")
            assert why in condition["message"]
        good = http_fault(abort=418, headers=[{"name": "x-chaos", "string_match": {"exact": "1"}}])
        await create(kube, ENVOY_FILTERS, envoy_filter("good", CANARY, good))
        await active(kube, "good")
        assert await mesh.get("http://web/") == (200, "canary")
        assert (await mesh.get("http://web/", headers={"x-chaos": "1"}))[0] == 418
    await up["canary"].stop()


async def test_pods_that_come_and_go_under_a_fault_keep_its_sum(tmp_path: Path):
    kube, up = await api(), await servers("canary", "stable")
    async with running_mesh(tmp_path, Snapshot()) as mesh, driven(kube, mesh):
        await shop(kube, up)
        await create(kube, ENVOY_FILTERS, envoy_filter("slow", {"app": "web"}, http_fault(delay="0.001s")))
        await until(kube, "slow", lambda told: told["active"] and told["pods"] == 2, "both pods")
        for _ in range(10):
            assert (await mesh.get("http://web/"))[0] == 200
        await kube.delete(ENDPOINT_SLICES, "shop", "web-canary")
        await until(kube, "slow", lambda told: told["pods"] == 1, "one pod")
        for _ in range(10):
            assert await mesh.get("http://web/") == (200, "stable")
        await until(kube, "slow", lambda told: told["delayed"] == 20, "delayed=20")
        # Also once the listener of the pod that went has been removed.
        async with asyncio.timeout(20):
            while mesh.pusher.lingering:
                await asyncio.sleep(0.05)
        assert (await mesh.get("http://web/")) == (200, "stable")
        await until(kube, "slow", lambda told: told["delayed"] == 21, "delayed=21")
        await kube.delete(PODS, "shop", "canary", grace_seconds=0)
    for server in up.values():
        await server.stop()


async def test_after_a_restart_of_envoy_the_fault_is_there_again_and_its_sum_goes_on(tmp_path: Path):
    kube, up = await api(), await servers("canary")
    async with running_mesh(tmp_path, Snapshot()) as mesh, driven(kube, mesh) as driver:
        await shop(kube, up)
        await create(kube, ENVOY_FILTERS, envoy_filter("broken", CANARY, http_fault(abort=503)))
        await active(kube, "broken")
        for _ in range(5):
            assert (await mesh.get("http://web/"))[0] == 503
        await until(kube, "broken", lambda told: told["aborted"] == 5, "aborted=5")
        await mesh.kill()
        await mesh.start()
        driver.wake()
        for _ in range(3):
            assert (await mesh.get("http://web/"))[0] == 503
        await until(kube, "broken", lambda told: told["aborted"] == 8, "aborted=8")
        await kube.delete(ENVOY_FILTERS, "shop", "broken")
        async with asyncio.timeout(10):
            while await mesh.get("http://web/") != (200, "canary"):
                await asyncio.sleep(0.02)
    await up["canary"].stop()


async def test_no_call_is_lost_when_an_outbound_fault_comes_and_goes_under_load(tmp_path: Path):
    kube, up = await api(), await servers("stable", "canary")
    cluster = "outbound|80||web.shop.svc.cluster.local"
    async with running_mesh(tmp_path, Snapshot()) as mesh, driven(kube, mesh):
        await shop(kube, up)
        async with asyncio.timeout(10):
            while (await mesh.get("http://web/"))[0] != 200:
                await asyncio.sleep(0.02)
        done = asyncio.Event()
        calls = asyncio.create_task(
            load(lambda: mesh.get("http://web/", pod="canary"), clients=6, until=done)
        )
        for turn in range(4):
            fault = envoy_filter("slow", CANARY, http_fault(delay=f"0.0{turn + 1}0s", cluster=cluster))
            await create(kube, ENVOY_FILTERS, fault)
            await until(kube, "slow", lambda told: told["delayed"] > 10, "delayed")
            # A route that changes meanwhile is another listener, too.
            await create(kube, VIRTUAL_SERVICES, virtual_service({"route": [to("web", 100)]}))
            await until_live(kube, VIRTUAL_SERVICES, "web")
            calm = envoy_filter("slow", CANARY, http_fault(delay="1s", percent=0, cluster=cluster))["spec"]
            await kube.patch(ENVOY_FILTERS, "shop", "slow", {"spec": calm})
            await active(kube, "slow", wanted=False)
            await kube.delete(ENVOY_FILTERS, "shop", "slow")
            await kube.delete(VIRTUAL_SERVICES, "shop", "web")
        done.set()
        results = await calls
        assert len(results) > 100
        assert {status for status, _ in results} == {200}
    for server in up.values():
        await server.stop()
