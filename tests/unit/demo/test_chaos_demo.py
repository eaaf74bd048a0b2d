"""What the chaos demo shows and says: pure functions on runs and schedules."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from chaos.plan.schedule import SCHEDULED_AT
from rollout.api.chaos import ChaosRun, ChaosSchedule
from rollout.api.codec import view
from rollout.cli.chaos.lanes import Second, timeline
from rollout.cli.demo.chaos import aftermath, calendar, run_lines, tuesdays
from rollout.cli.demo.ground import MANIFESTS
from rollout.cli.demo.scenes import Decision, decisions_of
from rollout.cli.linting import lint
from rollout.cli.manifests import read
from tests.unit.cli.chaos import sample

TUESDAY = datetime(2026, 11, 24, 13, tzinfo=UTC)


def scheduled(week: int, verdict: str = "Successful", **status: Any) -> ChaosRun:
    raw = sample.raw(verdict=verdict, **status)
    at = (TUESDAY + timedelta(weeks=week)).strftime("%Y-%m-%dT%H:%M:%SZ")
    raw["metadata"] |= {"name": f"weekly-{week}", "annotations": {SCHEDULED_AT: at}}
    return view(raw, ChaosRun)


def schedule(**status: Any) -> ChaosSchedule:
    spec = {"schedule": "0 14 * * 2", "timeZone": "Europe/Berlin", "run": {"templateName": "kill"}}
    return view({"metadata": {"name": "weekly"}, "spec": spec, "status": status}, ChaosSchedule)


# --- the picture ---


def test_the_picture_names_the_run_and_shows_what_acted_beside_the_load():
    start = datetime(2026, 11, 21, 12, 0, 10, tzinfo=UTC)
    load = [Second(start + timedelta(seconds=n), rps=100, fail_ratio=0.0, p95=320) for n in range(30)]
    run = sample.run()
    drawn = timeline(run, [sample.samples("Successful", "Failed", start=12)], load, sample.NOW, 60)
    assert drawn is not None
    lines = run_lines(run, drawn)
    assert lines[0] == "chaos run kill: Failed"
    assert [line.split("  ")[0] for line in lines[2:]] == [
        "run", "kill", "slow", "health", "after", "requests/s", "p95 ms",
    ]  # fmt: skip
    columns = {name: lines[2 + at][20:80] for at, name in enumerate(["run", "kill", "slow", "health"])}
    assert columns["slow"].index("█") == columns["run"].index("▓") == 10
    assert columns["health"].strip() == "·  ✖"


def test_the_picture_of_a_run_that_goes_on_says_its_phase():
    run = sample.run(phase="Injecting", verdict="", completedAt=None, endedAt=None)
    drawn = timeline(run, [], [], sample.NOW, 30)
    assert drawn is not None
    assert run_lines(run, drawn)[0] == "chaos run kill: Injecting"


# --- the halt ---


def test_a_halted_run_is_undone_when_every_receipt_is_reverted_and_no_filter_is_left():
    run = sample.run(verdict="Inconclusive", stopping="Switch: incident")
    assert aftermath(run, 0) == ("Inconclusive (Switch: incident); every fault undone, nothing left", True)
    assert aftermath(run, 1) == ("Inconclusive (Switch: incident); NOT UNDONE", False)


def test_a_halted_run_that_has_done_nothing_or_could_not_be_undone_is_not_called_undone():
    assert not aftermath(sample.run(receipts=[]), 0)[1]
    receipts = sample.raw()["status"]["receipts"]
    receipts[1]["state"] = "Unverified"
    assert not aftermath(sample.run(receipts=receipts), 0)[1]


# --- the schedule ---


def test_each_week_is_counted_once_and_only_completed_runs_have_a_verdict():
    runs = [scheduled(0), scheduled(1, "Failed"), scheduled(2, "", phase="Injecting")]
    said, once = tuesdays(runs)
    assert said == "3 Tuesdays came, 1 of 2 completed runs Successful, no time twice"
    assert once


def test_a_time_that_was_run_twice_or_that_nobody_knows_is_told():
    assert tuesdays([scheduled(0), scheduled(0)]) == (
        "2 Tuesdays came, 2 of 2 completed runs Successful, A TIME TWICE",
        False,
    )
    assert not tuesdays([sample.run()])[1], "a run of no time is not one of the schedule"


def test_the_calendar_tells_runs_with_their_checks_what_was_left_out_and_what_comes():
    skipped = [{"at": "2026-12-15T13:00:00Z", "what": "Halted", "message": "ChaosSwitch default is engaged"}]
    told = calendar(
        schedule(skipped=skipped, nextTimes=["2026-12-22T13:00:00Z", "2026-12-29T13:00:00Z", "2027-01-05T13:00:00Z"]),
        [scheduled(0, "Failed"), scheduled(1, "", phase="Pending", probes=[])],
    )  # fmt: skip
    assert told == [
        "Schedule '0 14 * * 2' Europe/Berlin, a week every 12 s",
        "  weekly-0: Failed  health Failed",
        "  weekly-1: Pending",
        "  skipped 2026-12-15T13:00:00Z: ChaosSwitch default is engaged",
        "  next Tue 2026-12-22 13:00 UTC",
        "  next Tue 2026-12-29 13:00 UTC",
    ]


# --- decisions in words ---


@pytest.mark.parametrize(
    ("provider", "told", "value", "expected"),
    [
        ("load", {"load": "100 requests/s for 8s to role canary", "summary": "800 requests in 8 s, p99 323 ms"},
         '{"p99": 323}', ("100 requests/s for 8s to role canary", "800 requests in 8 s, p99 323 ms")),
        ("chaos", {"chaos": "inline spec"}, '{"verdict": "Successful"}',
         ("inline spec", "ChaosRun web-chaos-1: every fault was proved and is gone")),
    ],
)  # fmt: skip
def test_load_and_chaos_are_told_in_words_and_not_as_data(
    provider: str, told: dict[str, str], value: str, expected: tuple[str, str]
):
    message = "ChaosRun web-chaos-1: every fault was proved and is gone"
    measurement = {"phase": "Successful", "value": value, "metadata": told, "message": message}
    run = {
        "metadata": {"name": "web-2"},
        "spec": {"metrics": [{"name": provider, "successCondition": "result.p99 < 800"}]},
        "status": {
            "metricResults": [
                {"name": provider, "phase": "Successful", "message": "held", "measurements": [measurement]}
            ]
        },
    }
    asked, found = expected
    rule = "result.p99 < 800: held"
    assert decisions_of(run) == [Decision("web-2", "Successful", provider, asked, (found,), rule)]


# --- the manifests ---


def test_the_manifests_are_valid_and_what_they_name_is_there():
    report = lint(list(read("chaos.yaml", (MANIFESTS / "chaos.yaml").read_text())), complete=True)
    assert report.checked >= 5
    assert [finding for finding in report.findings if finding.severity == "error"] == []
