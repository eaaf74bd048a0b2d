"""The controller's reaper: always there when a fault could have left something, and silent when none could."""

from __future__ import annotations

import pytest

from chaos.controller.run import QUIET_REAP_SECONDS, REAP_SECONDS, ChaosController
from rollout.api.resources import ENVOY_FILTERS, Resource
from tests.stories.chaos_objects import chaos_run, deployment, opted_in
from tests.stories.test_chaos_crashes import chaos
from tests.stories.world import World


@pytest.mark.parametrize("denied", [set(), {ENVOY_FILTERS}], ids=["granted", "not granted"])
def test_the_reaper_asks_nothing_while_there_is_no_run_and_comes_when_there_is_one(
    denied: set[Resource], monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[float] = []
    real = ChaosController.reap

    async def noted(controller: ChaosController) -> bool:
        looks.append(controller._clock.monotonic())
        return await real(controller)

    monkeypatch.setattr(ChaosController, "reap", noted)

    async def story(world: World) -> None:
        world.faults.denied |= denied
        await world.clock.sleep(QUIET_REAP_SECONDS)
        assert len(looks) == 1, "soon after the start, and then no more"
        await world.clock.sleep(3 * QUIET_REAP_SECONDS)
        assert 2 <= len(looks) <= 4, "once in a long while"
        before, started = len(looks), world.clock.monotonic()
        world.apply(opted_in(), deployment(replicas=3), chaos_run())
        await world.until("the reaper comes", lambda: len(looks) > before, within=3 * REAP_SECONDS)
        assert looks[-1] - started <= 2 * REAP_SECONDS

    chaos(story)
