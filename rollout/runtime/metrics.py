"""Prometheus metrics of the runtime itself, under the names that controller-runtime and client-go use.

Dashboards made for other controllers work; what they have no name for starts with `surefoot_`. Counts that a part keeps
anyway (requests, relists, dropped events) are read when somebody scrapes, not copied at every event.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import generate_latest

from rollout.runtime.client import HttpKube
from rollout.runtime.events import Recorder
from rollout.runtime.fresh import Fresh
from rollout.runtime.informer import Informer
from rollout.runtime.leader import Elector
from rollout.runtime.reload import RESULTS, Reloader
from rollout.runtime.runner import Runner
from rollout.runtime.watchdog import LoopWatchdog

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Metrics:
    """A registry of its own, and what to call so that a part of the runtime shows in it."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry(auto_describe=False)
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self.registry)
        self._reconciles = Counter(
            "controller_runtime_reconcile",
            "Reconciles by result: success, requeue_after, error, held (behind the read-your-writes barrier).",
            ["controller", "result"],
            registry=self.registry,
        )
        self._reconcile_time = Histogram(
            "controller_runtime_reconcile_time_seconds",
            "How long a reconcile takes.",
            ["controller"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self._queue_time = Histogram(
            "workqueue_queue_duration_seconds",
            "How long a key waits in the queue before it is taken.",
            ["name"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self._runners: list[Runner[Any]] = []
        self._clients: list[HttpKube] = []
        self._informers: list[Informer] = []
        self._electors: list[Elector] = []
        self._recorders: list[Recorder] = []
        self._barriers: list[Fresh] = []
        self._watchdogs: list[LoopWatchdog] = []
        self._reloaders: list[Reloader] = []
        self.registry.register(_Scrape(self._scrape))

    def render(self) -> bytes:
        """The exposition text."""
        return generate_latest(self.registry)

    # --- what to watch ----------------------------------------------------------------------------

    def reconcile(self, controller: str) -> Callable[[str, float], None]:
        """The `on_reconcile` of a Runner."""

        def observe(result: str, seconds: float) -> None:
            self._reconciles.labels(controller, result).inc()
            if result != "held":
                self._reconcile_time.labels(controller).observe(seconds)

        return observe

    def add_runner(self, runner: Runner[Any]) -> None:
        self._runners.append(runner)
        runner.queue.on_wait = self._queue_time.labels(runner.name).observe

    def add_client(self, client: HttpKube) -> None:
        self._clients.append(client)

    def add_informer(self, informer: Informer) -> None:
        self._informers.append(informer)

    def add_elector(self, elector: Elector) -> None:
        self._electors.append(elector)

    def add_recorder(self, recorder: Recorder) -> None:
        self._recorders.append(recorder)

    def add_barrier(self, fresh: Fresh) -> None:
        self._barriers.append(fresh)

    def add_reloader(self, reloader: Reloader) -> None:
        self._reloaders.append(reloader)

    def add_watchdog(self, watchdog: LoopWatchdog) -> None:
        self._watchdogs.append(watchdog)

    # --- reading ----------------------------------------------------------------------------------

    def _scrape(self) -> Iterable[Metric]:
        depth = GaugeMetricFamily("workqueue_depth", "Keys that wait to be taken.", labels=["name"])
        later = GaugeMetricFamily(
            "surefoot_workqueue_delayed", "Keys that wait for their time.", labels=["name"]
        )
        active = GaugeMetricFamily(
            "controller_runtime_active_workers", "Reconciles in progress.", labels=["controller"]
        )
        workers = GaugeMetricFamily(
            "controller_runtime_max_concurrent_reconciles", "Workers.", labels=["controller"]
        )
        for runner in self._runners:
            depth.add_metric([runner.name], len(runner.queue))
            later.add_metric([runner.name], runner.queue.delayed)
            active.add_metric([runner.name], len(runner.queue.processing))
            workers.add_metric([runner.name], runner.workers)
        requests = CounterMetricFamily(
            "rest_client_requests", "Requests to the API server.", labels=["verb", "resource", "code"]
        )
        totals: dict[tuple[str, str, str], int] = {}
        for client in self._clients:
            for labels, count in client.requests.items():
                totals[labels] = totals.get(labels, 0) + count
        for labels, count in sorted(totals.items()):
            requests.add_metric(labels, count)
        age = GaugeMetricFamily(
            "surefoot_watch_age_seconds",
            "Since the server last said anything on a watch.",
            labels=["resource"],
        )
        cached = GaugeMetricFamily("surefoot_cached_objects", "Objects in the cache.", labels=["resource"])
        relists = CounterMetricFamily("surefoot_relists", "Whole lists taken.", labels=["resource"])
        broken = CounterMetricFamily(
            "surefoot_watch_errors", "Failed lists and watches.", labels=["resource"]
        )
        state = GaugeMetricFamily(
            "surefoot_watch_state",
            "1 for how a resource is followed: followed, waiting, not served, not granted, left out.",
            labels=["resource", "state"],
        )
        for informer in self._informers:
            name = [str(informer.resource)]
            state.add_metric([*name, informer.state], 1.0)
            age.add_metric(name, informer.age())
            cached.add_metric(name, len(informer.store))
            relists.add_metric(name, informer.relists)
            broken.add_metric(name, informer.errors)
        leading = GaugeMetricFamily("leader_election_master_status", "1 while leading.", labels=["name"])
        for elector in self._electors:
            leading.add_metric([elector.name], float(elector.leading))
        lag = GaugeMetricFamily(
            "surefoot_event_loop_lag_seconds", "Worst delay of the event loop in the last minute."
        )
        if self._watchdogs:
            lag.add_metric([], max(watchdog.worst for watchdog in self._watchdogs))
        dropped = CounterMetricFamily("surefoot_events_dropped", "Events that could not be recorded.")
        dropped.add_metric([], sum(recorder.dropped for recorder in self._recorders))
        stale = CounterMetricFamily(
            "surefoot_own_writes_not_seen", "Own writes that no cache showed in time."
        )
        stale.add_metric([], sum(fresh.expired for fresh in self._barriers))
        return [
            *(depth, later, active, workers),
            *(requests, age, state, cached, relists, broken),
            *(leading, lag, dropped, stale),
            *self._configuration(),
        ]

    def _configuration(self) -> Iterable[Metric]:
        loads = CounterMetricFamily(
            "surefoot_config_loads",
            "Times that the configuration file was read after a change.",
            labels=["result"],
        )
        refused = GaugeMetricFamily(
            "surefoot_config_refused",
            "1 while the file as it is now is refused, and an older one is in force.",
        )
        pending = GaugeMetricFamily(
            "surefoot_config_restart_needed", "1 while a part of the file takes effect only with a restart."
        )
        for reloader in self._reloaders:
            for result in RESULTS:
                loads.add_metric([result], reloader.counts[result])
            refused.add_metric([], float(bool(reloader.refused)))
            pending.add_metric([], float(bool(reloader.pending)))
        return [loads, refused, pending]


class _Scrape:
    """The shape of a collector around a function."""

    def __init__(self, read: Callable[[], Iterable[Metric]]) -> None:
        self._read = read

    def collect(self) -> Iterable[Metric]:
        return self._read()
