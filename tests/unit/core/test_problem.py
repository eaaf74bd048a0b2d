import pytest

from rollout.core.problem import Problem, below, invalid, problems_of, raise_if_any, required, unsupported
from rollout.errors import InvalidSpec


def test_a_problem_reads_as_path_value_rule_and_fix():
    problem = invalid("spec.metrics[0].interval", "5x", "must be a Go duration", 'write for example "5m"')

    assert str(problem) == (
        'spec.metrics[0].interval: Invalid value: "5x": must be a Go duration; write for example "5m"'
    )


def test_a_missing_field_and_an_unsupported_one_say_so():
    assert str(required("spec.selector", "must be set")) == "spec.selector: Required value: must be set"
    assert str(unsupported("spec.x", "x", "remove it")) == "spec.x: not supported yet: x; remove it"


def test_long_values_are_shortened():
    assert len(invalid("a", "x" * 10_000, "too long").message) < 140


def test_paths_are_joined_with_a_dot_except_before_an_index():
    problems = [Problem("interval", "m"), Problem("[2].name", "m"), Problem("", "m")]

    assert [p.path for p in below("spec.metrics", problems)] == [
        "spec.metrics.interval",
        "spec.metrics[2].name",
        "spec.metrics",
    ]


def test_problems_become_one_invalid_spec_with_a_sentence_each():
    raise_if_any([])
    with pytest.raises(InvalidSpec) as caught:
        raise_if_any([Problem("a", "b"), Problem("c", "d")])
    assert caught.value.problems == ("a: b", "c: d")


def test_an_invalid_spec_gives_its_problems_back():
    problems = [invalid("spec.a", "x: y", "is wrong"), Problem("", "no path")]

    assert problems_of(InvalidSpec(*map(str, problems))) == problems
