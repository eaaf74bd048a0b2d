"""What a pipeline is told of the gates of a release."""

from xml.etree import ElementTree as ET

import pytest

from rollout.cli import report
from rollout.cli.exits import USAGE, Failure
from rollout.cli.filed import Files
from rollout.cli.gates import gates, markdown, suite, workflow_commands
from rollout.cli.summary import rollout_of, summarise
from tests.unit.cli import world

QUERY = 'sum(rate(errors{app="web"}[1m])) < 5 or vector(0)'


def measured(phase, value, message="", **more):
    return {
        "phase": phase,
        "value": value,
        "message": message,
        "startedAt": "2026-11-21T12:00:00Z",
        "finishedAt": "2026-11-21T12:00:05Z",
        "metadata": {"ResolvedPrometheusQuery": QUERY, "address": "http://prometheus:9090"},
        **more,
    }


def run(name, phase, *measurements, kind="Step", metric=None, result=None, **meta):
    """One AnalysisRun of web-frontend's revision 2 with one metric."""
    made = world.run(name, 2, phase)
    labels = {"rollout-type": kind} | ({"step-index": "2"} if kind == "Step" else {})
    made["metadata"]["labels"] |= labels
    for key, value in meta.items():
        made["metadata"][key] = {**(made["metadata"].get(key) or {}), **value}
    named = {"name": "errors", "successCondition": "result[0] < 5", "provider": {"prometheus": {}}}
    made["spec"]["metrics"] = [{**named, **(metric or {})}]
    said = {"name": "errors", "phase": phase, "measurements": list(measurements), **(result or {})}
    made["status"] = {"phase": phase, "metricResults": [said]}
    return made


def told(*runs, rollout=None, outcome="failed"):
    one = rollout_of(
        rollout or world.rollout(phase="Degraded", message="RolloutAborted: aborted", abort=True)
    )
    found = gates(one, runs)
    return summarise(one), outcome, found


def cases(*runs, **more):
    text = report.junit([suite(*told(*runs, **more))])
    return {case.get("name"): case for case in ET.fromstring(text)[0]}


def kind_of(case):
    return [child.tag for child in case if child.tag != "system-out"]


@pytest.mark.parametrize(
    ("phase", "expected"),
    [
        ("Successful", []),
        ("Failed", ["failure"]),
        ("Error", ["error"]),
        ("Inconclusive", ["skipped"]),
        ("Running", ["skipped"]),
        ("Pending", ["skipped"]),
    ],
)
def test_a_gate_is_a_case_of_its_verdict(phase, expected):
    found = cases(run("a", phase, measured(phase, "[7]")))
    assert kind_of(found["step 3: errors"]) == expected


def test_a_case_tells_query_rule_and_every_value():
    case = cases(run("a", "Failed", measured("Successful", "[1]"), measured("Failed", "[7]")))[
        "step 3: errors"
    ]
    text = case.find("failure").text
    assert f"query: {QUERY}" in text
    assert "rule: success: result[0] < 5" in text
    assert "Successful  [1]" in text
    assert "Failed  [7]" in text
    assert case.get("time") == "5"


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [("healthy", []), ("failed", ["failure"]), ("paused", ["skipped"]), ("progressing", ["error"])],
)
def test_the_release_itself_is_a_case(outcome, expected):
    assert kind_of(cases(outcome=outcome)["release"]) == expected


def test_a_failed_dry_run_fails_nothing_and_says_why():
    case = cases(run("a", "Failed", measured("Failed", "[7]"), result={"dryRun": True}))["step 3: errors"]
    assert kind_of(case) == ["skipped"]
    assert "dry run" in case.find("skipped").get("message")


def test_evidence_of_another_revision_another_rollout_or_an_earlier_attempt_is_left_out():
    older = run("older", "Failed", annotations={"rollout.argoproj.io/revision": "1"})
    before = run("before", "Failed", annotations={"surefoot.dev/superseded": "true"})
    other = run("other", "Failed", labels={world.HASH: world.STABLE})
    strange = run("strange", "Failed")
    strange["metadata"]["ownerReferences"][0]["uid"] = "somebody-else"
    assert list(cases(older, before, other, strange)) == ["release"]


def test_gates_are_named_by_their_place_in_the_release():
    kinds = ("Background", "PrePromotion", "PostPromotion")
    found = cases(*(run(kind.lower(), "Successful", kind=kind) for kind in kinds))
    assert list(found)[1:] == ["background: errors", "after promotion: errors", "before promotion: errors"]


def test_a_run_that_could_not_begin_is_an_error_though_it_has_no_results():
    broken = run("a", "Error")
    broken["status"] = {"phase": "Error", "message": "the argument host has no value"}
    case = cases(broken)["step 3: errors"]
    assert "the argument host has no value" in case.find("error").get("message")


def test_a_run_that_cannot_be_read_is_an_error_and_hides_no_other():
    broken = run("a", "Successful")
    broken["status"]["metricResults"] = "nonsense"
    found = cases(broken, run("b", "Failed", measured("Failed", "[7]")))
    assert [kind_of(case) for case in found.values()] == [["failure"], ["error"], ["failure"]]


def test_what_xml_cannot_hold_is_replaced():
    text = report.junit([suite(*told(run("a", "Failed", measured("Failed", "\x00\x1b[31m]]>&<"))))])
    case = next(one for one in ET.fromstring(text)[0] if one.get("name") == "step 3: errors")
    assert "\ufffd\ufffd[31m]]>&<" in case.find("failure").text


def test_the_summary_has_a_line_for_each_gate_and_says_what_a_pause_waits_for():
    paused = world.waiting_for_person()
    lines = markdown(
        *told(run("a", "Successful", measured("Successful", "[1]")), rollout=paused, outcome="paused")
    )
    assert lines[0] == "## Release frontend-team-web-prod/web-frontend: waits for a person (revision 2)"
    assert "`rollout promote web-frontend -n frontend-team-web-prod`" in "\n".join(lines)
    row = next(line for line in lines if line.startswith("| step 3: errors"))
    assert row == f"| step 3: errors | Successful | `{QUERY}` | `success: result[0] < 5` | `[1]` |  |"


def test_a_release_without_gates_says_that_nothing_was_measured():
    assert "No gates: nothing was measured." in markdown(*told())


def test_a_query_with_backticks_and_bars_stays_in_its_cell():
    assert report.code("a `b` c") == "``a `b` c``"
    assert report.code("`b`") == "`` `b` ``"
    assert report.table(["x"], [[report.code("a|b\nc")]])[2] == "| `a\\|b c` |"


def test_workflow_commands_name_what_was_no_pass_and_cannot_be_broken_out_of():
    failed = run("a", "Failed", measured("Failed", "[7]", "50% of\n::error::forged"))
    lines = workflow_commands(*told(failed, run("b", "Successful", kind="Background")))
    assert [line.split("::")[1].split(" ")[0] for line in lines] == ["error", "error"]
    assert lines[1].startswith("::error title=frontend-team-web-prod/web-frontend%2C step 3%3A errors::")
    assert "50%25 of%0A::error::forged%0Aquery: " in lines[1]
    assert not any("\n" in line for line in lines)


def test_an_old_report_goes_before_anybody_waits_and_the_summary_stays(tmp_path):
    junit, summary = tmp_path / "gates.xml", tmp_path / "summary.md"
    junit.write_text("of an earlier release")
    summary.write_text("of an earlier step\n")
    Files(str(junit), str(summary)).check()
    assert not junit.exists()
    assert summary.read_text() == "of an earlier step\n"


def test_the_summary_of_earlier_steps_is_never_removed_however_its_path_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    summary = tmp_path / "summary.md"
    summary.write_text("of an earlier step\n")
    Files("gates.xml", "./summary.md", "notes.txt").check()
    for same in ("summary.md", "./summary.md", str(summary)):
        with pytest.raises(Failure, match="two reports") as caught:
            Files(junit=same, summary="./summary.md").check()
        assert caught.value.code == USAGE
    assert summary.read_text() == "of an earlier step\n"


def test_several_reports_may_go_to_one_device():
    Files("/dev/null", "/dev/null", "/dev/null").check()


def test_an_old_report_that_cannot_be_removed_is_a_usage_error():
    with pytest.raises(Failure, match="cannot replace the old report /proc/self/comm") as caught:
        Files(junit="/proc/self/comm").check()  # can be written to and not removed, by root neither
    assert caught.value.code == USAGE


@pytest.mark.parametrize("path", ["no/such/folder/gates.xml", "."])
def test_a_file_that_cannot_be_written_is_told_before_anybody_waits(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Failure) as caught:
        Files(junit=path).check()
    assert caught.value.code == USAGE
