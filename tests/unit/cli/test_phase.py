import pytest

from rollout.cli import exits
from rollout.cli.phase import exit_code, needs_person, outcome, outcome_of_abort, phase_of
from rollout.cli.summary import rollout_of
from tests.unit.cli import world


def of(obj):
    return rollout_of(obj)


def test_the_controllers_word_is_taken_when_it_has_seen_everything():
    assert str(phase_of(of(world.rollout()))) == "Paused - CanaryPauseStep"
    assert str(phase_of(of(world.healthy()))) == "Healthy"


@pytest.mark.parametrize(
    ("status", "message"),
    [
        ({"observedGeneration": "1"}, "waiting for rollout spec update to be observed"),
        ({"pauseConditions": []}, "waiting for rollout to unpause"),
        ({"abort": True}, "waiting for the abort to be observed"),
        ({"promoteFull": True}, "promoted in full, going on to the end"),
        (
            {"phase": "Degraded", "message": "RolloutAborted: x", "controllerPause": False},
            "waiting for the retry to be observed",
        ),
    ],
)
def test_a_status_from_before_the_latest_request_is_progressing(status, message):
    rollout = of(world.rollout(**status))

    assert (phase_of(rollout).name, phase_of(rollout).message) == ("Progressing", message)
    assert outcome(rollout) == "progressing"


def test_an_aborted_release_is_failed():
    rollout = of(world.rollout(phase="Degraded", message="RolloutAborted: x", abort=True))
    assert outcome(rollout) == "failed"


def test_a_rollout_that_no_controller_has_seen_says_so():
    obj = world.rollout()
    del obj["status"]
    assert "no controller" in phase_of(of(obj)).message


def test_a_generation_that_is_no_number_counts_as_seen():
    """The hash form that old releases of Argo Rollouts wrote."""
    assert phase_of(of(world.rollout(observedGeneration="7bf9d4c8d"))).name == "Paused"


def test_a_timed_pause_ends_by_itself_and_one_without_duration_waits_for_a_person():
    assert not needs_person(of(world.rollout()))
    assert needs_person(of(world.waiting_for_person()))
    assert outcome(of(world.rollout())) == "progressing"
    assert outcome(of(world.waiting_for_person())) == "paused"


def test_a_person_paused_it_so_a_person_must_go_on():
    obj = world.rollout()
    obj["spec"]["paused"] = True
    assert needs_person(of(obj))


def test_blue_green_waits_for_a_person_unless_it_promotes_itself_later():
    timed = world.blue_green()
    timed["spec"]["strategy"]["blueGreen"] |= {"autoPromotionEnabled": True, "autoPromotionSeconds": 30}

    assert needs_person(of(world.blue_green()))
    assert not needs_person(of(timed))


def test_an_inconclusive_analysis_waits_for_a_person():
    obj = world.rollout(pauseConditions=[{"reason": "InconclusiveAnalysisRun", "startTime": world.STARTED}])
    assert needs_person(of(obj))


def test_exit_codes_are_those_of_the_documentation():
    assert [exit_code(one) for one in ("healthy", "failed", "progressing", "paused")] == [0, 3, 4, 5]
    assert exit_code("paused", success_on_pause=True) == exits.OK
    assert exit_code("failed", success_on_pause=True) == exits.FAILED


def test_an_abort_is_done_when_no_request_goes_to_the_new_version():
    aborted = {"phase": "Degraded", "message": "RolloutAborted: x", "abort": True}
    routed_back = {"weights": {"canary": {"weight": 0}}}
    green = aborted | {"controllerPause": False, "pauseConditions": []}

    assert outcome_of_abort(of(world.rollout(**aborted))) == "progressing"
    assert outcome_of_abort(of(world.rollout(**aborted, canary=routed_back))) == "failed"
    assert outcome_of_abort(of(world.rollout(**aborted, canary={}, updatedReplicas=1))) == "progressing"
    assert outcome_of_abort(of(world.rollout(**aborted, canary={}, updatedReplicas=0))) == "failed"
    assert outcome_of_abort(of(world.blue_green(**green))) == "failed"
    assert (
        outcome_of_abort(of(world.blue_green(**green, blueGreen={"activeSelector": "new"}))) == "progressing"
    )


def test_a_status_about_an_older_workload_is_progressing():
    obj = world.healthy()
    obj["spec"]["workloadRef"] = {"kind": "Deployment", "name": "web"}
    del obj["spec"]["template"]
    obj["status"]["workloadObservedGeneration"] = "3"
    obj["metadata"]["annotations"]["rollout.argoproj.io/workload-generation"] = "3"
    assert phase_of(of(obj)).name == "Healthy"
    obj["metadata"]["annotations"]["rollout.argoproj.io/workload-generation"] = "4"
    assert str(phase_of(of(obj))) == (
        "Progressing - waiting for rollout spec update to be observed for the reference workload"
    )
