"""What the demo shows and says in the end: pure functions on counts and objects."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.cli.demo.load import Count, Tally
from rollout.cli.demo.scenes import ASKED, Decision, Outcome, decisions_of
from rollout.cli.demo.screen import load_line, weight_bar
from rollout.cli.demo.summary import summary

TALLY = Tally(
    users=36,
    versions={
        "web.demo v1": Count(requests=90, errors=0, milliseconds={"10": 85, "40": 5}),
        "web.demo v2": Count(requests=10, errors=2, milliseconds={"9": 10}),
        "other.demo v1": Count(requests=7, milliseconds={"3": 7}),
    },
    unlucky={"web.demo": 2},
)
GOOD = Outcome(
    title="1  a good version",
    expected=True,
    result="promoted",
    decisions=(Decision("run-1", "Successful", "rate", "sum(x)", tuple("12345678"), "result[0] > 0: holds"),),
)


# --- counts ---


@pytest.mark.parametrize(
    ("share", "ms"), [(0.0, 10), (0.5, 10), (0.94, 10), (0.95, 40), (0.99, 40), (1.0, 40)]
)
def test_a_percentile_is_the_latency_that_the_share_does_not_exceed(share: float, ms: int):
    assert Count(requests=100, milliseconds={"40": 6, "10": 94}).percentile(share) == ms


def test_without_answers_every_percentile_is_zero():
    assert Count().percentile(0.99) == 0


@given(st.lists(st.integers(0, 5000), min_size=1, max_size=200), st.integers(1, 100))
def test_a_percentile_is_the_one_of_the_sorted_latencies(latencies: list[int], percent: int):
    counts: dict[str, int] = {}
    for one in latencies:
        counts[str(one)] = counts.get(str(one), 0) + 1
    rank = -(-percent * len(latencies) // 100)  # nearest rank, exactly
    found = Count(milliseconds=counts).percentile(percent / 100)
    near = {sorted(latencies)[rank - 1], sorted(latencies)[min(rank, len(latencies) - 1)]}
    assert found in near  # a share is a float: 0.07 * 100 may exceed 7 by a hair


def test_a_tally_tells_the_versions_of_one_host_and_counts_what_was_lost():
    assert list(TALLY.at("web.demo")) == ["v1", "v2"]
    assert TALLY.at("nobody") == {}
    assert (TALLY.requests, TALLY.lost) == (107, 0)
    lossy = Tally(versions=TALLY.versions, dropped={"web.demo HTTP 503": 3})
    assert (lossy.requests, lossy.lost) == (110, 3)


# --- the picture ---


def test_the_bar_is_as_full_as_the_weight_is_high():
    assert weight_bar(0, 10) == "canary ░░░░░░░░░░   0 %"
    assert weight_bar(20, 10) == "canary ██░░░░░░░░  20 %"
    assert weight_bar(100, 10) == "canary ██████████ 100 %"
    assert weight_bar(None) == ""


@given(st.integers(0, 100), st.integers(1, 200))
def test_the_bar_is_always_equally_wide(weight: int, width: int):
    assert len(weight_bar(weight, width)) == len(weight_bar(0, width))


def test_the_line_of_the_load_tells_requests_errors_and_drops():
    assert load_line(TALLY) == "load: 107 requests, 2 application errors, 0 dropped"


# --- decisions ---


def run(**status: Any) -> dict[str, Any]:
    metrics = [
        {"name": "rate", "successCondition": "result[0] >= 0.95"},
        {"name": "slow", "failureCondition": "result[0] > 9"},
    ]
    return {"metadata": {"name": "run-1"}, "spec": {"metrics": metrics}, "status": status}


def test_a_decision_has_the_query_the_values_and_the_rule():
    result = {
        "name": "rate",
        "phase": "Failed",
        "message": "failed (2) > failureLimit (1)",
        "measurements": [
            {"value": "[0.9]", "metadata": {ASKED[0]: "sum(a)\n/\n  sum(b)"}},
            {"message": "no answer"},
        ],
    }
    assert decisions_of(run(metricResults=[result])) == [
        Decision(
            "run-1",
            "Failed",
            "rate",
            "sum(a) / sum(b)",
            ("[0.9]", "no answer"),
            "result[0] >= 0.95: failed (2) > failureLimit (1)",
        )
    ]


def test_a_decision_by_a_failure_condition_names_it():
    (one,) = decisions_of(run(metricResults=[{"name": "slow", "phase": "Successful"}]))
    assert one.rule.startswith("result[0] > 9")


def test_a_run_that_has_not_measured_has_no_decisions():
    assert decisions_of(run()) == []
    assert decisions_of({**run(), "status": None}) == []


# --- the summary ---


def test_the_summary_tells_versions_decisions_and_users():
    lines = summary([GOOD], TALLY, 57.4)
    text = "\n".join(lines)
    rows = [line.split() for line in lines]
    at = rows.index(["web.demo"])
    assert rows[at + 1] == ["v1", "90", "0", "10", "40", "40"]
    assert rows[at + 2] == ["v2", "10", "2", "9", "9", "9"]
    assert "    as expected: promoted" in lines
    assert "      query  sum(x)" in lines
    assert "      value  3, 4, 5, 6, 7, 8" in lines
    assert "      rule   result[0] > 0: holds" in lines
    assert "Of 107 requests 2 got an error of the application, seen by 2 of 36 users." in lines
    assert "Dropped by shifting traffic: none." in text
    assert lines[-1] == "The whole demo took 57 s."


def test_the_summary_hides_neither_a_loss_nor_an_unexpected_end():
    bad = Outcome("2  a bad version", expected=False, result="promoted", decisions=())
    lines = summary([bad], Tally(users=1, dropped={"web.demo HTTP 503": 3}), 1.0)
    assert "    NOT AS EXPECTED: promoted" in lines
    assert "Dropped by shifting traffic: 3 requests that no version answered:" in lines
    assert "  3 x web.demo HTTP 503" in lines
    assert not any("none" in line for line in lines)


def test_long_values_are_cut_and_never_rounded_over_a_limit():
    one = Decision(
        "run-1",
        "Failed",
        "rate",
        "q",
        ("[22.804347826]", "[1]", "[0.95]", "[0.9499999]", "[1.234567e-05]"),
        "r",
    )
    lines = summary([Outcome("t", expected=True, result="x", decisions=(one,))], TALLY, 1.0)
    assert "      value  [22.8043…], [1], [0.95], [0.9499…], [1.234567e-05]" in lines


@given(st.integers(40, 200))
def test_folded_at_a_width_nothing_is_longer_and_nothing_is_lost(width: int):
    query = "sum(rate(istio_requests_total{" + 'a="b",' * 30 + "}[4s])) / sum(x)"
    one = Decision("web-frontend-86d998bfd6-3-4", "Failed", "rate", query, ("[1]",) * 6, "rule " * 30)
    outcomes = [Outcome("title " * 20, expected=True, result="result " * 20, decisions=(one,))]
    whole, folded = summary(outcomes, TALLY, 1.0), summary(outcomes, TALLY, 1.0, width)
    assert max(map(len, folded)) <= max(width, 33)
    assert "".join("".join(folded).split()) == "".join("".join(whole).split())
