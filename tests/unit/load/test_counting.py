"""Histogram and tally: what is counted is right, however it was put together."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.load.histogram import Histogram, from_plain
from analysis.load.plan import Plan, Request
from analysis.load.tally import MAX_ERRORS, MAX_NAMES, MAX_ROWS, OTHERS, Tally

times = st.floats(min_value=0, max_value=120_000, allow_nan=False)
OPEN = Plan(
    target="http://x", model="open", duration=10.0, users=50, rate=20.0, requests=(Request(name="a"),)
)
CLOSED = Plan(target="http://x", model="closed", duration=10.0, users=5, requests=(Request(name="a"),))


def histogram(values):
    found = Histogram()
    for value in values:
        found.add(value)
    return found


@given(st.lists(times, min_size=1, max_size=200), st.floats(min_value=0, max_value=1))
def test_a_percentile_is_the_nearest_rank_within_a_fifth_of_a_percent_and_never_below(values, share):
    exact = sorted(values)[max(1, math.ceil(share * len(values))) - 1]
    found = histogram(values).percentile(share)
    assert exact - 0.0005 <= found <= exact * (1 + 2**-9) + 0.001


@given(st.lists(times, min_size=1))
def test_the_longest_is_exact_and_is_the_last_percentile(values):
    found = histogram(values)
    assert found.longest == max(values)
    assert found.percentile(1.0) == pytest.approx(max(values), rel=0.002, abs=0.001)


@given(st.lists(times), st.lists(times))
def test_histograms_that_travelled_and_were_merged_are_those_of_all_times(one, other):
    merged = from_plain(histogram(one).plain())
    merged.merge(from_plain(histogram(other).plain()))
    whole = histogram(one + other)
    assert (merged.buckets, merged.count, merged.longest) == (whole.buckets, whole.count, whole.longest)


def test_no_times_have_no_percentile_and_no_longest():
    assert (Histogram().percentile(0.99), Histogram().longest) == (0.0, 0.0)


def test_a_histogram_stays_small_however_many_times_it_holds():
    assert len(histogram(n / 7 for n in range(100_000)).buckets) < 6_000


answers = st.lists(
    st.tuples(
        st.integers(100, 130), st.sampled_from("abc"), times, st.sampled_from(["", "HTTP 500", "refused"])
    ),
    max_size=60,
)


def tally(items):
    found = Tally()
    for item in items:
        found.add(*item)
    return found


@given(answers, answers)
def test_a_tally_of_two_workers_says_what_one_would_have_said(one, other):
    merged = tally(one)
    merged.merge_plain(tally(other).plain())
    whole = tally(one + other)
    assert merged.result(OPEN, 100.0, 3) | {"errors": []} == whole.result(OPEN, 100.0, 3) | {"errors": []}
    assert merged.errors == whole.errors
    assert merged.timeline(OPEN, 100.0) == whole.timeline(OPEN, 100.0)


@given(answers)
def test_every_answer_is_counted_once_in_all_by_name_and_by_second(items):
    found = tally(items)
    result = found.result(OPEN, 100.0, 1)
    assert result["requests"] == len(items)
    assert result["failures"] == sum(bool(error) for *_, error in items)
    assert sum(one["requests"] for one in result["perName"].values()) == len(items)
    assert sum(one["failures"] for one in result["perName"].values()) == result["failures"]
    assert sum(row["rps"] for row in found.timeline(OPEN, 100.0)["rows"]) == pytest.approx(len(items))


def test_a_result_has_rates_ratios_and_milliseconds():
    found = tally([(100 + n % 10, "a", 10.0 + n, "HTTP 500" if n < 2 else "") for n in range(200)])
    result = found.result(OPEN, 100.0, 7)
    assert (result["rps"], result["achievedRps"], result["wantedRps"], result["reached"]) == (
        20.0,
        20.0,
        20.0,
        True,
    )
    assert (result["requests"], result["failures"], result["failRatio"]) == (200, 2, 0.01)
    assert result["p50"] == pytest.approx(109, rel=0.002)
    assert result["p95"] == pytest.approx(199, rel=0.002)
    assert result["max"] == 209.0
    assert result["errors"] == [{"error": "HTTP 500", "count": 2}]
    assert (result["model"], result["users"]) == ("open", 7)


@pytest.mark.parametrize(("sent", "reached"), [(200, True), (190, True), (189, False), (0, False)])
def test_an_open_load_is_reached_from_95_percent_on(sent, reached):
    found = tally([(100, "a", 1.0, "")] * sent)
    assert found.result(OPEN, 100.0, 1)["reached"] is reached


@pytest.mark.parametrize(("sent", "users", "reached"), [(9, 5, True), (9, 4, False), (0, 5, False)])
def test_a_closed_load_is_reached_when_all_users_were_there_and_something_was_sent(sent, users, reached):
    result = tally([(100, "a", 1.0, "")] * sent).result(CLOSED, 100.0, users)
    assert (result["reached"], result["wantedRps"]) == (reached, None)


def test_names_and_errors_beyond_their_bounds_are_counted_together():
    found = tally([(100, f"n{n}", 1.0, f"e{n}") for n in range(1000)])
    assert len(found.names) == MAX_NAMES + 1
    assert found.names[OTHERS].requests == 1000 - MAX_NAMES
    assert len(found.errors) == MAX_ERRORS + 1
    assert found.errors[OTHERS] == 1000 - MAX_ERRORS


def test_the_timeline_of_a_long_test_has_a_bounded_number_of_rows_and_loses_nothing():
    found = tally([(100 + n, "a", 1.0, "") for n in range(6 * 3600)])
    line = found.timeline(OPEN, 100.0)
    assert len(line["rows"]) <= MAX_ROWS
    assert line["step"] == 90
    assert sum(row["rps"] * line["step"] for row in line["rows"]) == pytest.approx(6 * 3600)
    assert [row["t"] for row in line["rows"][:3]] == [0, 90, 180]


def test_a_timeline_shows_the_seconds_in_which_nothing_was_answered():
    line = tally([(100, "a", 5.0, ""), (103, "a", 7.0, "x")]).timeline(OPEN, 100.0)
    assert line["rows"] == [
        {"t": 0, "rps": 1.0, "failRatio": 0.0, "p95": 5.0},
        {"t": 1, "rps": 0.0, "failRatio": 0.0, "p95": 0.0},
        {"t": 2, "rps": 0.0, "failRatio": 0.0, "p95": 0.0},
        {"t": 3, "rps": 1.0, "failRatio": 1.0, "p95": 7.0},
    ]


def test_progress_is_about_the_latest_whole_seconds_and_its_ratio_about_all():
    found = tally(
        [(second, "a", 10.0, "x" if second == 100 else "") for second in range(100, 112) for _ in range(4)]
    )
    said = found.progress(OPEN, 100.0, 110.4, users=3, lag=0)
    assert (said["seconds"], said["of"], said["users"]) == (10, 10, 3)
    assert said["rps"] == 4.0
    assert said["failRatio"] == pytest.approx(1 / 12, abs=1e-6)
    assert found.progress(OPEN, 100.0, 100.2, users=0, lag=2)["rps"] == 0.0
