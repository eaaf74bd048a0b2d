"""The parts for pipelines: what they say to `rollout`, how they end, and that no input is ever read as a script."""

import json
import os
import re
import runpy
import subprocess
from pathlib import Path

import pytest
import yaml

from rollout.cli import exits

ROOT = Path(__file__).parents[3]
PARTS = ROOT / "integrations"
SCRIPT = PARTS / "release.sh"
ACTION = yaml.safe_load((PARTS / "github" / "action.yml").read_text())
SPEC, COMPONENT = yaml.safe_load_all((PARTS / "gitlab" / "templates" / "release.yml").read_text())
GROOVY = (PARTS / "jenkins" / "vars" / "surefootRelease.groovy").read_text()
FAKE = """#!/bin/bash
printf '%s\\0' "$@" END >>"$CALLS"
[ "$1" = status ] || exit "$VERB_CODE"
case $STATUS_CODE in
  0 | 3 | 4 | 5)
    while [ $# -gt 0 ]; do
      case $1 in
        --junit) echo '<testsuites/>' >"$2" ;;
        --summary) echo '# gates' >"$2" ;;
        --annotations) echo '::error::x' >"$2" ;;
      esac
      shift
    done
    echo '{}'
    ;;
esac
exit "$STATUS_CODE"
"""
HOSTILE = "$(touch pwned) `touch pwned` \"; touch pwned; '; touch pwned #"
OUTCOMES = {
    exits.OK: "promoted",
    exits.UNEXPECTED: "error",
    exits.USAGE: "usage",
    exits.FAILED: "failed",
    exits.TIMEOUT: "timeout",
    exits.PAUSED: "paused",
    exits.NOT_FOUND: "not-found",
    exits.REFUSED: "refused",
    exits.UNREACHABLE: "unreachable",
    exits.FORBIDDEN: "forbidden",
    exits.INTERRUPTED: "error",
}


class Step:
    """One run of the script with a `rollout` that does nothing but end with a code."""

    def __init__(self, folder, *, status=0, verb=0, script=SCRIPT, **given):
        program = folder / "bin" / "rollout"
        program.parent.mkdir(exist_ok=True)
        program.write_text(FAKE)
        program.chmod(0o755)
        self.folder, calls = folder, folder / "calls"
        env = {
            "PATH": f"{program.parent}:{os.environ['PATH']}",
            "CALLS": str(calls),
            "STATUS_CODE": str(status),
            "VERB_CODE": str(verb),
            **given,
        }
        done = subprocess.run(
            ["bash", str(script)],
            check=False,
            cwd=folder,
            env=env,
            capture_output=True,
            text=True,
            timeout=300,
        )
        self.code, self.out, self.err = done.returncode, done.stdout, done.stderr
        said = calls.read_text().split("END\0")[:-1] if calls.exists() else []
        self.calls = [one.split("\0")[:-1] for one in said]
        self.reports = folder / given.get("SUREFOOT_REPORTS", "surefoot-reports")

    @property
    def outcome(self):
        return (self.reports / "outcome").read_text().strip()


@pytest.mark.parametrize(("code", "outcome"), OUTCOMES.items())
def test_the_step_ends_with_the_exit_code_of_rollout_and_its_name(tmp_path, code, outcome):
    step = Step(tmp_path, status=code, SUREFOOT_ROLLOUT="web")
    assert (step.code, step.outcome) == (code, outcome)


def test_every_exit_code_of_the_commands_has_a_name():
    codes = {value for name, value in vars(exits).items() if name.isupper() and isinstance(value, int)}
    assert codes - set(OUTCOMES) == {exits.APPROXIMATE}  # of `rollout import` alone


@pytest.mark.parametrize(("said", "code"), [("true", 0), ("false", 5), ("", 5), ("yes", 5)])
def test_a_pause_is_a_success_only_where_it_was_said_and_is_still_called_paused(tmp_path, said, code):
    step = Step(tmp_path, status=5, SUREFOOT_ROLLOUT="web", SUREFOOT_SUCCESS_ON_PAUSE=said)
    assert (step.code, step.outcome) == (code, "paused")


@pytest.mark.parametrize("status", [0, 3, 8])
@pytest.mark.parametrize("verb", [3, 4, 5, 7, 8, 9])
def test_a_verb_that_did_not_succeed_is_never_made_good_by_a_later_look(tmp_path, verb, status):
    step = Step(tmp_path, verb=verb, status=status, SUREFOOT_ROLLOUT="web", SUREFOOT_VERB="promote")
    assert step.code == verb


def test_a_promotion_that_is_found_lost_at_the_second_look_is_no_success(tmp_path):
    step = Step(tmp_path, verb=0, status=3, SUREFOOT_ROLLOUT="web", SUREFOOT_VERB="promote")
    assert (step.code, step.outcome) == (3, "failed")


def test_a_request_that_was_refused_asks_for_no_report(tmp_path):
    step = Step(tmp_path, verb=7, SUREFOOT_ROLLOUT="web", SUREFOOT_VERB="promote")
    assert len(step.calls) == 1
    assert not (step.reports / "gates.xml").exists()
    assert "refused" in (step.reports / "summary.md").read_text()


def test_each_verb_waits_once_and_then_looks(tmp_path):
    given = {"SUREFOOT_ROLLOUT": "web", "SUREFOOT_NAMESPACE": "shop", "SUREFOOT_TIMEOUT": "3m"}
    for verb, first in (
        ("wait", ["status", "--wait"]),
        ("promote", ["promote", "--wait"]),
        ("set-image", ["set", "image", "--wait"]),
    ):
        folder = tmp_path / verb
        folder.mkdir()
        step = Step(folder, SUREFOOT_VERB=verb, SUREFOOT_IMAGES="web=web:v2\nlog=log:v3 a=b", **given)
        assert step.calls[0][: len(first)] == first
        assert [one for one in step.calls if "--wait" in one] == step.calls[:1]
        assert all("--namespace=shop" in call for call in step.calls)
        assert "--timeout=3m" in step.calls[0]
        after = step.calls[0][step.calls[0].index("--") + 1 :]
        assert after == (["web", "web=web:v2", "log=log:v3", "a=b"] if verb == "set-image" else ["web"])


@pytest.mark.parametrize("verb", ["wait", "promote", "set-image"])
def test_no_input_is_read_as_a_script_or_as_an_option(tmp_path, verb):
    given = dict.fromkeys(
        ("ROLLOUT", "NAMESPACE", "CONTEXT", "TIMEOUT", "IMAGES"), f"--kubeconfig=x {HOSTILE}"
    )
    step = Step(tmp_path, SUREFOOT_VERB=verb, **{f"SUREFOOT_{key}": text for key, text in given.items()})
    assert list(tmp_path.rglob("pwned")) == []
    for call in step.calls:
        end = call.index("--")
        assert call[end + 1] == given["ROLLOUT"]
        assert f"--namespace={given['NAMESPACE']}" in call[:end]
        assert f"--context={given['CONTEXT']}" in call[:end]
        assert "--kubeconfig=x" not in call[:end]


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"SUREFOOT_ROLLOUT": "web", "SUREFOOT_VERB": HOSTILE},
        {"SUREFOOT_ROLLOUT": "web", "SUREFOOT_VERB": "set-image"},
    ],
    ids=["no name", "strange verb", "no image"],
)
def test_what_is_missing_is_told_before_anything_is_done(tmp_path, given):
    step = Step(tmp_path, **given)
    assert (step.code, step.calls) == (2, [])
    assert step.err.startswith("error: ")
    assert list(tmp_path.rglob("pwned")) == []


def test_reports_of_an_earlier_step_are_gone_when_this_one_ends_badly(tmp_path):
    Step(tmp_path, SUREFOOT_ROLLOUT="web")
    step = Step(tmp_path, status=8, SUREFOOT_ROLLOUT="web")
    assert not (step.reports / "gates.xml").exists()
    assert step.outcome == "unreachable"


def test_github_gets_outputs_summary_and_annotations(tmp_path):
    outputs, summary = tmp_path / "outputs", tmp_path / "page"
    summary.write_text("before\n")
    step = Step(
        tmp_path,
        status=3,
        SUREFOOT_ROLLOUT="web",
        GITHUB_ACTIONS="true",
        GITHUB_OUTPUT=str(outputs),
        GITHUB_STEP_SUMMARY=str(summary),
    )
    assert outputs.read_text() == "outcome=failed\ncode=3\n"
    assert summary.read_text() == "before\n# gates\n"
    assert step.out == "::error::x\n"


# --- GitHub -------------------------------------------------------------------------------------------


def test_every_input_of_the_action_is_used_and_every_used_one_is_an_input():
    used = set(re.findall(r"inputs\.([\w-]+)", json.dumps(ACTION["runs"])))
    assert used == set(ACTION["inputs"])


def test_no_expression_stands_in_a_script_of_the_action():
    scripts = [step["run"] for step in ACTION["runs"]["steps"]]
    assert scripts
    assert not any("${{" in one for one in scripts)
    assert all(one.startswith("set -euo pipefail\n") for one in scripts)


def test_the_actions_environment_is_what_the_script_reads():
    given = set(ACTION["runs"]["steps"][-1]["env"])
    assert given == variables()


def test_the_actions_outputs_are_written_by_the_step_that_they_name():
    (step,) = [one for one in ACTION["runs"]["steps"] if one.get("id") == "release"]
    assert step["shell"] == "bash"
    for name, output in ACTION["outputs"].items():
        assert output["value"] == f"${{{{ steps.release.outputs.{name} }}}}"
        assert f"{name}=%s" in SCRIPT.read_text()


def test_the_action_ends_as_the_script_does(tmp_path):
    run = ACTION["runs"]["steps"][-1]["run"]
    (tmp_path / "step.sh").write_text(run)
    step = Step(
        tmp_path,
        status=3,
        script=tmp_path / "step.sh",
        SUREFOOT_ROLLOUT="web",
        GITHUB_ACTION_PATH=str(PARTS / "github"),
    )
    assert (step.code, step.outcome) == (3, "failed")


# --- GitLab -------------------------------------------------------------------------------------------


def job():
    (found,) = COMPONENT.values()
    return found


def test_every_input_of_the_component_is_used_and_every_used_one_is_an_input():
    used = set(re.findall(r"\$\[\[ inputs\.(\w+) \]\]", json.dumps(COMPONENT)))
    assert used == set(SPEC["spec"]["inputs"])


def test_no_input_stands_in_the_components_script_and_no_variable_is_expanded():
    assert "$[[" not in json.dumps(job()["script"])
    assert all(one["expand"] is False for one in job()["variables"].values())
    assert set(job()["variables"]) == variables()


def test_defaults_of_the_component_are_among_their_options_and_fit_their_patterns():
    for name, one in SPEC["spec"]["inputs"].items():
        if "default" in one:
            assert one["default"] in one.get("options", [one["default"]]), name
            assert re.search(one.get("regex", ""), one["default"]), name


@pytest.mark.parametrize("code", [0, 3, 5])
def test_the_components_script_ends_as_the_script_does(tmp_path, code):
    (tmp_path / "job.sh").write_text("\n".join(job()["script"]))
    step = Step(tmp_path, status=code, script=tmp_path / "job.sh", SUREFOOT_ROLLOUT="web")
    assert (step.code, step.outcome) == (code, OUTCOMES[code])
    assert (tmp_path / job()["artifacts"]["reports"]["junit"]).exists()


# --- Jenkins ------------------------------------------------------------------------------------------


def test_the_jenkins_step_gives_the_script_all_that_it_reads_and_knows_all_its_codes():
    assert set(re.findall(r"'(SUREFOOT_\w+)=", GROOVY)) == variables()
    named = dict(re.findall(r"(\d+): '([\w-]+)'", GROOVY))
    expected = {str(code): name for code, name in OUTCOMES.items() if name != "error"}
    assert named == expected


def test_no_value_stands_in_a_script_of_the_jenkins_step():
    assert '"' not in re.sub(r"'[^'\n]*'", "", re.sub(r"/\*.*?\*/", "", GROOVY, flags=re.DOTALL))
    assert re.findall(r", script: (.*)$", GROOVY, re.MULTILINE) == [
        "'exec bash \"$SUREFOOT_REPORTS/release.sh\"'"
    ]


# --- the copies ---------------------------------------------------------------------------------------


def variables():
    """The variables that the script's head documents."""
    documented = set(re.findall(r"^#   (SUREFOOT_\w+)", SCRIPT.read_text(), re.MULTILINE))
    used = set(re.findall(r"\$\{(SUREFOOT_\w+)", SCRIPT.read_text()))
    assert documented == used
    return documented


def test_the_copies_of_the_script_are_current():
    wanted = runpy.run_path(str(ROOT / "tools" / "integrations.py"))["wanted"]()
    assert len(wanted) == 2
    for path, text in wanted.items():
        assert path.read_text() == text, f"{path}: run tools/integrations.py"
        assert SCRIPT.read_text().splitlines()[-1] in text
