"""Metrics about Rollouts and AnalysisRuns: what they say of objects, also of strange ones."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.core import Metric

from rollout.controller.metrics import (
    MAX_REASONS,
    OTHER,
    CountingRecorder,
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
    }


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
