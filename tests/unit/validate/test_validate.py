import pytest

from rollout.api.codec import view
from rollout.api.fields import UNSUPPORTED
from rollout.api.rollout import Rollout
from rollout.core.validate import validate
from tests.unit.validate.examples import DELETE, blue_green, canary, edited

CANARY = "spec.strategy.canary"
ISTIO = f"{CANARY}.trafficRouting.istio"
GREEN = "spec.strategy.blueGreen"


@pytest.mark.parametrize("make", [canary, blue_green])
def test_the_manifests_that_users_have_are_valid(make):
    assert validate(make()) == []
    assert view(make(), Rollout).metadata.name


def plain_canary(**fields):
    """A canary without a router."""
    rollout = canary()
    rollout["spec"]["strategy"]["canary"] = {"steps": [{"setWeight": 20}, {"pause": {}}], **fields}
    return rollout


CASES = [
    # path that is set, value, path that the one problem names, words of its message
    ("spec.replicas", -1, "spec.replicas", "must be at least 0"),
    ("spec.replicas", "3", "spec.replicas", "must be an integer; write it without quotes"),
    ("spec.replicas", True, "spec.replicas", "must be an integer"),
    ("spec.replicas", 2**31, "spec.replicas", "must be at most 2147483647"),
    ("spec.replica", 3, "spec.replica", 'unknown field; did you mean "replicas"?'),
    ("spec.zzz", 3, "spec.zzz", "unknown field; remove it"),
    ("spec.selector", DELETE, "spec.selector", "Required value"),
    ("spec.selector", {}, "spec.selector", "an empty selector matches every pod"),
    ("spec.selector.matchLabels", {"app": "x"}, "spec.template.metadata.labels", "must match spec.selector"),
    (
        "spec.selector.matchExpressions",
        [{"key": "app", "operator": "Is"}],
        "spec.selector.matchExpressions[0].operator",
        "must be one of In, NotIn",
    ),
    (
        "spec.selector.matchExpressions",
        [{"key": "app", "operator": "In"}],
        "spec.selector.matchExpressions[0].values",
        "must be set when the operator is In",
    ),
    (
        "spec.selector.matchExpressions",
        [{"key": "app", "operator": "DoesNotExist"}],
        "spec.template.metadata.labels",
        "must match spec.selector",
    ),
    (
        "spec.selector.matchLabels.rollouts-pod-template-hash",
        "abc",
        "spec.selector.matchLabels",
        "set by the controller",
    ),
    ("spec.template", DELETE, "spec.template", "Required value: the pods to run"),
    ("spec.template.spec", DELETE, "spec.template.spec", "Required value"),
    ("spec.template.specs", {}, "spec.template.specs", "unknown field"),
    ("spec.template.spec.containers", [], "spec.template.spec.containers", "at least one container"),
    ("spec.template.spec.containers.0.name", "A b", "spec.template.spec.containers[0].name", "lower-case"),
    ("spec.template.spec.containers.0.image", DELETE, "spec.template.spec.containers[0].image", "Required"),
    ("spec.template.spec.initContainers", [{"name": "web-frontend", "image": "a"}],
     "spec.template.spec.containers[0].name", "Duplicate value"),
    ("spec.template.spec.restartPolicy", "Never", "spec.template.spec.restartPolicy", 'must be "Always"'),
    ("spec.template.spec.activeDeadlineSeconds", 9, "spec.template.spec.activeDeadlineSeconds", "remove it"),
    ("spec.template.metadata.labels.n", 1, 'spec.template.metadata.labels["n"]', "a string; put it in quotes"),
    ("spec.minReadySeconds", 600, "spec.minReadySeconds", "less than progressDeadlineSeconds (600, the default)"),
    ("spec.progressDeadlineSeconds", 0, "spec.progressDeadlineSeconds", "must be less than"),
    ("spec.restartAt", "yesterday", "spec.restartAt", "RFC 3339"),
    ("spec.restartAt", "2026-02-30T00:00:00Z", "spec.restartAt", "RFC 3339"),
    ("spec.restartAt", "2026-02-03T00:00:00", "spec.restartAt", "RFC 3339"),
    ("spec.workloadRef", {"kind": "Deployment", "name": "x"}, "spec.template", "exactly one of template and workloadRef"),
    ("spec.strategy", DELETE, "spec.strategy", "exactly one strategy"),
    ("spec.strategy", {}, "spec.strategy", "found none; write canary"),
    ("spec.strategy.blueGreen", {"activeService": "a"}, "spec.strategy", "found canary and blueGreen"),
    (f"{CANARY}.steps.0", {"setWeight": 101}, f"{CANARY}.steps[0].setWeight", "at most 100"),
    (f"{CANARY}.steps.0", {"setWeight": -1}, f"{CANARY}.steps[0].setWeight", "at least 0"),
    (f"{CANARY}.steps.0", {"setWeight": 1.5}, f"{CANARY}.steps[0].setWeight", "must be an integer"),
    (f"{CANARY}.steps.0", {}, f"{CANARY}.steps[0]", "exactly one kind, found none"),
    (f"{CANARY}.steps.0", {"setWeight": 5, "pause": {}}, f"{CANARY}.steps[0]", "found setWeight, pause"),
    (f"{CANARY}.steps.0", {"pause": None}, f"{CANARY}.steps[0]", 'written "pause: {}"'),
    (f"{CANARY}.steps.0", {"setWieght": 5}, f"{CANARY}.steps[0].setWieght", 'did you mean "setWeight"'),
    (f"{CANARY}.steps.0", {"experiment": {}}, f"{CANARY}.steps[0].experiment", "not supported yet"),
    (f"{CANARY}.steps.0", {"pause": {"duration": -5}}, f"{CANARY}.steps[0].pause.duration", "at least 0"),
    (f"{CANARY}.steps.0", {"pause": {"duration": "-5s"}}, f"{CANARY}.steps[0].pause.duration", "negative"),
    (f"{CANARY}.steps.0", {"pause": {"duration": "5 min"}}, f"{CANARY}.steps[0].pause.duration", 'write for example "30s"'),
    (f"{CANARY}.steps.0", {"pause": {"durations": "5m"}}, f"{CANARY}.steps[0].pause.durations", "unknown field"),
    (f"{CANARY}.steps.0", {"setCanaryScale": {}}, f"{CANARY}.steps[0].setCanaryScale", "exactly one of weight"),
    (
        f"{CANARY}.steps.0",
        {"setCanaryScale": {"weight": 5, "replicas": 1}},
        f"{CANARY}.steps[0].setCanaryScale",
        "exactly one of weight",
    ),
    (f"{CANARY}.steps.0", {"analysis": {}}, f"{CANARY}.steps[0].analysis.templates", "at least one template"),
    (f"{CANARY}.maxSurge", "25", f"{CANARY}.maxSurge", "percentage such as"),
    (f"{CANARY}.maxSurge", 0, f"{CANARY}.maxUnavailable", "cannot both be 0"),
    (f"{CANARY}.maxSurge", "0%", f"{CANARY}.maxUnavailable", "cannot both be 0"),
    (f"{CANARY}.maxUnavailable", "101%", f"{CANARY}.maxUnavailable", "at most 100%"),
    (f"{CANARY}.maxUnavailable", -1, f"{CANARY}.maxUnavailable", "at least 0"),
    (f"{CANARY}.analysis.startingStep", 11, f"{CANARY}.analysis.startingStep", "there are 11 steps"),
    (f"{CANARY}.analysis.templates", [], f"{CANARY}.analysis.templates", "at least one template"),
    (f"{CANARY}.analysis.templates.0.templateName", "", f"{CANARY}.analysis.templates[0].templateName", "Required"),
    (f"{CANARY}.analysis.args.0", {"name": "a"}, f"{CANARY}.analysis.args[0]", "exactly one of value and valueFrom"),
    (
        f"{CANARY}.analysis.args",
        [{"name": "a", "value": "1"}, {"name": "a", "value": "2"}],
        f"{CANARY}.analysis.args[1].name",
        'Duplicate value: "a"',
    ),
    (
        f"{CANARY}.analysis.args.0",
        {"name": "a", "valueFrom": {"podTemplateHashValue": "Old"}},
        f"{CANARY}.analysis.args[0].valueFrom.podTemplateHashValue",
        'must be one of "Stable", "Latest"',
    ),
    (
        f"{CANARY}.analysis.args.0",
        {"name": "a", "valueFrom": {"secretKeyRef": {"name": "n", "key": "k"}}},
        f"{CANARY}.analysis.args[0].valueFrom.secretKeyRef",
        "name the secret in the AnalysisTemplate",
    ),
    (
        f"{CANARY}.analysis.args.0",
        {"name": "a", "valueFrom": {"fieldRef": {}}},
        f"{CANARY}.analysis.args[0].valueFrom.fieldRef.fieldPath",
        "Required value",
    ),
    (f"{CANARY}.analysis.dryRun", [{"metricName": "("}], f"{CANARY}.analysis.dryRun[0].metricName", "regular expression"),
    (f"{CANARY}.analysis.analysisRunMetadata", {}, f"{CANARY}.analysis.analysisRunMetadata", "not supported yet"),
    (f"{CANARY}.dynamicStableScale", True, f"{CANARY}.dynamicStableScale", "not supported yet"),
    (f"{CANARY}.trafficRouting", {}, f"{CANARY}.trafficRouting", "no router is named"),
    (f"{CANARY}.trafficRouting.nginx", {}, f"{CANARY}.trafficRouting.nginx", "not supported yet"),
    (f"{ISTIO}.virtualService", DELETE, f"{ISTIO}.virtualService", "Required value"),
    (f"{ISTIO}.virtualService.name", DELETE, f"{ISTIO}.virtualService.name", "Required value"),
    (f"{ISTIO}.virtualService.name", "", f"{ISTIO}.virtualService.name", "Required value"),
    (f"{ISTIO}.virtualService.name", "A/b", f"{ISTIO}.virtualService.name", "must be a namespace"),
    (f"{ISTIO}.virtualService.name", "a/B", f"{ISTIO}.virtualService.name", "lower-case"),
    (f"{ISTIO}.virtualService.routes", ["a", "a"], f"{ISTIO}.virtualService.routes[1]", "Duplicate value"),
    (f"{ISTIO}.virtualService.tcpRoutes", [], f"{ISTIO}.virtualService.tcpRoutes", "not supported yet"),
    (f"{ISTIO}.virtualServices", [{"name": "b"}], f"{ISTIO}.virtualServices", "exclude each other"),
    (f"{ISTIO}.destinationRule.canarySubsetName", DELETE, f"{ISTIO}.destinationRule.canarySubsetName", "Required"),
    (f"{ISTIO}.destinationRule.stableSubsetName", "canary", f"{ISTIO}.destinationRule.stableSubsetName", "must differ"),
    ("metadata.labels", {"a": 1}, 'metadata.labels["a"]', "a string; put it in quotes"),
    ("spec", DELETE, "spec", "Required value"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "value", "where", "words"), CASES)
def test_one_mistake_is_one_problem_at_its_place(path, value, where, words):
    problems = validate(edited(canary(), path, value))

    assert [problem.path for problem in problems] == [where]
    assert words in problems[0].message


GATEWAY = f"{CANARY}.trafficRouting.gatewayAPI"
PLUGIN = "argoproj-labs/gatewayAPI"
ROUTES = {"httpRoutes": [{"name": "a", "rules": ["x", "y"]}, {"name": "a", "namespace": "infra"}]}


def gateway(routing, **services):
    services = services or {"canaryService": "web-canary", "stableService": "web-stable"}
    return plain_canary(trafficRouting=routing, **services)


@pytest.mark.parametrize("spec", [{"httpRoute": "web"}, {"httpRoute": "web", "namespace": "infra"}, ROUTES])
def test_the_gateway_api_is_named_natively_or_as_for_argos_plugin(spec):
    assert validate(gateway({"gatewayAPI": spec})) == []
    assert validate(gateway({"plugins": {PLUGIN: spec}})) == []


@pytest.mark.parametrize(
    ("spec", "where", "words"),
    [
        ({}, ".httpRoute", "the Gateway API moves weights in an HTTPRoute; name one"),
        ({"httpRoute": ""}, ".httpRoute", "Required value"),
        ({"httpRoute": "a/b"}, ".httpRoute", "lower-case"),
        ({"httpRoute": "a", "namespace": "In fra"}, ".namespace", "lower-case"),
        ({"httpRoute": "a", "httpRoutes": [{"name": "b"}]}, ".httpRoutes", "exclude each other"),
        ({"httpRoutes": [{}]}, ".httpRoutes[0].name", "Required value"),
        ({"httpRoutes": [{"name": "a"}, {"name": "a"}]}, ".httpRoutes[1].name", "named once"),
        ({"httpRoutes": [{"name": "a", "rules": ["x", "x"]}]}, ".httpRoutes[0].rules[1]", "each rule is named once"),
        ({"httpRoutes": [{"name": "a", "rules": [""]}]}, ".httpRoutes[0].rules[0]", "Required value"),
        ({"httpRoutes": [{"name": "a", "useHeaderRoutes": True}]}, ".httpRoutes[0].useHeaderRoutes", "not supported yet"),
        ({"httpRoute": "a", "grpcRoute": "b"}, ".grpcRoute", "not supported yet"),
        ({"httpRoute": "a", "weight": 3}, ".weight", "unknown field"),
    ],
)  # fmt: skip
def test_one_mistake_in_the_gateway_api_is_one_problem_at_its_place(spec, where, words):
    for path, routing in (
        (GATEWAY, {"gatewayAPI": spec}),
        (f"{CANARY}.trafficRouting.plugins.{PLUGIN}", {"plugins": {PLUGIN: spec}}),
    ):
        problems = validate(gateway(routing))

        assert [problem.path for problem in problems] == [f"{path}{where}"]
        assert words in problems[0].message


def test_an_http_route_needs_both_services():
    problems = validate(gateway({"gatewayAPI": {"httpRoute": "web"}}, canaryService="web-canary"))
    assert [problem.path for problem in problems] == [f"{CANARY}.stableService"]


@pytest.mark.parametrize(
    ("routing", "where", "words"),
    [
        ({"plugins": {}}, "", "no router is named"),
        ({"plugins": {"argoproj-labs/contour": {}}}, ".plugins.argoproj-labs/contour", "unknown field"),
        (
            {"gatewayAPI": {"httpRoute": "a"}, "plugins": {PLUGIN: {"httpRoute": "a"}}},
            "",
            "the weights have one writer; keep one router",
        ),
        (
            {"gatewayAPI": {"httpRoute": "a"}, "istio": {"virtualService": {"name": "a"}}},
            "",
            "keep one router",
        ),
    ],
)
def test_there_is_exactly_one_router(routing, where, words):
    problems = validate(gateway(routing))

    assert [problem.path for problem in problems] == [f"{CANARY}.trafficRouting{where}"]
    assert words in problems[0].message


@pytest.mark.parametrize(
    ("path", "value", "where", "words"),
    [
        (f"{GREEN}.activeService", DELETE, f"{GREEN}.activeService", "Required value"),
        (f"{GREEN}.previewService", "myapp-active", f"{GREEN}.previewService", "must differ from activeService"),
        (f"{GREEN}.activeService", "My_App", f"{GREEN}.activeService", "lower-case"),
        (f"{GREEN}.autoPromotionSeconds", -1, f"{GREEN}.autoPromotionSeconds", "at least 0"),
        (f"{GREEN}.maxUnavailable", "200%", f"{GREEN}.maxUnavailable", "at most 100%"),
        (f"{GREEN}.activeMetadata", {}, f"{GREEN}.activeMetadata", "not supported yet"),
        (f"{GREEN}.prePromotionAnalysis.templates", [], f"{GREEN}.prePromotionAnalysis.templates", "at least one"),
        (f"{GREEN}.steps", [], f"{GREEN}.steps", "unknown field"),
    ],
)  # fmt: skip
def test_one_mistake_in_blue_green_is_one_problem_at_its_place(path, value, where, words):
    problems = validate(edited(blue_green(), path, value))

    assert [problem.path for problem in problems] == [where]
    assert words in problems[0].message


def test_several_mistakes_are_all_told_in_one_go():
    rollout = edited(edited(canary(), "spec.replicas", -1), f"{CANARY}.steps.1.pause.duration", "soon")

    assert [problem.path for problem in validate(rollout)] == [
        "spec.replicas",
        f"{CANARY}.steps[1].pause.duration",
    ]


def test_a_message_says_path_value_rule_and_fix():
    (problem,) = validate(edited(canary(), f"{CANARY}.steps.1.pause.duration", "5 min"))

    assert str(problem) == (
        'spec.strategy.canary.steps[1].pause.duration: Invalid value: "5 min": is not a duration; '
        'write for example "30s", "5m" or "1h30m"'
    )


@pytest.mark.parametrize("duration", [0, 30, "30", "30s", "5m", "1h", "1h30m", "500ms"])
def test_every_spelling_of_a_pause_is_accepted(duration):
    assert validate(edited(canary(), f"{CANARY}.steps.1.pause.duration", duration)) == []


def test_without_a_router_nothing_that_needs_one_is_accepted():
    steps = [{"setCanaryScale": {"replicas": 1}}]
    assert [p.path for p in validate(plain_canary(steps=steps))] == [f"{CANARY}.steps[0].setCanaryScale"]
    assert [p.path for p in validate(plain_canary(scaleDownDelaySeconds=30))] == [
        f"{CANARY}.scaleDownDelaySeconds"
    ]
    assert validate(plain_canary()) == []
    assert validate(edited(canary(), f"{CANARY}.scaleDownDelaySeconds", 30)) == []


def test_istio_host_level_needs_both_services_and_subset_level_needs_none():
    host_level = edited(canary(), f"{ISTIO}.destinationRule", DELETE)
    assert [p.path for p in validate(host_level)] == [f"{CANARY}.canaryService", f"{CANARY}.stableService"]

    host_level["spec"]["strategy"]["canary"] |= {"canaryService": "c", "stableService": "s"}
    assert validate(host_level) == []


def test_canary_and_stable_service_must_differ():
    rollout = plain_canary(canaryService="web", stableService="web")
    assert [p.path for p in validate(rollout)] == [f"{CANARY}.stableService"]


def test_several_virtual_services_in_other_namespaces_are_accepted():
    rollout = edited(canary(), f"{ISTIO}.virtualService", DELETE)
    several = [{"name": "mesh/web"}, {"name": "web-vs", "routes": ["a"]}]
    assert validate(edited(rollout, f"{ISTIO}.virtualServices", several)) == []

    twice = edited(rollout, f"{ISTIO}.virtualServices", [{"name": "a"}, {"name": "a"}])
    assert [p.path for p in validate(twice)] == [f"{ISTIO}.virtualServices[1].name"]


def test_a_starting_step_without_steps_would_never_start():
    rollout = plain_canary(steps=[], analysis={"templates": [{"templateName": "t"}], "startingStep": 1})
    assert [p.path for p in validate(rollout)] == [f"{CANARY}.analysis.startingStep"]


def referring(**ref):
    rollout = edited(canary(), "spec.workloadRef", {"kind": "Deployment", "name": "x", **ref})
    del rollout["spec"]["template"], rollout["spec"]["selector"]
    return rollout


def test_a_workload_stands_for_template_and_selector():
    assert validate(referring()) == []
    assert validate(referring(apiVersion="apps/v1", scaleDown="progressively")) == []
    assert validate(referring(kind="PodTemplate", apiVersion="v1", scaleDown="never")) == []


def test_a_workload_reference_that_is_null_is_none():
    rollout = edited(canary(), "spec.workloadRef", None)
    assert validate(rollout) == []
    del rollout["spec"]["template"], rollout["spec"]["selector"]
    assert [p.path for p in validate(rollout)] == ["spec.selector", "spec.template"]


@pytest.mark.parametrize(
    ("ref", "path", "said"),
    [
        ({"kind": "StatefulSet"}, "kind", 'must be one of "Deployment", "PodTemplate", "ReplicaSet"'),
        ({"name": "other/x"}, "name", "in the same namespace"),
        ({"name": ""}, "name", "in the same namespace"),
        ({"apiVersion": "apps/v1beta1"}, "apiVersion", "a Deployment is of apps/v1"),
        ({"scaleDown": "onSuccess"}, "scaleDown", 'must be one of "never", "onsuccess", "progressively"'),
        ({"kind": "ReplicaSet", "scaleDown": "onsuccess"}, "scaleDown", "cannot be scaled down"),
        ({"namespace": "other"}, "namespace", "unknown field"),
    ],
)
def test_what_is_wrong_with_a_workload_reference_is_said_at_its_field(ref, path, said):
    (problem,) = validate(referring(**ref))
    assert problem.path == f"spec.workloadRef.{path}"
    assert said in problem.message


def test_no_field_is_both_acted_on_and_unsupported():
    for owner, fields in UNSUPPORTED.items():
        assert not set(fields) & {field.encode_name for field in _struct_fields(owner)}, owner


def _struct_fields(owner):
    import msgspec

    return msgspec.structs.fields(owner)


@pytest.mark.parametrize("value", [None, 3, "x", [], True, 1.5])
def test_what_is_no_object_at_all_is_a_problem(value):
    assert validate(value)
    assert validate({"spec": value})
    assert validate({"metadata": value, "spec": {}})
