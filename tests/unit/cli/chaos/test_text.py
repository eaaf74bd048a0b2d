"""A ChaosRun as text, as JSON and as a report."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import msgspec

from rollout.api.codec import encode
from rollout.cli.chaos import report
from rollout.cli.chaos.lanes import timeline
from rollout.cli.chaos.shape import run_of, shape
from rollout.cli.chaos.text import change_line, list_lines, run_text, screen
from rollout.cli.text import plain
from tests.unit.cli.chaos import sample


def test_the_shape_counts_receipts_and_keeps_probes_that_were_never_measured() -> None:
    shown = shape(sample.run())
    assert shown.target == "canary pods of Rollout web, 50 %"
    kill, slow = shown.faults
    assert (kill.kind, kill.victims, kill.injected, kill.proved, kill.undone) == ("podDelete", 1, 1, 1, 1)
    assert slow.proofs == ("42 requests were delayed",)
    assert [(one.name, one.phase, one.ratio) for one in shown.probes] == [
        ("health", "Failed", 0.9),
        ("after", "", None),
    ]


def test_the_json_has_all_fields_also_when_they_are_empty() -> None:
    document = msgspec.json.decode(encode(shape(sample.run(verdict="", message=""))))
    assert document["schemaVersion"] == 1
    assert document["verdict"] == ""
    assert document["recoverySeconds"] == 10.0
    assert document["faults"][0]["firstInjectedAt"] == "2026-11-21T12:00:10Z"
    assert set(document) >= {"journal", "preflight", "victims", "stopping"}


def test_a_run_that_cannot_be_read_is_shown_as_an_error() -> None:
    broken = sample.raw() | {"spec": {"steps": "none"}}
    shown = shape(run_of(broken))
    assert (shown.name, shown.verdict) == ("kill", "Error")
    assert "cannot be read: spec.steps" in shown.message


def test_get_tells_verdict_timeline_proof_probes_and_journal() -> None:
    run = sample.run()
    drawn = timeline(run, [sample.samples("Successful", "Failed")], [], sample.NOW, 40)
    text = "\n".join(run_text(shape(run), drawn, sample.NOW))
    for wanted in (
        "✖ Failed",
        "42 requests were delayed",
        "90.0 %",
        "12:00:10  inject: kill on web-1",
        "Recovered:    10 s",
    ):
        assert wanted in text


def test_unverified_reverts_are_shouted() -> None:
    receipts = sample.raw()["status"]["receipts"]
    receipts[1]["state"] = "Unverified"
    assert "(1 UNVERIFIED)" in "\n".join(run_text(shape(sample.run(receipts=receipts)), None, sample.NOW))


def test_the_screen_never_has_more_lines_than_the_window() -> None:
    run = sample.run(journal=[{"at": "2026-11-21T12:00:10Z", "what": f"line {n}"} for n in range(50)])
    drawn = timeline(run, [], [], sample.NOW, 40)
    for height in (5, 12, 25, 40):
        assert len(screen(shape(run), drawn, sample.NOW, height=height, paint=plain)) <= height


def test_a_change_line_says_how_far_faults_and_probes_are() -> None:
    line = change_line(shape(sample.run(phase="Injecting", verdict="", message="")))
    assert line == "Injecting  kill 1/1, slow 1/1  health 90.0 %"


def test_the_list_has_a_row_for_each_run() -> None:
    lines = list_lines([shape(sample.run())], sample.NOW, namespaces=True, wide=True)
    assert lines[0].split() == [
        "NAMESPACE", "NAME", "PHASE", "VERDICT", "FAULTS", "VICTIMS", "PROBES", "RECOVERY", "AGE", "TARGET", "MESSAGE",
    ]  # fmt: skip
    assert lines[1].split()[:9] == [
        "shop",
        "kill",
        "Completed",
        "Failed",
        "podDelete,httpLatency",
        "1",
        "0/2",
        "10s",
        "60s",
    ]


def test_junit_has_a_case_for_the_verdict_each_fault_and_each_probe() -> None:
    suite = ET.fromstring(report.junit([shape(sample.run())]))[0]
    outcome = {case.get("name"): [child.tag for child in case] for case in suite}
    assert outcome == {
        "verdict": ["failure"], "fault kill": [], "fault slow": [], "probe health": ["failure"], "probe after": ["skipped"],
    }  # fmt: skip
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("5", "2", "1")
    assert suite.get("time") == "60"


def test_junit_calls_a_fault_without_proof_an_error() -> None:
    receipts = sample.raw()["status"]["receipts"]
    receipts[0]["proof"] = ""
    receipts[1]["state"] = "Proved"
    suite = ET.fromstring(report.junit([shape(sample.run(receipts=receipts))]))[0]
    assert [case.get("name") for case in suite if case.find("error") is not None] == [
        "fault kill",
        "fault slow",
    ]


def test_markdown_escapes_what_would_break_its_tables() -> None:
    run = sample.run(journal=[{"at": "2026-11-21T12:00:10Z", "what": "a|b", "message": "c\nd"}])
    lines = report.markdown(shape(run), None)
    assert lines[0] == "# Chaos run shop/kill: Failed"
    assert "| 2026-11-21T12:00:10Z | a\\|b | c d |" in lines


def test_an_edge_probe_has_a_line_for_before_and_one_for_after() -> None:
    results = [{"name": "after", "mode": mode, "phase": "Successful"} for mode in ("Start", "End")]
    shown = shape(sample.run(probes=results))
    assert [(one.name, one.mode, one.phase) for one in shown.probes] == [
        ("health", "Continuous", ""),
        ("after", "Start", "Successful"),
        ("after", "End", "Successful"),
    ]


def test_why_it_ended_early_is_told_once() -> None:
    why = "namespace shop has not opted in"
    run = sample.run(
        verdict="Error", message=why, stopping=f"NotStarted: {why}", receipts=[], preflight=[why], journal=[]
    )
    text = run_text(shape(run), None, sample.NOW)
    assert "Ended early:  NotStarted" in text
    assert "\n".join(text).count(why) == 1
    going = sample.run(
        verdict="", message="", stopping="Switch: incident", preflight=["no mesh"], receipts=[]
    )
    text = run_text(shape(going), None, sample.NOW)
    assert "Stopping:     Switch: incident" in text
    assert "  no mesh" in text
