"""Metrics of notifications, under the names that dashboards for Argo Rollouts know (study/argo-rollouts.md 1.10).

`notification_send_success` and `notification_send_error` count attempts, without the `_total` that our other counters
have. Labels are names from the configuration, so they are few.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from prometheus_client import Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric, UntypedMetricFamily
from prometheus_client.registry import Collector

SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
LABELS = ("service", "trigger")


class NotificationMetrics(Collector):
    """`waiting` says how many messages wait."""

    def __init__(self, waiting: Callable[[], int]) -> None:
        self._waiting = waiting
        self._good: Counter[tuple[str, str]] = Counter()
        self._bad: Counter[tuple[str, str]] = Counter()
        self._lost: Counter[tuple[str, str]] = Counter()
        self._seconds = Histogram(
            "notification_send",
            "How long an attempt to send takes.",
            ["service"],
            buckets=SECONDS,
            registry=None,
        )

    def tried(self, service: str, trigger: str, seconds: float, *, good: bool) -> None:
        (self._good if good else self._bad)[service, trigger] += 1
        self._seconds.labels(service).observe(seconds)

    def given_up(self, service: str, trigger: str) -> None:
        self._lost[service, trigger] += 1

    def collect(self) -> Iterable[Metric]:
        for name, said, counts in (
            ("notification_send_success", "Messages that a service has taken.", self._good),
            ("notification_send_error", "Attempts that have failed.", self._bad),
        ):
            plain = UntypedMetricFamily(name, said, labels=LABELS)
            for labels, count in sorted(counts.items()):
                plain.add_metric(labels, count)
            yield plain
        lost = CounterMetricFamily(
            "surefoot_notifications_lost", "Messages that were given up.", labels=LABELS
        )
        for labels, count in sorted(self._lost.items()):
            lost.add_metric(labels, count)
        yield lost
        waiting = GaugeMetricFamily("surefoot_notifications_waiting", "Messages that wait to be sent.")
        waiting.add_metric([], self._waiting())
        yield waiting
        yield from self._seconds.collect()
