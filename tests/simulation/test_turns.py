"""Without turns, two controllers break the rules: what the turns are for (docs/decisions/006-turns.md)."""

from __future__ import annotations

import pytest

from rollout.controller.turns import Turns
from tests.simulation.regressions import BACK_BY_ONE_PERCENT
from tests.simulation.run import simulate


def test_two_controllers_that_act_without_asking_whose_turn_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Turns, "wait", lambda self, seen: 0.0)
    monkeypatch.setattr(Turns, "first", lambda self, seen: ())
    assert any(one.startswith("I4") for one in simulate(BACK_BY_ONE_PERCENT))
