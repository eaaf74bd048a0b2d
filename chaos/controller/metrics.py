"""Metrics about chaos. Read from the caches when somebody scrapes; no series has the name of an object.

A run's name would be a series for every run that there ever was; what one run did is in its status and its Events.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, get_args

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from chaos.plan.receipts import UNVERIFIED
from rollout.api.chaos import FAULT_KINDS, RunPhase, Verdict
from rollout.runtime.kube import Object

PHASES = tuple(phase or "Pending" for phase in get_args(RunPhase) if phase != "Pending")
VERDICTS = tuple(verdict for verdict in get_args(Verdict) if verdict)
AT_WORK = frozenset({"Injected", "Proved"})
Counts = Mapping[tuple[str, str], int]
"""Events since the start, by (type, reason)."""


class ChaosMetrics(Collector):
    """A collector for a Prometheus registry. `runs` are all ChaosRuns in the cache."""

    def __init__(self, runs: Iterable[Object], events: Counts) -> None:
        self._runs = runs
        self._events = events

    def collect(self) -> Iterable[Metric]:
        return [*run_metrics(self._runs), *event_metrics(self._events)]


def run_metrics(runs: Iterable[Object]) -> list[Metric]:
    """surefoot_chaos_runs and surefoot_chaos_faults_active: what the cache holds now, with all series always there."""
    phases: Counter[str] = Counter()
    faults: Counter[str] = Counter()
    for run in runs:
        status: Mapping[str, Any] = run.get("status") or {}
        phases[status.get("phase") or "Pending"] += 1
        faults.update(str(one.get("kind")) for one in status.get("receipts") or () if _at_work(one))
    held = GaugeMetricFamily("surefoot_chaos_runs", "ChaosRuns by phase.", labels=["phase"])
    for phase in PHASES:
        held.add_metric([phase], phases[phase])
    active = GaugeMetricFamily(
        "surefoot_chaos_faults_active",
        "Faults that were begun and are not shown to be gone, by kind.",
        labels=["kind"],
    )
    for kind in FAULT_KINDS:
        active.add_metric([kind], faults[kind])
    return [held, active]


def event_metrics(events: Counts) -> list[Metric]:
    """surefoot_chaos_runs_completed_total and surefoot_chaos_reverts_unverified_total, since the process began."""
    told: Counter[str] = Counter()
    for (_, reason), count in events.items():
        told[reason] += count
    completed = CounterMetricFamily(
        "surefoot_chaos_runs_completed", "ChaosRuns that have ended, by verdict.", labels=["verdict"]
    )
    for verdict in VERDICTS:
        completed.add_metric([verdict], told[f"Chaos{verdict}"])
    unverified = CounterMetricFamily(
        "surefoot_chaos_reverts_unverified",
        "Faults that could not be shown to be gone. Anything but 0 wants a person.",
    )
    unverified.add_metric([], told[UNVERIFIED])
    return [completed, unverified]


def _at_work(receipt: Any) -> bool:
    return isinstance(receipt, Mapping) and receipt.get("state") in AT_WORK
