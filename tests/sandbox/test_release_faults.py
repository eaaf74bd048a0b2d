"""Releases while parts of the ground under them die: the controller, Envoy, Prometheus."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from rollout.sandbox.supervisor import status
from tests.sandbox.release_support import (
    APP,
    GATE,
    Ground,
    Load,
    World,
    blue_green,
    canary,
    pause,
    rollout,
    service,
    template,
    until,
)

pytestmark = pytest.mark.sandbox


@asynccontextmanager
async def loaded(world: World, service: str = APP) -> AsyncIterator[Load]:
    """Load on a Service that answers already."""
    async with Load(world.ground.sandbox.gateway, f"{service}.{world.namespace}").running() as load:
        await load.begun("v1")
        yield load


async def kill_controller_at(world: World, *moments) -> None:
    """kill -9 of the controller as soon as each of the moments (description, condition) has come."""
    for what, come in moments:
        await world.until(come, what)
        old = await world.ground.kill("controller")
        await world.ground.started_again("controller", old)


@pytest.mark.slow
async def test_a_canary_goes_on_to_its_end_however_often_the_controller_is_killed(
    ground: Ground, world: World
):
    steps = [{"setWeight": 20}, pause("1s"), {"analysis": GATE}, {"setWeight": 60}, pause("1s")]
    await world.apply(template(), *canary(*steps))
    await world.phase("Healthy")
    async with loaded(world) as load:
        await world.set_image("v2")
        await kill_controller_at(
            world,
            ("the canary's ReplicaSet is there", lambda: "v2" in world.sizes()),
            ("the weight is moved", lambda: world.weight() == 20),
            ("the analysis runs", lambda: len(world.runs()) == 1),
            ("the weight is moved again", lambda: world.weight() == 60),
            ("v2 is stable", lambda: world.status()["stableRS"] == world.status()["currentPodHash"]),
        )
        await world.phase("Healthy", step=5)
        await world.until(lambda: world.sizes() == {"v1": 0, "v2": 3}, "the old pods are gone")
    assert load.lost == {}
    assert {version for version, _ in load.answers} == {"v1", "v2"}
    assert [run["status"]["phase"] for run in world.runs()] == ["Successful"]
    world.steps_never_fell()


def errors(world: World) -> int:
    results = [run.get("status", {}).get("metricResults") or [{}] for run in world.runs()]
    return sum(one.get("error", 0) for result in results for one in result)


@pytest.mark.slow
async def test_a_silent_prometheus_never_promotes_and_ends_in_an_abort(ground: Ground, world: World):
    await world.apply(
        template(count=5, consecutiveErrorLimit=2), *canary({"setWeight": 20}, {"analysis": GATE})
    )
    await world.phase("Healthy")
    async with loaded(world) as load:
        await ground.kill("prometheus", signal.SIGSTOP)
        try:
            await world.set_image("v2")
            await world.until(lambda: errors(world) >= 1, "a measurement is an error")
            assert world.status()["phase"] == "Progressing"
            assert world.weight() == 20
            await world.phase("Degraded")
        finally:
            await ground.kill("prometheus", signal.SIGCONT)
        await world.until(lambda: world.weight() == 0, "the weight is back")
        await world.until(lambda: world.sizes() == {"v1": 3, "v2": 0}, "the canary is gone")
    (run,) = world.runs()
    assert run["status"]["phase"] == "Error"
    assert run["status"]["metricResults"][0].get("successful", 0) == 0
    assert world.status()["message"].startswith("RolloutAborted")
    assert load.lost == {}


@pytest.mark.slow
async def test_a_blue_green_release_goes_on_to_its_end_however_often_the_controller_is_killed(
    ground: Ground, world: World
):
    await world.apply(template(), *blue_green(prePromotionAnalysis=GATE, postPromotionAnalysis=GATE))
    await world.phase("Healthy")
    async with loaded(world, f"{APP}-active") as load:
        await world.set_image("v2")
        await kill_controller_at(
            world,
            ("v2's ReplicaSet is there", lambda: "v2" in world.sizes()),
            ("the preview is analysed", lambda: len(world.runs()) == 1),
            ("v2 is active and analysed", lambda: len(world.runs()) == 2),
            ("v2 is stable", lambda: world.status()["stableRS"] == world.status()["currentPodHash"]),
        )
        await world.phase("Healthy")
        await world.until(lambda: world.sizes() == {"v1": 0, "v2": 3}, "the old pods are gone")
    assert load.lost == {}
    assert {version for version, _ in load.answers} == {"v1", "v2"}
    assert [run["status"]["phase"] for run in world.runs()] == ["Successful"] * 2


@pytest.mark.slow
async def test_a_prometheus_that_comes_back_before_the_limit_lets_the_release_go_on(
    ground: Ground, world: World
):
    await world.apply(
        template(count=4, consecutiveErrorLimit=10), *canary({"setWeight": 20}, {"analysis": GATE})
    )
    await world.phase("Healthy")
    await ground.kill("prometheus", signal.SIGSTOP)
    try:
        await world.set_image("v2")
        await world.until(lambda: errors(world) >= 1, "a measurement is an error")
    finally:
        await ground.kill("prometheus", signal.SIGCONT)
    await world.phase("Healthy", step=2)
    assert errors(world) >= 1
    world.steps_never_fell()


async def test_a_killed_prometheus_is_started_again_and_the_release_goes_on(ground: Ground, world: World):
    await world.apply(template(count=6), *canary({"setWeight": 20}, {"analysis": GATE}))
    await world.phase("Healthy")
    await world.set_image("v2")
    await world.until(lambda: len(world.runs()) == 1, "the analysis runs")
    old = await ground.kill("prometheus")
    await ground.started_again("prometheus", old)
    assert "prometheus was killed by SIGKILL" in ground.part("prometheus").message
    await world.phase("Healthy", step=2)


async def test_a_killed_envoy_is_said_in_one_line_and_the_release_goes_on(ground: Ground, world: World):
    await world.apply(*canary({"setWeight": 50}, pause(), {"setWeight": 80}, pause("1s")))
    await world.phase("Healthy")
    async with loaded(world) as load:
        await world.set_image("v2")
        await world.phase("Paused", step=1)
        old = await ground.kill("envoy")
        await ground.started_again("envoy", old)
        said = ground.part("envoy").message
        assert said.startswith("envoy was killed by SIGKILL; ")
        assert "Traffic stops while it is away" in said
        assert "\n" not in said
        await load.begun("v1", "v2")
        assert (await world.rollout("promote", APP)).code == 0
        await world.phase("Healthy", step=4)
    assert load.lost == {}


async def test_an_invalid_rollout_is_explained_in_the_same_words_everywhere_and_disturbs_nobody(
    ground: Ground, world: World
):
    broken = rollout(
        {
            "canary": {
                "maxSurge": 0,
                "maxUnavailable": 0,
                "scaleDownDelaySeconds": 5,
                "steps": [{"setWeight": 30}, {"pause": {"duration": "5x"}}],
            }
        },
        name="broken",
    )
    await world.apply(broken, *canary({"setWeight": 50}, pause("1s")))
    await world.phase("Degraded", "broken")
    conditions = {one["type"]: one for one in world.status("broken")["conditions"]}
    message = conditions["InvalidSpec"]["message"]
    for path in ("scaleDownDelaySeconds", "steps[1].pause.duration", "maxUnavailable"):
        assert f"spec.strategy.canary.{path}" in message
    described = " ".join((await world.kubectl("describe", "rollout", "broken")).out.split())
    got = await world.rollout("get", "broken")
    state = await world.rollout("status", "broken")
    await until(lambda: "5x" in ground.log("controller"), "the controller's log tells of it")
    unquoted = ground.log("controller").replace('\\"', '"')
    for problem in message.removeprefix('The Rollout "broken" is invalid: ').split("; spec."):
        words = " ".join(problem.split())
        assert words in described
        assert words in " ".join(got.out.split())
        assert words in " ".join((state.out + state.err).split())
        assert words in " ".join(unquoted.split())
    assert state.code == 3
    assert world.sizes().keys() == {"v1"}

    await world.phase("Healthy")
    await world.set_image("v2")
    await world.phase("Healthy", step=2)


async def test_a_missing_service_is_said_before_any_pod_starts_and_heals_when_it_comes(world: World):
    objects = blue_green()
    await world.apply(objects[2])
    await world.phase("Degraded")
    assert f"{APP}-active" in world.status()["message"]
    assert world.sizes() == {}
    await world.apply(service(f"{APP}-active", app=APP), service(f"{APP}-preview", app=APP))
    await world.phase("Healthy")
    assert world.sizes() == {"v1": 3}


async def test_the_sandbox_is_whole_after_all_this(ground: Ground):
    found = status(ground.config.directory())
    assert found.ready
    assert {one.state for one in found.parts} == {"running"}
