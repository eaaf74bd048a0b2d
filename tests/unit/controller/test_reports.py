"""A status that only reports waits a moment; a decision never does."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from rollout.api.meta import Key
from rollout.api.rollout import (
    BlueGreenStatus,
    CanaryStatus,
    Condition,
    PauseCondition,
    RolloutStatus,
    RunStatus,
)
from rollout.controller.reports import CALM_SECONDS, MOVING_SECONDS, Reports
from rollout.plan.status import only_reports
from rollout.runtime.clock import LoopClock
from tests import virtual

WEB = Key("shop", "web")
HOLDS = Condition(type="Available", status="True", reason="AvailableReason", message="a")
STATUS = RolloutStatus(phase="Progressing", conditions=(HOLDS,), current_step_index=1)


def changed(**fields: Any) -> RolloutStatus:
    return msgspec.structs.replace(STATUS, **fields)


@pytest.mark.parametrize(
    "after",
    [
        changed(replicas=3, updated_replicas=1, ready_replicas=2, available_replicas=2, hpa_replicas=3),
        changed(message="more replicas need to be updated"),
        changed(conditions=(msgspec.structs.replace(HOLDS, message="b", last_update_time="now"),)),
        changed(
            canary=CanaryStatus(current_step_analysis_run_status=RunStatus(name="run", status="Running"))
        ),
        changed(blue_green=BlueGreenStatus(pre_promotion_analysis_run_status=RunStatus(name="run"))),
    ],
)
def test_what_was_only_seen_is_a_report(after: RolloutStatus) -> None:
    assert only_reports(STATUS, after)


@pytest.mark.parametrize(
    "after",
    [
        changed(phase="Paused"),
        changed(current_step_index=2),
        changed(stable_rs="v2"),
        changed(observed_generation="2"),
        changed(pause_conditions=(PauseCondition(reason="CanaryPauseStep", start_time="now"),)),
        changed(conditions=(msgspec.structs.replace(HOLDS, status="False"),)),
        changed(conditions=()),
        changed(blue_green=BlueGreenStatus(active_selector="v2")),
        changed(abort=True, replicas=3),
    ],
)
def test_a_decision_and_everything_of_an_abort_is_none(after: RolloutStatus) -> None:
    assert not only_reports(STATUS, after)


def test_a_report_waits_for_calm_but_not_for_ever_and_from_when_it_was_first_due() -> None:
    async def main(clock: LoopClock) -> None:
        reports = Reports(clock)
        assert reports.wait(WEB, moving=True) == pytest.approx(MOVING_SECONDS)
        assert reports.wait(WEB, moving=False) == pytest.approx(CALM_SECONDS)
        await clock.sleep(CALM_SECONDS)
        assert reports.wait(WEB, moving=False) == 0.0
        assert reports.wait(WEB, moving=True) == pytest.approx(MOVING_SECONDS - CALM_SECONDS)
        await clock.sleep(MOVING_SECONDS)
        assert reports.wait(WEB, moving=True) == 0.0
        reports.done(WEB)
        assert reports.wait(WEB, moving=False) == pytest.approx(CALM_SECONDS)

    virtual.run(main)
