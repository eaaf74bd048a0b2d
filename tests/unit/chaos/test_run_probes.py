import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis import lasting
from chaos.plan.probes import broken, sampled
from rollout.api.analysis import AnalysisTemplate, Measurement, MetricResult
from rollout.api.chaos import ChaosRunSpec, Probe, ProbeResult, Tolerance
from rollout.api.codec import view
from rollout.core.probes import RETENTION, spec_for
from rollout.core.validate_analysis import validate_run_spec
from rollout.errors import InvalidSpec
from tests.virtual import START

PROMETHEUS = {"prometheus": {"address": "http://prometheus:9090", "query": 'up{app="{{args.app}}"}'}}
UP = {"name": "up", "provider": PROMETHEUS, "successCondition": "result[0] == 1"}


def spec(*probes, **fields):
    return view({"args": [{"name": "app", "value": "web"}], "probes": list(probes), **fields}, ChaosRunSpec)


def template(*metrics, args=()):
    return {
        (False, "t"): view(
            {"metadata": {"name": "t"}, "spec": {"metrics": list(metrics), "args": list(args)}},
            AnalysisTemplate,
        )
    }


def test_a_start_probe_is_asked_until_it_is_good_and_then_no_more():
    made, _ = spec_for(spec(UP | {"mode": "Start", "attempts": 5, "interval": "3s"}), "start", {}, {})

    (metric,) = made["metrics"]
    assert (metric["count"], metric["consecutiveSuccessLimit"], metric["interval"]) == (5, 1, "3s")
    assert metric["failureLimit"] == -1
    assert metric["provider"]["prometheus"]["query"] == 'up{app="web"}'
    assert validate_run_spec(made) == []


def test_a_sampling_probe_never_ends_by_itself():
    made, _ = spec_for(spec(UP | {"mode": "During"}), "during", {}, {})

    (metric,) = made["metrics"]
    assert "count" not in metric
    assert metric["failureLimit"] == -1
    assert min(metric["inconclusiveLimit"], metric["consecutiveErrorLimit"]) > 10**9
    assert made["measurementRetention"] == [{"metricName": ".", "limit": RETENTION}]
    assert validate_run_spec(made) == []


def test_an_edge_probe_is_measured_on_both_sides():
    edge = spec(UP | {"mode": "Edge"})

    assert spec_for(edge, "start", {}, {})[0] == spec_for(edge, "end", {}, {})[0]
    assert spec_for(edge, "during", {}, {}) is None


def test_a_templates_metrics_are_measured_in_the_mode_of_the_probe_with_its_arguments():
    metrics = [UP | {"name": "a", "interval": "1m", "count": 9, "failureLimit": 3}, UP | {"name": "b"}]
    probe = {
        "name": "t",
        "mode": "During",
        "templateRef": {"name": "t"},
        "args": [{"name": "app", "value": "x"}],
    }
    made, _ = spec_for(spec(probe), "during", template(*metrics, args=[{"name": "app"}]), {})

    assert [one["name"] for one in made["metrics"]] == ["t/a", "t/b"]
    assert {one["interval"] for one in made["metrics"]} == {"2s"}
    assert "args" not in made
    assert made["metrics"][0]["provider"]["prometheus"]["query"] == 'up{app="x"}'


def test_secrets_of_two_probes_do_not_get_mixed_up():
    def secret(name):
        return {"name": "token", "valueFrom": {"secretKeyRef": {"name": name, "key": "k"}}}

    header = {"key": "Authorization", "value": "Bearer {{args.token}}"}
    provider = {"prometheus": {**PROMETHEUS["prometheus"], "query": "up", "headers": [header]}}
    probes = [
        UP | {"name": name, "mode": "During", "provider": provider, "args": [secret(name)]}
        for name in ("a", "b")
    ]
    made, _ = spec_for(spec(*probes), "during", {}, {})

    wanted = {one["name"]: one["valueFrom"]["secretKeyRef"]["name"] for one in made["args"]}
    for metric in made["metrics"]:
        placeholder = metric["provider"]["prometheus"]["headers"][0]["value"].split("args.")[1].rstrip("}")
        assert wanted[placeholder] == metric["name"]
    assert validate_run_spec(made) == []


def test_a_template_that_is_missing_is_told_where_it_is_named():
    probe = {"name": "t", "mode": "End", "templateRef": {"name": "t"}}
    with pytest.raises(InvalidSpec, match=r'spec.probes\[0\].*AnalysisTemplate "t"'):
        spec_for(spec(probe), "end", {}, {})


def test_stop_conditions_are_measured_every_second():
    metric = UP | {"interval": "1m", "initialDelay": "1m", "count": 3, "failureLimit": 2}
    made, _ = spec_for(spec(stopConditions=[metric]), "stop", {}, {})

    (one,) = made["metrics"]
    assert (one["interval"], one["failureLimit"], one["consecutiveErrorLimit"]) == ("1s", 2, 0)
    assert not {"count", "initialDelay"} & set(one)


# --- reading back -------------------------------------------------------------------------------------

PHASES = ("Successful", "Failed", "Error", "Inconclusive")


def worst_of(phases):
    worst = streak = 0
    for one in phases:
        streak = 0 if one == "Successful" else streak + 1
        worst = max(worst, streak)
    return worst


@given(st.lists(st.sampled_from(PHASES), max_size=80), st.lists(st.integers(1, RETENTION), max_size=30))
def test_streaks_are_counted_over_any_number_of_looks(phases, looks):
    result, at = ProbeResult(name="up"), 0
    for step in [*looks, RETENTION, RETENTION]:
        at = min(len(phases), at + step)
        seen = phases[:at]
        metric = MetricResult(
            name="up",
            measurements=tuple(Measurement(phase=one) for one in seen[-RETENTION:]),
            successful=seen.count("Successful"),
            failed=seen.count("Failed"),
            inconclusive=seen.count("Inconclusive"),
            error=seen.count("Error"),
        )
        result = sampled(result, metric)
    if at == len(phases):
        assert result.worst_streak == worst_of(phases)
        assert result.good + result.bad + result.errors == len(phases)


def test_a_measurement_that_the_end_of_its_run_cut_off_is_no_sample():
    running = Measurement(started_at="2026-01-05T09:00:00Z", phase="Running")
    cut = lasting.interrupted(running, START)
    metric = MetricResult(
        name="up", measurements=(Measurement(phase="Successful"), cut), successful=1, inconclusive=1
    )
    result = sampled(ProbeResult(name="up"), metric)

    assert (result.good, result.bad, result.ratio, result.worst_streak) == (1, 0, 1.0, 0)


@pytest.mark.parametrize(
    ("tolerance", "good", "bad", "worst", "to_come", "holds"),
    [
        (Tolerance(), 10, 0, 0, 0, True),
        (Tolerance(), 9, 1, 1, 0, False),
        (Tolerance(ratio=0.9), 9, 1, 1, 0, True),
        (Tolerance(ratio=0.9), 0, 1, 1, 20, True),
        (Tolerance(ratio=0.9), 0, 3, 3, 20, False),
        (Tolerance(ratio=0.0, streak=2), 0, 3, 3, 0, False),
        (Tolerance(ratio=0.0, streak=3), 0, 3, 3, 0, True),
    ],
)
def test_tolerance_is_a_ratio_and_a_streak(tolerance, good, bad, worst, to_come, holds):
    probe = Probe(name="up", mode="During", tolerance=tolerance)
    result = ProbeResult(name="up", good=good, bad=bad, worst_streak=worst)

    assert (broken(probe, result, to_come=to_come) == "") is holds
