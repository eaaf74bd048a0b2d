"""Istio's standard metrics out of Envoy. https://istio.io/latest/docs/reference/config/metrics/

Envoy's stats access logger counts each request with tags read from the cluster (the Service) and the
endpoint (the workload): `reporter="source"` when the caller's answer is complete, once per request;
`reporter="destination"` for each attempt that an endpoint answered. Prometheus' relabelling (below) gives
the metrics their Istio names and fills in the labels that are the same for all.

Beyond Istio's labels: `destination_subset` and `destination_pod_template_hash`, so that a query can ask
about one version of a workload alone.
"""

from __future__ import annotations

from typing import Any

from rollout.sandbox.mesh.clusters import METADATA
from rollout.sandbox.mesh.protobuf import Resource, extension

PREFIX = "mesh"
REQUESTS = "istio_requests_total"
DURATION = "istio_request_duration_milliseconds"

# Istio's buckets, in milliseconds.
BUCKETS = [
    0.5,
    1,
    5,
    10,
    25,
    50,
    100,
    250,
    500,
    1000,
    2500,
    5000,
    10000,
    30000,
    60000,
]

_TAGS = {
    "response_code": "%RESPONSE_CODE%",
    "response_flags": "%RESPONSE_FLAGS%",
    "destination_service": f"%CLUSTER_METADATA({METADATA}:service)%",
    "destination_service_name": f"%CLUSTER_METADATA({METADATA}:service_name)%",
    "destination_service_namespace": f"%CLUSTER_METADATA({METADATA}:service_namespace)%",
    "destination_subset": f"%CLUSTER_METADATA({METADATA}:subset)%",
    "destination_workload": f"%UPSTREAM_METADATA({METADATA}:workload)%",
    "destination_workload_namespace": f"%UPSTREAM_METADATA({METADATA}:workload_namespace)%",
    "destination_app": f"%UPSTREAM_METADATA({METADATA}:app)%",
    "destination_version": f"%UPSTREAM_METADATA({METADATA}:version)%",
    "destination_canonical_service": f"%UPSTREAM_METADATA({METADATA}:canonical_service)%",
    "destination_canonical_revision": f"%UPSTREAM_METADATA({METADATA}:canonical_revision)%",
    "destination_pod_template_hash": f"%UPSTREAM_METADATA({METADATA}:pod_template_hash)%",
}

_CONSTANT = {
    "source_workload": "unknown",
    "source_workload_namespace": "unknown",
    "source_app": "unknown",
    "source_version": "unknown",
    "source_canonical_service": "unknown",
    "source_canonical_revision": "latest",
    "source_cluster": "Kubernetes",
    "destination_cluster": "Kubernetes",
    "request_protocol": "http",
    "connection_security_policy": "none",
}


CALLER = "x-surefoot-caller"
"""Header of a request on its way to the caller's own faulty sidecar (see `injection`), which then counts it."""


def access_log(reporter: str) -> Resource:
    """The logger that counts requests as `reporter` ("source" or "destination")."""
    passing = {"name": CALLER, "present_match": True, "invert_match": True}
    return {**_logger(reporter), "filter": {"header_filter": {"header": passing}}}


def _logger(reporter: str) -> Resource:
    tags = [{"name": "reporter", "value_format": reporter}]
    tags += [{"name": name, "value_format": text} for name, text in _TAGS.items()]
    return extension(
        "envoy.access_loggers.stats",
        "extensions.access_loggers.stats.v3.Config",
        stats_scope={"prefix": PREFIX},
        counters=[{"stat": {"name": REQUESTS, "tags": tags}, "value_fixed": 1}],
        histograms=[
            {
                "stat": {"name": DURATION, "tags": tags},
                "unit": "Milliseconds",
                "value_format": "%DURATION%",
            }
        ],
    )


def stats_config() -> Resource:
    """What Envoy counts at all: the metrics above, requests per cluster, faults, and its own configuration."""
    inclusion = [
        {"prefix": f"{PREFIX}."},
        {"contains": "version_text"},
        {"contains": "update_rejected"},
        {"contains": ".fault."},
        {"safe_regex": {"regex": r"http\.fault-.*\.downstream_cx_active"}},
        {"contains": "membership_"},
        {
            "safe_regex": {
                "regex": r"cluster\..*\.upstream_rq_(\d|total|retry|active|timeout|pending_overflow).*"
            }
        },
        {"safe_regex": {"regex": r"cluster\..*\.outlier_detection\.ejections_active"}},
    ]
    return {
        "stats_matcher": {"inclusion_list": {"patterns": inclusion}},
        "histogram_bucket_settings": [{"match": {"contains": DURATION}, "buckets": BUCKETS}],
    }


def metric_relabel_configs() -> list[dict[str, Any]]:
    """Prometheus' `metric_relabel_configs` that make Envoy's counters Istio's metrics."""
    ours = f"{PREFIX}_(istio_.+)"
    rules: list[dict[str, Any]] = [
        {
            "source_labels": ["__name__"],
            "regex": f"envoy_{ours}",
            "target_label": "__name__",
            "replacement": "$1",
        },
        # An attempt that never reached the endpoint is nothing the endpoint could have reported.
        {
            "source_labels": ["reporter", "response_flags"],
            "regex": "destination;.*(UF|UH|NC|NR).*",
            "action": "drop",
        },
    ]
    rules += [
        {
            "source_labels": ["__name__", label],
            "regex": "istio_.+;-?",
            "target_label": label,
            "replacement": "-" if label == "response_flags" else "unknown",
        }
        for label in sorted(_TAGS)
        if label != "destination_subset"
    ]
    rules += [
        {"source_labels": ["__name__"], "regex": "istio_.+", "target_label": label, "replacement": value}
        for label, value in _CONSTANT.items()
    ]
    return rules
