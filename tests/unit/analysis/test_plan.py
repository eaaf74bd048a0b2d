"""What an AnalysisRun does over time: timing, limits, phases, messages."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis import lasting
from analysis.plan import delete_at, plan, refused, transitions
from analysis.plan import settings as numbers_of
from rollout.api.analysis import (
    COMPLETED,
    AnalysisRun,
    AnalysisRunStatus,
    Measurement,
    Metric,
    MetricResult,
)
from rollout.api.codec import plain, view
from rollout.api.meta import ObjectMeta, timestamp

START = datetime(2026, 1, 1, tzinfo=UTC)
PASS, FAIL, UNSURE, ERR = "Successful", "Failed", "Inconclusive", "Error"


def run_of(*metrics, status=None, **spec):
    metrics = [{"name": "m", "provider": {}} | metric for metric in metrics or ({},)]
    return view(
        {"metadata": {"name": "r"}, "spec": {"metrics": metrics, **spec}, "status": status or {}}, AnalysisRun
    )


def stored(run, status):
    """The run as the next controller would read it: its status went through JSON."""
    return msgspec.structs.replace(run, status=view(plain(status), type(status)))


def answer(phase, now, seconds=0, message=""):
    return Measurement(
        phase=phase,
        message=message,
        started_at=timestamp(now),
        finished_at=timestamp(now + timedelta(seconds=seconds)),
        value="[1]",
        metadata={"query": "up"},
    )


def play(run, answers, until=3600, away=(), measuring=0):
    """Run to the end (or `until` seconds), the metric's nth measurement being answers[metric][n].

    `away` is a (from, to) in seconds in which no controller runs. Gives the final status and (second, metric) taken.
    """
    taken, finished, used = [], {}, dict.fromkeys(answers, 0)
    now = START
    while True:
        step = plan(run, run.spec.metrics, now, finished)
        assert plan(stored(run, step.status), run.spec.metrics, now).due == step.due, (
            "a restart changes nothing"
        )
        run, finished = stored(run, step.status), {}
        if run.completed:
            return run.status, taken
        for name in step.due:
            phase = answers[name][min(used[name], len(answers[name]) - 1)]
            used[name] += 1
            taken.append((int((now - START).total_seconds()), name))
            finished[name] = answer(phase, now, measuring)
        if not finished:
            assert step.wake is not None, "an unfinished run always knows when to look again"
            assert step.wake > now
            now = step.wake
            if away and away[0] <= (now - START).total_seconds() < away[1]:
                now = START + timedelta(seconds=away[1])
        if (now - START).total_seconds() > until:
            return run.status, taken


def test_without_interval_and_count_there_is_one_measurement():
    status, taken = play(run_of({}), {"m": [PASS]})

    assert taken == [(0, "m")]
    assert (status.phase, status.message, status.started_at) == ("Successful", "", "2026-01-01T00:00:00Z")
    assert status.run_summary.count == status.run_summary.successful == 1


def test_count_measurements_are_taken_an_interval_apart_after_the_initial_delay():
    status, taken = play(run_of({"interval": "1m", "count": "3", "initialDelay": "30s"}), {"m": [PASS]})

    assert taken == [(30, "m"), (90, "m"), (150, "m")]
    assert status.phase == "Successful"
    assert status.completed_at == "2026-01-01T00:02:30Z"


def test_an_interval_without_a_count_measures_until_it_is_told_to_stop():
    run = run_of({"interval": "1m"})
    status, taken = play(run, {"m": [PASS]}, until=600)
    assert len(taken) == 11
    assert status.phase == "Running"

    stop = msgspec.structs.replace(run.spec, terminate=True)
    ended = plan(msgspec.structs.replace(run, spec=stop, status=status), run.spec.metrics, START).status
    assert (ended.phase, ended.message) == ("Successful", "Run Terminated")
    assert ended.metric_results[0].count == 11


def test_a_run_terminated_before_its_first_measurement_is_successful_and_has_measured_nothing():
    run = run_of({"initialDelay": "1m"}, terminate=True)
    step = plan(run, run.spec.metrics, START)

    assert step.status.phase == "Successful"
    assert step.status.metric_results[0].measurements == ()
    assert step.due == ()


def test_a_controller_that_was_away_takes_one_measurement_and_not_all_it_has_missed():
    _, taken = play(run_of({"interval": "10s", "count": 5}), {"m": [PASS]}, away=(15, 100))

    assert taken == [(0, "m"), (10, "m"), (100, "m"), (110, "m"), (120, "m")]


@pytest.mark.parametrize(
    ("metric", "answers", "phase", "taken", "message"),
    [
        ({}, [FAIL], "Failed", 1, "failed (1) > failureLimit (0)"),
        (
            {"failureLimit": 1, "count": 5, "interval": "1s"},
            [FAIL, PASS, FAIL],
            FAIL,
            3,
            "failed (2) > failureLimit (1)",
        ),
        ({"failureLimit": -1, "count": 3, "interval": "1s"}, [FAIL], PASS, 3, None),
        ({"failureLimit": 2, "count": 3, "interval": "1s"}, [FAIL, FAIL, PASS], PASS, 3, None),
        ({}, [UNSURE], "Inconclusive", 1, "inconclusive (1) > inconclusiveLimit (0)"),
        ({"inconclusiveLimit": 1, "count": 2, "interval": "1s"}, [UNSURE, PASS], PASS, 2, None),
        ({}, [ERR], "Error", 5, "consecutiveErrors (5) > consecutiveErrorLimit (4)"),
        (
            {"consecutiveErrorLimit": 0},
            [ERR],
            "Error",
            1,
            "consecutiveErrors (1) > consecutiveErrorLimit (0)",
        ),
        ({}, [ERR, ERR, ERR, ERR, PASS], PASS, 5, None),
        ({"count": 2, "interval": "1s", "consecutiveErrorLimit": 1}, [ERR, PASS, ERR, PASS], PASS, 4, None),
        ({"consecutiveSuccessLimit": 2, "interval": "1s"}, [PASS, PASS], PASS, 2, None),
        (
            {"consecutiveSuccessLimit": 2, "interval": "1s", "count": 3, "failureLimit": 2},
            [PASS, FAIL, PASS],
            "Inconclusive",
            3,
            "count (3) reached before consecutiveSuccessLimit (2)",
        ),
    ],
)
def test_a_metric_ends_by_its_limits_and_says_which(metric, answers, phase, taken, message):
    status, log = play(run_of(metric), {"m": answers})

    assert (status.phase, len(log)) == (phase, taken)
    assert status.message == (f'Metric "m" assessed {phase} due to {message}' if message else "")


def test_an_error_is_retried_after_ten_seconds_and_does_not_count():
    status, taken = play(run_of({"interval": "1m", "count": 2}), {"m": [ERR, PASS]})

    assert taken == [(0, "m"), (10, "m"), (70, "m")]
    result = status.metric_results[0]
    assert (result.count, result.error, result.successful, result.consecutive_error) == (2, 1, 2, 0)


def test_the_message_of_an_error_carries_what_the_provider_said():
    run = run_of({"consecutiveErrorLimit": 0})
    status = plan(run, run.spec.metrics, START, {"m": answer(ERR, START, message="no route")}).status

    assert status.message == (
        'Metric "m" assessed Error due to consecutiveErrors (1) > consecutiveErrorLimit (0): '
        '"Error Message: no route"'
    )


def test_one_metric_that_fails_stops_the_others_at_once():
    run = run_of({"name": "slow", "interval": "1m", "count": 5}, {"name": "bad"})
    status, taken = play(run, {"slow": [PASS], "bad": [FAIL]})

    assert taken == [(0, "slow"), (0, "bad")]
    assert status.phase == "Failed"
    assert [(r.name, r.phase) for r in status.metric_results] == [("slow", "Successful"), ("bad", "Failed")]
    assert status.metric_results[0].message == "metric terminated"


def test_the_run_is_as_good_as_its_worst_metric():
    run = run_of({"name": "a"}, {"name": "b", "consecutiveErrorLimit": 0}, {"name": "c"})
    together = {"a": answer(UNSURE, START), "b": answer(ERR, START), "c": answer(FAIL, START)}

    status = plan(run, run.spec.metrics, START, together).status

    assert status.phase == "Failed"
    assert status.message.startswith('Metric "c"')
    assert (status.run_summary.failed, status.run_summary.error, status.run_summary.inconclusive) == (1, 1, 1)


def test_a_dry_run_metric_decides_nothing_and_is_counted_apart():
    run = run_of(
        {"name": "real", "count": 2, "interval": "1m"}, {"name": "trial"}, dryRun=[{"metricName": "^tri"}]
    )
    status, taken = play(run, {"real": [PASS], "trial": [FAIL]})

    assert status.phase == "Successful"
    assert taken == [(0, "real"), (0, "trial"), (60, "real")]
    assert (status.run_summary.count, status.dry_run_summary.count, status.dry_run_summary.failed) == (
        1,
        1,
        1,
    )


def test_ten_measurements_are_kept_or_as_many_as_the_retention_says():
    run = run_of({"interval": "1s", "count": 30})
    assert len(play(run, {"m": [PASS]})[0].metric_results[0].measurements) == 10

    kept = run_of({"interval": "1s", "count": 30}, measurementRetention=[{"metricName": "m", "limit": 2}])
    result = play(kept, {"m": [PASS]})[0].metric_results[0]
    assert [m.started_at for m in result.measurements] == ["2026-01-01T00:00:28Z", "2026-01-01T00:00:29Z"]
    assert result.count == 30


def test_a_metric_in_flight_is_not_measured_twice():
    run = run_of({"name": "a", "interval": "1s"}, {"name": "b", "interval": "1s"})

    assert plan(run, run.spec.metrics, START, in_flight={"a"}).due == ("b",)


def test_a_measurement_that_takes_longer_than_the_interval_is_followed_at_once_by_one():
    run = run_of({"interval": "5s", "count": 3})
    late = START + timedelta(seconds=12)
    step = plan(run, run.spec.metrics, late, {"m": answer(PASS, START, seconds=12)})

    assert step.due == ("m",)
    after = stored(run, step.status)
    assert plan(after, run.spec.metrics, late, {"m": answer(PASS, late)}).due == ()


def test_a_measurement_that_is_recorded_already_is_not_recorded_again():
    run = run_of({"interval": "1m", "count": 3})
    once = stored(run, plan(run, run.spec.metrics, START, {"m": answer(PASS, START)}).status)

    again = plan(once, run.spec.metrics, START, {"m": answer(PASS, START)}).status

    assert again.metric_results[0].count == 1


def test_a_completed_run_is_left_alone():
    status, _ = play(run_of({}), {"m": [PASS]})
    run = stored(run_of({}), status)

    assert plan(run, run.spec.metrics, START + timedelta(days=1), {"m": answer(FAIL, START)}).status == status


def test_a_run_that_cannot_be_acted_on_ends_in_error_with_the_sentences():
    status = refused(run_of({}), ["a: b", "c: d"], START)

    assert (status.phase, status.message, status.completed_at) == (
        "Error",
        "a: b; c: d",
        "2026-01-01T00:00:00Z",
    )


@pytest.mark.parametrize(
    ("answers", "ttl", "seconds"),
    [
        ([PASS], {"secondsAfterCompletion": 60}, 60),
        ([PASS], {"secondsAfterCompletion": 60, "secondsAfterSuccess": 5}, 5),
        ([PASS], {"secondsAfterFailure": 5}, None),
        ([FAIL], {"secondsAfterFailure": 7, "secondsAfterCompletion": 60}, 7),
        ([FAIL], {"secondsAfterCompletion": 0}, 0),
    ],
)
def test_a_completed_run_is_deleted_when_its_time_to_live_is_over(answers, ttl, seconds):
    run = run_of({}, ttlStrategy=ttl)
    assert delete_at(run) is None
    done = stored(run, play(run, {"m": answers})[0])

    assert delete_at(done) == (None if seconds is None else START + timedelta(seconds=seconds))


def test_each_transition_is_told_once():
    run = run_of({"name": "a"}, {"name": "b"})
    running = plan(run, run.spec.metrics, START).status
    assert [h.reason for h in transitions(run.status, running)] == ["AnalysisRunRunning"]

    run = stored(run, running)
    done = plan(run, run.spec.metrics, START, {"a": answer(PASS, START), "b": answer(FAIL, START)}).status
    told = transitions(running, done)
    assert [(h.reason, h.warning) for h in told] == [
        ("MetricSuccessful", False),
        ("MetricFailed", True),
        ("AnalysisRunFailed", True),
    ]
    assert "failed (1) > failureLimit (0)" in told[-1].message
    assert transitions(done, done) == ()


PHASES = st.lists(st.sampled_from([PASS, FAIL, UNSURE, ERR]), min_size=1, max_size=12)
LIMIT = st.none() | st.integers(0, 3)
METRICS = st.fixed_dictionaries(
    {"interval": st.sampled_from(["1s", "7s", "1m"]), "count": st.integers(1, 8)},
    optional={
        "initialDelay": st.sampled_from(["0s", "5s"]),
        "failureLimit": st.integers(-1, 3),
        "inconclusiveLimit": LIMIT,
        "consecutiveErrorLimit": LIMIT,
        "consecutiveSuccessLimit": LIMIT,
    },
)


@given(METRICS, METRICS, PHASES, PHASES, st.tuples(st.integers(0, 60), st.integers(61, 200)))
@settings(max_examples=200, deadline=None)
def test_every_run_ends_and_passes_only_on_evidence(first, second, one, two, away):
    run = run_of(first | {"name": "a"}, second | {"name": "b"})
    # Errors repeat at the end of a script for ever, so that no run can hang on them.
    status, taken = play(run, {"a": [*one, ERR], "b": [*two, ERR]}, until=10**6, away=away)

    assert status.phase in COMPLETED
    for result in status.metric_results:
        assert result.count == result.successful + result.failed + result.inconclusive
        if status.phase == PASS:
            assert (
                result.successful > 0
                or run_limit(run, result.name, "failure_limit") != 0
                or result.inconclusive
            )
            assert result.measurements
    for name in ("a", "b"):
        seconds = [second for second, metric in taken if metric == name]
        assert len(seconds) == len(set(seconds)), "never twice for one time"


def run_limit(run, name, field):
    return getattr(next(metric for metric in run.spec.metrics if metric.name == name), field)


def test_a_job_that_another_controller_was_measuring_is_taken_up_by_its_number():
    """A Running measurement without our number (Argo Rollouts left it): the next one has the number its Job has."""
    foreign = Measurement(phase="Running", started_at=timestamp(START), metadata={"job-name": "u.m.1"})
    result = MetricResult(name="m", phase="Running", measurements=(foreign,))
    status = AnalysisRunStatus(phase="Running", started_at=timestamp(START), metric_results=(result,))
    run = AnalysisRun(metadata=ObjectMeta(name="r"), status=status)

    decision = plan(run, [Metric(name="m", provider={"job": {}})], START, slow={"m"})

    (act,) = decision.acts
    assert (act.verb, act.number, act.start_at) == ("begin", 1, START)
    assert decision.due == ()


def test_a_lasting_metric_is_begun_then_looked_at_and_never_measured_at_once():
    metric = Metric(name="m", provider={"job": {}})
    run = AnalysisRun(metadata=ObjectMeta(name="r"))
    first = plan(run, [metric], START, slow={"m"})
    assert ([act.verb for act in first.acts], first.due) == (["begin"], ())

    saved = msgspec.structs.replace(run, status=first.status)
    (begin,) = first.acts
    told = lasting.begun(begin.measurement, {"made": "x"}, START)
    second = plan(saved, [metric], START, {"m": told}, slow={"m"})
    assert [act.verb for act in second.acts] == ["look"]
    assert second.acts[0].measurement == told

    busy = plan(saved, [metric], START, in_flight={"m"}, slow={"m"})
    assert busy.acts == ()
    later = plan(saved, [metric], START, slow={"m"}, not_before={"m": START + timedelta(seconds=3)})
    assert (later.acts, later.wake) == ((), START + timedelta(seconds=3))


def test_news_that_come_too_late_change_nothing():
    metric = Metric(name="m", provider={"job": {}})
    run = AnalysisRun(metadata=ObjectMeta(name="r"))
    first = plan(run, [metric], START, slow={"m"})
    (begin,) = first.acts
    good = lasting.answered(begin.measurement, Measurement(phase="Successful", finished_at=timestamp(START)))
    spec = msgspec.structs.replace(run.spec, terminate=True)
    stopped = plan(msgspec.structs.replace(run, status=first.status, spec=spec), [metric], START, slow={"m"})
    assert stopped.status.phase == "Inconclusive"
    assert [act.verb for act in stopped.acts] == ["end"]

    ended = msgspec.structs.replace(run, status=stopped.status, spec=spec)
    after = plan(ended, [metric], START, {"m": good}, slow={"m"})
    assert after.status == stopped.status
    (owed,) = stopped.status.metric_results[0].measurements
    clean = plan(ended, [metric], START, {"m": lasting.cleaned(owed)}, slow={"m"})
    assert clean.acts == ()
    assert clean.status.phase == "Inconclusive"


@pytest.mark.parametrize(
    ("provider", "limit"), [("prometheus", 4), ("job", 4), ("chaos", 0), ("loadTest", 0)]
)
def test_faults_and_load_are_not_tried_again_after_an_error_unless_asked_for(provider, limit):
    assert numbers_of(Metric(name="m", provider={provider: {}})).error_limit == limit
    asked = Metric(name="m", provider={provider: {}}, consecutive_error_limit=2)
    assert numbers_of(asked).error_limit == 2
