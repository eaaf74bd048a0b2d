"""Without turns, two controllers break the rules: what the turns are for (docs/decisions/006-turns.md)."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from rollout.controller.turns import Turns
from tests.simulation.regressions import BACK_BY_ONE_PERCENT
from tests.simulation.run import simulate
from tests.simulation.scenario import Scenario

MOMENTS = (
    BACK_BY_ONE_PERCENT,
    replace(BACK_BY_ONE_PERCENT, seed=4, faults={47: "crash-before", 72: "lost-reply"}, watch={116: "delay"}),
    replace(
        BACK_BY_ONE_PERCENT, seed=3, faults={50: "crash-after", 77: "crash-before"}, watch={105: "delay"}
    ),
    replace(BACK_BY_ONE_PERCENT, faults={28: "lost-reply", 47: "lost-reply"}, watch={74: "delay"}),
)
"""When things go wrong, counted in writes and events: whatever changes their number, one of these still hits."""


def test_two_controllers_that_act_without_asking_whose_turn_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Turns, "wait", lambda self, seen: 0.0)
    monkeypatch.setattr(Turns, "first", lambda self, seen: ())
    assert any(one.startswith("I4") for moment in MOMENTS for one in simulate(moment))


@pytest.mark.parametrize("moment", MOMENTS)
def test_two_controllers_that_ask(moment: Scenario) -> None:
    assert simulate(moment) == []
