"""Litmus manifests: what becomes of them, and that nothing is lost without a word."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from rollout.api.chaos import ChaosRun
from rollout.api.codec import view
from rollout.importers.litmus import Options, convert
from rollout.importers.report import Imported

Json = dict[str, Any]
MANIFESTS = """
apiVersion: litmuschaos.io/v1alpha1
kind: ChaosEngine
metadata: {name: pod-delete-chaos, namespace: default}
spec:
  engineState: active
  appinfo: {appns: default, applabel: app=myapp, appkind: deployment}
  chaosServiceAccount: litmus-admin
  experiments:
  - name: pod-delete
    spec:
      components:
        env:
        - {name: TOTAL_CHAOS_DURATION, value: '60'}
        - {name: CHAOS_INTERVAL, value: '10'}
        - {name: FORCE, value: 'false'}
        - {name: PODS_AFFECTED_PERC, value: '50'}
      probe:
      - name: app-health-check
        type: httpProbe
        mode: Continuous
        runProperties: {probeTimeout: 5, retry: 3, interval: 2, probePollingInterval: 2}
        httpProbe/inputs:
          url: http://myapp-service:80/health
          insecureSkipTLS: false
          method: {get: {criteria: "==", responseCode: "200"}}
"""
CMD = {
    "name": "Latency Check",
    "type": "cmdProbe",
    "mode": "Edge",
    "runProperties": {"probeTimeout": "10s", "retry": 3, "interval": "5s", "stopOnFailure": True},
    "cmdProbe/inputs": {
        "command": "curl -w '%{time_total}' -o /dev/null -s http://myapp-service:80/api/health",
        "comparator": {"type": "float", "criteria": "<", "value": "5.0"},
    },
}


def engine() -> Json:
    return copy.deepcopy(yaml.safe_load(MANIFESTS))


def experiment(obj: Json) -> Json:
    return obj["spec"]["experiments"][0]


def set_env(obj: Json, **values: str) -> Json:
    env = experiment(obj)["spec"]["components"]["env"]
    env[:] = [one for one in env if one["name"] not in values]
    env += [{"name": name, "value": value} for name, value in values.items()]
    return obj


def imported(*objects: Json, **options: Any) -> Imported:
    return convert(list(objects), Options(**options))


def only(*objects: Json, **options: Any) -> Json:
    result = imported(*objects, **options)
    assert len(result.objects) == 1, [str(note) for note in result.notes]
    return result.objects[0]


def said(result: Imported, level: str) -> list[str]:
    return [f"{note.path}: {note.message}" for note in result.notes if note.level == level]


def test_pod_delete_becomes_a_run_of_the_same_pace() -> None:
    spec = only(engine())["spec"]
    assert spec["duration"] == "60s"
    assert spec["target"] == {
        "selector": {"matchLabels": {"app": "myapp"}},
        "percent": 50,
        "rounding": "Down",
        "retarget": "Replaced",
    }
    assert spec["steps"][0]["faults"] == [
        {"name": "pod-delete", "podDelete": {"method": "delete", "interval": "10s"}}
    ]


def test_the_health_probe_tolerates_as_many_bad_samples_as_litmus_tries() -> None:
    assert only(engine())["spec"]["probes"] == [
        {
            "name": "app-health-check",
            "mode": "Continuous",
            "provider": {"http": {"url": "http://myapp-service:80/health", "timeout": "5s"}},
            "successCondition": "result.status == 200",
            "interval": "2s",
            "tolerance": {"ratio": 0.0, "streak": 2},
        }
    ]


def test_a_result_can_be_read_as_our_kind() -> None:
    run = view(only(engine()), ChaosRun)
    assert run.spec.steps[0].faults[0].pod_delete is not None
    assert run.metadata.annotation("surefoot.dev/imported-from").endswith("pod-delete-chaos")


def test_the_defaults_are_those_of_the_chosen_profile() -> None:
    bare = engine()
    experiment(bare)["spec"]["components"]["env"] = []
    hub, code = only(bare), only(bare, profile="litmus-code")
    assert hub["spec"]["duration"] == "15s"
    assert hub["spec"]["steps"][0]["faults"][0]["podDelete"]["method"] == "force"
    assert code["spec"]["duration"] == "30s"
    assert code["spec"]["steps"][0]["faults"][0]["podDelete"]["method"] == "delete"
    assert hub["spec"]["target"]["count"] == 1


def test_the_environment_of_a_chaos_experiment_stands_between_profile_and_engine() -> None:
    bare = set_env(engine(), CHAOS_INTERVAL="7")
    catalogue = {
        "apiVersion": "litmuschaos.io/v1alpha1",
        "kind": "ChaosExperiment",
        "metadata": {"name": "pod-delete"},
        "spec": {
            "definition": {
                "env": [{"name": "CHAOS_INTERVAL", "value": "3"}, {"name": "SEQUENCE", "value": "serial"}]
            }
        },
    }
    body = only(catalogue, bare)["spec"]["steps"][0]["faults"][0]["podDelete"]
    assert body == {"method": "delete", "interval": "7s", "sequence": "serial"}


def test_network_latency_becomes_latency_of_requests_unless_netem_is_asked_for() -> None:
    obj = set_env(engine(), NETWORK_LATENCY="2000", PODS_AFFECTED_PERC="25", NETWORK_INTERFACE="eth1")
    experiment(obj)["name"] = "pod-network-latency"
    mesh, netem = only(obj), only(obj, network="netem")
    assert mesh["spec"]["steps"][0]["faults"][0]["httpLatency"] == {"delay": "2000ms", "percent": 25}
    assert mesh["spec"]["target"]["percent"] == 100
    assert mesh["spec"]["limits"] == {"maxPercent": 100}
    assert netem["spec"]["steps"][0]["faults"][0]["networkLatency"] == {
        "delay": "2000ms",
        "interface": "eth1",
    }
    assert netem["spec"]["target"]["percent"] == 25


def test_a_command_is_split_into_words_and_needs_a_shell_only_for_a_shells_work() -> None:
    obj = engine()
    piped = {
        **CMD,
        "name": "piped",
        "cmdProbe/inputs": {**CMD["cmdProbe/inputs"], "command": "curl -s http://x | jq -r .v"},
    }
    experiment(obj)["spec"]["probe"] = [CMD, piped]
    result = imported(obj)
    plain, shell = result.objects[0]["spec"]["probes"]
    assert plain["name"] == "latency-check"
    assert plain["provider"]["cmd"]["command"] == [
        "curl", "-w", "%{time_total}", "-o", "/dev/null", "-s", "http://myapp-service:80/api/health",
    ]  # fmt: skip
    assert plain["comparator"] == {"type": "float", "operator": "<", "value": "5.0"}
    assert plain["failurePolicy"] == "Abort"
    assert shell["provider"]["cmd"]["command"] == ["/bin/sh", "-c", "curl -s http://x | jq -r .v"]
    assert any("needs a shell" in text for text in said(result, "approximate"))


def test_a_commands_pod_gets_time_to_start_beyond_the_probes_own() -> None:
    obj = engine()
    experiment(obj)["spec"]["probe"] = [CMD]
    result = imported(obj)
    assert result.objects[0]["spec"]["probes"][0]["provider"]["cmd"]["timeout"] == "40s"
    assert any("its pod may take 40s" in text for text in said(result, "approximate"))


def test_striking_requests_at_all_pods_says_what_the_cluster_must_allow_and_what_proves_it() -> None:
    obj = set_env(engine(), NETWORK_LATENCY="2000", PODS_AFFECTED_PERC="25")
    experiment(obj)["name"] = "pod-network-latency"
    notes = said(imported(obj), "approximate")
    assert any("spec.caps.percentPerNamespace: 100" in text for text in notes)
    assert any("without traffic meanwhile" in text for text in notes)
    assert not any("percentPerNamespace" in text for text in said(imported(engine()), "approximate"))


def test_the_namespaces_consent_is_asked_for_with_the_command_that_gives_it() -> None:
    assert any(
        "kubectl label namespace default surefoot.dev/chaos=enabled" in text
        for text in said(imported(engine()), "info")
    )


@pytest.mark.parametrize(
    ("resource", "expected"),
    [
        ({"group": "apps", "resource": "deployments"}, {"group": "apps", "kind": "Deployment"}),
        ({"version": "v1", "resource": "pods", "resourceNames": "a"}, {"kind": "Pod", "name": "a"}),
        (
            {"group": "acme.io", "version": "v2", "resource": "queues", "labelSelector": "a=b"},
            {
                "group": "acme.io",
                "version": "v2",
                "kind": "Queues",
                "plural": "queues",
                "labelSelector": "a=b",
            },
        ),
    ],
)
def test_a_k8s_probe_asks_the_same_of_the_same_objects(resource: Json, expected: Json) -> None:
    obj = engine()
    experiment(obj)["spec"]["probe"] = [k8s(**resource)]
    assert only(obj)["spec"]["probes"][0]["provider"]["kubernetes"] == {"op": "present", **expected}


@pytest.mark.parametrize(
    ("wrong", "path"),
    [
        ({"operation": "create"}, "operation"),
        ({"namespace": "shop"}, "namespace"),
        ({"fieldSelector": "a=b"}, "fieldSelector"),
        ({"resourceNames": "a,b"}, "resourceNames"),
        ({"resource": "Deployment"}, "resource"),
    ],
)
def test_what_a_k8s_probe_of_ours_cannot_ask_is_refused(wrong: Json, path: str) -> None:
    obj = engine()
    experiment(obj)["spec"]["probe"] = [k8s(**{"resource": "pods", **wrong})]
    refused = [note.path for note in imported(obj).notes if note.level == "refused"]
    assert refused == [f"spec.experiments[0].spec.probe[0].k8sProbe/inputs.{path}"]


def k8s(**inputs: str) -> Json:
    run = {"probeTimeout": "5s", "attempt": 1, "interval": "1s"}
    body = {"operation": "present", **inputs}
    return {
        "name": "there",
        "type": "k8sProbe",
        "mode": "EOT",
        "runProperties": run,
        "k8sProbe/inputs": body,
    }


def test_what_would_break_a_rule_of_ours_is_refused_with_the_rule() -> None:
    result = imported(set_env(engine(), TOTAL_CHAOS_DURATION="999999999"))
    assert result.objects == ()
    (note,) = [note for note in result.notes if note.level == "refused"]
    assert note.message.startswith("what would be made of it is not valid: ChaosRun pod-delete-chaos: spec")


def test_a_stopped_engine_starts_nothing_when_it_is_applied() -> None:
    obj = engine()
    obj["spec"]["engineState"] = "stop"
    assert only(obj)["kind"] == "ChaosTemplate"


def test_targets_of_another_namespace_say_what_its_owner_must_allow() -> None:
    obj = engine()
    obj["spec"]["appinfo"]["appns"] = "shop"
    result = imported(obj)
    assert result.objects[0]["spec"]["target"]["namespace"] == "shop"
    assert any("surefoot.dev/chaos-from=default" in text for text in said(result, "approximate"))


@pytest.mark.parametrize(
    ("change", "path"),
    [
        (lambda o: o["spec"]["appinfo"].update(applabel=""), "spec.appinfo.applabel"),
        (lambda o: o["spec"]["appinfo"].update(applabel="", appkind=""), "spec.appinfo"),
        (lambda o: o["spec"]["appinfo"].update(appkind="cronjob"), "spec.appinfo.appkind"),
        (lambda o: experiment(o).update(name="node-drain"), "spec.experiments[0].name"),
        (lambda o: set_env(o, TOTAL_CHAOS_DURATION="soon"), "spec.experiments[0].spec.components.env[3]"),
        (lambda o: set_env(o, TOTAL_CHAOS_DURATION="0"), "spec.experiments[0].spec.components.env[3]"),
        (lambda o: set_env(o, NODE_LABEL="disk=ssd"), "spec.experiments[0].spec.components.env[4]"),
        (lambda o: experiment(o)["spec"]["probe"][0].update(type="sloProbe"), "spec.experiments[0].spec.probe[0].type"),
        (lambda o: experiment(o)["spec"]["probe"][0].update(mode="Later"), "spec.experiments[0].spec.probe[0].mode"),
        (lambda o: o["spec"].update(experiments=[]), "spec.experiments"),
    ],
)  # fmt: skip
def test_what_must_not_be_guessed_is_refused_with_its_place(change: Any, path: str) -> None:
    obj = engine()
    change(obj)
    result = imported(obj)
    assert result.objects == ()
    assert result.outcome == "refused"
    assert [note.path for note in result.notes if note.level == "refused"] == [path]


def test_unknown_fields_and_variables_are_said_to_be_dropped() -> None:
    obj = set_env(engine(), COLOUR="blue", LIB="pumba")
    obj["spec"]["surprise"] = {"deep": 1}
    experiment(obj)["spec"]["probe"][0]["runProperties"]["hidden"] = 3
    dropped = said(imported(obj), "dropped")
    assert [text.partition(":")[0] for text in dropped] == [
        "spec.experiments[0].spec.components.env[4]",
        "spec.experiments[0].spec.probe[0].runProperties.hidden",
        "spec.surprise",
    ]


def _schedule(**repeat: Any) -> Json:
    return {
        "apiVersion": "litmuschaos.io/v1alpha1",
        "kind": "ChaosSchedule",
        "metadata": {"name": "weekly", "namespace": "default"},
        "spec": {"schedule": {"repeat": repeat}, "engineTemplateSpec": engine()["spec"]},
    }


@pytest.mark.parametrize(
    ("repeat", "cron"),
    [
        (
            {
                "properties": {"minChaosInterval": {"hour": {"everyNthHour": 2, "minuteOfTheHour": 15}}},
                "workHours": {"includedHours": "9-17"},
                "workDays": {"includedDays": "Mon,Tue"},
            },
            "15 9-17/2 * * mon,tue",
        ),
        ({"properties": {"minChaosInterval": {"minute": {"everyNthMinute": 10}}}}, "*/10 * * * *"),
        ({"properties": {"minChaosInterval": {"hour": {"everyNthHour": 1}}}}, "0 * * * *"),
    ],
)
def test_a_schedule_becomes_one_cron_line_in_utc(repeat: Json, cron: str) -> None:
    made = only(_schedule(**repeat))
    assert made["kind"] == "ChaosSchedule"
    assert made["spec"]["schedule"] == cron
    assert made["spec"]["timeZone"] == "Etc/UTC"
    assert made["spec"]["run"]["spec"]["duration"] == "60s"


def test_the_bounds_of_a_schedule_are_kept_and_its_next_times_told() -> None:
    schedule = _schedule(
        timeRange={"startTime": "2026-11-23T10:00:00Z", "endTime": "2026-11-24T12:00:00Z"},
        properties={"minChaosInterval": {"hour": {"everyNthHour": 12, "minuteOfTheHour": 5}}},
    )
    result = imported(schedule, now=datetime(2026, 11, 1, tzinfo=UTC))
    spec = result.objects[0]["spec"]
    assert (spec["notBefore"], spec["notAfter"]) == ("2026-11-23T10:00:00Z", "2026-11-24T12:00:00Z")
    told = (
        'the cron line is "5 */12 * * *" in UTC; the next times: 2026-11-23T12:05:00Z, 2026-11-24T00:05:00Z'
    )
    assert f"spec.schedule.repeat: {told}" in said(result, "info")


def test_what_runs_now_or_once_is_a_run_and_not_a_schedule() -> None:
    now, once = _schedule(), _schedule()
    now["spec"]["schedule"] = {"now": True}
    once["spec"]["schedule"] = {"once": {"executionTime": "2026-12-01T10:00:00Z"}}
    assert only(now)["kind"] == "ChaosRun"
    assert only(once)["spec"]["startAt"] == "2026-12-01T10:00:00Z"


def test_the_users_engines_convert() -> None:
    text = (Path(__file__).parents[3] / "examples/litmus-chaosengines.yaml").read_text(encoding="utf-8")
    result = imported(*yaml.safe_load_all(text))
    assert [one["metadata"]["name"] for one in result.objects] == [
        "pod-delete-chaos",
        "network-latency-chaos",
    ]
    assert result.outcome == "approximate"
