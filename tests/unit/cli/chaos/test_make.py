"""What the chaos commands send: runs from templates, files and schedules; the switch."""

from __future__ import annotations

from typing import Any

import pytest

from rollout.api.analysis import Argument
from rollout.api.chaos import ChaosSchedule
from rollout.api.codec import view
from rollout.cli.chaos import make
from rollout.cli.exits import REFUSED, USAGE, Failure, Refused, code_of
from rollout.core.validate_chaos import validate_run
from tests.unit.cli.chaos import sample

Json = dict[str, Any]
PROBE = {
    "name": "up",
    "provider": {"http": {"url": "http://web/"}},
    "successCondition": "result.status == 200",
}


def template(**spec: Any) -> Json:
    body = {
        "target": {"workloadRef": {"kind": "Rollout", "name": "web"}, "percent": "{{args.percent}}"},
        "duration": "{{args.time}}",
        "steps": [{"name": "one", "faults": [{"name": "kill", "podDelete": {}}]}],
        "probes": [{**PROBE, "mode": "During"}],
        "args": [{"name": "percent"}, {"name": "time", "value": "5s"}],
    }
    return {"kind": "ChaosTemplate", "metadata": {"name": "kill", "namespace": "shop"}, "spec": body | spec}


def given(**values: str) -> list[Argument]:
    return [Argument(name=name, value=value) for name, value in values.items()]


# --- arguments ---


def test_arguments_are_split_at_the_first_equals_sign_only():
    (one, two) = make.arguments(["url=http://x/?a=b", "empty="])
    assert (one.name, one.value) == ("url", "http://x/?a=b")
    assert (two.name, two.value) == ("empty", "")


@pytest.mark.parametrize("text", ["percent", "=25", ""])
def test_what_is_no_argument_is_a_usage_error_that_says_how(text: str):
    with pytest.raises(Failure, match="write it as name=value") as caught:
        make.arguments([text])
    assert caught.value.code == USAGE


def test_arguments_become_numbers_where_numbers_are_wanted_and_defaults_hold():
    spec = make.from_template(template(), given(percent="25"))
    assert spec["target"]["percent"] == 25
    assert spec["duration"] == "5s"
    assert spec["templateRef"] == {"name": "kill"}


def test_all_arguments_that_lack_are_told_as_the_options_to_add():
    bare = template(args=[{"name": "percent"}, {"name": "time"}])
    with pytest.raises(Failure, match=r"add --arg percent=\.\.\. --arg time=\.\.\.") as caught:
        make.from_template(bare, [])
    assert caught.value.code == USAGE


def test_an_argument_from_a_secret_need_not_be_given():
    secret = {"name": "percent", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}
    probe = {**PROBE, "mode": "During"}
    probe["provider"] = {
        "http": {"url": "http://web/", "headers": [{"key": "X", "value": "{{args.percent}}"}]}
    }
    made = make.from_template(
        template(args=[secret], target={"podNames": ["a"]}, duration="5s", probes=[probe]), []
    )
    assert made["args"] == [secret]


def test_a_misspelt_argument_is_refused_with_those_that_there_are():
    with pytest.raises(Failure, match="--arg percentt: there is no such argument; it has: percent, time"):
        make.from_template(template(), given(percent="1", percentt="2"))


# --- files ---


def test_a_template_in_a_file_gives_its_runs_new_names_and_a_run_keeps_its_own():
    meta, _ = make.from_file([template()], given(percent="5"))
    assert meta == {"namespace": "shop", "generateName": "kill-"}
    meta, spec = make.from_file([{"kind": "Service"}, sample.raw()], [])
    assert meta["name"] == "kill"
    assert spec["steps"][0]["faults"][0] == {"name": "kill", "podDelete": {"method": "evict"}}


@pytest.mark.parametrize(
    ("documents", "said"),
    [
        ([], "chaos.yaml must hold exactly one ChaosRun or ChaosTemplate; it holds 0"),
        ([None, "text", {"kind": "Pod"}], "it holds 0"),
        ([sample.raw(), template()], "it holds 2"),
        ([{"kind": "ChaosRun"}], "needs metadata and a spec"),
        ([{"kind": "ChaosRun", "metadata": [], "spec": "x"}], "needs metadata and a spec"),
    ],
)
def test_a_file_without_exactly_one_run_is_a_usage_error(documents: list[Any], said: str):
    with pytest.raises(Failure, match=said) as caught:
        make.from_file(documents, [], "chaos.yaml")
    assert caught.value.code == USAGE


def test_a_text_where_a_number_is_wanted_is_refused_with_its_path():
    with pytest.raises(Refused, match=r'nothing was started\n  spec.target.percent: .*"abc"') as caught:
        make.from_file([template()], given(percent="abc"))
    assert code_of(caught.value) == REFUSED


# --- the object ---


def test_the_object_keeps_labels_and_annotations_says_who_asked_and_is_valid():
    meta = {
        "generateName": "kill-",
        "labels": {"a": "b"},
        "annotations": {"c": "d"},
        "uid": "old",
        "finalizers": ["x"],
    }
    obj = make.run_object(meta, make.from_template(template(), given(percent="5")), "shop", "alice", "")
    assert obj["metadata"] == {
        "generateName": "kill-",
        "namespace": "shop",
        "labels": {"a": "b"},
        "annotations": {"c": "d", "surefoot.dev/requested-by": "alice"},
    }
    assert validate_run(obj) == []


@pytest.mark.parametrize(("option", "field"), [("targets", "Targets"), ("probes", "Probes")])
def test_a_dry_run_is_in_the_spec(option: str, field: str):
    spec = make.from_template(template(), given(percent="5"))
    assert make.run_object({"name": "a"}, spec, "shop", "", option)["spec"]["dryRun"] == field


def test_an_unknown_dry_run_is_a_usage_error():
    with pytest.raises(Failure, match="must be targets or probes"):
        make.run_object({"name": "a"}, {}, "shop", "", "everything")


def test_all_problems_of_a_spec_are_told_one_a_line():
    spec = make.from_template(template(), given(percent="5")) | {"duration": "forever", "steps": []}
    with pytest.raises(Refused) as caught:
        make.run_object({"name": "a"}, spec, "shop", "", "")
    said = str(caught.value).splitlines()
    assert [line.split(":")[0] for line in said[1:]] == ["  spec.duration", "  spec.steps"]


# --- stop and the switch ---


def test_stopping_asks_once_and_refuses_what_has_completed():
    going = sample.raw(phase="Injecting", verdict="", completedAt=None)
    assert make.stop(view_of(going)) == {"spec": {"abort": True}}
    going["spec"]["abort"] = True
    assert make.stop(view_of(going)) is None
    with pytest.raises(Refused, match="has completed: Failed"):
        make.stop(sample.run())


def view_of(raw: Json) -> Any:
    from rollout.cli.chaos.shape import run_of

    return run_of(raw)


def test_a_halt_takes_nothing_away_that_another_halt_has_said_and_resume_takes_all():
    assert make.halt("", hold_releases=False)["spec"] == {"engaged": True}
    assert make.halt("fire", hold_releases=True)["spec"] == {
        "engaged": True,
        "holdReleases": True,
        "reason": "fire",
    }
    assert make.resume()["spec"] == {"engaged": False, "holdReleases": False, "reason": ""}


# --- schedules ---


def test_a_run_of_a_schedule_has_its_checks_as_probes_with_their_modes():
    raw = {
        "metadata": {"name": "weekly", "namespace": "shop"},
        "spec": {
            "schedule": "0 14 * * 2",
            "preChecks": [{**PROBE, "name": "before"}],
            "postChecks": [{**PROBE, "name": "after"}],
            "run": {"templateName": "kill", "args": [{"name": "percent", "value": "10"}]},
        },
    }
    spec = make.from_schedule(raw, view(raw, ChaosSchedule).spec.run, template())
    modes = [(one["name"], one["mode"]) for one in spec["probes"]]
    assert modes == [("up", "During"), ("before", "Start"), ("after", "End")]
    assert spec["target"]["percent"] == 10
    assert make.run_object({"name": "a"}, spec, "shop", "", "")


def test_a_schedule_that_cannot_make_a_run_says_why():
    raw = {"metadata": {"name": "w"}, "spec": {"schedule": "0 14 * * 2", "run": {"templateName": "kill"}}}
    with pytest.raises(Refused, match="percent"):
        make.from_schedule(raw, view(raw, ChaosSchedule).spec.run, template())
