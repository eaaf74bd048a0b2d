"""A rollback window: going back to what was stable skips steps and gates; what was never stable is gated like any other."""

from __future__ import annotations

from typing import Any

import pytest

from rollout.api.resources import REPLICA_SETS, ROLLOUTS
from rollout.api.rollout import PROVED
from tests.stories.objects import analysis, canary, rollout, template
from tests.stories.world import World, play

STEPS: tuple[dict[str, Any], ...] = ({"setWeight": 50}, {"analysis": analysis()}, {"pause": {}})


async def released(world: World, image: str) -> None:
    world.set_image("web", image)
    await world.phase("web", "Paused")
    world.promote("web")
    await world.phase("web", "Healthy")


async def begun(world: World, *, window: bool = True) -> None:
    """v1 and v2 were stable, v3 was aborted, and v4 is stable."""
    more = {"rollbackWindow": {"revisions": 5}} if window else {}
    obj = rollout(canary(*STEPS))
    world.apply(template(), {**obj, "spec": {**obj["spec"], **more}})
    await world.phase("web", "Healthy")
    await released(world, "web:v2")
    world.set_image("web", "web:v3")
    await world.phase("web", "Paused")
    world.command("web", {"abort": True})
    await world.phase("web", "Degraded")
    await released(world, "web:v4")


def proved(world: World) -> set[str]:
    return {
        one["spec"]["template"]["spec"]["containers"][0]["image"]
        for one in world.list(REPLICA_SETS)
        if (one["metadata"].get("annotations") or {}).get(PROVED) == "true"
    }


def test_what_was_stable_skips_its_steps_and_gates() -> None:
    async def story(world: World) -> None:
        await begun(world)
        assert proved(world) == {"web:v1", "web:v2", "web:v4"}
        runs = len(world.runs())
        world.set_image("web", "web:v2")
        await world.phase("web", "Healthy")
        assert len(world.runs()) == runs
        assert "SkipSteps" in world.reasons()

    play(story)


def test_what_was_never_stable_is_gated_although_it_lies_in_the_window() -> None:
    async def story(world: World) -> None:
        await begun(world)
        runs = len(world.runs())
        world.set_image("web", "web:v3")
        await world.phase("web", "Paused")
        assert world.status("web")["currentStepIndex"] == 2
        assert len(world.runs()) == runs + 1

    play(story)


@pytest.mark.parametrize("switched_on", [False, True])
def test_without_a_window_nothing_is_marked_and_switching_it_on_marks_the_stable_version(
    switched_on: bool,
) -> None:
    async def story(world: World) -> None:
        await begun(world, window=False)
        assert proved(world) == set()
        if switched_on:
            world.patch(ROLLOUTS, "web", {"spec": {"rollbackWindow": {"revisions": 5}}})
            await world.until("v4 is marked", lambda: proved(world) == {"web:v4"})
            world.set_image("web", "web:v2")  # stable once, but nobody has noted it
            await world.phase("web", "Paused")
        await world.clock.sleep(60.0)
        assert await world.rest(300.0) == 0

    play(story)
