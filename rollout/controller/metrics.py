"""Metrics about Rollouts and AnalysisRuns, under the names that dashboards for this API know.

Read from the caches when somebody scrapes: nothing is kept per object, so what is gone from the API is gone from
the metrics. Names and labels: study/argo-rollouts.md 1.10. A release's phase is a label of its one info series. So that a
cluster of many objects does not drown a Prometheus, those beyond a limit share one series.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, get_args

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from rollout.api.analysis import Phase
from rollout.api.decisions import Kind
from rollout.api.features import PROVIDERS
from rollout.api.meta import key_of, map_of, maps_of
from rollout.api.resources import ANALYSIS_RUNS, ANALYSIS_TEMPLATES, ROLLOUTS
from rollout.controller.caches import Caches
from rollout.controller.rollout import Recorder
from rollout.runtime.kube import Object
from rollout.runtime.settings import MAX_OBJECTS

WHO = ("namespace", "name")
REPLICAS = ("desired", "available", "unavailable", "updated")
OTHER = "other"
OTHERS = ("", OTHER)
"""Namespace and name of those beyond the limit; no object is called so, for all of these kinds have a namespace."""
PHASES: tuple[str, ...] = get_args(Phase)[1:]
"""Without the phase of a run that nobody has looked at."""
KINDS: tuple[str, ...] = get_args(Kind)
MAX_REASONS = 200
"""Reasons of events that are counted on their own; any more share one series."""


class Unrecorded:
    """In place of a recorder where the operator wants no Events."""

    def emit(self, about: Object, type: Literal["Normal", "Warning"], reason: str, message: str) -> None: ...


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
    """A collector for a Prometheus registry. `limit` objects of each kind have series of their own, and may be set."""

    def __init__(
        self,
        caches: Caches,
        events: CountingRecorder,
        *,
        decisions: Mapping[str, int] = {},
        limit: int = MAX_OBJECTS,
    ) -> None:
        self.limit = limit
        self._caches = caches
        self._events = events
        self._decisions = decisions

    def collect(self) -> Iterable[Metric]:
        """One series per object and number; cheap for thousands of objects."""
        informers = self._caches.informers
        yield from rollout_metrics(informers[ROLLOUTS].store, self.limit)
        yield from run_metrics(informers[ANALYSIS_RUNS].store, self.limit)
        yield from template_metrics(informers[ANALYSIS_TEMPLATES].store, self.limit)
        yield events_metric(self._events.counts)
        yield decisions_metric(self._decisions)


class Series:
    """The samples of one family, by their labels. The same labels again are added up."""

    def __init__(self, name: str, text: str, labels: Sequence[str]) -> None:
        self._name, self._text, self._labels = name, text, labels
        self._values: dict[tuple[str, ...], float] = {}

    def add(self, labels: tuple[str, ...], value: float) -> None:
        self._values[labels] = self._values.get(labels, 0.0) + value

    def metric(self) -> Metric:
        found = GaugeMetricFamily(self._name, self._text, labels=self._labels)
        for labels, value in self._values.items():
            found.add_metric(labels, value)
        return found


def rollout_metrics(rollouts: Iterable[Object], limit: int = MAX_OBJECTS) -> list[Metric]:
    """rollout_info, rollout_info_replicas_* and surefoot_rollout_weight. Who was not looked at yet has phase ""."""
    info = Series(
        "rollout_info",
        "1 for each Rollout; its strategy, traffic router and phase.",
        (*WHO, "strategy", "traffic_router", "phase"),
    )
    replicas = {
        name: Series(f"rollout_info_replicas_{name}", f"Pods that are {name}.", WHO) for name in REPLICAS
    }
    weight = Series("surefoot_rollout_weight", "Percent of the requests that go to the role.", (*WHO, "role"))
    for who, obj in _named(rollouts, limit):
        spec, status = map_of(obj.get("spec")), map_of(obj.get("status"))
        info.add((*who, *_strategy(spec), str(status.get("phase") or "")), 1.0)
        for name, number in _replicas(spec, status).items():
            replicas[name].add(who, number)
        weights = map_of(map_of(status.get("canary")).get("weights"))
        for role in ("canary", "stable") if who != OTHERS else ():  # a sum of percents says nothing
            if "weight" in (one := map_of(weights.get(role))):
                weight.add((*who, role), _number(one["weight"]))
    return [one.metric() for one in (info, *replicas.values(), weight)]


def run_metrics(runs: Iterable[Object], limit: int = MAX_OBJECTS) -> list[Metric]:
    """analysis_run_info, type and phase of each of a run's metrics, and surefoot_gates: how many runs stand how."""
    info = Series("analysis_run_info", "1 for each AnalysisRun.", (*WHO, "phase"))
    kinds = Series(
        "analysis_run_metric_type", "1 for each metric of an AnalysisRun.", (*WHO, "metric", "type")
    )
    phases = Series(
        "analysis_run_metric_phase",
        "1 for each metric of an AnalysisRun, with its phase.",
        (*WHO, "metric", "type", "phase"),
    )
    gates = Series("surefoot_gates", "AnalysisRuns by phase.", ("phase",))
    for phase in PHASES:
        gates.add((phase,), 0.0)
    for who, obj in _named(runs, limit):
        status = map_of(obj.get("status"))
        phase = str(status.get("phase") or "")
        info.add((*who, phase), 1.0)
        gates.add((phase if phase in PHASES else "Pending",), 1.0)
        results = {str(one.get("name")): one for one in maps_of(status.get("metricResults"))}
        for name, kind in _provided(obj):
            shown = _shown(who, name, kind)
            kinds.add((*who, *shown), 1.0)
            phases.add((*who, *shown, str(results.get(name, {}).get("phase") or "")), 1.0)
    return [one.metric() for one in (info, kinds, phases, gates)]


def template_metrics(templates: Iterable[Object], limit: int = MAX_OBJECTS) -> list[Metric]:
    """analysis_template_info, and the type of each of a template's metrics."""
    info = Series("analysis_template_info", "1 for each AnalysisTemplate.", WHO)
    kinds = Series(
        "analysis_template_metric_info",
        "1 for each metric of an AnalysisTemplate.",
        (*WHO, "metric", "type"),
    )
    for who, obj in _named(templates, limit):
        info.add(who, 1.0)
        for name, kind in _provided(obj):
            kinds.add((*who, *_shown(who, name, kind)), 1.0)
    return [info.metric(), kinds.metric()]


def decisions_metric(counts: Mapping[str, int]) -> Metric:
    """surefoot_decisions_total."""
    found = CounterMetricFamily(
        "surefoot_decisions", "Decisions that were recorded, by kind.", labels=["kind"]
    )
    for kind in KINDS:
        found.add_metric([kind], counts.get(kind, 0))
    return found


def events_metric(counts: Mapping[tuple[str, str], int]) -> Metric:
    """rollout_events_total."""
    found = CounterMetricFamily("rollout_events", "Events by type and reason.", labels=["type", "reason"])
    for labels, count in sorted(counts.items()):
        found.add_metric(labels, count)
    return found


# --- inside: objects are read as they came, so anything may be missing or of another type -----------------


def _strategy(spec: Mapping[str, Any]) -> tuple[str, str]:
    """The strategy's field name, and its router's ("" without one)."""
    strategy = map_of(spec.get("strategy"))
    name = next((one for one in ("canary", "blueGreen") if one in strategy), "")
    routers = sorted(map_of(map_of(strategy.get(name)).get("trafficRouting")))
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
    for metric in maps_of(map_of(obj.get("spec")).get("metrics")):
        name = str(metric.get("name") or "")
        if name not in seen:
            seen.add(name)
            yield name, next(iter(sorted(map_of(metric.get("provider")))), "")


def _named(objects: Iterable[Object], limit: int) -> Iterator[tuple[tuple[str, str], Object]]:
    """Each object with its namespace and name; those beyond the limit are `OTHERS` together.

    The store keeps its order while objects live, so the same ones have series from scrape to scrape.
    """
    for number, obj in enumerate(objects):
        yield _who(obj) if number < limit else OTHERS, obj


def _shown(who: tuple[str, str], metric: str, kind: str) -> tuple[str, str]:
    """Name and type of a metric as labels: names that users choose are not kept of those who share a series."""
    return (metric, kind) if who != OTHERS else (OTHER, kind if kind in PROVIDERS else OTHER)


def _who(obj: Object) -> tuple[str, str]:
    key = key_of(obj)
    return key.namespace, key.name


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
