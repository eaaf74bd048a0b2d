import pytest
from msgspec.structs import replace

from rollout.api.resources import DEPLOYMENTS, POD_TEMPLATES
from rollout.cli.acting import with_workload
from rollout.cli.commands.get import name_in
from rollout.cli.commands.set_image import parse
from rollout.cli.exits import Refused
from rollout.cli.summary import rollout_of
from rollout.cli.verbs import (
    PROMOTED_BY,
    Change,
    Place,
    abort,
    pause,
    promote,
    promoted_by,
    restart,
    retry,
    set_images,
    undo,
)
from tests.unit.cli import world


def of(obj=None, **status):
    return rollout_of(obj or world.rollout(**status))


def sent(plan):
    return [(one.subresource, one.patch) for one in plan.changes]


RUNNING = {
    "controllerPause": False,
    "pauseConditions": [],
    "phase": "Progressing",
    "message": "more replicas",
}
ABORTED = {
    "abort": True,
    "phase": "Degraded",
    "message": "RolloutAborted: x",
    "controllerPause": False,
    "pauseConditions": [],
}


def test_promote_ends_a_pause():
    plan = promote(of())

    assert sent(plan) == [("status", {"status": {"pauseConditions": None}})]
    assert plan.said == "promoted: the pause at step 2/11 (CanaryPauseStep) ended"


def test_promote_of_an_inconclusive_analysis_also_steps_on():
    obj = world.rollout(pauseConditions=[{"reason": "InconclusiveAnalysisRun", "startTime": world.STARTED}])
    obj["status"]["canary"]["currentStepAnalysisRunStatus"] = {"name": "r", "status": "Inconclusive"}

    assert sent(promote(of(obj))) == [
        ("status", {"status": {"pauseConditions": None, "controllerPause": False, "currentStepIndex": 2}})
    ]


def test_promote_undoes_a_pause_by_hand_after_the_status():
    obj = world.rollout()
    obj["spec"]["paused"] = True
    assert sent(promote(of(obj))) == [
        ("status", {"status": {"pauseConditions": None}}),
        ("", {"spec": {"paused": False}}),
    ]

    obj["status"] |= {"pauseConditions": [], "controllerPause": False}
    assert sent(promote(of(obj))) == [("", {"spec": {"paused": False}})]


def test_promoting_twice_acts_once():
    """After the first request the pause is gone, and the controller has not gone on yet."""
    assert promote(of(pauseConditions=[])).changes == ()


def test_every_promotion_is_refused_when_the_rollout_has_changed_since():
    for plan in (promote(of()), promote(of(), full=True), promote(of(**RUNNING), skip_step=True)):
        assert all(change.exact for change in plan.changes)


def test_promote_of_what_is_not_paused_says_why_not_and_what_to_do():
    with pytest.raises(Refused, match=r"not paused.*more replicas.*at step 2/11 \(pause\)\n.*--skip-step"):
        promote(of(**RUNNING))
    with pytest.raises(Refused, match="stable one already"):
        promote(of(world.healthy()))
    with pytest.raises(Refused, match=r"was aborted.*\n.*rollout retry"):
        promote(of(**ABORTED))
    with pytest.raises(Refused, match="not seen the latest change"):
        promote(of(**(RUNNING | {"observedGeneration": "1"})))
    invalid = [{"type": "InvalidSpec", "status": "True", "message": "m"}]
    with pytest.raises(Refused, match="cannot be acted on"):
        promote(of(**(RUNNING | {"conditions": invalid})))
    with pytest.raises(Refused, match="--full"):
        promote(rollout_of(world.blue_green(**RUNNING)))


def test_promote_full_skips_everything_once():
    assert sent(promote(of(), full=True)) == [("status", {"status": {"promoteFull": True}})]
    assert promote(of(promoteFull=True), full=True).changes == ()
    with pytest.raises(Refused, match="stable one already"):
        promote(of(world.healthy()), full=True)


def test_skip_step_moves_on_from_an_unfinished_step():
    assert sent(promote(of(**RUNNING), skip_step=True)) == [
        ("status", {"status": {"pauseConditions": None, "currentStepIndex": 2}})
    ]
    with pytest.raises(Refused, match="no step"):
        promote(of(**(RUNNING | {"currentStepIndex": 11})), skip_step=True)


def test_abort_is_idempotent_and_needs_something_to_go_back_to():
    plan = abort(of(**RUNNING))
    assert sent(plan) == [("status", {"status": {"abort": True}})]
    assert not plan.changes[0].exact
    assert abort(of(**ABORTED)).changes == ()
    with pytest.raises(Refused, match="rollout undo web-frontend"):
        abort(of(world.healthy()))
    with pytest.raises(Refused, match="no stable version"):
        abort(of(stableRS=""))
    with pytest.raises(Refused, match="not seen"):
        abort(of(observedGeneration="1"))


def test_retry_needs_an_abort():
    assert sent(retry(of(**ABORTED))) == [("status", {"status": {"abort": False}})]
    with pytest.raises(Refused, match="not aborted"):
        retry(of())


def test_pause_and_restart():
    assert sent(pause(of())) == [("", {"spec": {"paused": True}})]
    obj = world.rollout()
    obj["spec"]["paused"] = True
    assert pause(of(obj)).changes == ()
    assert sent(restart(world.NOW)) == [("", {"spec": {"restartAt": "2026-11-21T12:10:00Z"}})]


def template(obj):
    return obj["spec"]["template"]


def test_undo_puts_the_template_of_the_previous_revision_back_without_our_label():
    obj = world.rollout()
    template(obj)["spec"]["containers"][0]["image"] = "web-frontend:v2"
    (change,) = undo(of(obj), template(obj), world.replica_sets()).changes

    assert change.type == "json"
    (operation,) = change.patch
    assert (operation["op"], operation["path"]) == ("replace", "/spec/template")
    assert operation["value"]["spec"]["containers"][0]["image"] == "web-frontend:v1"
    assert operation["value"]["metadata"]["labels"] == {"app": "web-frontend"}


def test_undo_refuses_what_makes_no_sense():
    obj = world.rollout()
    template(obj)["spec"]["containers"][0]["image"] = "web-frontend:v2"
    sets = world.replica_sets()
    with pytest.raises(Refused, match="no revision 7; it has 2, 1"):
        undo(of(obj), template(obj), sets, 7)
    with pytest.raises(Refused, match="revision 2 already"):
        undo(of(obj), template(obj), sets, 2)
    with pytest.raises(Refused, match="no other revision"):
        undo(of(obj), template(obj), sets[1:])


def test_undo_before_the_controller_has_seen_the_latest_image_goes_back_to_the_newest_revision():
    obj = world.rollout()
    template(obj)["spec"]["containers"][0]["image"] = "web-frontend:v3"

    assert "revision 2" in undo(of(obj), template(obj), world.replica_sets()).said


def test_set_image_changes_only_the_containers_that_differ():
    obj = world.rollout()
    spec = template(obj)["spec"]
    spec["containers"].append({"name": "log", "image": "log:v1"})

    one = set_images(of(obj), template(obj), {"log": "log:v2"})
    assert one.changes[0].patch == [
        {"op": "add", "path": "/spec/template/spec/containers/1/image", "value": "log:v2"}
    ]
    every = set_images(of(obj), template(obj), {"*": "log:v1"})
    assert [op["path"] for op in every.changes[0].patch] == ["/spec/template/spec/containers/0/image"]
    assert set_images(of(obj), template(obj), {"log": "log:v1"}).changes == ()
    with pytest.raises(Refused, match="no container nope; it has log, web-frontend"):
        set_images(of(obj), template(obj), {"nope": "x"})


DEPLOYMENT = Place(resource=DEPLOYMENTS, name="web", version="7")


def referring():
    """The same release whose template is in a Deployment; and that template."""
    obj = world.rollout()
    found = obj["spec"].pop("template")
    obj["spec"]["workloadRef"] = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    found["spec"]["containers"][0]["image"] = "web-frontend:v2"
    return of(obj), found


def test_set_image_and_undo_change_the_workload_where_it_has_the_template():
    rollout, found = referring()
    plan = set_images(rollout, found, {"web-frontend": "web-frontend:v3"}, DEPLOYMENT)
    assert plan.said == "image updated in Deployment web"
    assert plan.changes[0].place == DEPLOYMENT
    assert plan.changes[0].patch[0]["path"] == "/spec/template/spec/containers/0/image"
    back = undo(rollout, found, world.replica_sets(), 0, DEPLOYMENT)
    assert back.said == "undone in Deployment web: back to the pods of revision 1"
    assert back.changes[0].place == DEPLOYMENT
    in_template = Place(resource=POD_TEMPLATES, name="web", template="/template")
    (change,) = undo(rollout, found, world.replica_sets(), 0, in_template).changes
    assert change.patch[0]["path"] == "/template"


def test_waiting_goes_on_until_the_controller_has_seen_the_changed_workload():
    rollout, _ = referring()
    status = replace(rollout.status, workload_observed_generation="4", phase="Healthy", pause_conditions=())
    seen = replace(rollout, status=status)
    assert with_workload(lambda _: "healthy", 5)(seen) == "progressing"
    assert with_workload(lambda _: "healthy", 4)(seen) == "healthy"
    assert with_workload(lambda _: "healthy", 0)(rollout) == "healthy"


def test_exact_patches_carry_the_version_they_were_decided_at():
    assert Change({"status": {"a": 1}}).body("7") == {
        "status": {"a": 1},
        "metadata": {"resourceVersion": "7"},
    }
    assert Change({"status": {"a": 1}}, exact=False).body("7") == {"status": {"a": 1}}
    assert Change([{"op": "x"}], type="json").body("7")[0] == {
        "op": "replace",
        "path": "/metadata/resourceVersion",
        "value": "7",
    }


def test_who_promoted_is_one_annotation():
    patch = promoted_by("alice", world.NOW, of(), "promoted")
    assert patch["metadata"]["annotations"] == {
        PROMOTED_BY: '{"by":"alice","at":"2026-11-21T12:10:00Z","revision":"2","what":"promoted"}'
    }


def test_names_are_understood_in_three_spellings():
    assert [name_in(words) for words in (["a"], ["rollout", "a"], ["ro/a"], ["Rollouts", "a"])] == ["a"] * 4
    with pytest.raises(Exception, match="expected the name"):
        name_in(["pod", "a"])


def test_images_are_container_equals_image():
    assert parse(["a=b:v1", "*=c@sha256:1=2"]) == {"a": "b:v1", "*": "c@sha256:1=2"}
    for words in (["a"], ["=b"], ["a="], ["a=b", "a=c"]):
        with pytest.raises(Exception, match=r"CONTAINER=IMAGE|twice"):
            parse(words)
