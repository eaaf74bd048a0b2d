"""The GitOps examples: rules that are understood, expressions on all statuses, health in Lua, kstatus' table."""

import json
import shutil
import subprocess

import pytest
import yaml

from rollout.api import crds
from rollout.cli import linting
from rollout.cli.manifests import read
from tests.unit.cli import world
from tests.unit.integrations.gitops import (
    APPLICATION,
    FLUX,
    FOLDER,
    HEALTH,
    RULES,
    argo_cd_health,
    compared,
    flux_status,
    kstatus,
    path_of,
)

LUA = next((found for name in ("lua5.4", "lua5.3", "lua") if (found := shutil.which(name))), None)
JQ = shutil.which("jq")
ROUTE = {
    "apiVersion": "networking.istio.io/v1",
    "kind": "VirtualService",
    "metadata": {"name": "web", "annotations": {"surefoot.dev/turn": "web=1", "team": "shop"}},
    "spec": {"http": [{"name": "a", "route": [{"weight": 20}, {"weight": 80, "x": 1}]}, {"name": "b"}]},
}


def chaos_run(phase="", verdict="", **status):
    """A ChaosRun as its controller leaves it, at its latest generation."""
    said = {"phase": phase, "verdict": verdict, "observedGeneration": 1, **status} if phase else {}
    obj = {
        "apiVersion": "surefoot.dev/v1alpha1",
        "kind": "ChaosRun",
        "metadata": {"generation": 1},
        "spec": {},
    }
    return obj | ({"status": said} if said else {})


def analysis_run(phase=None):
    obj = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "AnalysisRun",
        "metadata": {"generation": 1},
        "spec": {},
    }
    return obj if phase is None else obj | {"status": {"phase": phase}}


# --- the rules ----------------------------------------------------------------------------------------


def test_a_rule_takes_out_what_it_names_and_nothing_else():
    left = compared(ROUTE)
    assert left["spec"] == {"http": [{"name": "a", "route": [{}, {"x": 1}]}, {"name": "b"}]}
    assert left["metadata"]["annotations"] == {"team": "shop"}
    assert compared(ROUTE, rules=[])["spec"] == ROUTE["spec"]


def test_a_rule_for_a_name_is_for_that_name_only():
    rules = [one for one in RULES if one["kind"] == "Deployment"]
    shrunk = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {"replicas": 0},
    }
    other = {**shrunk, "metadata": {"name": "other"}}
    assert compared(shrunk, rules)["spec"] == {}
    assert compared(other, rules)["spec"] == {"replicas": 0}


def test_no_rule_selects_by_what_only_the_live_object_has():
    # Such a rule is applied to one side only, and makes the difference that it should hide.
    for rule in RULES:
        for expression in rule.get("jqPathExpressions", ()):
            assert path_of(expression)
    with pytest.raises(ValueError, match="select"):
        path_of('select(.metadata.labels["a"] == "b") | .spec.http')


@pytest.mark.skipif(JQ is None, reason="jq is not installed (apt-get install jq)")
def test_our_reading_of_the_paths_is_jqs():
    for rule in RULES:
        for expression in rule.get("jqPathExpressions", ()):
            program = f"[path({expression})] | length"
            subprocess.run(
                [JQ, "-e", program], input=json.dumps(ROUTE), text=True, check=True, capture_output=True
            )
    told = subprocess.run(
        [JQ, "-c", "del(.spec.http[]?.route[]?.weight) | .spec"],
        input=json.dumps(ROUTE), text=True, check=True, capture_output=True,
    )  # fmt: skip
    assert json.loads(told.stdout) == compared(ROUTE)["spec"]


def test_the_application_syncs_only_what_is_out_of_sync():
    options = APPLICATION["spec"]["syncPolicy"]["syncOptions"]
    assert "ApplyOutOfSyncOnly=true" in options
    assert not any(one.startswith("Replace") for one in options)


# --- Argo CD ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rollout", "health"),
    [
        (world.healthy(), "Healthy"),
        (world.rollout(), "Suspended"),
        (world.waiting_for_person(), "Suspended"),
        (world.rollout(phase="Degraded", message="RolloutAborted: gate", abort=True), "Degraded"),
        (world.rollout(phase="Progressing", message="more replicas", pauseConditions=[]), "Progressing"),
        (world.rollout(phase="Healthy", message="", observedGeneration="1"), "Progressing"),
        (world.rollout(phase="Paused", pauseConditions=[]), "Progressing"),
        ({**world.rollout(), "status": {}}, "Progressing"),
    ],
)
def test_argo_cd_reads_our_status(rollout, health):
    assert argo_cd_health(rollout)[0] == health


HEALTHS = [
    (chaos_run(), "Progressing"),
    (chaos_run("Injecting"), "Progressing"),
    (chaos_run("Completed", "Successful"), "Healthy"),
    (chaos_run("Completed", "Failed", message="a probe failed"), "Degraded"),
    (chaos_run("Completed", "Error"), "Degraded"),
    (chaos_run("Completed", "Inconclusive"), "Degraded"),
    ({"kind": "ChaosSchedule", "metadata": {"generation": 2}, "spec": {}}, "Progressing"),
    (
        {"kind": "ChaosSchedule", "metadata": {"generation": 2}, "status": {"observedGeneration": 2}},
        "Healthy",
    ),
    ({"kind": "ChaosSchedule", "metadata": {"generation": 2}, "spec": {"suspend": True}}, "Suspended"),
    ({"kind": "ChaosSwitch", "metadata": {"generation": 1}, "status": {"observedGeneration": 1}}, "Healthy"),
    (
        {
            "kind": "ChaosSwitch",
            "metadata": {"generation": 1},
            "spec": {"engaged": True},
            "status": {"observedGeneration": 1},
        },
        "Suspended",
    ),
]


@pytest.mark.skipif(LUA is None, reason="Lua is not installed (apt-get install lua5.4)")
@pytest.mark.parametrize(("obj", "health"), HEALTHS)
def test_the_health_of_our_kinds_in_lua(obj, health):
    script = HEALTH[f"resource.customizations.health.surefoot.dev_{obj['kind']}"]
    program = (
        f"local obj = {lua(obj)}\nlocal h = (function() {script} end)()\nprint(h.status)\nprint(h.message)"
    )
    told = subprocess.run([LUA, "-"], input=program, text=True, capture_output=True, check=True)
    message = (obj.get("status") or {}).get("message", "")
    assert told.stdout == f"{health}\n{message}\n"


def lua(value):
    if isinstance(value, dict):
        return "{" + ", ".join(f"[{lua(key)}] = {lua(one)}" for key, one in value.items()) + "}"
    return json.dumps(value)


def test_the_lua_names_kinds_of_ours_that_exist():
    kinds = {one["spec"]["names"]["kind"] for one in crds.crds() if one["spec"]["group"] == "surefoot.dev"}
    named = {key.rpartition("surefoot.dev_")[2] for key in HEALTH}
    assert named <= kinds


# --- Flux ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("obj", "status"),
    [
        (world.healthy(), "Current"),
        (world.rollout(), "InProgress"),
        (world.waiting_for_person(), "InProgress"),
        (world.rollout(phase="Degraded", message="RolloutAborted", abort=True), "Failed"),
        (world.rollout(phase="Healthy", abort=True), "InProgress"),
        (world.rollout(phase="Healthy", observedGeneration="1"), "InProgress"),
        ({key: part for key, part in world.rollout().items() if key != "status"}, "InProgress"),
        ({**world.rollout(), "status": {}}, "InProgress"),
        (analysis_run(), "InProgress"),
        (analysis_run(""), "InProgress"),
        (analysis_run("Running"), "InProgress"),
        (analysis_run("Successful"), "Current"),
        (analysis_run("Failed"), "Failed"),
        (analysis_run("Error"), "Failed"),
        (analysis_run("Inconclusive"), "Failed"),
        (chaos_run(), "InProgress"),
        (chaos_run("Recovering"), "InProgress"),
        (chaos_run("Completed", "Successful"), "Current"),
        (chaos_run("Completed", "Inconclusive"), "Failed"),
        (chaos_run("Completed"), "Failed"),
    ],
)
def test_fluxs_expressions_on_every_status(obj, status):
    obj.setdefault("apiVersion", "argoproj.io/v1alpha1")
    obj.setdefault("kind", "Rollout")
    assert flux_status(obj) == status


def test_the_kinds_of_the_expressions_are_served_and_flux_waits():
    served = {
        (f"{one['spec']['group']}/{version['name']}", one["spec"]["names"]["kind"])
        for one in crds.crds()
        for version in one["spec"]["versions"]
    }
    assert {(one["apiVersion"], one["kind"]) for one in FLUX["spec"]["healthCheckExprs"]} <= served
    assert FLUX["spec"]["wait"] is True


# --- kstatus ------------------------------------------------------------------------------------------

RECONCILING = {"conditions": [{"type": "Reconciling", "status": "True"}]}
STALLED = {"conditions": [{"type": "Stalled", "status": "True"}]}


@pytest.mark.parametrize(
    ("obj", "status"),
    [
        # As in Argo Rollouts: the generation is text there, which kstatus cannot read (docs/gitops.md).
        (world.healthy(), "Unknown"),
        (world.rollout(), "Unknown"),
        (chaos_run("Injecting", **RECONCILING), "InProgress"),
        (chaos_run("Completed", "Successful"), "Current"),
        (chaos_run("Completed", "Failed", **STALLED), "Failed"),
        (chaos_run("Completed", "Successful", observedGeneration=0), "InProgress"),
        ({"metadata": {"generation": 3}, "status": {"observedGeneration": 3}}, "Current"),
        ({"metadata": {"generation": 3}, "status": {"observedGeneration": 2}}, "InProgress"),
    ],
)
def test_what_kstatus_makes_of_our_objects(obj, status):
    assert kstatus(obj) == status


def test_the_example_files_are_yaml_that_lint_leaves_alone():
    for path in FOLDER.rglob("*.yaml"):
        assert list(yaml.safe_load_all(path.read_text()))
        report = linting.lint(read(str(path), path.read_text()))
        assert [str(one) for one in report.findings if one.severity == "error"] == []
