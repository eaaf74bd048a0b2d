"""The Grafana dashboard of the chart, as a value: `dashboard()`. `tools/chart.py write` puts it into the chart."""

from __future__ import annotations

from typing import Any

WIDTH, HEIGHT = 12, 8
COLUMNS = 24
SOURCE = {"type": "prometheus", "uid": "${datasource}"}

CHOSEN = 'namespace=~"$namespace"'
NOT_PASSED = 'phase=~"Failed|Error|Inconclusive"'

Panel = dict[str, Any]


def dashboard() -> Panel:
    rows = [
        (
            "Releases",
            [
                _stat("Rollouts", f"count(max by (namespace, name) ({_of('rollout_info')}))"),
                _stat("In progress", _phase("Progressing")),
                _stat("Paused", _phase("Paused")),
                _stat("Degraded", _phase("Degraded")),
                _lines("Rollouts by phase", _by_phase("rollout_info"), "{{phase}}"),
                _lines(
                    "Unavailable pods",
                    f"max by (namespace, name) ({_of('rollout_info_replicas_unavailable')}) > 0",
                    "{{namespace}}/{{name}}",
                ),
                _lines("Events", "sum by (type, reason) (rate(rollout_events_total[5m]))", "{{type}} {{reason}}"),
                _lines("Analyses by phase", _by_phase("analysis_run_info"), "{{phase}}"),
                _lines(
                    "Metrics that do not pass",
                    f"max by (namespace, name, metric, phase) ({_of('analysis_run_metric_phase', NOT_PASSED)})",
                    "{{namespace}}/{{name}} {{metric}}: {{phase}}",
                ),
                _lines("Metrics by type", f"count by (type) ({_of('analysis_template_metric_info')})", "{{type}}"),
            ],
        ),
        (
            "Controller",
            [
                _lines("Leaders", "sum by (name) (leader_election_master_status)", "{{name}}"),
                _lines(
                    "Reconciles",
                    "sum by (controller, result) (rate(controller_runtime_reconcile_total[5m]))",
                    "{{controller}} {{result}}",
                ),
                _lines(
                    "Reconcile time, 99th percentile",
                    "histogram_quantile(0.99, sum by (le, controller) (rate(controller_runtime_reconcile_time_seconds_bucket[5m])))",
                    "{{controller}}",
                    "s",
                ),
                _lines(
                    "Wait in the queue, 99th percentile",
                    "histogram_quantile(0.99, sum by (le, name) (rate(workqueue_queue_duration_seconds_bucket[5m])))",
                    "{{name}}",
                    "s",
                ),
                _lines("Queue depth", "sum by (name) (workqueue_depth)", "{{name}}"),
                _lines(
                    "Requests to the API by code",
                    "sum by (code) (rate(rest_client_requests_total[5m]))",
                    "{{code}}",
                    "reqps",
                ),
                _lines("Age of watches", "max by (resource) (surefoot_watch_age_seconds)", "{{resource}}", "s"),
                _lines("Cached objects", "max by (resource) (surefoot_cached_objects)", "{{resource}}"),
                _lines("Delay of the event loop", "max by (pod) (surefoot_event_loop_lag_seconds)", "{{pod}}", "s"),
                _lines("CPU", 'rate(process_cpu_seconds_total{job=~"$job"}[5m])', "{{pod}}", "percentunit"),
                _lines("Resident memory", 'process_resident_memory_bytes{job=~"$job"}', "{{pod}}", "bytes"),
                _lines("Events that were dropped", "rate(surefoot_events_dropped_total[5m])", "{{pod}}"),
            ],
        ),
    ]  # fmt: skip
    return {
        "title": "Surefoot",
        "uid": "surefoot",
        "tags": ["surefoot", "progressive-delivery"],
        "schemaVersion": 39,
        "editable": False,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {
            "list": [
                {"name": "datasource", "type": "datasource", "query": "prometheus"},
                _variable("job", "label_values(surefoot_cached_objects, job)"),
                _variable("namespace", "label_values(rollout_info, namespace)"),
            ]
        },
        "panels": list(_placed(rows)),
    }


def _of(metric: str, more: str = "") -> str:
    """The series of a metric about objects in the chosen namespaces."""
    return f"{metric}{{{', '.join(filter(None, (CHOSEN, more)))}}}"


def _phase(phase: str) -> str:
    """How many Rollouts are in a phase. Every controller tells of all of them, hence the maximum."""
    chosen = _of("rollout_info", f'phase="{phase}"')
    return f"count(max by (namespace, name) ({chosen})) or vector(0)"


def _by_phase(metric: str) -> str:
    return f"sum by (phase) (max by (namespace, name, phase) ({_of(metric)}))"


def _variable(name: str, query: str) -> Panel:
    return {
        "name": name,
        "type": "query",
        "datasource": SOURCE,
        "query": query,
        "refresh": 2,
        "multi": True,
        "includeAll": True,
    }


def _stat(title: str, expr: str) -> Panel:
    return {**_panel("stat", title, expr, ""), "w": 6, "h": 4}


def _lines(title: str, expr: str, legend: str, unit: str = "short") -> Panel:
    options = {"fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []}}
    return {**_panel("timeseries", title, expr, legend), **options, "w": WIDTH, "h": HEIGHT}


def _panel(kind: str, title: str, expr: str, legend: str) -> Panel:
    target = {"refId": "A", "datasource": SOURCE, "expr": expr, "legendFormat": legend}
    return {"type": kind, "title": title, "datasource": SOURCE, "targets": [target]}


def _placed(rows: list[tuple[str, list[Panel]]]) -> list[Panel]:
    """The panels from left to right, row by row, with ids and positions."""
    placed: list[Panel] = []
    y = 0

    def place(panel: Panel, x: int, w: int, h: int) -> None:
        position = {"x": x, "y": y, "w": w, "h": h}
        placed.append({**panel, "id": len(placed) + 1, "gridPos": position})

    for title, panels in rows:
        place({"type": "row", "title": title, "collapsed": False, "panels": []}, 0, COLUMNS, 1)
        y += 1
        x = tallest = 0
        for panel in panels:
            w, h = panel.pop("w"), panel.pop("h")
            if x + w > COLUMNS:
                y, x, tallest = y + tallest, 0, 0
            place(panel, x, w, h)
            x, tallest = x + w, max(tallest, h)
        y += tallest
    return placed
