"""Flagger manifests: what becomes of them, and that nothing is lost without a word."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from rollout.importers.flagger import Options, convert
from rollout.importers.flagger.load import NotHey, hey
from rollout.importers.report import Imported

Json = dict[str, Any]
CANARY = """
apiVersion: flagger.app/v1beta1
kind: Canary
metadata: {name: shop, namespace: prod}
spec:
  targetRef: {apiVersion: apps/v1, kind: Deployment, name: shop}
  progressDeadlineSeconds: 60
  service: {port: 80, targetPort: 8080, gateways: [gate], hosts: [shop.example.com], timeout: 5s}
  analysis:
    interval: 1m
    threshold: 5
    maxWeight: 50
    stepWeight: 20
    metrics:
    - {name: request-success-rate, thresholdRange: {min: 99}, interval: 1m}
    - {name: request-duration, thresholdRange: {max: 500}, interval: 30s}
    webhooks:
    - {name: load, url: "http://tester/", metadata: {cmd: "hey -z 1m -q 10 -c 2 http://shop-canary.prod:80/"}}
"""
DEPLOYMENT = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "shop", "namespace": "prod"},
    "spec": {"replicas": 6, "selector": {"matchLabels": {"app.kubernetes.io/name": "shop"}}},
}
TEMPLATE = {
    "apiVersion": "flagger.app/v1beta1",
    "kind": "MetricTemplate",
    "metadata": {"name": "errors", "namespace": "prod"},
    "spec": {
        "provider": {"type": "prometheus", "address": "http://prom:9090"},
        "query": 'sum(rate(errors{ns="{{ namespace }}",app="{{ variables.app }}"}[{{ interval }}]))',
    },
}


def canary(**analysis: Any) -> Json:
    obj = copy.deepcopy(yaml.safe_load(CANARY))
    obj["spec"]["analysis"].update(analysis)
    return obj


def imported(*objects: Json, **options: Any) -> Imported:
    return convert(list(objects), Options(**options))


def by_kind(result: Imported, kind: str, name: str = "") -> Json:
    found = [one for one in result.objects if one["kind"] == kind and name in {"", one["metadata"]["name"]}]
    assert len(found) == 1, [str(note) for note in result.notes]
    return found[0]


def steps(result: Imported) -> list[Json]:
    return by_kind(result, "Rollout")["spec"]["strategy"]["canary"]["steps"]


def said(result: Imported, level: str) -> list[str]:
    return [f"{note.path}: {note.message}" for note in result.notes if note.level == level]


def test_the_rollout_takes_the_deployments_template_labels_and_size() -> None:
    spec = by_kind(imported(canary(), DEPLOYMENT), "Rollout")["spec"]
    assert spec["workloadRef"] == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "name": "shop",
        "scaleDown": "onsuccess",
    }
    assert spec["selector"] == {"matchLabels": {"app.kubernetes.io/name": "shop"}}
    assert spec["replicas"] == 6
    assert spec["progressDeadlineSeconds"] == 60
    assert spec["progressDeadlineAbort"] is True


def test_an_unknown_size_is_said_and_can_be_given() -> None:
    assert any("--replicas" in text for text in said(imported(canary()), "approximate"))
    assert by_kind(imported(canary(), replicas=9), "Rollout")["spec"]["replicas"] == 9


@pytest.mark.parametrize(
    ("analysis", "weights"),
    [
        ({"stepWeight": 20, "maxWeight": 50}, [20, 40, 60]),
        ({"stepWeight": 10, "maxWeight": 50}, [10, 20, 30, 40, 50]),
        ({"stepWeight": 30, "maxWeight": 100}, [30, 60, 90, 100]),
        ({"stepWeight": 0, "stepWeights": [1, 5, 50]}, [1, 5, 50]),
        ({"stepWeight": 25, "stepWeights": [1, 50]}, [25, 50]),
    ],
)
def test_the_weights_are_those_that_flagger_goes_through(analysis: Json, weights: list[int]) -> None:
    found = [step["setWeight"] for step in steps(imported(canary(**analysis))) if "setWeight" in step]
    assert found == weights


def test_each_weight_is_followed_by_the_checks_which_wait_an_interval() -> None:
    result = imported(canary())
    assert [next(iter(step)) for step in steps(result)] == ["setWeight", "analysis"] * 3
    metrics = by_kind(result, "AnalysisTemplate", "shop-checks")["spec"]["metrics"]
    success = metrics[1]
    assert success["initialDelay"] == success["interval"] == "60s"
    assert success["failureLimit"] == 4
    assert success["consecutiveSuccessLimit"] == 1
    assert success["successCondition"] == "len(result) > 0 && !isNaN(result[0]) && result[0] >= 99"
    assert 'destination_service_name="shop-canary"' in success["provider"]["prometheus"]["query"]


def test_hey_becomes_a_load_test_whose_result_is_kept() -> None:
    load = by_kind(imported(canary()), "AnalysisTemplate", "shop-checks")["spec"]["metrics"][0]
    assert load["provider"] == {
        "loadTest": {
            "target": {"url": "http://shop-canary.prod:80"},
            "duration": "60s",
            "requestsPerSecond": 20,
            "requests": [{"path": "/"}],
        }
    }


def test_services_and_route_keep_their_names_and_shape() -> None:
    result = imported(canary(), DEPLOYMENT)
    names = [one["metadata"]["name"] for one in result.objects if one["kind"] == "Service"]
    assert names == ["shop", "shop-canary"]
    spec = by_kind(result, "VirtualService")["spec"]
    assert spec["hosts"] == ["shop.example.com", "shop"]
    assert spec["gateways"] == ["gate"]
    assert spec["http"][0]["timeout"] == "5s"
    assert [(one["destination"]["host"], one["weight"]) for one in spec["http"][0]["route"]] == [
        ("shop", 100),
        ("shop-canary", 0),
    ]


def test_a_metric_template_is_filled_in() -> None:
    metric = {
        "name": "errors",
        "templateRef": {"name": "errors"},
        "templateVariables": {"app": "shop"},
        "thresholdRange": {"max": 0.5},
        "interval": "2m",
    }
    found = by_kind(imported(canary(metrics=[metric]), TEMPLATE), "AnalysisTemplate")["spec"]["metrics"][1]
    assert found["provider"]["prometheus"] == {
        "query": 'sum(rate(errors{ns="prod",app="shop"}[2m]))',
        "address": "http://prom:9090",
    }


def test_a_check_that_measures_nothing_is_dropped_aloud() -> None:
    result = imported(canary(metrics=[{"name": "cpu-usage", "thresholdRange": {"max": 80}}]))
    assert any('"cpu-usage"' in text and "nothing is measured" in text for text in said(result, "dropped"))


def test_a_bash_webhook_becomes_a_job_that_the_user_owns() -> None:
    hook = {"name": "it", "url": "http://t/", "metadata": {"type": "bash", "cmd": "curl x | grep y"}}
    result = imported(canary(webhooks=[hook]), job_image="tools:1")
    metric = by_kind(result, "AnalysisTemplate", "shop-checks")["spec"]["metrics"][0]
    container = metric["provider"]["job"]["spec"]["template"]["spec"]["containers"][0]
    assert container["image"] == "tools:1"
    assert container["command"] == ["/bin/bash", "-c", "curl x | grep y"]
    assert metric["provider"]["job"]["spec"]["template"]["spec"]["securityContext"] == {"runAsUser": 65534}
    repeated = (metric["interval"], metric["failureLimit"], metric["consecutiveSuccessLimit"])
    assert repeated == ("60s", 4, 1), "as often as Flagger would ask for it"


def test_a_plain_webhook_is_asked_with_flaggers_body_until_it_says_yes() -> None:
    hook = {"name": "gate", "type": "pre-rollout", "url": "http://t/gate", "metadata": {"a": "b"}}
    result = imported(canary(webhooks=[hook]))
    assert next(iter(steps(result)[0])) == "setCanaryScale"
    metric = by_kind(result, "AnalysisTemplate", "shop-pre-rollout")["spec"]["metrics"][0]
    http = metric["provider"]["http"]
    assert http["method"] == "POST"
    assert http["headers"] == [{"key": "Content-Type", "value": "application/json"}]
    assert json.loads(http["body"])["checksum"] == "{{args.canary-hash}}"
    assert metric["successCondition"] == "result.status >= 200 && result.status <= 202"


def test_a_rollback_hook_fails_the_release_when_it_says_yes() -> None:
    hook = {"name": "back", "type": "rollback", "url": "http://t/back"}
    result = imported(canary(webhooks=[hook]))
    metric = by_kind(result, "AnalysisTemplate", "shop-rollback")["spec"]["metrics"][0]
    assert metric["failureCondition"] == "result.status >= 200 && result.status <= 202"
    assert "successCondition" not in metric
    assert by_kind(result, "Rollout")["spec"]["strategy"]["canary"]["analysis"]["templates"] == [
        {"templateName": "shop-rollback"}
    ]


def test_gates_become_pauses_for_a_person() -> None:
    gates = [
        {"name": kind, "type": kind, "url": "http://t/"} for kind in ("confirm-rollout", "confirm-promotion")
    ]
    found = steps(imported(canary(webhooks=gates)))
    assert found[0] == found[-1] == {"pause": {}}


def test_the_kubernetes_provider_becomes_blue_green() -> None:
    obj = canary(iterations=3)
    obj["spec"]["provider"] = "kubernetes"
    body = by_kind(imported(obj), "Rollout")["spec"]["strategy"]["blueGreen"]
    assert body["activeService"] == "shop"
    assert body["previewService"] == "shop-canary"
    assert body["prePromotionAnalysis"]["templates"] == [{"templateName": "shop-checks"}]


def test_skipped_analysis_is_a_canary_without_steps() -> None:
    obj = canary()
    obj["spec"]["skipAnalysis"] = True
    assert steps(imported(obj)) == []


@pytest.mark.parametrize(
    ("change", "path"),
    [
        (lambda o: o["spec"]["targetRef"].update(kind="DaemonSet"), "spec.targetRef.kind"),
        (lambda o: o["spec"].update(provider="linkerd"), "spec.provider"),
        (lambda o: o.update(status={"phase": "Progressing"}), "status.phase"),
        (lambda o: o.update(status={"phase": "Failed"}), "status.phase"),
        (lambda o: o["spec"]["analysis"].update(match=[{"headers": {}}]), "spec.analysis.match"),
        (lambda o: o["spec"]["analysis"].update(mirror=True), "spec.analysis.mirror"),
        (lambda o: o["spec"]["analysis"].update(stepWeight=0), "spec.analysis"),
        (lambda o: o["spec"]["analysis"].update(interval="often"), "spec.analysis.interval"),
        (lambda o: o["spec"]["analysis"]["metrics"][0].update(thresholdRange={}), "spec.analysis.metrics[0].thresholdRange"),
        (lambda o: o["spec"]["analysis"]["metrics"][0].update(templateRef={"name": "x"}), "spec.analysis.metrics[0].templateRef"),
        (lambda o: o["spec"]["analysis"]["webhooks"][0].update(type="confirm-traffic-increase"), "spec.analysis.webhooks[0].type"),
    ],
)  # fmt: skip
def test_what_must_not_be_guessed_is_refused_with_its_place(change: Any, path: str) -> None:
    obj = canary()
    change(obj)
    result = imported(obj)
    assert result.objects == ()
    assert [note.path for note in result.notes if note.level == "refused"] == [path]


def test_a_query_that_is_a_program_is_refused() -> None:
    template = copy.deepcopy(TEMPLATE)
    template["spec"]["query"] = "{{ if eq namespace `x` }}1{{ end }}"
    metric = {"name": "errors", "templateRef": {"name": "errors"}, "thresholdRange": {"max": 1}}
    assert imported(canary(metrics=[metric]), template).outcome == "refused"


@pytest.mark.parametrize(
    ("command", "spec"),
    [
        ("hey -z 30s http://a/", {"users": 50, "duration": "30s", "requests": [{"path": "/"}]}),
        (
            "hey -z 2m -q=5 -c=4 -m POST -d '{}' -T application/json -H 'X-A: b' http://a/p?q=1",
            {
                "requestsPerSecond": 20,
                "duration": "120s",
                "headers": [
                    {"key": "X-A", "value": "b"},
                    {"key": "Content-Type", "value": "application/json"},
                ],
                "requests": [{"path": "/p?q=1", "method": "POST", "body": "{}"}],
            },
        ),
    ],
)
def test_hey_is_read_as_hey_reads_it(command: str, spec: Json) -> None:
    assert hey(command)[0] == {"target": {"url": "http://a"}, **spec}


@pytest.mark.parametrize(
    "command",
    [
        "wrk -t2 http://a/", "hey -n 100 http://a/", "hey -z 1m", "hey -z 1m http://a/ | tee x", "hey -z 1m -h2 http://a/",
        "hey -z 1m -x proxy:1 http://a/", "hey -z soon http://a/", "hey -z 1m ftp://a/", "hey -z 1m -c x http://a/", "hey 'a",
        "hey -z 1m --more-power http://a/",
    ],
)  # fmt: skip
def test_what_is_not_plain_hey_stays_a_command(command: str) -> None:
    with pytest.raises(NotHey):
        hey(command)


def test_the_users_canary_converts() -> None:
    text = (Path(__file__).parents[3] / "examples/flagger-canary.yaml").read_text(encoding="utf-8")
    result = imported(*yaml.safe_load_all(text))
    assert result.outcome == "approximate"
    assert [one["kind"] for one in result.objects] == [
        "Service",
        "Service",
        "AnalysisTemplate",
        "VirtualService",
        "Rollout",
    ]
