"""The timeline: what stands in which column."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from rollout.cli.chaos.lanes import Second, Timeline, course, progress, timeline
from tests.unit.cli.chaos import sample

WIDTH = 60  # one column a second: the sample lasts a minute


def lane(drawn: Timeline | None, name: str) -> str:
    assert drawn is not None
    return next(one.cells for one in drawn.lanes if one.name == name)


def test_there_is_no_timeline_before_the_run_has_begun() -> None:
    assert timeline(sample.run(startedAt=None), [], [], sample.NOW, WIDTH) is None


def test_the_runs_own_lane_shows_checks_faults_and_recovery() -> None:
    cells = lane(timeline(sample.run(), [], [], sample.NOW, WIDTH), "run")
    assert cells == "░" * 10 + "▓" * 30 + "▒" * 20


def test_a_run_that_was_over_soon_is_drawn_as_long_as_it_was() -> None:
    short = sample.run(
        injectedAt="2026-11-21T12:00:01Z", endedAt="2026-11-21T12:00:04Z", completedAt="2026-11-21T12:00:05Z"
    )
    cells = lane(timeline(short, [], [], sample.NOW, WIDTH), "run")
    assert cells == "░" * 6 + "▓" * 18 + "▒" * 7 + " " * 29


def test_a_fault_is_active_from_its_injection_to_its_revert() -> None:
    cells = lane(timeline(sample.run(), [], [], sample.NOW, WIDTH), "slow")
    assert cells == " " * 10 + "█" * 31 + " " * 19


def test_a_fault_that_is_not_undone_yet_is_active_until_now() -> None:
    run = sample.run(phase="Injecting", completedAt=None, endedAt=None, receipts=[
        {"id": "a", "fault": "slow", "kind": "httpLatency", "state": "Proved", "injectedAt": "2026-11-21T12:00:10Z"}
    ])  # fmt: skip
    cells = lane(timeline(run, [], [], sample.NOW, WIDTH), "slow")
    assert cells.rstrip() == " " * 10 + "█" * 50


def test_a_bad_sample_wins_over_good_ones_in_its_column() -> None:
    taken = sample.samples("Successful", "Failed", "Error", "Successful", start=20, every=1)
    narrow = timeline(sample.run(), [taken], [], sample.NOW, 30)
    assert lane(narrow, "health")[10:12] == "✖!"


def test_samples_of_another_probe_are_not_shown() -> None:
    taken = sample.samples("Failed", probe="other")
    assert lane(timeline(sample.run(), [taken], [], sample.NOW, WIDTH), "health").strip() == ""


def test_the_load_is_shown_as_bars_below_the_same_axis() -> None:
    begin = datetime(2026, 11, 21, 12, 0, 10, tzinfo=UTC)
    load = [
        Second(begin + timedelta(seconds=n), rps=50.0 + 50 * (n > 4), fail_ratio=0.0, p95=10.0)
        for n in range(10)
    ]
    drawn = timeline(sample.run(), [], load, sample.NOW, WIDTH)
    assert lane(drawn, "requests/s") == " " * 10 + "▅" * 5 + "█" * 5 + " " * 40
    assert lane(drawn, "p95 ms").strip() == "█" * 10


def test_all_lanes_have_the_same_width() -> None:
    drawn = timeline(sample.run(), [sample.samples("Successful")], [], sample.NOW, 37)
    assert drawn is not None
    assert {len(one.cells) for one in drawn.lanes} == {37}


def test_the_course_of_a_load_test_is_the_same_live_and_kept() -> None:
    start = datetime(2026, 11, 21, 12, 0, 10, tzinfo=UTC)
    kept = course(
        {"start": start.timestamp(), "step": 1, "rows": [{"t": 3, "rps": 9, "failRatio": 0.5, "p95": 7}]}
    )
    live = progress([{"seconds": 3, "of": 10, "rps": 9, "failRatio": 0.5, "p95": 7}], start)
    assert kept == live == [Second(start + timedelta(seconds=3), 9.0, 0.5, 7.0)]
