import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollout.core.expr import compile as compile_
from rollout.core.expr import regex

PIECES = st.sampled_from(
    [
        "a",
        "b",
        "0",
        "(",
        ")",
        "(?:",
        "|",
        "*",
        "+",
        "?",
        "{1,2}",
        "{2}",
        "[ab]",
        "[^a]",
        "[0-9]",
        ".",
        "^",
        "\\d",
        "\\W",
    ]
)


@given(st.lists(PIECES, max_size=8).map("".join), st.lists(st.text("ab0.", max_size=6), max_size=4))
@settings(max_examples=500, deadline=None)
def test_what_both_engines_can_read_means_the_same(pattern, texts):
    try:
        ours, theirs = regex.compile(pattern), re.compile(pattern)
    except (ValueError, re.error):
        return
    assert [ours.search(text) for text in texts] == [bool(theirs.search(text)) for text in texts]


@pytest.mark.parametrize(
    ("pattern", "text", "found"),
    [
        ("^success-.*", "success-rate", True),
        ("rate$", "rates", False),
        ("(?i)ERROR|fatal", "an Error", True),
        ("(?i)\\D", "1", False),
        ("a{2,3}b", "aab", True),
        ("[]a]", "]", True),
        ("[a-c-]", "-", True),
        ("x{", "x{", True),
        ("", "", True),
        ("\\Aab\\z", "ab", True),
    ],
)
def test_patterns_match_as_in_re2(pattern, text, found):
    assert regex.compile(pattern).search(text) is found


def test_a_pattern_that_would_hold_a_backtracking_engine_for_ever_just_does_not_match():
    assert not regex.compile("(a+)+$").search("a" * 999 + "b")
    assert not regex.compile("(a|a)*(a|a)*(a|a)*c").search("a" * 999)


@pytest.mark.parametrize(
    "pattern",
    [
        "(",
        ")",
        "[",
        "*",
        "a**",
        "a{2000}",
        "(?=a)",
        "(?P<n>a)",
        "\\b",
        "\\",
        "[b-a]",
        "[[:alpha:]]",
        "a" * 501,
        "((a{100}){100}){100}",
        "(" * 40 + ")" * 40,
    ],
)
def test_what_is_no_pattern_or_too_large_is_a_value_error(pattern):
    with pytest.raises(ValueError, match="regular expression"):
        regex.compile(pattern)


def test_matches_is_an_operator_of_conditions():
    assert compile_("result matches '^v[0-9]+$'").evaluate_bool({"result": "v12"})
    assert compile_("result not matches 'x'").evaluate_bool({"result": "v12"})
