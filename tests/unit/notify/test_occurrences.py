"""What the states of objects tell of."""

from __future__ import annotations

from typing import Any

import pytest

from rollout.notify.occurrences import REASONS, edges, occurrences, trigger_of
from tests.unit.notify.objects import T1, aborted, analysis, changed, completed, condition, rollout


def reasons(obj: dict[str, Any]) -> list[str]:
    return [one.reason for one in occurrences(obj)]


def test_a_release_that_begins_is_told() -> None:
    assert reasons(rollout()) == ["RolloutUpdated"]


def test_nothing_is_read_from_a_status_of_another_generation() -> None:
    obj = rollout()
    obj["metadata"]["generation"] = 3
    assert reasons(obj) == []


def test_nothing_is_read_from_a_status_of_another_state_of_the_workload() -> None:
    obj = completed(
        annotations={"rollout.argoproj.io/workload-generation": "7"}, workloadObservedGeneration="6"
    )
    assert reasons(obj) == []
    assert reasons(changed(obj, workloadObservedGeneration="7")) == ["RolloutCompleted"]


def test_the_present_step_is_told_with_what_was_done() -> None:
    step = occurrences(rollout(currentStepIndex=1))[1]
    assert (step.reason, step.message) == (
        "RolloutStepCompleted", "Rollout web has completed step 1 of 3 (setWeight: 20)"
    )  # fmt: skip


def test_the_last_step_is_told_by_the_change_even_when_the_release_completes_with_it() -> None:
    before, after = rollout(currentStepIndex=2), completed()
    assert [one.reason for one in edges(before, after)] == ["RolloutStepCompleted"]


def test_steps_that_a_full_promotion_leaves_out_are_not_told() -> None:
    assert edges(rollout(currentStepIndex=1, promoteFull=True), completed()) == []


def test_steps_that_an_initial_deploy_skips_are_not_told() -> None:
    assert reasons(rollout(currentStepIndex=3, stableRS="")) == ["RolloutUpdated"]


@pytest.mark.parametrize(
    ("step", "told"),
    [({"pause": {}}, True), ({"pause": None}, True), ({"pause": {"duration": "1h"}}, False)],
)
def test_a_pause_without_an_end_waits_for_approval(step: dict[str, Any], *, told: bool) -> None:
    obj = rollout(currentStepIndex=1, pauseConditions=[{"reason": "CanaryPauseStep", "startTime": T1}])
    obj["spec"]["strategy"]["canary"]["steps"][1] = step
    assert "RolloutPaused" in reasons(obj)
    assert ("RolloutWaitingForApproval" in reasons(obj)) is told


@pytest.mark.parametrize(
    ("strategy", "told"),
    [
        ({"autoPromotionEnabled": False}, True),
        ({"autoPromotionEnabled": False, "autoPromotionSeconds": 30}, True),
        ({"autoPromotionSeconds": 30}, False),
        ({"autoPromotionSeconds": "soon"}, True),  # cannot be read, so nothing goes on
    ],
)
def test_a_blue_green_that_only_a_person_promotes_waits_for_approval(
    strategy: dict[str, Any], *, told: bool
) -> None:
    obj = rollout(pauseConditions=[{"reason": "BlueGreenPause", "startTime": T1}])
    obj["spec"]["strategy"] = {"blueGreen": {"activeService": "web", **strategy}}
    assert "RolloutPaused" in reasons(obj)
    assert ("RolloutWaitingForApproval" in reasons(obj)) is told


def test_an_inconclusive_analysis_waits_for_approval() -> None:
    obj = rollout(pauseConditions=[{"reason": "InconclusiveAnalysisRun", "startTime": T1}])
    assert "RolloutWaitingForApproval" in reasons(obj)


def test_an_abort_is_told_once_its_reason_is_saved() -> None:
    early = aborted()
    early["status"]["conditions"][0]["reason"] = "ReplicaSetUpdated"
    assert reasons(early) == []
    assert reasons(aborted()) == ["RolloutAborted", "RolloutRolledBack"]


def test_a_release_is_not_rolled_back_while_it_has_traffic() -> None:
    obj = changed(aborted(), canary={"weights": {"canary": {"weight": 20}}})
    assert reasons(obj) == ["RolloutAborted"]


def test_a_blue_green_release_is_rolled_back_when_the_stable_version_is_active() -> None:
    assert "RolloutRolledBack" in reasons(
        aborted() | {"status": aborted()["status"] | {"blueGreen": {"activeSelector": "old"}}}
    )
    other = changed(aborted(), blueGreen={"activeSelector": "abc"})
    assert "RolloutRolledBack" not in reasons(other)


def test_going_back_to_the_stable_template_in_mid_release_is_a_rollback() -> None:
    back = rollout(currentPodHash="old")
    back["metadata"]["annotations"]["rollout.argoproj.io/revision"] = "3"
    assert [one.reason for one in edges(rollout(), back)] == ["RolloutRolledBack"]


def test_retried_and_resumed_are_told_by_the_change() -> None:
    assert [one.reason for one in edges(aborted(), rollout())] == ["RolloutRetry"]
    paused = rollout(pauseConditions=[{"reason": "CanaryPauseStep", "startTime": T1}])
    assert [one.reason for one in edges(paused, rollout())] == ["RolloutResumed"]
    assert edges(paused, aborted()) == []


def test_an_invalid_spec_is_told_once_per_generation() -> None:
    wrong = rollout(conditions=[condition("InvalidSpec", "True", "InvalidSpec", "spec.replicas: no")])
    assert [one.id for one in occurrences(wrong) if one.reason == "InvalidSpec"] == ["invalid/2"]


def test_a_deadline_is_degraded_and_an_abort_is_not_told_twice() -> None:
    late = rollout(
        phase="Degraded", conditions=[condition("Progressing", "False", "ProgressDeadlineExceeded", "slow")]
    )
    assert reasons(late) == ["RolloutDegraded"]
    assert "RolloutDegraded" not in reasons(aborted())


def test_the_same_state_gives_the_same_ids_and_the_next_release_others() -> None:
    ids = {one.id for one in occurrences(completed())}
    assert ids == {one.id for one in occurrences(completed())}
    assert ids.isdisjoint({one.id for one in occurrences(completed(revision="4"))})


@pytest.mark.parametrize("phase", ["Failed", "Error", "Inconclusive", "Successful"])
def test_how_an_analysis_ended_is_told(phase: str) -> None:
    expected = ["AnalysisRunRunning", f"AnalysisRun{phase}"] + (
        ["GatePassed"] if phase == "Successful" else []
    )
    assert reasons(analysis(phase)) == expected


def test_a_background_analysis_is_no_gate() -> None:
    assert "GatePassed" not in reasons(analysis("Successful", "Background"))


def chaos(kind: str = "ChaosRun", **status: Any) -> dict[str, Any]:
    return {"kind": kind, "metadata": {"name": "kill", "uid": "u-9"}, "status": status}


def test_chaos_runs_tell_how_they_went() -> None:
    run = chaos(
        phase="Completed", verdict="Error", startedAt=T1, stopping="Switch: halted by ops", stoppingAt=T1,
        receipts=[{"id": "f-1", "state": "Unverified", "revertedAt": T1}], completedAt=T1,
    )  # fmt: skip
    assert reasons(run) == ["ChaosRunStarted", "ChaosRunHalted", "RevertUnverified", "ChaosRunError"]


def test_a_missed_time_of_a_schedule_is_told_apart_from_one_left_out() -> None:
    skipped = [
        {"at": T1, "what": "Missed", "message": "late"},
        {"at": T1, "what": "StillRunning", "message": "busy"},
    ]
    assert reasons(chaos("ChaosSchedule", skipped=skipped)) == ["ChaosRunMissed", "ChaosRunSkipped"]


def test_the_switch_tells_when_it_is_engaged_and_when_it_is_not_any_more() -> None:
    on = {"kind": "ChaosSwitch", "metadata": {"name": "default", "generation": 2}, "spec": {"engaged": True}}
    off = {"kind": "ChaosSwitch", "metadata": {"name": "default", "generation": 3}, "spec": {}}
    assert reasons(on) == ["ChaosHalted"]
    assert [one.reason for one in edges(on, off)] == ["ChaosResumed"]


@pytest.mark.parametrize(
    "obj", [{}, {"kind": "Pod"}, {"kind": "Rollout", "status": 3}, {"kind": "ChaosRun", "status": []}]
)
def test_what_is_not_as_expected_tells_nothing(obj: dict[str, Any]) -> None:
    assert occurrences(obj) == []
    assert edges(obj, obj) == []


def test_every_reason_that_is_told_is_listed_and_has_a_trigger_as_users_know_it() -> None:
    told = {one for name in (rollout(), aborted(), completed(), analysis()) for one in reasons(name)}
    assert told <= REASONS.keys()
    assert trigger_of("RolloutStepCompleted") == "on-rollout-step-completed"
    assert trigger_of("AnalysisRunFailed") == "on-analysis-run-failed"
