"""docs/analysis.md and its examples are right, and the document names every field."""

import re
from pathlib import Path

import pytest
import yaml

from rollout.core.validate_analysis import validate_run_spec, validate_template
from rollout.core.validate_providers import VALIDATORS, cmd, http, kubernetes, web

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docs" / "analysis.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS)
def test_every_block_is_a_valid_list_of_metrics(block):
    spec = yaml.safe_load(block)
    if "args.token" in block:
        spec["args"] = [{"name": "token", "valueFrom": {"secretKeyRef": {"name": "slo", "key": "token"}}}]
    assert validate_template({"spec": spec}) == []


def test_every_example_is_right_and_every_provider_has_one():
    runs = [*yaml.safe_load_all((ROOT / "examples" / "analysis-metrics.yaml").read_text())]
    assert [validate_run_spec(run["spec"]) for run in runs] == [[]] * len(runs)
    used = {name for run in runs for metric in run["spec"]["metrics"] for name in metric["provider"]}
    assert used >= {"web", "http", "kubernetes", "job", "cmd"}


def test_every_provider_and_every_field_is_told():
    fields = web._FIELDS | http._FIELDS | cmd._FIELDS | kubernetes._FIELDS
    assert [name for name in sorted(fields) if f"`{name}`" not in TEXT] == []
    assert [name for name in VALIDATORS if f"`{name}`" not in TEXT] == []
