from copy import deepcopy

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from rollout.cli.linting import lint
from rollout.cli.manifests import Document, Unreadable, read
from tests.unit.validate.examples import FOLDER, blue_green, canary, documents, edited

ISTIO_FILE = (FOLDER / "rollout-canary-istio.yaml").read_text()


def report(*objects, complete=False):
    text = yaml.safe_dump_all(deepcopy(objects), sort_keys=False)
    return lint(list(read("f.yaml", text)), complete=complete)


def errors(*objects, **options):
    return [
        f"{one.path}: {one.message}"
        for one in report(*objects, **options).findings
        if one.severity == "error"
    ]


def virtual_service(**changes):
    route = {
        "name": "primary",
        "route": [
            {"destination": {"host": "web", "subset": "stable"}, "weight": 100},
            {"destination": {"host": "web", "subset": "canary"}, "weight": 0},
        ],
    }
    return {
        "apiVersion": "networking.istio.io/v1beta1",
        "kind": "VirtualService",
        "metadata": {"name": "web-frontend-vs"},
        "spec": {"hosts": ["web"], "http": [route | changes]},
    }


def destination_rule(*subsets):
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "DestinationRule",
        "metadata": {"name": "web-frontend-dr"},
        "spec": {"host": "web", "subsets": [{"name": name} for name in subsets or ("canary", "stable")]},
    }


def service(name, **selector):
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": {"selector": selector}}


CANARY = documents("rollout-canary-istio.yaml")


def test_the_manifests_that_users_have_pass_with_notes_about_what_is_elsewhere():
    found = lint(list(read("f.yaml", ISTIO_FILE)))

    assert not found.failed
    assert found.checked == 2
    assert [one.line for one in found.findings] == [38, 42]
    assert "VirtualService" in str(found.findings[0])


def test_complete_files_pass_without_a_note_and_missing_ones_fail_when_asked():
    whole = [*CANARY, virtual_service(), destination_rule()]

    assert report(*whole, complete=True).findings == ()
    assert report(*CANARY, complete=True).failed


def test_each_problem_has_the_line_of_its_field():
    (finding,) = [
        one
        for one in lint(list(read("f", ISTIO_FILE.replace("setWeight: 40", "setWeight: 140")))).findings
        if one.severity == "error"
    ]

    assert ISTIO_FILE.splitlines()[finding.line - 1].strip() == "- setWeight: 40"
    assert str(finding).startswith(
        f"f:{finding.line}: error: Rollout web-frontend: spec.strategy.canary.steps[5]"
    )


def test_a_route_or_a_subset_that_does_not_exist_is_found():
    whole = [*CANARY, virtual_service(name="other"), destination_rule("stable", "v2")]

    found = "\n".join(errors(*whole))

    assert "no http route of this name" in found
    assert "no subset of this name" in found


GATEWAY = documents("rollout-gateway.yaml")


def with_route(change):
    """The example of a canary by an HTTPRoute, its route changed."""
    found = deepcopy(GATEWAY)
    change(next(one for one in found if one["kind"] == "HTTPRoute"))
    return found


def test_a_canary_by_an_http_route_is_checked_against_the_route():
    def without_canary(route):
        del route["spec"]["rules"][0]["backendRefs"][1]

    def without_namespaces(route):
        del route["metadata"]["namespace"]

    assert report(*GATEWAY, complete=True).findings == ()
    assert report(*with_route(without_namespaces), complete=True).findings == ()
    (problem,) = errors(*with_route(without_canary))
    assert problem.startswith("spec.strategy.canary.trafficRouting.gatewayAPI.httpRoute")
    assert 'no rule of HTTPRoute "shop/web" has backendRefs to both' in problem
    (note,) = report(*[one for one in GATEWAY if one["kind"] != "HTTPRoute"]).findings
    assert (note.severity, note.message) == ("note", 'HTTPRoute "shop/web" is not in these files')


JUNK = st.sampled_from([None, "x", 7, -1, [], [3], {}, {"name": "web-stable"}, [{"weight": "1"}], True])
PLACES = st.sampled_from(
    [
        "spec",
        "spec.rules",
        "spec.rules.0",
        "spec.rules.0.backendRefs",
        "spec.rules.0.backendRefs.1",
        "spec.rules.0.backendRefs.1.name",
        "spec.rules.0.backendRefs.1.weight",
        "spec.parentRefs",
    ]
)


@given(PLACES, JUNK)
def test_whatever_an_http_route_is_lint_answers(place, junk):
    report(*with_route(lambda route: edited(route, place, junk)))


def test_an_argument_that_nobody_gives_is_found():
    rollout = edited(
        deepcopy(CANARY[0]), "spec.strategy.canary.analysis.args", [{"name": "other", "value": "x"}]
    )

    (problem,) = errors(rollout, CANARY[1])

    assert problem.startswith("spec.strategy.canary.analysis: args[service-name]")


def test_an_argument_from_a_field_counts_as_given():
    argument = {"name": "service-name", "valueFrom": {"fieldRef": {"fieldPath": "status.selector"}}}
    rollout = edited(deepcopy(CANARY[0]), "spec.strategy.canary.analysis.args", [argument])

    assert errors(rollout, CANARY[1]) == []


def test_a_template_that_is_wrong_by_itself_is_said_once():
    wrong = edited(deepcopy(CANARY[1]), "spec.metrics", [])

    assert len(errors(CANARY[0], wrong)) == 1


def test_a_service_that_selects_other_pods_is_found():
    rollout = blue_green()
    right, wrong = service("myapp-active", app="myapp"), service("myapp-preview", app="other")

    (problem,) = errors(rollout, right, wrong)

    assert "previewService" in problem
    assert "app=other" in problem


def test_a_namespace_that_is_not_written_matches_and_another_one_does_not():
    elsewhere = service("myapp-active", app="other")
    elsewhere["metadata"]["namespace"] = "somewhere"

    assert errors(blue_green(), elsewhere) == []


def test_a_key_that_stands_twice_is_refused():
    found = lint(list(read("f", ISTIO_FILE.replace("  replicas: 10", "  replicas: 10\n  replicas: 3"))))

    assert [(one.line, one.message) for one in found.findings] == [
        (8, 'key "replicas" stands twice; the first is in line 7')
    ]
    assert found.failed


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [", "not valid YAML"),
        ("a: b: c", "not valid YAML"),
        ("kind: Rollout", "apiVersion"),
        ("apiVersion: argoproj.io/v1alpha1", "kind"),
        ("apiVersion: argoproj.io/v2\nkind: Rollout", "must be argoproj.io/v1alpha1"),
        ("apiVersion: argoproj.io/v1alpha1\nkind: Rolout", "no such kind"),
        ("apiVersion: argoproj.io/v1alpha1\nkind: Experiment\nmetadata: {name: a}", "not supported yet"),
        ("apiVersion: argoproj.io/v1alpha1\nkind: AnalysisRun\nmetadata: {name: a}", "spec"),
        ("? [a]\n: b", "a key must be text"),
    ],
)
def test_what_is_no_manifest_is_said(text, words):
    found = lint(list(read("f", text)))

    assert found.failed
    assert any(words in str(one) for one in found.findings)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "---\n---\n",
        "# nothing",
        "- 1",
        "values: {a: 1}",
        "kind: Pod\napiVersion: v1",
        "kind: Application\napiVersion: argoproj.io/v1alpha1",
    ],
)
def test_what_is_not_ours_is_left_alone(text):
    found = lint(list(read("f", text)))

    assert (found.checked, found.findings) == (0, ())


def test_lists_are_taken_apart():
    text = yaml.safe_dump({"apiVersion": "v1", "kind": "List", "items": [canary(), CANARY[1]]})

    assert lint(list(read("f", text))).checked == 2


def test_a_timestamp_without_quotes_stays_text():
    (document,) = read("f", "a: 2026-01-31T12:00:00Z")

    assert isinstance(document, Document)
    assert document.object == {"a": "2026-01-31T12:00:00Z"}


def test_a_document_that_unfolds_without_end_is_refused():
    bomb = "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12))

    assert any(isinstance(one, Unreadable) for one in read("f", bomb))
    assert any(isinstance(one, Unreadable) for one in read("f", "&a [*a]"))


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="a1:- {}[]&*!|>\n\"'#%@`", max_size=40))
def test_reading_never_raises(text):
    lint(list(read("f", text)))


def referring(**ref):
    rollout = edited(blue_green(), "spec.workloadRef", {"kind": "Deployment", "name": "web", **ref})
    template = rollout["spec"].pop("template")
    selector = rollout["spec"].pop("selector")
    source = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {"selector": selector, "template": template},
    }
    return rollout, source


def test_a_workload_that_is_not_in_the_files_is_a_note_and_one_that_is_gives_the_template():
    rollout, source = referring()
    (note,) = [one for one in report(rollout).findings if "Deployment" in one.message]
    assert (note.severity, note.path) == ("note", "spec.workloadRef.name")
    assert not errors(rollout, source)


def test_a_workload_that_cannot_give_its_template_is_found():
    rollout, source = referring()
    source["spec"]["template"]["spec"]["containers"] = []
    (error,) = errors(rollout, source)
    assert "spec.template.spec.containers: Required value" in error
    source["spec"] = ["no", "object"]
    (error,) = errors(rollout, source)
    assert "there is no pod template" in error
