"""Each rule of a template and a run: one sentence with path, value, rule and fix."""

from pathlib import Path

import pytest
import yaml

from analysis.controller import resolved
from rollout.core.validate_analysis import validate_run_spec, validate_template

PROMETHEUS = {"address": "http://prometheus:9090", "query": "up"}


def template(**changes):
    metric = {"name": "rate", "provider": {"prometheus": PROMETHEUS}, **changes}
    return {
        "kind": "AnalysisTemplate",
        "spec": {"metrics": [{k: v for k, v in metric.items() if v is not None}]},
    }


def sentences(obj):
    return [str(problem) for problem in validate_template(obj)]


def test_the_templates_of_users_are_right():
    for name in ("rollout-canary-istio", "rollout-bluegreen"):
        file = Path("/work/shared/manifests") / f"{name}.yaml"
        if not file.exists():
            pytest.skip("the shared manifests are not on this machine")
        found = [doc for doc in yaml.safe_load_all(file.read_text()) if doc["kind"] == "AnalysisTemplate"]
        assert found
        assert [sentences(doc) for doc in found] == [[]]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"interval": "5x"}, "spec.metrics[0].interval: Invalid value: \"5x\": '5x' is not a duration"),
        ({"interval": "0s"}, 'spec.metrics[0].interval: Invalid value: "0s": must be longer than nothing'),
        ({"count": 2}, "spec.metrics[0].interval: Required value: count is 2; say how often"),
        ({"count": "x"}, 'spec.metrics[0].count: Invalid value: "x": must be a whole number of at least 0'),
        ({"count": -1}, "spec.metrics[0].count: Invalid value: -1"),
        ({"failureLimit": -2}, "spec.metrics[0].failureLimit: Invalid value: -2: must be a whole number of"),
        (
            {"count": 2, "interval": "1m", "failureLimit": 3},
            "spec.metrics[0].failureLimit: Invalid value: 3: is more than count (2), so it could never be",
        ),
        ({"successCondition": "result[0] >="}, "spec.metrics[0].successCondition: Invalid value: "),
        (
            {"failureCondition": "reslut[0] > 1"},
            'spec.metrics[0].failureCondition: Invalid value: "reslut[0] > 1": there is no variable `reslut`',
        ),
        ({"successCondition": "lenn(result) > 1"}, 'lenn(result) > 1": there is no function `lenn`; did you'),
        ({"intervall": "5m"}, 'spec.metrics[0].intervall: Invalid value: "5m": there is no such field'),
        (
            {"provider": {}},
            "spec.metrics[0].provider: Invalid value: []: a metric needs exactly one provider",
        ),
        (
            {"provider": {"kayenta": {}}},
            "provider.kayenta: not supported yet: the provider kayenta; use one of: ",
        ),
        ({"provider": {"promethius": {}}}, "there is no such provider; use one of: "),
        ({"provider": {"web": {}, "prometheus": {}}}, "a metric needs exactly one provider"),
        (
            {"provider": {"plugin": {"surefoot/prometheus": PROMETHEUS}, "prometheus": PROMETHEUS}},
            'spec.metrics[0].provider: Invalid value: ["plugin", "prometheus"]: a metric needs exactly one',
        ),
        (
            {"provider": {"plugin": {"surefoot/prometheus": PROMETHEUS | {"query": ""}}}},
            'spec.metrics[0].provider.plugin["surefoot/prometheus"].query: Required value',
        ),
        ({"provider": {"plugin": {"acme/x": {}}}}, 'plugin["acme/x"]: Invalid value: "acme/x": there is no'),
        ({"provider": {"plugin": {"prometheus": {}}}}, "there is no such plugin; use one of: surefoot/"),
        (
            {"provider": {"plugin": {}}},
            "spec.metrics[0].provider.plugin: Invalid value: []: must have exactly",
        ),
        ({"provider": {"plugin": {"surefoot/prometheus": []}}}, "must be an object"),
        ({"provider": {"prometheus": {"address": "http://x"}}}, "prometheus.query: Required value: a PromQL"),
        ({"provider": {"prometheus": PROMETHEUS | {"address": "file:///etc"}}}, "must be a URL without user"),
        (
            {"provider": {"prometheus": PROMETHEUS | {"address": "http://a:b@c"}}},
            "must be a URL without user",
        ),
        ({"provider": {"prometheus": PROMETHEUS | {"timeout": 0}}}, "must be whole seconds, 1 to 600"),
        ({"provider": {"prometheus": PROMETHEUS | {"headers": [{"key": "a b"}]}}}, "list of {key, value}"),
        ({"provider": {"prometheus": PROMETHEUS | {"retries": 1}}}, "there is no such field; known: address"),
        (
            {"provider": {"prometheus": PROMETHEUS | {"authentication": {"sigv4": {"region": "x"}}}}},
            "authentication.sigv4: not supported yet: authentication by sigv4; use basicAuth, or headers",
        ),
        (
            {"provider": {"prometheus": PROMETHEUS | {"rangeQuery": {"start": "now() - x", "end": "now()"}}}},
            'rangeQuery.start: Invalid value: "now() - x": there is no variable `x`; here are only functions',
        ),
        (
            {"provider": {"prometheus": PROMETHEUS | {"authentication": {"basicAuth": {"username": "u"}}}}},
            'authentication.basicAuth: Invalid value: ["username"]: must have username and password',
        ),
        ({"provider": {"prometheus": PROMETHEUS | {"caCert": "x"}}}, "prometheus.caCert: not supported yet"),
        ({"name": ""}, "spec.metrics[0].name: Required value: every metric needs a name"),
        ({"successCondition": "result[0] > {{args.none}}"}, 'there is no argument "none"; declare it'),
        ({"count": []}, "spec.metrics[0].count: expected"),
    ],
)
def test_what_is_wrong_is_said_with_path_value_and_rule(changes, sentence):
    found = sentences(template(**changes))

    assert any(sentence in one for one in found), found


def test_values_that_come_from_arguments_are_left_until_they_are_known():
    obj = template(count="{{args.n}}", interval="{{args.i}}", successCondition="result[0] > {{args.min}}")
    obj["spec"]["args"] = [{"name": "n"}, {"name": "i"}, {"name": "min"}]
    assert sentences(obj) == []

    args = [{"name": "n", "value": "3"}, {"name": "i", "value": "soon"}, {"name": "min", "value": "]"}]
    found = [str(problem) for problem in validate_run_spec(obj["spec"] | {"args": args})]
    assert [sentence.split(": ")[0] for sentence in found] == [
        "spec.metrics[0].interval",
        "spec.metrics[0].successCondition",
    ]


def test_a_template_needs_metrics_or_templates_and_unique_names():
    assert "spec.metrics: Required value" in sentences({"spec": {}})[0]
    assert "spec: Required value" in sentences({})[0]
    twice = template()
    twice["spec"]["metrics"] *= 2
    twice["spec"]["args"] = [{"name": "a"}, {"name": "a"}]
    found = sentences(twice)
    assert any("two metrics have this name" in one for one in found)
    assert any("spec.args[1].name" in one and "declared twice" in one for one in found)


def test_patterns_of_dry_run_and_retention_are_checked():
    obj = template()
    obj["spec"]["dryRun"] = [{"metricName": "(("}]
    obj["spec"]["measurementRetention"] = [{"metricName": "rate", "limit": 0}]

    found = sentences(obj)

    assert any(one.startswith("spec.dryRun[0].metricName: ") for one in found)
    assert any("at least one measurement must be kept" in one for one in found)


def test_a_provider_written_as_plugin_is_the_provider_itself():
    plugin = template(provider={"plugin": {"surefoot/prometheus": PROMETHEUS}})["spec"]
    plain = template()["spec"]

    assert validate_run_spec(plugin) == []
    assert resolved(plugin) == resolved(plain)
