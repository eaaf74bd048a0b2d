"""Blue/green: beside, proved, switched, proved again, and the old version kept for a while."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from rollout.api.resources import REPLICA_SETS, ROLLOUTS, SERVICES, Resource
from rollout.api.rollout import HASH_LABEL
from rollout.runtime.kube import Object
from rollout.sandbox.workloads.podmodel import Behaviour
from tests.stories.objects import analysis, rollout, service, template
from tests.stories.world import World, play


def blue_green(**fields: Any) -> Object:
    return {"blueGreen": {"activeService": "web-active", "previewService": "web-preview", **fields}}


def objects() -> list[Object]:
    return [service("web-active"), service("web-preview"), template()]


def selected(world: World, which: str) -> str:
    return world.get(SERVICES, f"web-{which}")["spec"]["selector"].get(HASH_LABEL, "")


async def deployed(world: World, strategy: Object, **spec: Any) -> str:
    """Version 1 up and stable; its hash."""
    world.images["*"] = Behaviour(ready_in=3.0)
    world.apply(*objects())
    world.apply(rollout(strategy, replicas=3, **spec))
    await world.phase("web", "Healthy")
    return str(world.status("web")["stableRS"])


def test_first_deploy_switches_only_when_every_pod_is_up() -> None:
    async def story(world: World) -> None:
        v1 = await deployed(world, blue_green())
        assert selected(world, "active") == selected(world, "preview") == v1
        assert world.status("web")["blueGreen"]["activeSelector"] == v1
        assert world.status("web")["availableReplicas"] == 3

    play(story)


def test_a_release_is_previewed_proved_promoted_by_a_person_and_proved_again() -> None:
    async def story(world: World) -> None:
        strategy = blue_green(
            autoPromotionEnabled=False,
            scaleDownDelaySeconds=30,
            prePromotionAnalysis=analysis(),
            postPromotionAnalysis=analysis(),
        )
        v1 = await deployed(world, strategy)
        world.set_image("web", "web:v2")
        await world.phase("web", "Paused")
        v2 = world.status("web")["currentPodHash"]
        assert world.status("web")["message"] == "BlueGreenPause"
        assert (selected(world, "active"), selected(world, "preview")) == (v1, v2)
        assert world.runs() == {f"web-{v2}-2-pre": "Successful"}
        assert world.sets() == {"web:v1": 3, "web:v2": 3}
        await world.rest(3600)
        assert selected(world, "active") == v1
        world.command("web", {"pauseConditions": None})
        await world.until("switched", lambda: selected(world, "active") == v2)
        assert world.status("web")["stableRS"] == v1
        await world.phase("web", "Healthy")
        assert world.runs() == {f"web-{v2}-2-pre": "Successful", f"web-{v2}-2-post": "Successful"}
        await world.rest(20)
        assert world.sets() == {"web:v1": 3, "web:v2": 3}
        await world.until("v1 gone", lambda: world.sets() == {"web:v1": 0, "web:v2": 3}, within=20)
        await world.rest(30)
        assert await world.rest(600) == 0

    play(story)


def test_a_failed_pre_promotion_analysis_never_switches() -> None:
    async def story(world: World) -> None:
        v1 = await deployed(world, blue_green(prePromotionAnalysis=analysis()))
        world.judge.verdicts["-pre"] = "Failed"
        world.set_image("web", "web:v2")
        await world.phase("web", "Degraded")
        assert "Blue/green pre-promotion analysis phase failed" in world.status("web")["message"]
        assert selected(world, "active") == v1
        await world.until("v2 gone", lambda: world.sets() == {"web:v1": 3, "web:v2": 0}, within=60)
        assert selected(world, "preview") == v1

    play(story)


def test_a_failed_post_promotion_analysis_switches_back_at_once() -> None:
    async def story(world: World) -> None:
        v1 = await deployed(world, blue_green(postPromotionAnalysis=analysis()))
        world.judge.verdicts["-post"] = "Error"
        world.set_image("web", "web:v2")
        await world.until("switched", lambda: selected(world, "active") not in ("", v1))
        await world.phase("web", "Degraded")
        await world.until("back", lambda: selected(world, "active") == v1, within=2)
        assert world.status("web")["stableRS"] == v1
        assert world.sets()["web:v1"] == 3

    play(story)


def test_auto_promotion_waits_its_seconds() -> None:
    async def story(world: World) -> None:
        v1 = await deployed(world, blue_green(autoPromotionSeconds=120))
        world.set_image("web", "web:v2")
        await world.phase("web", "Paused")
        await world.rest(100)
        assert selected(world, "active") == v1
        await world.phase("web", "Healthy", within=40)
        assert selected(world, "active") != v1

    play(story)


def test_a_small_preview_grows_to_full_size_before_the_switch() -> None:
    async def story(world: World) -> None:
        v1 = await deployed(world, blue_green(previewReplicaCount=1, autoPromotionEnabled=False))
        world.set_image("web", "web:v2")
        await world.phase("web", "Paused")
        assert world.sets() == {"web:v1": 3, "web:v2": 1}
        world.command("web", {"pauseConditions": None})
        await world.until("grown", lambda: world.sets() == {"web:v1": 3, "web:v2": 3})
        assert selected(world, "active") == v1
        await world.phase("web", "Healthy")
        assert selected(world, "active") != v1

    play(story)


def test_a_rollback_while_the_old_version_is_up_is_immediate() -> None:
    async def story(world: World) -> None:
        v1 = await deployed(world, blue_green(autoPromotionSeconds=60, prePromotionAnalysis=analysis()))
        world.set_image("web", "web:v2")
        await world.phase("web", "Healthy")
        world.set_image("web", "web:v1")
        await world.until("back", lambda: selected(world, "active") == v1, within=3)
        await world.phase("web", "Healthy", within=5)
        assert any("Fast rollback" in message for _, message in world.events.told)

    play(story)


@pytest.mark.parametrize("after", [0.0, 20.0, 60.0])
@pytest.mark.parametrize("again", ["retry", "same image"])
def test_a_version_that_was_aborted_is_proved_again_however_soon_it_is_tried_again(
    after: float, again: str
) -> None:
    async def story(world: World) -> None:
        v1 = await deployed(world, blue_green(autoPromotionEnabled=False, prePromotionAnalysis=analysis()))
        world.set_image("web", "web:v2")
        await world.phase("web", "Paused")
        world.command("web", {"abort": True})
        await world.phase("web", "Degraded")
        await world.rest(after)
        if again == "retry":
            world.command("web", {"abort": False})
        else:
            world.set_image("web", "web:v1")
            await world.phase("web", "Healthy")
            world.set_image("web", "web:v2")
        before = len(world.runs())
        await world.phase("web", "Paused")
        assert selected(world, "active") == v1
        assert len(world.runs()) == before + 1
        await world.rest(120)
        assert selected(world, "active") == v1
        world.promote("web")
        await world.phase("web", "Healthy")
        assert selected(world, "active") != v1

    play(story)


@pytest.mark.parametrize("before", ["aborted", "overtaken"])
def test_a_version_that_was_never_stable_is_proved_although_it_is_older_and_still_up(before: str) -> None:
    async def story(world: World) -> None:
        gated = blue_green(
            autoPromotionEnabled=False, prePromotionAnalysis=analysis(), abortScaleDownDelaySeconds=0
        )
        await deployed(world, gated)
        world.set_image("web", "web:v2")
        await world.phase("web", "Paused")
        if before == "aborted":
            world.command("web", {"abort": True})
            await world.phase("web", "Degraded")
        world.set_image("web", "web:v3")
        await world.phase("web", "Paused")
        v3 = world.status("web")["currentPodHash"]
        world.promote("web")
        await world.phase("web", "Healthy")
        assert world.sets()["web:v2"] == 3  # still kept, and older than the stable version
        runs = len(world.runs())
        world.set_image("web", "web:v2")
        await world.phase("web", "Paused")
        assert selected(world, "active") == world.status("web")["stableRS"] == v3
        assert len(world.runs()) == runs + 1

    play(story)


def test_a_retry_in_the_moment_of_the_abort_proves_everything_again() -> None:
    async def story(world: World) -> None:
        v1 = await deployed(
            world, blue_green(prePromotionAnalysis=analysis(), postPromotionAnalysis=analysis())
        )
        world.judge.verdicts["-post"] = "Failed"
        retried: list[bool] = []

        def retry(kind: str, resource: Resource, old: Object | None, new: Object | None) -> None:
            """Somebody is quicker than the controller, which has saved the abort and done nothing about it yet."""
            if resource == ROLLOUTS and new is not None and new["status"].get("abort") and not retried:
                retried.append(selected(world, "active") != v1)
                world.judge.verdicts.clear()
                asyncio.get_running_loop().call_soon(world.command, "web", {"abort": False})

        world.storage.on_write(retry)
        world.set_image("web", "web:v2")
        await world.until("it is retried", lambda: bool(retried))
        assert retried == [True]
        await world.phase("web", "Healthy")
        v2 = world.status("web")["stableRS"]
        assert v2 != v1
        assert {f"web-{v2}-2-pre.1", f"web-{v2}-2-post.1"} <= set(world.runs())

    play(story)


def test_old_evidence_does_not_count_when_a_revision_gets_its_number_again() -> None:
    async def story(world: World) -> None:
        await deployed(world, blue_green(autoPromotionEnabled=False, prePromotionAnalysis=analysis()))
        world.set_image("web", "web:v2")
        await world.phase("web", "Paused")
        v2 = world.status("web")["currentPodHash"]
        world.command("web", {"abort": True})
        await world.until("v2 gone", lambda: world.sets() == {"web:v1": 3, "web:v2": 0}, within=60)
        world.set_image("web", "web:v1")
        world.storage.delete(REPLICA_SETS, "prod", f"web-{v2}")  # before anybody has given v1 a higher number
        await world.phase("web", "Healthy")
        world.set_image("web", "web:v2")
        await world.phase("web", "Paused")
        assert set(world.runs()) == {f"web-{v2}-2-pre", f"web-{v2}-2-pre.1"}

    play(story)


def test_an_abort_in_preview_leaves_the_active_version_alone() -> None:
    async def story(world: World) -> None:
        v1 = await deployed(world, blue_green(autoPromotionEnabled=False, abortScaleDownDelaySeconds=0))
        world.set_image("web", "web:v2")
        await world.phase("web", "Paused")
        world.command("web", {"abort": True})
        await world.phase("web", "Degraded")
        await world.rest(600)
        assert selected(world, "active") == v1
        assert world.sets() == {"web:v1": 3, "web:v2": 3}  # 0 = the aborted version is kept

    play(story)
