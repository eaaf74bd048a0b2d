"""Canaries by an HTTPRoute on real Envoy, under load: the share that is measured is the weight that was set."""

from __future__ import annotations

import asyncio
import re

import pytest

from tests.sandbox.release_support import (
    APP,
    GATE,
    Ground,
    Load,
    World,
    by_route,
    example,
    pause,
    share_is,
    template,
    world_in,
)

pytestmark = pytest.mark.sandbox
SAMPLE = 600


async def converged(load: Load, version: str, weight: int) -> bool:
    """Whether Envoy comes to send `weight` percent to a version."""
    for _ in range(30):
        if share_is(await load.sample(200), version, weight):
            return True
        await asyncio.sleep(0.1)
    return False


async def test_a_canary_by_an_http_route_gets_the_share_of_each_weight_and_loses_no_request(
    ground: Ground, world: World
):
    weights = (10, 30, 60)
    steps = [step for weight in weights for step in ({"setWeight": weight}, pause())]
    host = f"{APP}.{world.namespace}"
    await world.apply(template(), *by_route(*steps, {"analysis": GATE}, host=host))
    await world.phase("Healthy")
    before = world.route()["spec"]
    async with Load(ground.sandbox.gateway, host).running() as load:
        await load.begun("v1")
        await world.set_image("v2")
        for number, weight in enumerate(weights):
            await world.phase("Paused", step=2 * number + 1)
            assert world.shares() == [100 - weight, weight]
            told = world.status()["canary"]["weights"]
            assert (told["canary"]["weight"], told["verified"]) == (weight, True)
            # A weight is believed only when Envoy works by it: the very next requests are split like that.
            sample = await load.sample(SAMPLE)
            assert sample.keys() <= {"v1", "v2"}
            assert share_is(sample, "v2", weight), sample
            assert (await world.rollout("promote", APP)).code == 0
        await world.phase("Healthy", step=7)
        await world.until(lambda: world.sizes() == {"v1": 0, "v2": 3}, "the old pods are gone")
        assert await load.sample(100) == {"v2": 100}
    assert load.lost == {}
    assert world.route()["spec"] == before
    assert [run["status"]["phase"] for run in world.runs()] == ["Successful"]
    world.steps_never_fell()


@pytest.mark.parametrize(
    ("words", "end"),
    [
        (("abort", APP), {"v1": 3, "v2": 0}),
        (("promote", APP, "--full"), {"v1": 0, "v2": 3}),
        (("set", "image", APP, f"{APP}={APP}:v3"), {"v1": 0, "v2": 0, "v3": 3}),
    ],
    ids=["abort", "promote-full", "newer"],
)
async def test_a_persons_word_in_the_middle_of_a_canary_by_an_http_route_loses_no_request(
    ground: Ground, world: World, words: tuple[str, ...], end: dict[str, int]
):
    steps = ({"setWeight": 40}, pause("3s"), {"setWeight": 70}, pause("1s"))
    host = f"{APP}.{world.namespace}"
    await world.apply(*by_route(*steps, host=host))
    await world.phase("Healthy")
    async with Load(ground.sandbox.gateway, host).running() as load:
        await load.begun("v1")
        await world.set_image("v2")
        await world.phase("Paused", step=1)
        await load.answered_by("v1", "v2")
        assert (await world.rollout(*words)).code == 0
        await world.until(lambda: world.sizes() == end, f"the pods are {end}")
        await world.until(lambda: world.shares() == [100, 0], "the route is at rest")
        await load.answered_by(*(version for version, pods in end.items() if pods))
        assert load.lost == {}
    assert world.status()["phase"] == ("Degraded" if words[0] == "abort" else "Healthy")


async def test_a_route_whose_service_is_missing_is_said_and_served_when_it_is_there(
    ground: Ground, world: World
):
    objects = by_route({"setWeight": 40}, pause(), host=f"{APP}.{world.namespace}")
    route = next(one for one in objects if one["kind"] == "HTTPRoute")
    gone = {"name": "gone", "port": 80}
    route["spec"]["rules"].insert(
        0, {"matches": [{"path": {"type": "Exact", "value": "/gone"}}], "backendRefs": [gone]}
    )
    await world.apply(*objects)
    await world.until(
        lambda: "not ResolvedRefs: BackendNotFound" in world.status().get("message", ""), "it is said"
    )
    assert "stableRS" not in world.status()
    gone["name"] = "web-stable"
    await world.apply(route)
    await world.phase("Healthy")


async def test_the_example_of_a_canary_by_an_http_route_reaches_its_first_weight(ground: Ground):
    async with world_in(ground, "shop") as world:
        await world.apply(*example("rollout-gateway.yaml"))
        await world.phase("Healthy")
        await world.set_image("v2")
        await world.phase("Paused", step=1)
        assert world.shares() == [90, 10]
        said = await world.rollout("get", APP)
        assert re.search(r"SetWeight: +10\b", said.out), said
        assert re.search(r"ActualWeight: +10\b", said.out), said
        load = Load(ground.sandbox.gateway, "web.shop", rate=20)
        async with load.running():
            assert await converged(load, "v2", 10)
        assert load.lost == {}
