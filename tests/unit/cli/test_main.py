import json
import subprocess
import sys
from importlib import metadata

import pytest

from rollout.cli import files
from rollout.cli.commands import sandbox
from rollout.cli.main import run
from rollout.sandbox.state import DEFAULT_NAME
from tests.unit.validate.examples import FOLDER

HEAVY = ("rich", "yaml", "asyncio", "pydantic", "kubernetes", "msgspec", "ssl", "http.client")
CONFIG = (
    "clusters: [{name: c, cluster: {server: 'http://127.0.0.1:9'}}]\n"
    "contexts: [{name: x, context: {cluster: c}}]\ncurrent-context: x\n"
)


def modules_after(*arguments):
    """The modules that one command line imports."""
    code = "import sys, json; from rollout.cli.main import run; run(sys.argv[1:]); sys.stderr.write(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True
    )
    return set(json.loads(done.stderr.splitlines()[-1])), done.stdout


def test_help_imports_nothing_heavy_and_names_every_command_and_exit_code():
    modules, shown = modules_after("--help")

    assert not modules & set(HEAVY)
    for command in ("get", "list", "status", "promote", "abort", "retry", "undo", "pause", "restart", "set"):
        assert f"\n  {command} " in shown
    for command in ("lint", "completion", "version", "sandbox", "chaos", "load", "import"):
        assert f"\n  {command} " in shown
    assert "130" in shown


@pytest.mark.parametrize("words", [["chaos"], ["chaos", "run"], ["chaos", "schedule"], ["load", "run"]])
def test_help_of_groups_imports_nothing_heavy_either(words):
    modules, shown = modules_after(*words, "--help")

    assert not modules & set(HEAVY)
    assert "Usage: " in shown


@pytest.mark.parametrize("words", [["get", "a"], ["chaos", "list"], ["chaos", "get", "a"], ["chaos", "halt"]])
def test_asking_a_cluster_imports_neither_asyncio_nor_pydantic_nor_rich(words, tmp_path):
    config = tmp_path / "config"
    config.write_text(CONFIG)
    modules, _ = modules_after(*words, "--kubeconfig", str(config))

    assert not modules & {"rich", "asyncio", "pydantic", "kubernetes"}


def test_a_status_without_files_for_a_pipeline_does_not_import_what_writes_them(tmp_path):
    config = tmp_path / "config"
    config.write_text(CONFIG)
    modules, _ = modules_after("status", "a", "--kubeconfig", str(config))

    assert "rollout.cli.filed" in modules
    assert not modules & {
        "rollout.cli.gates",
        "rollout.cli.report",
        "rollout.plan.runs",
        "xml.etree.ElementTree",
    }


def test_every_command_has_help_with_examples(capsys):
    chaos = [
        ["chaos", name]
        for name in ("run", "list", "get", "stop", "report", "preflight", "halt", "resume", "reap")
    ]
    schedules = [["chaos", "schedule", name] for name in ("list", "run", "suspend", "resume")]
    others = [
        ["get"],
        ["promote"],
        ["set", "image"],
        ["sandbox", "up"],
        ["lint"],
        ["completion"],
        ["load", "run"],
    ]
    for words in (*others, *chaos, *schedules):
        assert run([*words, "--help"]) == 0
        shown = capsys.readouterr().out
        assert "Examples:" in shown
        assert max(len(line) for line in shown.splitlines()) <= 80


def test_lint_ends_with_three_when_something_is_wrong(tmp_path, capsys):
    file = tmp_path / "rollout.yaml"
    file.write_text(
        (FOLDER / "rollout-canary-istio.yaml").read_text().replace("replicas: 10", "replicas: -1")
    )

    assert run(["lint", "-f", str(FOLDER)]) == 0
    capsys.readouterr()
    assert run(["lint", "-f", str(tmp_path), "-o", "json"]) == 3
    report = json.loads(capsys.readouterr().out)
    assert [(one["path"], one["line"]) for one in report["findings"] if one["severity"] == "error"] == [
        ("spec.replicas", 7)
    ]
    assert run(["lint", "-f", str(tmp_path)]) == 3
    assert capsys.readouterr().out.startswith(
        f"{file}:7: error: Rollout web-frontend: spec.replicas: Invalid"
    )


def test_lint_reads_stdin():
    text = (FOLDER / "rollout-bluegreen.yaml").read_bytes()
    command = [sys.executable, "-m", "rollout.cli.main", "lint", "-f", "-"]
    done = subprocess.run(command, input=text, capture_output=True, check=False)

    assert done.returncode == 0
    assert b"2 objects checked" in done.stderr


def test_files_that_cannot_be_read_are_usage_errors(tmp_path, capsys):
    (tmp_path / "a.yaml").write_bytes(b"\xff\xfe")
    for path in (tmp_path / "none.yaml", tmp_path / "a.yaml", tmp_path):
        assert run(["lint", "-f", str(path)]) == 2
    (tmp_path / "empty").mkdir()
    assert run(["lint", "-f", str(tmp_path / "empty")]) == 2
    assert "no YAML or JSON files" in capsys.readouterr().err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "powershell"])
def test_completion_prints_a_script_for_each_shell(shell, capsys):
    assert run(["completion", shell]) == 0
    assert "_COMPLETE" in capsys.readouterr().out


def test_completion_knows_the_commands():
    environ = {"_ROLLOUT_COMPLETE": "complete_bash", "COMP_WORDS": "rollout pro", "COMP_CWORD": "1"}
    code = "import sys; sys.argv[0] = 'rollout'; from rollout.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=False
    )

    assert done.stdout.split() == ["promote"]


def test_version_is_that_of_the_distribution(capsys):
    assert run(["version", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["version"] == metadata.version("surefoot")


def test_a_reader_that_goes_away_is_no_error():
    command = f"{sys.executable} -m rollout.cli.main sandbox gaps | head -1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)

    assert done.returncode == 0
    assert done.stderr == ""


def test_gaps_and_status_of_the_sandbox_need_no_sandbox(tmp_path, capsys):
    assert run(["sandbox", "gaps", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["gaps"]
    assert run(["sandbox", "status", "--state", str(tmp_path), "-o", "json"]) == 6
    assert json.loads(capsys.readouterr().out)["running"] is False
    assert run(["sandbox", "down", "--state", str(tmp_path)]) == 0
    assert sandbox.DEFAULT_NAME == DEFAULT_NAME


def test_an_interrupt_ends_with_130(monkeypatch):

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(files, "texts", interrupted)
    assert run(["lint", "-f", "x"]) == 130
