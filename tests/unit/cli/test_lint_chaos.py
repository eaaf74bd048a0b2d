"""Lint of chaos objects: the controller's own rules, and what the files name among each other."""

import yaml

from rollout.cli.linting import lint
from rollout.cli.manifests import read

RUN = {
    "target": {"workloadRef": {"kind": "Deployment", "name": "web"}},
    "steps": [{"faults": [{"name": "kill", "podDelete": {}}]}],
    "probes": [{"name": "up", "mode": "Edge", "templateRef": {"name": "up"}}],
}


def obj(kind, spec, name="it"):
    return {
        "apiVersion": "surefoot.dev/v1alpha1",
        "kind": kind,
        "metadata": {"name": name, "namespace": "prod"},
        "spec": spec,
    }


def found(*objects, **options):
    text = yaml.safe_dump_all(objects)
    return [
        (one.severity, one.path, one.message) for one in lint(list(read("x.yaml", text)), **options).findings
    ]


def test_a_template_of_a_probe_that_the_files_do_not_have_is_a_note():
    (note,) = found(obj("ChaosRun", RUN))

    assert note == ("note", "spec.probes[0].templateRef", 'AnalysisTemplate "up" is not in these files')
    assert found(obj("ChaosRun", RUN), complete=True)[0][0] == "error"


def test_a_run_is_judged_by_the_rules_of_the_controller():
    (error,) = found(obj("ChaosRun", RUN | {"duration": "soon"}))

    assert error[:2] == ("error", "spec.duration")


def test_what_is_allowed_and_hardly_meant_is_a_warning():
    assert [one[:2] for one in found(obj("ChaosRun", RUN | {"probes": []}))] == [("warning", "spec.probes")]


def test_a_schedule_is_judged_with_the_template_and_the_arguments_it_names():
    spec = RUN | {"probes": [], "duration": "{{args.for}}", "args": [{"name": "for"}]}
    template = obj("ChaosTemplate", spec, "kill")

    def schedule(value):
        use = {"templateName": "kill", "args": [{"name": "for", "value": value}]}
        return obj("ChaosSchedule", {"schedule": "0 3 * * 1", "run": use})

    right, wrong = found(template, schedule("20s")), found(template, schedule("soon"))

    assert [one[0] for one in right] == ["note", "warning"]
    assert any(one[0] == "error" and "soon" in one[2] for one in wrong)


def test_a_schedule_with_checks_has_probes():
    check = {
        "name": "well",
        "provider": {"prometheus": {"address": "http://p:9090", "query": "up"}},
        "successCondition": "result[0] == 1",
    }
    spec = {"schedule": "0 3 * * 1", "run": {"spec": RUN | {"probes": []}}, "preChecks": [check]}

    assert found(obj("ChaosSchedule", spec)) == []
    assert [one[0] for one in found(obj("ChaosSchedule", {**spec, "preChecks": []}))] == ["warning"]


def test_a_switch_and_an_unknown_kind():
    assert found(obj("ChaosSwitch", {"engaged": True, "caps": {"maxDuration": "2h"}})) == []
    assert found(obj("ChaosSwitch", {"engage": True}))[0][:2] == ("error", "spec.engage")
    assert found(obj("ChaosThing", {}))[0][:2] == ("error", "kind")
