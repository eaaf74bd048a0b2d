"""Templates and arguments to the spec of one AnalysisRun."""

import pytest

from rollout.api.analysis import AnalysisTemplate
from rollout.api.codec import view
from rollout.api.rollout import RolloutAnalysis
from rollout.core import arguments
from rollout.core.runs import missing_templates, run_spec
from rollout.errors import InvalidSpec

ROLLOUT = {
    "metadata": {"name": "web", "labels": {"app": "web", "team/x": "y"}},
    "spec": {"replicas": 3, "paused": False, "template": {"spec": {"containers": [{"image": "web:v2"}]}}},
    "status": {"currentPodHash": "abc"},
}


def metric(name="rate", **more):
    body = {"address": "http://prometheus:9090", "query": 'up{job="{{args.service}}"}'}
    return {"name": name, "successCondition": "result[0] > 0.9", "provider": {"prometheus": body}, **more}


def templates(*specs, **named):
    """`named` are AnalysisTemplates; a name that begins with cluster_ makes a ClusterAnalysisTemplate."""
    return {
        (name.startswith("cluster_"), name): view(
            {"metadata": {"name": name}, "spec": spec}, AnalysisTemplate
        )
        for name, spec in named.items()
    }


def analysis(*names, **more):
    refs = [{"templateName": name, "clusterScope": name.startswith("cluster_")} for name in names]
    return view({"templates": refs, **more}, RolloutAnalysis)


def build(wanted, known):
    return run_spec(wanted, known, rollout_object=ROLLOUT, stable_hash="old1", latest_hash="new1")


ARGS = [{"name": "service"}]


def test_the_metrics_of_all_templates_and_of_those_they_name_are_flattened_once():
    known = templates(
        one={"args": ARGS, "metrics": [metric("a")], "templates": [{"templateName": "two"}]},
        two={"metrics": [metric("b")]},
        cluster_three={"metrics": [metric("c")], "templates": [{"templateName": "two"}]},
    )
    spec = build(analysis("one", "cluster_three", "two", args=[{"name": "service", "value": "web"}]), known)

    assert [m["name"] for m in spec["metrics"]] == ["a", "b", "c"]
    assert spec["args"] == [{"name": "service", "value": "web"}]


def test_everything_a_metric_says_reaches_the_run():
    said = metric(
        interval="30s",
        initialDelay="1m",
        count="4",
        failureLimit=-1,
        inconclusiveLimit=2,
        consecutiveErrorLimit=0,
        consecutiveSuccessLimit=3,
        failureCondition="result[0] < 0.5",
    )
    spec = build(
        analysis("t"), templates(t={"args": [{"name": "service", "value": "web"}], "metrics": [said]})
    )

    assert spec["metrics"] == [said]


@pytest.mark.parametrize(
    ("origin", "value"),
    [
        ({"podTemplateHashValue": "Latest"}, "new1"),
        ({"podTemplateHashValue": "Stable"}, "old1"),
        ({"fieldRef": {"fieldPath": "metadata.labels['app']"}}, "web"),
        ({"fieldRef": {"fieldPath": 'metadata.labels["team/x"]'}}, "y"),
        ({"fieldRef": {"fieldPath": "spec.template.spec.containers[0].image"}}, "web:v2"),
        ({"fieldRef": {"fieldPath": "spec.replicas"}}, "3"),
        ({"fieldRef": {"fieldPath": "spec.paused"}}, "false"),
        ({"fieldRef": {"fieldPath": "status.currentPodHash"}}, "abc"),
    ],
)
def test_an_argument_takes_its_value_from_hashes_and_fields_of_the_rollout(origin, value):
    wanted = analysis("t", args=[{"name": "service", "valueFrom": origin}])

    spec = build(wanted, templates(t={"args": ARGS, "metrics": [metric()]}))

    assert spec["args"] == [{"name": "service", "value": value}]


@pytest.mark.parametrize(
    ("origin", "reason"),
    [
        ({"podTemplateHashValue": "Newest"}, "neither Stable nor Latest"),
        ({"fieldRef": {"fieldPath": "metadata.labels['no']"}}, r"the object has no metadata.labels\['no'\]"),
        ({"fieldRef": {"fieldPath": "spec.template"}}, "is not a text or a number"),
        ({"fieldRef": {"fieldPath": "spec..x"}}, "is not a field path"),
        ({"fieldRef": {"fieldPath": ""}}, "is not a text"),
        ({}, "names no source"),
    ],
)
def test_an_argument_that_leads_nowhere_is_invalid(origin, reason):
    wanted = analysis("t", args=[{"name": "service", "valueFrom": origin}])

    with pytest.raises(InvalidSpec, match=reason):
        build(wanted, templates(t={"args": ARGS, "metrics": [metric()]}))


def test_a_secret_passes_as_a_reference_only_and_only_into_headers():
    secret = {"name": "token", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}
    good = metric()
    good["provider"]["prometheus"]["headers"] = [{"key": "Authorization", "value": "Bearer {{args.token}}"}]
    args = [{"name": "service", "value": "web"}, secret]

    assert build(analysis("t"), templates(t={"args": args, "metrics": [good]}))["args"] == args

    bad = metric()
    bad["provider"]["prometheus"]["query"] = "up{a='{{ args.token }}'}"
    with pytest.raises(
        InvalidSpec, match=r'"t" spec.metrics\[0\].provider.prometheus.query: .*use it in headers'
    ):
        build(analysis("t"), templates(t={"args": args, "metrics": [bad]}))


def test_a_problem_of_a_metric_is_told_where_its_author_wrote_it():
    known = templates(
        one={"args": [{"name": "service", "value": "x"}], "metrics": [metric("a"), metric("b")]},
        two={"metrics": [metric("c"), metric("d", interval="5x")]},
    )
    with pytest.raises(InvalidSpec) as caught:
        build(analysis("one", "two"), known)
    assert caught.value.problems[0].startswith(
        'AnalysisTemplate "two" spec.metrics[1].interval: Invalid value: "5x": '
    )


def test_a_missing_value_is_named_with_what_to_do():
    with pytest.raises(InvalidSpec) as caught:
        build(analysis("t"), templates(t={"args": ARGS, "metrics": [metric()]}))
    assert caught.value.problems == (
        (
            'args[service]: Required value: the argument "service" has no value; '
            "add it to the args of the analysis, or give the template a default"
        ),
    )


def test_templates_that_are_missing_are_named_even_behind_others():
    known = templates(one={"metrics": [], "templates": [{"templateName": "gone", "clusterScope": True}]})

    assert missing_templates(analysis("one", "away"), known) == [
        'AnalysisTemplate "away"',
        'ClusterAnalysisTemplate "gone"',
    ]
    with pytest.raises(InvalidSpec, match='there is no AnalysisTemplate "away"'):
        build(analysis("one", "away"), known)


def test_templates_that_name_each_other_are_refused():
    known = templates(
        one={"metrics": [metric("a")], "templates": [{"templateName": "two"}]},
        two={"metrics": [metric("b")], "templates": [{"templateName": "one"}]},
    )
    with pytest.raises(InvalidSpec, match="in a circle"):
        build(analysis("one"), known)


def test_two_metrics_of_one_name_are_refused():
    known = templates(one={"args": ARGS, "metrics": [metric()]}, two={"metrics": [metric()]})

    with pytest.raises(InvalidSpec, match="two templates have a metric of this name"):
        build(analysis("one", "two", args=[{"name": "service", "value": "x"}]), known)


def test_defaults_that_disagree_are_refused_unless_the_analysis_gives_the_value():
    known = templates(
        one={"args": [{"name": "service", "value": "a"}], "metrics": [metric("x")]},
        two={"args": [{"name": "service", "value": "b"}], "metrics": [metric("y")]},
        three={"args": ARGS, "metrics": [metric("z")]},
    )
    with pytest.raises(InvalidSpec, match="different defaults"):
        build(analysis("one", "two"), known)
    assert build(analysis("one", "three"), known)["args"] == [{"name": "service", "value": "a"}]
    given = analysis("one", "two", args=[{"name": "service", "value": "c"}])
    assert build(given, known)["args"] == [{"name": "service", "value": "c"}]


def test_dry_run_and_retention_are_merged():
    known = templates(
        t={
            "args": [{"name": "service", "value": "a"}],
            "metrics": [metric()],
            "dryRun": [{"metricName": "a.*"}],
            "measurementRetention": [{"metricName": "rate", "limit": 3}],
        }
    )
    spec = build(analysis("t", dryRun=[{"metricName": "b"}, {"metricName": "a.*"}]), known)

    assert spec["dryRun"] == [{"metricName": "b"}, {"metricName": "a.*"}]
    assert spec["measurementRetention"] == [{"metricName": "rate", "limit": 3}]


def test_arguments_are_replaced_wherever_they_stand_and_only_once():
    said = {
        "count": "{{args.n}}",
        "list": [{"q": 'a="{{ args.text }}"'}],
        "other": "{{ nothing }}",
        "number": 5,
    }

    done = arguments.substitute(said, {"n": "3", "text": 'quote " and {{args.n}}'})

    assert done == {
        "count": "3",
        "list": [{"q": 'a="quote " and {{args.n}}"'}],
        "other": "{{ nothing }}",
        "number": 5,
    }
    with pytest.raises(InvalidSpec, match=r'list\[0\].q: .*there is no argument "text"'):
        arguments.substitute(said, {"n": "3"})
