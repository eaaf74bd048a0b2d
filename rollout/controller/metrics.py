"""Metrics about Rollouts and AnalysisRuns, under the names that dashboards for this API know.

Read from the caches when somebody scrapes: nothing is kept per object, so what is gone from the API is gone from
the metrics. Names and labels: study/argo-rollouts.md 1.10. A release's phase is a label of its one info series.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from rollout.api.meta import key_of
from rollout.api.resources import ANALYSIS_RUNS, ANALYSIS_TEMPLATES, ROLLOUTS
from rollout.controller.caches import Caches
from rollout.controller.rollout import Recorder
from rollout.runtime.kube import Object

WHO = ("namespace", "name")
REPLICAS = ("desired", "available", "unavailable", "updated")
OTHER = "other"
MAX_REASONS = 200
"""Reasons of events that are counted on their own; any more share one series."""


class CountingRecorder:
    """Passes events on to `inner` and counts them by type and reason."""

    def __init__(self, inner: Recorder) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()
        self._inner = inner

    def emit(self, about: Object, type: Literal["Normal", "Warning"], reason: str, message: str) -> None:
        known = (type, reason) in self.counts or len(self.counts) < MAX_REASONS
        self.counts[type, reason if known else OTHER] += 1
        self._inner.emit(about, type, reason, message)


class ObjectMetrics(Collector):
    """A collector for a Prometheus registry."""

    def __init__(self, caches: Caches, events: CountingRecorder) -> None:
        self._caches = caches
        self._events = events

    def collect(self) -> Iterable[Metric]:
        """One series per object and number; cheap for thousands of objects."""
        informers = self._caches.informers
        yield from rollout_metrics(informers[ROLLOUTS].store)
        yield from run_metrics(informers[ANALYSIS_RUNS].store)
        yield from template_metrics(informers[ANALYSIS_TEMPLATES].store)
        yield events_metric(self._events.counts)


def rollout_metrics(rollouts: Iterable[Object]) -> list[Metric]:
    """rollout_info and rollout_info_replicas_*. A Rollout that nobody has looked at yet has phase ""."""
    info = GaugeMetricFamily(
        "rollout_info",
        "1 for each Rollout; its strategy, traffic router and phase.",
        labels=[*WHO, "strategy", "traffic_router", "phase"],
    )
    replicas = {
        name: GaugeMetricFamily(f"rollout_info_replicas_{name}", f"Pods that are {name}.", labels=WHO)
        for name in REPLICAS
    }
    for obj in rollouts:
        who = _who(obj)
        spec, status = _map(obj.get("spec")), _map(obj.get("status"))
        info.add_metric([*who, *_strategy(spec), str(status.get("phase") or "")], 1.0)
        for name, number in _replicas(spec, status).items():
            replicas[name].add_metric(who, number)
    return [info, *replicas.values()]


def run_metrics(runs: Iterable[Object]) -> list[Metric]:
    """analysis_run_info, and type and phase of each of a run's metrics."""
    info = GaugeMetricFamily("analysis_run_info", "1 for each AnalysisRun.", labels=[*WHO, "phase"])
    kinds = GaugeMetricFamily(
        "analysis_run_metric_type", "1 for each metric of an AnalysisRun.", labels=[*WHO, "metric", "type"]
    )
    phases = GaugeMetricFamily(
        "analysis_run_metric_phase",
        "1 for each metric of an AnalysisRun, with its phase.",
        labels=[*WHO, "metric", "type", "phase"],
    )
    for obj in runs:
        who, status = _who(obj), _map(obj.get("status"))
        info.add_metric([*who, str(status.get("phase") or "")], 1.0)
        results = {str(one.get("name")): one for one in _maps(status.get("metricResults"))}
        for name, kind in _provided(obj):
            kinds.add_metric([*who, name, kind], 1.0)
            phase = results.get(name, {}).get("phase") or ""
            phases.add_metric([*who, name, kind, str(phase)], 1.0)
    return [info, kinds, phases]


def template_metrics(templates: Iterable[Object]) -> list[Metric]:
    """analysis_template_info, and the type of each of a template's metrics."""
    info = GaugeMetricFamily("analysis_template_info", "1 for each AnalysisTemplate.", labels=WHO)
    kinds = GaugeMetricFamily(
        "analysis_template_metric_info",
        "1 for each metric of an AnalysisTemplate.",
        labels=[*WHO, "metric", "type"],
    )
    for obj in templates:
        who = _who(obj)
        info.add_metric(who, 1.0)
        for name, kind in _provided(obj):
            kinds.add_metric([*who, name, kind], 1.0)
    return [info, kinds]


def events_metric(counts: Mapping[tuple[str, str], int]) -> Metric:
    """rollout_events_total."""
    found = CounterMetricFamily("rollout_events", "Events by type and reason.", labels=["type", "reason"])
    for labels, count in sorted(counts.items()):
        found.add_metric(labels, count)
    return found


# --- inside: objects are read as they came, so anything may be missing or of another type -----------------


def _strategy(spec: Mapping[str, Any]) -> tuple[str, str]:
    """The strategy's field name, and its router's ("" without one)."""
    strategy = _map(spec.get("strategy"))
    name = next((one for one in ("canary", "blueGreen") if one in strategy), "")
    routers = sorted(_map(_map(strategy.get(name)).get("trafficRouting")))
    return name, ",".join(routers)


def _replicas(spec: Mapping[str, Any], status: Mapping[str, Any]) -> dict[str, float]:
    desired = spec.get("replicas")
    present, available = _number(status.get("replicas")), _number(status.get("availableReplicas"))
    return {
        "desired": 1.0 if desired is None else _number(desired),
        "available": available,
        "unavailable": max(0.0, present - available),
        "updated": _number(status.get("updatedReplicas")),
    }


def _provided(obj: Object) -> Iterator[tuple[str, str]]:
    """(metric, provider), each metric once; the provider is "" when it has none."""
    seen = set()
    for metric in _maps(_map(obj.get("spec")).get("metrics")):
        name = str(metric.get("name") or "")
        if name not in seen:
            seen.add(name)
            yield name, next(iter(sorted(_map(metric.get("provider")))), "")


def _who(obj: Object) -> tuple[str, str]:
    key = key_of(obj)
    return key.namespace, key.name


def _map(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _maps(value: Any) -> list[Mapping[str, Any]]:
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
