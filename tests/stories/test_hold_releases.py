"""ChaosSwitch.holdReleases: no new version begins, and nothing else changes."""

from __future__ import annotations

import pytest

from rollout.api.resources import CHAOS_SWITCHES
from rollout.runtime.kube import Object
from tests.stories.objects import canary, mesh, rollout, service
from tests.stories.world import World, play

WHY = "held by ChaosSwitch default: INC-7"
STEPS = canary({"setWeight": 20}, {"pause": {}})


def hold(world: World, *, held: bool = True) -> None:
    spec = {"holdReleases": held, "reason": "INC-7"}
    meta = {"name": "default"}
    world.apply(
        {"apiVersion": "surefoot.dev/v1alpha1", "kind": "ChaosSwitch", "metadata": meta, "spec": spec}
    )


async def told(world: World, message: str = WHY) -> None:
    await world.until(f"it says {message}", lambda: world.status("web").get("message") == message, within=30)


@pytest.mark.parametrize(
    "strategy", [STEPS, {"blueGreen": {"activeService": "web-active", "previewService": "web-preview"}}]
)
def test_a_new_version_waits_until_the_switch_lets_go(strategy: Object) -> None:
    async def story(world: World) -> None:
        world.apply(service("web-active"), service("web-preview"), rollout(strategy))
        await world.phase("web", "Healthy")
        hold(world)
        world.set_image("web", "web:v2")
        await told(world)
        await world.phase("web", "Paused")
        assert world.sets() == {"web:v1": 5}
        assert world.reasons().count("ReleaseHeld") == 1
        await world.rest(60)
        assert await world.rest(3600) == 0
        hold(world, held=False)
        await world.until("v2 begins", lambda: "web:v2" in world.sets(), within=30)
        assert WHY not in world.status("web").get("message", "")

    play(story)


def test_a_release_that_is_under_way_goes_on_and_only_the_next_one_waits() -> None:
    async def story(world: World) -> None:
        world.apply(rollout(STEPS))
        await world.phase("web", "Healthy")
        world.set_image("web", "web:v2")
        await world.phase("web", "Paused")
        hold(world)
        await world.rest(60)
        assert world.status("web")["message"] == "CanaryPauseStep"
        world.set_image("web", "web:v3")
        await told(world, f"CanaryPauseStep; {WHY}")
        world.promote("web")
        await told(world)
        assert world.sets() == {"web:v1": 0, "web:v2": 5}
        hold(world, held=False)
        await world.until("v3 begins", lambda: world.sets().get("web:v3") == 1, within=60)

    play(story)


def test_an_abort_and_the_way_back_to_stable_work_while_releases_are_held() -> None:
    async def story(world: World) -> None:
        world.apply(rollout(STEPS))
        await world.phase("web", "Healthy")
        world.set_image("web", "web:v2")
        await world.phase("web", "Paused")
        hold(world)
        world.set_image("web", "web:v3")
        await told(world, f"CanaryPauseStep; {WHY}")
        world.command("web", {"abort": True})
        await world.phase("web", "Degraded")
        await world.until("v1 alone", lambda: world.sets() == {"web:v1": 5, "web:v2": 0}, within=120)
        assert world.status("web")["message"].endswith(WHY)
        world.set_image("web", "web:v1")
        await world.phase("web", "Healthy")

    play(story)


def test_scaling_and_the_first_deployment_are_not_held() -> None:
    async def story(world: World) -> None:
        hold(world)
        world.apply(*mesh(), rollout(STEPS))
        await world.phase("web", "Healthy")
        world.edit("web", {"replicas": 7})
        await world.until("seven pods", lambda: world.sets() == {"web:v1": 7})
        world.set_image("web", "web:v2")
        await told(world)
        world.edit("web", {"replicas": 3})
        await world.until("three pods", lambda: world.sets() == {"web:v1": 3})

    play(story)


def test_a_hold_survives_a_restart_of_the_controller() -> None:
    async def story(world: World) -> None:
        world.apply(rollout(STEPS))
        await world.phase("web", "Healthy")
        hold(world)
        await world.clock.sleep(1)
        world.crash()
        world.set_image("web", "web:v2")
        await told(world)
        await world.rest(600)
        assert world.sets() == {"web:v1": 5}
        world.storage.delete(CHAOS_SWITCHES, None, "default")
        await world.until("v2 begins", lambda: world.sets().get("web:v2") == 1, within=30)

    play(story)
