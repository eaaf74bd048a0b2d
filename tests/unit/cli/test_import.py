"""`rollout import` as its user meets it: what is written where, exit codes, wrong input, pipes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[3]
LITMUS, FLAGGER = "examples/litmus-chaosengines.yaml", "examples/flagger-canary.yaml"


def run(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "rollout.cli.main", "import", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "NO_COLOR": "1", "COLUMNS": "110"},
        timeout=60,
        check=False,
    )


def test_objects_go_to_stdout_as_yaml_and_notes_to_stderr_with_a_word_at_the_end() -> None:
    said = run("litmus", "-f", LITMUS)
    assert said.returncode == 10
    assert [one["kind"] for one in yaml.safe_load_all(said.stdout)] == ["ChaosRun", "ChaosRun"]
    *notes, last = said.stderr.splitlines()
    assert all(one.split(":")[0] in {"info", "approximate", "dropped"} for one in notes)
    assert last == "2 objects made, not quite the same: read the notes before you apply."


def test_with_json_everything_is_one_document() -> None:
    said = run("flagger", "-f", FLAGGER, "-o", "json")
    assert (said.returncode, said.stderr) == (10, "")
    body = json.loads(said.stdout)
    assert (body["schemaVersion"], body["outcome"], len(body["objects"])) == (1, "approximate", 5)
    assert set(body["notes"][0]) == {"level", "source", "path", "message"}


def test_a_list_from_kubectl_is_read_from_a_pipe_and_what_is_not_of_the_tool_is_left_alone() -> None:
    documents = [
        *yaml.safe_load_all((ROOT / LITMUS).read_text(encoding="utf-8")),
        *yaml.safe_load_all((ROOT / FLAGGER).read_text(encoding="utf-8")),
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "namespace": "default"}},
    ]
    listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": documents})
    said = run("litmus", "-f", "-", stdin=listed)
    assert said.returncode == 10
    assert len(list(yaml.safe_load_all(said.stdout))) == 2
    assert (
        "info: Canary production/myapp: is left alone: it is of Flagger; use `rollout import flagger`"
        in said.stderr
    )
    assert "info: ConfigMap default/x: is left alone: it is not of Litmus; apply it as it is" in said.stderr


@pytest.mark.parametrize(
    ("arguments", "stdin", "code", "said"),
    [
        (("litmus",), "", 2, "Missing option '--filename'"),
        (("litmus", "-f", "/nope"), "", 2, "cannot read /nope: No such file or directory"),
        (("litmus", "-f", "-"), "", 7, "there is no ChaosEngine and no ChaosSchedule of Litmus in it"),
        (("flagger", "-f", "-"), "", 7, "there is no Canary of Flagger in it"),
        (("flagger", "-f", LITMUS), "", 7, "it is of Litmus; use `rollout import litmus`"),
        (("litmus", "-f", "-"), "a: [", 2, "<stdin>:2: not valid YAML"),
        (("litmus", "-f", "-"), "just text", 2, "<stdin>:1: this is no Kubernetes object"),
        (("litmus", "-f", "-"), "- 1\n- 2", 2, "<stdin>:1: this is no Kubernetes object"),
        (("litmus", "-f", LITMUS, "--profile", "x"), "", 2, "litmus-hub, litmus-code"),
        (("litmus", "-f", LITMUS, "-o", "name"), "", 2, "use json or yaml"),
        (("flagger", "-f", FLAGGER, "--replicas", "0"), "", 2, "must be a whole number of at least 1"),
        (("flagger", "-f", FLAGGER, "--provider", "linkerd"), "", 7, "the provider linkerd is not supported"),
        (
            ("litmus", "-f", "-"),
            "apiVersion: litmuschaos.io/v1\nkind: X\nmetadata: {name: x}",
            7,
            "kind X cannot",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_wrong_input_is_said_with_an_exit_code_and_nothing_on_stdout(
    arguments: tuple[str, ...], stdin: str, code: int, said: str
) -> None:
    found = run(*arguments, stdin=stdin)
    assert (found.returncode, found.stdout) == (code, "")
    assert said in found.stderr
    assert "Traceback" not in found.stderr


@pytest.mark.parametrize("tool", ["litmus", "flagger"])
def test_help_says_what_goes_where_and_what_the_exit_codes_mean(tool: str) -> None:
    said = run(tool, "--help")
    assert said.returncode == 0
    words = " ".join(said.stdout.split())
    assert "0 exact, 10 approximate (read the notes before you apply), 7 something was refused" in words
    assert f"rollout import {tool} -f" in words


def test_a_reader_that_goes_away_is_no_error() -> None:
    command = f"{sys.executable} -m rollout.cli.main import litmus -f {LITMUS} 2>/dev/null | head -1"
    said = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, cwd=ROOT, timeout=60, check=True
    )
    assert said.stdout.startswith("apiVersion:")
