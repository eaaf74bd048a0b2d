"""The brake against write storms."""

from __future__ import annotations

from rollout.api.meta import Key
from rollout.controller.pace import Pace
from rollout.runtime.clock import LoopClock
from tests import virtual

KEY, OTHER = Key("prod", "web"), Key("prod", "api")


def test_a_burst_passes_then_two_a_second_and_each_rollout_has_its_own() -> None:
    async def story(clock: LoopClock) -> None:
        pace = Pace(clock, burst=3, per_second=2)
        assert [pace.wait(KEY) for _ in range(4)] == [0.0, 0.0, 0.0, 0.5]
        assert pace.wait(OTHER) == 0.0
        await clock.sleep(0.5)
        assert pace.wait(KEY) == 0.0
        assert pace.wait(KEY) > 0.0
        await clock.sleep(60)
        assert [pace.wait(KEY) for _ in range(3)] == [0.0, 0.0, 0.0]
        assert pace.wait(KEY) > 0.0

    virtual.run(story)
