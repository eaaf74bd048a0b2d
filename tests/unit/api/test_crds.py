from copy import deepcopy

import pytest
import yaml

from rollout.api.codec import encode
from rollout.api.crds import FOLDER, crds, filename, schema, yaml_of
from rollout.api.fields import UNSUPPORTED, fields_of
from rollout.api.rollout import Rollout
from rollout.sandbox.schema.structural import prune, unknown_fields
from rollout.sandbox.schema.validation import validate
from tests.unit.validate.examples import blue_green, canary, documents, edited

LIMIT = 256 * 1024


def definition(kind):
    crd = next(one for one in crds() if one["spec"]["names"]["kind"] == kind)
    return crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]


def refused(obj, old=None):
    return [str(error) for error in validate(obj, definition(obj["kind"]), old)]


def test_the_committed_files_are_what_the_types_say():
    assert {path.name for path in FOLDER.iterdir()} == {filename(crd) for crd in crds()}
    for crd in crds():
        committed = (FOLDER / filename(crd)).read_text(encoding="utf-8")
        assert committed == yaml_of(crd), "run python -m rollout.api.crds"
        assert yaml.safe_load(committed) == crd


def test_each_definition_fits_into_the_annotation_of_client_side_apply():
    assert all(len(encode(crd)) < LIMIT for crd in crds())


def test_names_and_subresources_are_those_that_outsiders_use():
    found = {
        crd["metadata"]["name"]: (
            crd["spec"]["names"]["shortNames"],
            crd["spec"]["scope"],
            sorted(crd["spec"]["versions"][0].get("subresources", {})),
        )
        for crd in crds()
    }

    assert found == {
        "rollouts.argoproj.io": (["ro"], "Namespaced", ["scale", "status"]),
        "analysisruns.argoproj.io": (["ar"], "Namespaced", []),
        "analysistemplates.argoproj.io": (["at"], "Namespaced", []),
        "clusteranalysistemplates.argoproj.io": (["cat"], "Cluster", []),
        "experiments.argoproj.io": (["exp"], "Namespaced", []),
        "decisionrecords.surefoot.dev": (["dec"], "Namespaced", []),
        "chaosruns.surefoot.dev": (["chaos"], "Namespaced", ["status"]),
        "chaostemplates.surefoot.dev": (["chaost"], "Namespaced", []),
        "chaosschedules.surefoot.dev": (["chaoss"], "Namespaced", ["status"]),
        "chaosswitches.surefoot.dev": (["chaossw"], "Cluster", ["status"]),
    }


@pytest.mark.parametrize("name", ["rollout-canary-istio.yaml", "rollout-bluegreen.yaml"])
def test_the_manifests_that_users_have_pass_unchanged(name):
    for document in documents(name):
        assert refused(document) == []
        assert unknown_fields(document, definition(document["kind"])) == []
        assert prune(document, definition(document["kind"])) == document


def test_fields_that_are_not_supported_yet_are_kept_so_that_they_can_be_refused():
    rollout = edited(canary(), "spec.strategy.canary.pingPong", {"pingService": "a", "pongService": "b"})

    assert refused(rollout) == []
    assert prune(rollout, definition("Rollout")) == rollout


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("spec.strategy.blueGreen", {"activeService": "a"}, "exactly one of canary and blueGreen"),
        ("spec.workloadRef", {"kind": "Deployment", "name": "web"}, "only one of template and workloadRef"),
        ("spec.strategy.canary.steps.0", {"setWeight": 5, "pause": {}}, "a step must have exactly one kind"),
        ("spec.strategy.canary.steps.0", {}, "a step must have exactly one kind"),
        ("spec.strategy.canary.steps.0", {"setWeight": 101}, "less than or equal to 100"),
        ("spec.strategy.canary.steps.0", {"setCanaryScale": {}}, "exactly one of weight"),
        ("spec.strategy.canary.maxSurge", "ten", "maxSurge"),
        ("spec.strategy.canary.canaryService", "web", "canaryService and stableService must differ"),
        ("spec.replicas", -1, "greater than or equal to 0"),
    ],
)
def test_the_api_server_refuses_what_the_rules_forbid(path, value, words):
    rollout = edited(canary(), "spec.strategy.canary.stableService", "web")

    found = refused(edited(rollout, path, value))

    assert len(found) == 1, found
    assert words in found[0]


def test_blue_green_needs_two_different_services():
    same = edited(blue_green(), "spec.strategy.blueGreen.previewService", "myapp-active")
    none = edited(blue_green(), "spec.strategy.blueGreen.activeService", "")

    assert ["activeService and previewService must differ" in one for one in refused(same)] == [True]
    assert ["activeService must be set" in one for one in refused(none)] == [True]


def test_the_selector_never_changes():
    other = edited(canary(), "spec.selector.matchLabels.app", "other")

    assert any("selector is immutable" in one for one in refused(other, canary()))
    scaled = edited(canary(), "spec.replicas", 3)
    assert refused(scaled, canary()) == []


def test_every_unsupported_field_is_in_the_schema():
    found: set[str] = set()

    def walk(node):
        for name, member in (node.get("properties") or {}).items():
            if member.get("description") == "Not supported yet: it is refused.":
                found.add(name)
            walk(member)
        if "items" in node:
            walk(node["items"])

    walk(schema(fields_of(Rollout)))
    assert found == {name for fields in UNSUPPORTED.values() for name in fields}


def test_generating_twice_gives_the_same_and_shares_nothing_that_can_be_changed():
    before = deepcopy(crds())
    crds()[0]["spec"]["names"]["kind"] = "Other"
    assert crds() == before


def chaos_run(**spec):
    fault = {"name": "kill", "podDelete": {}}
    return {
        "apiVersion": "surefoot.dev/v1alpha1",
        "kind": "ChaosRun",
        "metadata": {"name": "run", "namespace": "prod"},
        "spec": {"target": {"podNames": ["web-1"]}, "steps": [{"faults": [fault]}], "duration": "30s"} | spec,
    }


def faults(*found):
    return {"steps": [{"faults": list(found)}]}


def test_a_chaos_run_is_taken_as_it_is():
    run = chaos_run(probes=[{"name": "up", "mode": "Edge", "templateRef": {"name": "up"}}])

    assert refused(run) == []
    assert prune(run, definition("ChaosRun")) == run


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (faults({"name": "a"}), "a fault must have exactly one kind"),
        (faults({"name": "a", "podDelete": {}, "httpAbort": {}}), "a fault must have exactly one kind"),
        (faults({"name": "a", "scaleDown": {}}), "exactly one of replicas and percent"),
        (faults({"name": "a", "httpAbort": {"percent": 101}}), "less than or equal to 100"),
        ({"target": {"count": 1, "percent": 5}}, "count and percent exclude each other"),
        ({"probes": [{"name": "up", "mode": "End"}]}, "exactly one of provider and templateRef"),
        (
            {"probes": [{"name": "up", "mode": "Ende", "provider": {}}]},
            "spec.probes[0].mode: Unsupported value",
        ),
        ({"steps": [{}] * 33}, "must have at most 32 items"),
    ],
)
def test_the_api_server_refuses_a_chaos_run_that_is_not_one(spec, words):
    assert words in refused(chaos_run(**spec))[0]


def test_a_chaos_run_that_was_made_can_be_aborted_and_nothing_else():
    run = chaos_run(seed=3)

    assert refused(chaos_run(seed=3, abort=True), run) == []
    assert any("one execution" in one for one in refused(chaos_run(seed=3, duration="2h"), run))
    assert any("one execution" in one for one in refused(chaos_run(), run))


def test_a_schedule_names_a_template_or_a_spec():
    def schedule(**run):
        return {"kind": "ChaosSchedule", "spec": {"schedule": "0 3 * * 1", "run": run}}

    assert refused(schedule(templateName="kill")) == refused(schedule(spec={})) == []
    assert refused(schedule()) != []
    assert refused(schedule(templateName="kill", spec={})) != []


def test_the_hours_of_a_window_are_called_from_and_to():
    window = definition("ChaosSchedule")["properties"]["spec"]["properties"]["windows"]["items"]

    assert set(window["properties"]) == {"days", "from", "to"}
