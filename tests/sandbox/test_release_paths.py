"""Whole releases on real Envoy, Prometheus and processes, under load."""

from __future__ import annotations

import asyncio

import pytest

from tests.sandbox.release_support import (
    APP,
    GATE,
    Ground,
    Load,
    World,
    blue_green,
    canary,
    example,
    pause,
    rollout,
    service,
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


async def test_a_canary_gets_the_share_of_each_weight_and_loses_no_request(ground: Ground, world: World):
    weights = (10, 30, 60)
    steps = [step for weight in weights for step in ({"setWeight": weight}, pause())]
    await world.apply(template(), *canary(*steps, {"analysis": GATE}))
    await world.phase("Healthy")
    async with Load(ground.sandbox.gateway, f"{APP}.{world.namespace}").running() as load:
        assert await converged(load, "v1", 100)
        await world.set_image("v2")
        for number, weight in enumerate(weights):
            await world.phase("Paused", step=2 * number + 1)
            assert world.weight() == weight
            assert await converged(load, "v2", weight)
            sample = await load.sample(SAMPLE)
            assert sample.keys() <= {"v1", "v2"}
            assert share_is(sample, "v2", weight), sample
            assert (await world.rollout("promote", APP)).code == 0
        await world.phase("Healthy", step=7)
        await world.until(lambda: world.sizes() == {"v1": 0, "v2": 3}, "the old pods are gone")
        assert await load.sample(100) == {"v2": 100}
    assert load.lost == {}
    assert [run["status"]["phase"] for run in world.runs()] == ["Successful"]
    world.steps_never_fell()


async def test_a_blue_green_release_switches_all_traffic_at_once_and_loses_no_request(
    ground: Ground, world: World
):
    await world.apply(
        template(),
        *blue_green(autoPromotionEnabled=False, prePromotionAnalysis=GATE, postPromotionAnalysis=GATE),
    )
    await world.phase("Healthy")
    active = Load(ground.sandbox.gateway, f"{APP}-active.{world.namespace}")
    preview = Load(ground.sandbox.gateway, f"{APP}-preview.{world.namespace}", rate=20)
    async with active.running(), preview.running():
        assert await converged(active, "v1", 100)
        await world.set_image("v2")
        await world.phase("Paused")
        assert await converged(preview, "v2", 100)
        assert await active.sample(200) == {"v1": 200}
        assert (await world.rollout("promote", APP)).code == 0
        await world.until(lambda: world.status().get("phase") == "Healthy", "v2 is Healthy")
        assert await converged(active, "v2", 100)
        assert await active.sample(200) == {"v2": 200}
        await world.until(lambda: world.sizes() == {"v1": 0, "v2": 3}, "the old pods are gone")
        assert await active.sample(100) == {"v2": 100}
    assert active.lost == {}
    assert preview.lost == {}
    assert [run["status"]["phase"] for run in world.runs()] == ["Successful"] * 2


async def test_a_failed_gate_sends_all_traffic_back_and_loses_no_request(ground: Ground, world: World):
    host = f"{APP}.{world.namespace}"
    await world.apply(
        template("vector(0)"), *canary({"setWeight": 20}, {"analysis": GATE}, {"setWeight": 60})
    )
    await world.phase("Healthy")
    async with Load(ground.sandbox.gateway, host).running() as load:
        assert await converged(load, "v1", 100)
        await world.set_image("v2")
        await world.phase("Degraded")
        assert world.status()["message"].startswith("RolloutAborted")
        await world.until(lambda: world.weight() == 0, "the weight is back")
        assert await converged(load, "v1", 100)
        await world.until(lambda: world.sizes() == {"v1": 3, "v2": 0}, "the canary is gone")
        assert await load.sample(100) == {"v1": 100}
    assert load.lost == {}


@pytest.mark.parametrize(
    ("words", "end"),
    [
        (("abort", APP), {"v1": 3, "v2": 0}),
        (("promote", APP, "--full"), {"v1": 0, "v2": 3}),
        (("set", "image", APP, f"{APP}={APP}:v1"), {"v1": 3, "v2": 0}),
        (("set", "image", APP, f"{APP}={APP}:v3"), {"v1": 0, "v2": 0, "v3": 3}),
        (("undo", APP), {"v1": 3, "v2": 0}),
    ],
    ids=["abort", "promote-full", "back", "newer", "undo"],
)
async def test_a_persons_word_in_the_middle_of_a_canary_loses_no_request(
    ground: Ground, world: World, words: tuple[str, ...], end: dict[str, int]
):
    steps = ({"setWeight": 40}, pause("3s"), {"setWeight": 70}, pause("1s"))
    await world.apply(*canary(*steps))
    await world.phase("Healthy")
    async with Load(ground.sandbox.gateway, f"{APP}.{world.namespace}").running() as load:
        await load.begun("v1")
        await world.set_image("v2")
        await world.phase("Paused", step=1)
        await load.answered_by("v1", "v2")
        assert (await world.rollout(*words)).code == 0
        await world.until(lambda: world.sizes() == end, f"the pods are {end}")
        await world.until(lambda: world.weight() == 0, "the route is at rest")
        await load.answered_by(*(version for version, pods in end.items() if pods))
        assert load.lost == {}
    assert world.status()["phase"] == ("Degraded" if words[0] == "abort" else "Healthy")


async def test_a_canary_by_the_share_of_pods_loses_no_request(ground: Ground, world: World):
    strategy = {"maxSurge": 1, "maxUnavailable": 0, "steps": [{"setWeight": 25}, pause(), {"setWeight": 75}]}
    await world.apply(service(), rollout({"canary": strategy}, replicas=4))
    await world.phase("Healthy")
    async with Load(ground.sandbox.gateway, f"{APP}.{world.namespace}").running() as load:
        await load.begun("v1")
        await world.set_image("v2")
        await world.phase("Paused", step=1)
        await world.until(lambda: world.sizes() == {"v1": 3, "v2": 1}, "one pod of four is new")
        assert await converged(load, "v2", 25)
        assert (await world.rollout("promote", APP)).code == 0
        await world.phase("Healthy", step=3)
        await world.until(lambda: world.sizes() == {"v1": 0, "v2": 4}, "the old pods are gone")
        await load.answered_by("v2")
    assert load.lost == {}


async def test_the_users_canary_manifest_starts_and_reaches_its_first_weight(ground: Ground):
    async with world_in(ground, "frontend-team-web-prod") as world:
        await world.apply(*example("rollout-canary-istio-parts.yaml"), *example("rollout-canary-istio.yaml"))
        await world.phase("Healthy", "web-frontend")
        image = "web-frontend=registry.company.com/frontend-team/web-frontend:v1.3.0"
        assert (await world.rollout("set", "image", "web-frontend", image)).code == 0
        await world.phase("Paused", "web-frontend", step=1)
        weights = world.status("web-frontend")["canary"]["weights"]
        assert (weights["canary"]["weight"], weights["stable"]["weight"]) == (10, 90)
        assert world.sizes() == {"v1.2.0": 10, "v1.3.0": 1}
        load = Load(ground.sandbox.gateway, f"web-frontend.{world.namespace}", rate=20)
        async with load.running():
            assert await converged(load, "v1.3.0", 10)
            assert share_is(await load.sample(SAMPLE), "v1.3.0", 10)
        assert load.lost == {}


async def test_the_users_blue_green_manifest_starts_and_its_preview_is_measured(ground: Ground):
    async with world_in(ground, "production") as world:
        await world.apply(*example("rollout-bluegreen-parts.yaml"), *example("rollout-bluegreen.yaml"))
        await world.phase("Healthy", "myapp-bluegreen")
        assert (await world.rollout("set", "image", "myapp-bluegreen", "myapp=myapp:v2")).code == 0
        await world.until(lambda: len(world.runs()) == 1, "the preview is analysed")
        assert world.sizes() == {"latest": 3, "v2": 3}
        load = Load(ground.sandbox.gateway, "myapp-active.production", rate=20)
        async with load.running():
            assert await converged(load, "latest", 100)
        assert load.lost == {}
