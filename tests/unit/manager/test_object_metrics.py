"""Metrics about Rollouts and AnalysisRuns: what they say of objects, also of strange ones."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.core import Metric

from rollout.controller.metrics import (
    MAX_REASONS,
    OTHER,
    PHASES,
    CountingRecorder,
    decisions_metric,
    events_metric,
    rollout_metrics,
    run_metrics,
    template_metrics,
)

META = {"namespace": "shop", "name": "web"}
WHO = ("shop", "web")


def values(metrics: list[Metric]) -> dict[tuple[str, ...], float]:
    """(sample name, label values in the order of the labels) -> value."""
    return {(one.name, *one.labels.values()): one.value for metric in metrics for one in metric.samples}


def test_a_rollout_is_told_with_strategy_router_phase_and_pods():
    obj = {
        "metadata": META,
        "spec": {"replicas": 5, "strategy": {"canary": {"trafficRouting": {"istio": {}}}}},
        "status": {"phase": "Paused", "replicas": 7, "availableReplicas": 6, "updatedReplicas": 2},
    }
    assert values(rollout_metrics([obj])) == {
        ("rollout_info", *WHO, "canary", "istio", "Paused"): 1,
        ("rollout_info_replicas_desired", *WHO): 5,
        ("rollout_info_replicas_available", *WHO): 6,
        ("rollout_info_replicas_unavailable", *WHO): 1,
        ("rollout_info_replicas_updated", *WHO): 2,
    }


def test_a_rollout_that_nobody_looked_at_yet_has_no_phase_and_one_wanted_pod():
    found = values(rollout_metrics([{"metadata": META, "spec": {"strategy": {"blueGreen": {}}}}]))
    assert found["rollout_info", *WHO, "blueGreen", "", ""] == 1
    assert found["rollout_info_replicas_desired", *WHO] == 1


def test_a_run_is_told_with_its_phase_and_each_of_its_metrics():
    obj = {
        "metadata": META,
        "spec": {"metrics": [{"name": "a", "provider": {"prometheus": {}}}, {"name": "b"}]},
        "status": {"phase": "Running", "metricResults": [{"name": "a", "phase": "Failed"}]},
    }
    assert values(run_metrics([obj])) == {
        ("analysis_run_info", *WHO, "Running"): 1,
        ("analysis_run_metric_type", *WHO, "a", "prometheus"): 1,
        ("analysis_run_metric_type", *WHO, "b", ""): 1,
        ("analysis_run_metric_phase", *WHO, "a", "prometheus", "Failed"): 1,
        ("analysis_run_metric_phase", *WHO, "b", "", ""): 1,
        **{("surefoot_gates", phase): phase == "Running" for phase in PHASES},
    }


def test_the_weights_of_a_rollout_that_has_them_are_told():
    canary = {"weights": {"canary": {"weight": 20, "podTemplateHash": "a"}, "stable": {"weight": 80}}}
    with_weights = {"metadata": META, "status": {"canary": canary}}
    found = values(rollout_metrics([with_weights, {"metadata": {**META, "name": "plain"}}]))
    told = {name[1:]: value for name, value in found.items() if name[0] == "surefoot_rollout_weight"}
    assert told == {(*WHO, "canary"): 20, (*WHO, "stable"): 80}


def test_every_kind_of_decision_is_there_from_the_start():
    found = values([decisions_metric({"abort": 2})])
    assert found["surefoot_decisions_total", "abort"] == 2
    assert found["surefoot_decisions_total", "begin"] == 0


def many(number: int) -> list[dict[str, Any]]:
    """Objects that are Rollouts and AnalysisRuns in one, each with names that nobody else has."""
    return [
        {
            "metadata": {"namespace": f"ns-{one % 50}", "name": f"web-{one}"},
            "spec": {
                "replicas": 3,
                "strategy": {"canary": {"trafficRouting": {"istio": {}}}},
                "metrics": [{"name": f"metric-{one}", "provider": {f"own-{one}" if one % 2 else "web": {}}}],
            },
            "status": {
                "phase": ("Healthy", "Running", "Degraded")[one % 3],
                "canary": {"weights": {"canary": {"weight": 50}}},
            },
        }
        for one in range(number)
    ]


@pytest.mark.parametrize("tell", [rollout_metrics, run_metrics, template_metrics])
def test_the_number_of_series_does_not_grow_with_5000_objects_beyond_the_limit(tell: Any):
    objects = many(5000)
    at_limit, beyond = values(tell(objects[:200], 200)), values(tell(objects, 200))
    assert len(beyond) <= len(at_limit) + 30
    assert beyond.keys() >= at_limit.keys()
    others = {name: value for name, value in beyond.items() if name[1:3] == ("", OTHER)}
    for family in {name[0] for name in others} & {
        "rollout_info",
        "analysis_run_info",
        "analysis_template_info",
    }:
        assert sum(value for name, value in others.items() if name[0] == family) == 4800
    assert others


def test_an_object_that_is_gone_leaves_no_series_and_another_takes_its_place():
    objects = many(5000)
    before = values(rollout_metrics(objects, 10))
    after = values(rollout_metrics(objects[1:], 10))
    assert ("rollout_info_replicas_desired", "ns-0", "web-0") in before
    assert ("rollout_info_replicas_desired", "ns-0", "web-0") not in after
    assert ("rollout_info_replicas_desired", "ns-10", "web-10") in after
    assert before["rollout_info_replicas_desired", "", OTHER] == 3 * 4990
    assert after["rollout_info_replicas_desired", "", OTHER] == 3 * 4989


def test_a_template_is_told_with_each_of_its_metrics():
    obj = {"metadata": META, "spec": {"metrics": [{"name": "a", "provider": {"prometheus": {}}}]}}
    assert values(template_metrics([obj])) == {
        ("analysis_template_info", *WHO): 1,
        ("analysis_template_metric_info", *WHO, "a", "prometheus"): 1,
    }


class Told:
    def __init__(self) -> None:
        self.events: list[tuple[str, str]] = []

    def emit(self, about: Any, type: str, reason: str, message: str) -> None:
        self.events.append((type, reason))


def test_events_are_counted_and_passed_on():
    told = Told()
    recorder = CountingRecorder(told)
    for reason in ("A", "A", "B"):
        recorder.emit({}, "Normal", reason, "text")
    assert told.events == [("Normal", "A"), ("Normal", "A"), ("Normal", "B")]
    assert values([events_metric(recorder.counts)]) == {
        ("rollout_events_total", "Normal", "A"): 2,
        ("rollout_events_total", "Normal", "B"): 1,
    }


def test_the_number_of_event_series_is_bounded():
    recorder = CountingRecorder(Told())
    for number in range(10 * MAX_REASONS):
        recorder.emit({}, "Warning", f"R{number}", "text")
    assert len(recorder.counts) == MAX_REASONS + 1
    assert recorder.counts["Warning", OTHER] == 9 * MAX_REASONS


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
ODD = st.fixed_dictionaries(
    {"metadata": st.just(META)},
    optional={
        "spec": JSON
        | st.fixed_dictionaries({}, optional={"strategy": JSON, "replicas": JSON, "metrics": JSON}),
        "status": JSON
        | st.fixed_dictionaries({}, optional={"phase": JSON, "replicas": JSON, "metricResults": JSON}),
    },
)


@given(ODD)
def test_whatever_an_object_holds_it_is_told_and_breaks_no_scrape(obj: dict[str, Any]):
    assert any(name[0] == "rollout_info" for name in values(rollout_metrics([obj])))
    assert any(name[0] == "analysis_run_info" for name in values(run_metrics([obj])))
    assert ("analysis_template_info", *WHO) in values(template_metrics([obj]))
