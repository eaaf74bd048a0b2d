"""Whatever is written or measured, an expression ends soon, with a value or an ExprError."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollout.core.expr import ExprError, Program
from rollout.core.expr.tokens import tokenize

PIECES = st.sampled_from(
    """result result[0] n m.a nil true false 1 0 -1 2.5 1e308 "a" 'b' `c` # .x #acc ( ) [ ] { } , : ; . ?. ?? ? ?:
    + - * / % ** ^ == != < <= > >= && || ! and or not in not~in contains startsWith endsWith matches .. | let x =
    if else len( all( any( filter( map( sum( default( isNaN( sort( reduce( int( float( string( split( join( max(
    mean( groupBy( now() duration( date( take( get( keys( replace( 9223372036854775807 """.split()  # noqa: SIM905 - reads better in rows
)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=10,
)


def outcome(source, variables):
    """The value, or the ExprError; any other exception is the defect these tests look for."""
    try:
        return Program(source).evaluate(variables)
    except ExprError as error:
        return error


@given(st.text(max_size=60), PLAIN)
@settings(max_examples=400, deadline=None)
def test_any_text_is_a_value_or_an_expr_error(source, result):
    outcome(source, {"result": result})


@given(st.lists(PIECES, max_size=14).map(" ".join), PLAIN)
@settings(max_examples=1500, deadline=None)
def test_any_row_of_tokens_is_a_value_or_an_expr_error(source, result):
    outcome(source.replace("~", " "), {"result": result, "n": 5, "m": {"a": 1}})


@given(st.sampled_from(["#", "# > 1", "# == #", "# + #", "string(#)", "# in [#]", "-#", "len(#)"]), PLAIN)
@settings(max_examples=300, deadline=None)
def test_any_measured_data_is_a_value_or_an_expr_error(predicate, result):
    outcome(f"map(result, {predicate})", {"result": result})
    outcome(
        f"sort(result) == reverse(result) || result.x[{predicate.replace('#', 'result')}]", {"result": result}
    )


@given(st.text(max_size=40))
def test_every_token_lies_where_it_says(source):
    try:
        tokens = tokenize(source)
    except ExprError:
        return
    positions = [token.position for token in tokens]
    assert positions == sorted(set(positions)) or len(tokens) == 1
    assert tokens[-1].position == len(source)


def nested(levels, inner="1"):
    for _ in range(levels):
        inner = f"[{inner}]"
    return inner


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("1" * 5000, "longer than 4096"),
        (nested(60), "nests more than"),
        ("-" * 200 + "1", "nests more than"),
        ("!" * 2000 + "true", "nests more than"),
        (" + ".join("1" * 500), "nests more than"),
        ("m" + ".a" * 500, "nests more than"),
        ("1" + " ?: 1" * 300, "nests more than"),
        ("let x = 1; x; " * 150 + "1", "exists already"),
        ("1;" * 2000 + "1", "nests more than"),
        ("2 ** " * 800 + "2", "nests more than"),
        ("if true { 1 } else " * 200 + "{ 1 }", "nests more than"),
        ("true ? 1 : " * 300 + "1", "nests more than"),
        ("all(0..9999, all(0..9999, # >= 0))", "steps"),
        ("sort(0..9999) == reverse(0..9999)", "steps"),
        ("let a = 'x'; map(0..9999, replace(a, 'x', 'xxxxxxxxxxxxxxxxx'))", ""),
        ("reduce(0..100, #acc + #acc, 'xx')", "longer than"),
        ("reduce(0..100, [#acc, #acc], 'xx') == 1", "steps|nest|compared"),
        ("reduce(0..100, concat(#acc, #acc), [1])", "more than 10000|steps"),
        ("reduce(0..100, #acc * 10, 1)", "64 bits"),
    ],
)
def test_what_would_use_too_much_is_refused(source, reason):
    result = outcome(source, {"m": {}})

    assert isinstance(result, ExprError) or not reason
    if reason:
        assert any(part in str(result) for part in reason.split("|"))


def test_numbers_beyond_64_bits_from_outside_do_not_break_anything():
    huge = {"x": 10**400}

    assert isinstance(outcome("x + 1", huge), ExprError)
    assert isinstance(outcome("x > 1.5", huge), ExprError)
    assert isinstance(outcome("string(x)", huge), ExprError)


def test_objects_that_are_not_plain_data_have_no_attributes():
    class Secret:
        password = "hidden"

    assert isinstance(outcome("x.password", {"x": Secret()}), ExprError)
    assert isinstance(outcome("x.__class__", {"x": [1]}), ExprError)
    assert isinstance(outcome("x == x", {"x": Secret()}), ExprError)
