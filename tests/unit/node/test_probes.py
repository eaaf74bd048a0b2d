from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.sandbox.node.probes import BackOff, Health, Probe, ProbeState, after, health, unhealthy_message


def play(probe: Probe, results: str) -> ProbeState:
    state = ProbeState()
    for letter in results:
        state = after(probe, state, letter == "+")
    return state


@pytest.mark.parametrize(
    ("results", "verdict"),
    [("", None), ("-", None), ("--", None), ("---", False), ("+", True), ("+--", True), ("+---", False), ("---+", True),
     ("--+--", True)],
)  # fmt: skip
def test_a_verdict_turns_when_a_row_of_results_reaches_its_threshold(
    results: str, verdict: bool | None
) -> None:
    assert play(Probe(failure_threshold=3, success_threshold=1), results).verdict is verdict


def test_a_success_threshold_above_one_needs_a_row_of_successes() -> None:
    probe = Probe(success_threshold=2, failure_threshold=1)
    assert play(probe, "+").verdict is None
    assert play(probe, "-+").verdict is False
    assert play(probe, "-++").verdict is True


@given(st.text(alphabet="+-", max_size=40), st.integers(1, 4), st.integers(1, 4))
def test_the_verdict_is_that_of_the_last_row_long_enough(results: str, good: int, bad: int) -> None:
    expected: bool | None = None
    for end in range(1, len(results) + 1):
        for letter, threshold, verdict in (("+", good, True), ("-", bad, False)):
            if end >= threshold and results[end - threshold : end] == letter * threshold:
                expected = verdict
    assert play(Probe(success_threshold=good, failure_threshold=bad), results).verdict is expected


GOOD, BAD, UNKNOWN = ProbeState(verdict=True), ProbeState(verdict=False), ProbeState()
P = Probe()


def test_without_probes_a_running_container_is_started_and_ready() -> None:
    assert health({}, {}) == Health(started=True, ready=True)


def test_readiness_is_no_until_its_first_success() -> None:
    assert health({"readiness": P}, {}) == Health(started=True, ready=False)
    assert health({"readiness": P}, {"readiness": GOOD}) == Health(started=True, ready=True)


def test_nothing_counts_before_the_startup_probe_has_succeeded() -> None:
    probes = {"startup": P, "readiness": P, "liveness": P}
    assert health(probes, {"readiness": GOOD, "liveness": BAD}) == Health(started=False, ready=False)
    assert health(probes, {"startup": GOOD, "readiness": GOOD}) == Health(started=True, ready=True)


def test_failed_startup_and_liveness_ask_for_a_restart_and_readiness_does_not() -> None:
    assert health({"startup": P}, {"startup": BAD}).kill == "startup"
    assert health({"liveness": P}, {"liveness": BAD}).kill == "liveness"
    assert health({"readiness": P}, {"readiness": BAD}).kill == ""


def test_the_message_is_the_kubelets() -> None:
    said = unhealthy_message("readiness", "HTTP probe failed with statuscode: 500")
    assert said == "Readiness probe failed: HTTP probe failed with statuscode: 500"


def test_the_back_off_doubles_from_the_second_crash_up_to_its_limit() -> None:
    backoff = BackOff()
    assert [backoff.wait(n) for n in range(1, 9)] == [0, 10, 20, 40, 80, 160, 300, 300]
    assert backoff.wait(10**6) == 300


def test_ten_quiet_minutes_forget_earlier_crashes() -> None:
    backoff = BackOff()
    assert backoff.crashes(5, ran=599) == 6
    assert backoff.crashes(5, ran=600) == 1
