"""What expressions mean. Expected values were compared with the expr-lang library (tools/exprdiff)."""

import math
from datetime import UTC, datetime

import pytest

from rollout.core.expr import ExprError, unknown_names
from rollout.core.expr import compile as compile_

VARIABLES = {
    "result": [0.5, 2.0, 1.5],
    "s": "abc",
    "n": 5,
    "m": {"a": 1, "b": [1, 2]},
    "mixed": [1, 2.0, "x", None, True],
    "empty": [],
    "missing": None,
}


def value(source):
    return compile_(source).evaluate(VARIABLES)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("1_000 + 0x1F + 0b11 + 0o17", 1049),
        ("'a\\'b' + \"\\u00e4\" + `\\n`", "a'bä\\n"),
        ("5 / 2", 2.5),
        ("4 / 2", 2.0),
        ("1 / 0", math.inf),
        ("-7 % 5", -2),
        ("2 ** 3 ** 2", 512.0),
        ("-2 ^ 2", -4.0),
        ("1 + 2.0 == 3", True),
        ("1 < 2 < 3", True),
        ("1 < 3 < 2", False),
        ("nil == nil", True),
        ("missing != 5", True),
        ("missing ?? 5", 5),
        ("1 + nil ?? 3", 4),
        ("false ?: 6", 6),
        ("n > 3 ? 'big' : 'small'", "big"),
        ("if n > 9 { 1 } else if n > 3 { 2 } else { 3 }", 2),
        ("result[-1]", 1.5),
        ("result[1:]", [2.0, 1.5]),
        ("result[:-1]", [0.5, 2.0]),
        ("s[1:2]", "b"),
        ("m.b[1]", 2),
        ("m.unknown", None),
        ("m.unknown?.deeper.still", None),
        ("1..3", [1, 2, 3]),
        ("0.5 in result and 'a' in m and 9 not in result", True),
        ("s contains 'b' and s startsWith 'a' and s endsWith 'c'", True),
        ("s not contains 'z'", True),
        ("all(result, # > 0)", True),
        ("any(result, {# > 1.9})", True),
        ("none(result, # > 5) && one(result, # == 2)", True),
        ("result | filter(# > 1) | map(# * 2)", [4.0, 3.0]),
        ("filter([{a: 1}, {a: 2}], .a > 1)", [{"a": 2}]),
        ("map([[1, 2], [3]], map(#, # * 2))", [[2, 4], [6]]),
        ("count(result, # > 1)", 2),
        ("result | sum() > 3", True),
        ("sum([1, 2])", 3),
        ("mean([1, 2]) + median([3, 1, 2])", 3.5),
        ("[min(result), max(result), max(1, 2.5)]", [0.5, 2.0, 2.5]),
        ("abs(-3) + ceil(1.2) + floor(1.8) + round(2.5)", 9.0),
        ("[int('5'), int(5.9), float('1.5'), asInt('7'), asFloat(1)]", [5, 5, 1.5, 7, 1.0]),
        ("string([1, 'a', nil, true, 1.5, 1e20])", "[1 a <nil> true 1.5 1e+20]"),
        ("[first(result), last(result), first(empty)]", [0.5, 1.5, None]),
        ("keys({b: 1, a: 2})", ["a", "b"]),
        ("sort(result, 'desc')", [2.0, 1.5, 0.5]),
        ("reverse(sort(['b', 'a']))", ["b", "a"]),
        ("join(split(' a,b ' | trim(), ','), '-') | upper()", "A-B"),
        ("find(result, # > 1) + findIndex(result, # > 1)", 3.0),
        ("groupBy([1, 2, 3], # % 2)", {"1": [1, 3], "0": [2]}),
        ("reduce([1, 2, 3], #acc + #, 10)", 16),
        ("let x = 5; let y = x; x * y", 25),
        ("default(empty, 7) + default(missing, 1) + default(n, 0)", 13),
        ("isNil(missing) and not isNil(n)", True),
        ("isInf(1 / 0) and !isInf(1)", True),
        ("isNaN(0.0 / 0) || 0.0 / 0 > 1", True),
        ("1 + /* a comment */ 1 // and another", 2),
        ("duration('1h30m') > duration('89m')", True),
        ("'n' in $env", True),
    ],
)
def test_the_value_is_that_of_expr_lang(source, expected):
    result = value(source)

    assert result == expected
    assert type(result) is type(expected)


@pytest.mark.parametrize(
    ("source", "position", "reason"),
    [
        ("result[5]", 6, "index 5 out of range: the array has 3"),
        ("empty[0] >= 0.95", 5, "the array is empty; use `default"),
        ("result >= 0.95", 7, "take an element, for example `result\\[0\\]`"),
        ("missing > 1", 8, "cannot compare nil with an int"),
        ("1 == '1'", 2, "cannot be compared"),
        ("m.x.y", 3, "field 'y' of nil"),
        ("n && true", 2, "must be true or false, not an int"),
        ("!n", 0, "must be true or false"),
        ("5 % 0", 2, "zero"),
        ("5.5 % 2", 4, "must be an integer"),
        ("9223372036854775807 + 1", 20, "leaves 64 bits"),
        ("resutl[0]", 0, "there is no variable `resutl`; known here: empty, m"),
        ("now()", 0, "no clock"),
        ("mean([])", 0, "the array is empty"),
        ("[1] < [2]", 4, "cannot compare"),
        ("0 .. 20000", 2, "more than 10000"),
        ("len(5)", 0, "counts arrays, maps and strings"),
    ],
)
def test_what_has_no_value_says_where_and_why(source, position, reason):
    with pytest.raises(ExprError, match=reason) as caught:
        value(source)
    assert caught.value.position == position


@pytest.mark.parametrize(
    ("source", "position", "reason"),
    [
        ("", 0, "the end is not expected here; a value is"),
        ("result[0] >=", 12, "the end"),
        ("1 2", 2, "`2` is not expected"),
        ("lenn(result)", 0, "did you mean `len`"),
        ("result | len", 12, "after `|` stands a function call"),
        ("__import__('os')", 0, "there is no function"),
        ("result.__class__()", 16, "there are no methods"),
        ("# > 1", 0, "only inside a predicate"),
        ("all(result)", 0, "needs a predicate"),
        ("len(1, 2)", 0, "takes 1 argument, not 2"),
        ("1 ?? 2 + 3", 7, "ambiguous"),
        ("'open", 0, "has no end"),
        ("/* open", 0, "has no end"),
        ("a @ b", 2, "not part of"),
        ("9223372036854775808", 0, "too large"),
        ("let len = 1; 2", 0, "exists already"),
        ("3and 4", 0, "is not a number"),
    ],
)
def test_what_cannot_be_read_says_where_and_why(source, position, reason):
    with pytest.raises(ExprError, match=reason.replace("|", "\\|")) as caught:
        compile_(source)
    assert caught.value.position == position


def test_the_error_shows_the_source_with_a_caret_below_the_place():
    with pytest.raises(ExprError) as caught:
        compile_("n > 1 &&\nempty[0] > 1").evaluate(VARIABLES)

    lines = str(caught.value).splitlines()
    assert lines[0].endswith("(2:6)")
    assert lines[1:] == [" | empty[0] > 1", " | .....^"]
    assert caught.value.sentence.startswith("condition `n > 1 && empty[0] > 1`: index 0 out of range")


@pytest.mark.parametrize("comparison", ["x > 0.9", "x < 0.9", "x == x", "x != 1", "!(x < 0.9)", "x / 1 != 2"])
def test_a_nan_never_decides_a_condition_that_does_not_ask_for_it(comparison):
    with pytest.raises(ExprError, match="isNaN"):
        compile_(comparison).evaluate_bool({"x": math.nan})


def test_a_condition_that_asks_for_nan_decides_by_itself():
    assert compile_("isNaN(x) || x > 0.9").evaluate_bool({"x": math.nan})
    assert not compile_("!isNaN(x) && x > 0.9").evaluate_bool({"x": math.nan})


def test_a_condition_must_be_true_or_false():
    with pytest.raises(ExprError, match="compare it, for example"):
        compile_("result").evaluate_bool(VARIABLES)


def test_the_caller_brings_the_time():
    now = datetime(2026, 1, 1, tzinfo=UTC)

    assert compile_("now() - date('2025-12-31') == duration('24h')").evaluate({}, now) is True


def test_names_and_functions_are_known_without_evaluating():
    program = compile_("let limit = 3; len(result) > limit && default(reslut, 0) < 1")

    assert program.names == {"result", "reslut"}
    assert unknown_names(program, ["result"]) == ["reslut"]
    assert program.functions == {"len", "default"}


def test_only_what_is_needed_is_evaluated():
    assert value("len(empty) == 0 || empty[0] > 1") is True
    assert value("len(empty) > 0 && empty[0] > 1") is False
    assert value("any(mixed, # == 1)") is True
