"""Comparators: every operator, and that what cannot be read is an error, never 0."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.api.analysis import Comparator
from rollout.core.compare import (
    NUMBER_OPERATORS,
    TEXT_OPERATORS,
    Incomparable,
    comparator_problems,
    compare,
)


def holds(type, operator, value, answer):
    return compare(Comparator(type=type, operator=operator, value=value), answer)


@pytest.mark.parametrize(
    ("operator", "value", "good", "bad"),
    [
        ("==", "5", "5", "6"),
        ("!=", "5", "6", "5"),
        ("<", "5", "4", "5"),
        ("<=", "5", "5", "6"),
        (">", "5", "6", "5"),
        (">=", "5", "5", "4"),
        ("oneOf", "3, 5", "5", "4"),
        ("between", "3,5", "3", "6"),
        ("between", "3,5", "5", "2"),
    ],
)
def test_numbers(operator, value, good, bad):
    for type in ("int", "float"):
        assert holds(type, operator, value, good)
        assert not holds(type, operator, value, bad)
        assert holds(type, operator, value, [int(good)])
        assert not holds(type, operator, value, {"value": float(bad)})


@pytest.mark.parametrize(
    ("operator", "value", "good", "bad"),
    [
        ("equal", "a b", "a b", "a"),
        ("notEqual", "a", "b", "a"),
        ("contains", "ell", "hello", "help"),
        ("matches", "^v[0-9]+$", "v12", "v"),
        ("notMatches", "error", "fine", "an error"),
        ("oneOf", "a,b", "b", "c"),
    ],
)
def test_texts(operator, value, good, bad):
    assert holds("string", operator, value, good)
    assert not holds("string", operator, value, bad)


@pytest.mark.parametrize("operator", NUMBER_OPERATORS)
@pytest.mark.parametrize(
    "answer", ["", "x", "5x", None, [], [1, 2], {}, True, math.nan, math.inf, "NaN", "1e999", {"value": None}]
)
def test_an_answer_that_is_no_number_is_never_compared(operator, answer):
    for type in ("int", "float"):
        with pytest.raises(Incomparable):
            holds(type, operator, "1,5" if operator == "between" else "5", answer)


@given(st.text(max_size=8), st.sampled_from(NUMBER_OPERATORS), st.text(max_size=8))
def test_whatever_is_compared_is_an_answer_or_incomparable(answer, operator, value):
    for type in ("int", "float"):
        try:
            result = holds(type, operator, value, answer)
        except Incomparable:
            continue
        assert isinstance(result, bool)
        assert math.isfinite(float(answer)), "only numbers are compared"


@given(
    st.sampled_from(["int", "float", "string", "date", ""]),
    st.sampled_from([*NUMBER_OPERATORS, *TEXT_OPERATORS, "like"]),
    st.text(alphabet="0123456789,.-ab(*", max_size=6),
)
def test_a_comparator_without_problems_compares_a_number(type, operator, value):
    if list(comparator_problems({"type": type, "operator": operator, "value": value}, "c")):
        return
    assert isinstance(holds(type, operator, value, "3"), bool)


def test_problems_name_place_and_choices():
    (problem,) = comparator_problems({"type": "int", "operator": "like", "value": "1"}, "c")
    assert "c.operator" in str(problem)
    assert "use one of == !=" in str(problem)
    (problem,) = comparator_problems({"type": "string", "operator": "matches", "value": "("}, "c")
    assert str(problem).startswith("c.value")
    assert not list(comparator_problems({"type": "int", "operator": "==", "value": "{{args.n}}"}, "c"))
