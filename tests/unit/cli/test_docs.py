"""docs/cli.md tells everything that others may build on."""

import re
from pathlib import Path

import msgspec
import pytest
import typer

from rollout.cli import exits, history, linting, loading, summary, tree
from rollout.cli.chaos import preflight, shape
from rollout.cli.main import app
from rollout.cli.manifests import read
from rollout.cli.verbs import PROMOTED_BY

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
VIEWS = (
    summary.Summary,
    summary.StepPlace,
    summary.Weight,
    summary.Replicas,
    summary.Image,
    tree.Tree,
    tree.Node,
    linting.Report,
    linting.Finding,
    history.Told,
    history.Place,
    loading.Outcome,
    loading.Judged,
    shape.RunView,
    shape.FaultLine,
    shape.ProbeLine,
    shape.JournalLine,
    preflight.Preflight,
    preflight.FaultCheck,
    preflight.Finding,
)


def test_every_command_is_described():
    for name in typer.main.get_command(app).commands:
        assert re.search(rf"`(rollout\s+)?{name}\b", TEXT), name


@pytest.mark.parametrize("group", ["chaos", "load", "sandbox"])
def test_every_command_of_a_group_is_described(group):
    for name in typer.main.get_command(app).commands[group].commands:
        assert re.search(rf"`(rollout )?{group} [a-z|]*\b{name}\b", TEXT), name


@pytest.mark.parametrize("view", VIEWS)
def test_every_field_of_the_json_is_described(view):
    for field in msgspec.structs.fields(view):
        assert re.search(rf"\b{field.encode_name}\b", TEXT), field.encode_name


def test_every_exit_code_is_described():
    codes = {value for name, value in vars(exits).items() if name.isupper() and isinstance(value, int)}
    described = {int(code) for code in re.findall(r"^\| (\d+) \|", TEXT, re.MULTILINE)}

    assert codes == described


def test_the_annotation_that_others_may_read_is_described():
    assert PROMOTED_BY in TEXT


def test_the_manifests_of_the_readme_are_valid():
    blocks = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    found = [linting.lint(read(f"README {number}", block)) for number, block in enumerate(blocks)]
    assert [one.checked for one in found] == [1]
    assert [str(problem) for one in found for problem in one.findings] == []


def test_what_the_readme_points_to_is_there():
    for path in re.findall(r"\]\(([^)#:]+)[^)]*\)", README):
        assert (ROOT / path).exists(), path
