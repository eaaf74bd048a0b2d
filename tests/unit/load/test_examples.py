"""The examples of docs/load.md are right, and the document names every field."""

from pathlib import Path

import pytest
import yaml

from rollout.cli import loading
from rollout.core.validate import validate
from rollout.core.validate_analysis import validate_run_spec, validate_template
from rollout.core.validate_providers import load_test

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docs" / "load.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["load-gate.yaml", "load-locustfile.yaml"])
def test_manifests_have_no_problems(name):
    for obj in yaml.safe_load_all((ROOT / "examples" / name).read_text()):
        match obj["kind"]:
            case "AnalysisTemplate":
                assert validate_template(obj) == []
            case "AnalysisRun":
                assert validate_run_spec(obj["spec"]) == []
            case "Rollout":
                assert validate(obj) == []


def test_the_plan_for_the_command_line_can_be_carried_out():
    body = loading.body_in((ROOT / "examples" / "load-plan.yaml").read_text(), "load-plan.yaml")
    plan = loading.plan_of(loading.with_options(body, {"url": "http://127.0.0.1:8080"}))
    assert [request.name for request in plan.requests] == ["home", "search"]


def test_every_example_and_every_field_is_told():
    for path in (ROOT / "examples").glob("load-*.yaml"):
        assert f"examples/{path.name}" in TEXT
    fields = load_test._FIELDS | load_test._REQUEST_FIELDS | load_test._CHECK_FIELDS
    assert [name for name in sorted(fields) if f"`{name}`" not in TEXT and name not in TEXT] == []
