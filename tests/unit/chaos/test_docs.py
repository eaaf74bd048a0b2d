"""The examples of docs/chaos.md, chaos-schedule.md and load.md pass `rollout lint`, and the page names every field."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest
import yaml

from chaos.plan import stopping, verdict
from rollout.api import chaos as api
from rollout.api.codec import view
from rollout.cli.linting import lint
from rollout.cli.manifests import read
from tests.pages import SPACE, Example, blocks, commands, examples, text_of

PAGES = ("chaos.md", "chaos-schedule.md", "load.md")
TEXT = text_of("chaos.md")
SCHEDULES = text_of("chaos-schedule.md")
FAULTS = Path(__file__).parents[3] / "examples" / "chaos"
ALL = [one for page in PAGES for one in examples(page)]
RUNS = [one for one in ALL if one.object["kind"] == "ChaosRun"]


def manifests(page: str) -> list[str]:
    return [block for _, block in blocks(page) if "apiVersion" in block]


@pytest.mark.parametrize("page", PAGES)
def test_every_manifest_passes_the_controllers_checks(page: str) -> None:
    whole = "\n---\n".join(manifests(page))
    report = lint([*read(page, whole)])
    assert [str(one) for one in report.findings if one.severity == "error"] == []
    assert report.checked >= len(manifests(page)) - 1


def test_every_fault_of_the_page_is_one_of_the_examples_that_run() -> None:
    """What is shown in parts is what examples/chaos has, which tests/sandbox/test_chaos_examples.py runs."""
    known = [
        fault
        for path in FAULTS.glob("*.yaml")
        for obj in yaml.safe_load_all(path.read_text())
        if obj["kind"] == "ChaosRun"
        for step in obj["spec"]["steps"]
        for fault in step["faults"]
    ]
    parts = [
        fault
        for _, block in blocks("chaos.md")
        if "apiVersion" not in block
        for fault in yaml.safe_load(block)
    ]
    assert [one for one in parts if one not in known] == []
    assert {kind for one in parts for kind in one} >= set(api.FAULT_KINDS)


@pytest.mark.parametrize("example", RUNS, ids=lambda one: one.name)
def test_every_run_says_how_it_ends(example: Example) -> None:
    assert example.promise is not None, example.comment
    assert example.promise.verdict in {"Successful", "Failed", "Inconclusive", "Error"}


def test_names_are_used_once_so_that_all_of_it_can_be_applied() -> None:
    names = [(one.object["kind"], one.name) for one in ALL if one.object["kind"] != "Namespace"]
    assert len(names) == len(set(names))
    places = {one.object["metadata"].get("namespace", SPACE) for one in ALL}
    assert places == {SPACE, f"{SPACE}-guest"}


def test_every_mode_provider_kind_and_comparator_type_has_an_example() -> None:
    probes = [probe for one in RUNS for probe in one.object["spec"].get("probes", ())]
    assert {probe["mode"] for probe in probes} == {"Start", "End", "Edge", "Continuous", "During"}
    providers = {name for probe in probes for name in probe.get("provider", ())}
    assert providers == {"http", "web", "prometheus", "kubernetes", "cmd", "job"}
    assert any("templateRef" in probe for probe in probes)
    operations = {
        probe["provider"]["kubernetes"]["op"] for probe in probes if "kubernetes" in probe.get("provider", ())
    }
    assert operations == {"present", "absent", "condition"}
    assert {probe["comparator"]["type"] for probe in probes if "comparator" in probe} == {
        "int",
        "float",
        "string",
    }
    kinds = {one.object["kind"] for one in ALL}
    assert kinds >= {
        "ChaosRun",
        "ChaosTemplate",
        "ChaosSchedule",
        "ChaosSwitch",
        "AnalysisTemplate",
        "Rollout",
    }
    ends = {one.promise.verdict for one in RUNS if one.promise is not None}
    assert ends == {"Successful", "Failed", "Inconclusive", "Error"}


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (api.ChaosRunSpec, TEXT),
        (api.Target, TEXT),
        (api.WorkloadRef, TEXT),
        (api.Fault, TEXT),
        (api.ChaosStep, TEXT),
        (api.PodDelete, TEXT),
        (api.ContainerKill, TEXT),
        (api.HttpLatency, TEXT),
        (api.HttpAbort, TEXT),
        (api.DependencyLatency, TEXT),
        (api.DependencyOutage, TEXT),
        (api.ScaleDown, TEXT),
        (api.NetworkLatency, TEXT),
        (api.NetworkLoss, TEXT),
        (api.Probe, TEXT),
        (api.Tolerance, TEXT),
        (api.Limits, TEXT),
        (api.Caps, TEXT),
        (api.ChaosSwitchSpec, TEXT),
        (api.TemplateUse, TEXT),
        (api.ChaosScheduleSpec, SCHEDULES),
        (api.Window, SCHEDULES),
    ],
)
def test_every_field_is_told(kind: type[msgspec.Struct], text: str) -> None:
    fields = [field.encode_name for field in msgspec.structs.fields(kind)]
    assert [name for name in fields if not re.search(rf"\b{name}\b", text)] == []


def test_every_verdict_cause_and_phase_is_told() -> None:
    causes = {"InvalidSpec", "NotStarted", "Changed", "Refused", "Unmeasured"}
    told = causes | {"Pending", "Checking", "Injecting", "Reverting", "Recovering", "Completed"}
    assert [word for word in sorted(told) if f"`{word}`" not in TEXT] == []
    assert sorted(verdict.STOPPED) == ["Aborted", "Deleted", "Switch"]
    assert set(stopping._LATER) == {"abort", "ttl_seconds_after_finished", "template_ref"}


def test_the_caps_that_are_shown_are_those_in_force_without_a_switch() -> None:
    (shown,) = (one.object["spec"]["caps"] for one in ALL if one.name == "default")
    assert view(shown, api.Caps) == api.Caps()


def test_the_commands_that_the_sandbox_test_runs_are_there() -> None:
    assert len(commands("chaos.md", "--template kill-some")) == 1
    assert len(commands("chaos.md", "set image shop")) == 1
