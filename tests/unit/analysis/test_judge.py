"""One value against the conditions: the phase, and the sentence that says which rule decided."""

import math
from datetime import UTC, datetime

import pytest

from analysis.judge import judge, text
from rollout.api.analysis import Metric

NOW = datetime(2026, 1, 1, tzinfo=UTC)
NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(
    ("success", "failure", "result", "phase"),
    [
        ("result[0] >= 0.95", "", [0.99], "Successful"),
        ("result[0] >= 0.95", "", [0.94], "Failed"),
        ("", "result[0] < 0.95", [0.99], "Successful"),
        ("", "result[0] < 0.95", [0.94], "Failed"),
        ("result[0] >= 0.95", "result[0] < 0.9", [0.92], "Inconclusive"),
        ("result[0] >= 0.95", "result[0] < 0.9", [0.5], "Failed"),
        ("result[0] >= 0.95", "result[0] < 0.9", [0.99], "Successful"),
        ("result[0] > 0", "result[0] > 0", [1.0], "Failed"),
        ("", "", [0.5], "Successful"),
        ("result == 'ok'", "", "ok", "Successful"),
        ("result < 5", "", 3.0, "Successful"),
        # A condition without an answer
        ("result >= 0.95", "", [0.99], "Error"),
        ("result[0] >= 0.95", "result[7] > 1", [0.99], "Error"),
        ("result[0]", "", [0.99], "Error"),
        # No data
        ("result[0] >= 0.95", "", [], "Error"),
        ("all(result, # >= 0.95)", "", [], "Error"),
        ("", "result[0] < 0.95", [], "Error"),
        ("", "any(result, # < 0.95)", [], "Error"),
        ("", "", [], "Error"),
        ("", "", None, "Error"),
        ("len(result) == 0 || result[0] >= 0.95", "", [], "Successful"),
        ("len(result) > 0 && result[0] >= 0.95", "", [], "Failed"),
        ("default(result, 1) == 1", "", [], "Successful"),
        ("isNil(result)", "", None, "Successful"),
        ("(result ?? 0) < 1", "", None, "Successful"),
        # Not a number
        ("result[0] >= 0.95", "", [NAN], "Error"),
        ("result[0] != 0.95", "", [NAN], "Error"),
        ("len(result) > 0", "", [NAN], "Error"),
        ("result[0] >= 0.95", "", [0.99, NAN], "Error"),
        ("", "result[0] < 0.95", [NAN], "Error"),
        ("", "", [NAN], "Error"),
        ("result >= 0.95", "", NAN, "Error"),
        ("isNaN(result[0]) || result[0] >= 0.95", "", [NAN], "Successful"),
        ("!isNaN(result[0]) && result[0] >= 0.95", "", [NAN], "Failed"),
        ("result[0] > 1", "isNaN(result[0])", [NAN], "Error"),
        # Infinity may fail a condition, and satisfies none that does not ask for it
        ("result[0] <= 1000", "", [INF], "Failed"),
        ("result[0] >= 0.95", "", [INF], "Error"),
        ("", "result[0] < 0.95", [INF], "Error"),
        ("isInf(result[0]) || result[0] >= 0.95", "", [INF], "Successful"),
    ],
)
def test_the_phase_of_a_measurement(success, failure, result, phase):
    metric = Metric(name="m", success_condition=success, failure_condition=failure)

    found, message = judge(metric, result, NOW)

    assert (found, bool(message)) == (phase, True), message


def test_the_message_names_the_rule_and_the_value():
    metric = Metric(name="m", success_condition="result[0] >=\n  0.95")

    assert judge(metric, [0.91], NOW)[1] == 'successCondition "result[0] >= 0.95" does not hold for [0.91]'
    assert judge(metric, [1.0], NOW)[1] == 'successCondition "result[0] >= 0.95" holds for [1]'
    assert "use len(result), default(result, ...)" in judge(metric, [], NOW)[1]
    assert judge(Metric(name="m", success_condition="result > 1"), [2.0], NOW)[1].startswith(
        "condition `result > 1`: `>` cannot compare an array with an int (1); take an element"
    )


@pytest.mark.parametrize(
    ("result", "shown"),
    [
        ([0.99], "[0.99]"),
        ([1.0, NAN], "[1,NaN]"),
        ([], "[]"),
        (0.5, "0.5"),
        ("up", "up"),
        ([[INF]], "[[+Inf]]"),
    ],
)
def test_values_are_shown_as_users_know_them(result, shown):
    assert text(result) == shown


def test_a_value_of_many_series_is_cut():
    assert len(text([0.123456] * 10_000)) == 1000


def test_an_incomplete_answer_is_an_error_unless_the_condition_asks_for_warnings():
    assert judge(Metric(name="m", success_condition="result[0] > 0"), [1.0], NOW, ["shard 2 is away"]) == (
        "Error",
        "the answer may be incomplete: shard 2 is away (conditions may ask for `warnings`)",
    )
    assert judge(Metric(name="m"), [1.0], NOW, ["w"])[0] == "Error"
    lenient = Metric(name="m", success_condition="len(warnings) <= 1 && result[0] > 0")
    assert judge(lenient, [1.0], NOW, ["w"])[0] == "Successful"
    assert judge(lenient, [1.0], NOW, ["w", "v"])[0] == "Failed"
