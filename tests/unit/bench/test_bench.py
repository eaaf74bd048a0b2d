"""The benchmarks themselves: their tables, and that those which start no processes measure something."""

import json

import pytest

import bench.__main__ as main
from bench import figures, fleet, plan
from bench.figures import Figure, median, number, ratio, table


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (0.01234, "0.0123"), (1.5, "1.5"), (123.4, "123"), (12345.6, "12 346")]
)
def test_numbers_have_three_digits_and_thousands_apart(value, text) -> None:
    assert number(value) == text


def test_a_median_tells_its_range_and_a_ratio_is_of_the_second_number() -> None:
    one = median("up", [3.0, 1.0, 2.5], "s", goal=5, note="warm")
    assert (one.value, one.note, one.met) == (2.5, "1 to 3 in 3 runs; warm", True)
    assert ratio("get", 0.3, 0.1).value == pytest.approx(3)


def test_a_table_says_which_goals_are_missed() -> None:
    lines = table(
        [Figure(what="a", value=6, unit="s", goal=5), Figure(what="b", value=1, unit="s", note="n")]
    )
    assert lines[2:] == ["| a    |    6 s | ≤ 5 s: MISSED |  |", "| b    |    1 s |               | n |"]


def test_plan_is_measured_as_a_whole_and_by_stages() -> None:
    found = {one.what: one for one in plan.measure(batches=1)}
    assert all(one.value > 0 for one in found.values())
    assert found["plan, a step forward"].goal == 300
    assert {"of it: decide", "of it: diff", "of it: invariants", "of it: status"} <= set(found)


def test_requests_are_counted_without_watches() -> None:
    metrics = (
        'rest_client_requests_total{code="200",resource="pods",verb="patch"} 2.0\n'
        'rest_client_requests_total{code="409",resource="pods",verb="patch"} 1.0\n'
        'rest_client_requests_total{code="200",resource="pods",verb="watch"} 9.0\n'
        "other_total 4.0\n"
    )
    assert fleet.requests_in(metrics) == {("patch", "pods"): 3}


def _one_figure() -> list[Figure]:
    return [Figure(what="speed", value=1, unit="s")]


def _failure() -> list[Figure]:
    raise RuntimeError("no server")


@pytest.fixture
def results(monkeypatch, tmp_path):
    file = tmp_path / "RESULTS.md"
    monkeypatch.setattr(main, "RESULTS", file)
    monkeypatch.setattr(main, "SUBJECTS", {"plan": "One decision"})
    return file


def test_a_whole_run_is_printed_and_kept(monkeypatch, results, capsys) -> None:
    monkeypatch.setattr(plan, "measure", _one_figure)
    assert main.main([]) == 0
    text = results.read_text()
    assert text == capsys.readouterr().out
    assert "| speed |" in text
    assert "commit" in text


def test_a_part_is_printed_as_json_and_not_kept(monkeypatch, results, capsys) -> None:
    monkeypatch.setattr(plan, "measure", _one_figure)
    assert main.main(["--only", "plan", "-o", "json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["sections"][0]["figures"][0] == {
        "what": "speed",
        "value": 1,
        "unit": "s",
        "goal": None,
        "note": "",
    }
    assert not results.exists()


def test_a_failed_measurement_is_told_and_leaves_the_page_alone(monkeypatch, results, capsys) -> None:
    monkeypatch.setattr(plan, "measure", _failure)
    assert main.main([]) == 1
    assert "plan: FAILED" in capsys.readouterr().err
    assert not results.exists()


def test_progress_goes_to_stderr(capsys) -> None:
    figures.progress("half")
    assert capsys.readouterr() == ("", "bench: half\n")
