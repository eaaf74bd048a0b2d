"""Prometheus' configuration and command line, and what it scrapes. Pure.

Two jobs: Envoy (renamed to Istio's metrics), and the endpoints of all Services from a file that is kept
equal to the API. A target's `job` is its Service's name; its pod's labels become target labels, so that a
query can ask about one pod template alone (`rollouts_pod_template_hash`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from rollout.api.meta import Key, Object, key_of, metadata
from rollout.sandbox.mesh import telemetry
from rollout.sandbox.mesh.model import workload_of

SCRAPE_INTERVAL = "1s"
RETENTION = "6h"
METRICS_PORTS = ("metrics", "http-metrics")
_OURS = {"job", "instance", "namespace", "pod", "service", "workload"}


def configuration(targets_file: Path, envoy_metrics: str) -> dict[str, Any]:
    """prometheus.yml as data. `envoy_metrics` is host:port of Envoy's metrics listener."""
    return {
        "global": {"scrape_interval": SCRAPE_INTERVAL, "scrape_timeout": SCRAPE_INTERVAL},
        "scrape_configs": [
            {
                "job_name": "envoy",
                "metrics_path": "/stats/prometheus",
                "params": {"usedonly": [""]},
                "static_configs": [{"targets": [envoy_metrics]}],
                "metric_relabel_configs": telemetry.metric_relabel_configs(),
            },
            {
                "job_name": "services",
                "file_sd_configs": [{"files": [str(targets_file)], "refresh_interval": "5s"}],
            },
        ],
    }


def command(binary: Path, root: Path, port: int, address: str = "127.0.0.1") -> list[str]:
    """The argv for a server with its configuration and data below `root`.

    The discovery reload interval is a hidden flag; its default of 5 s would let a new pod wait for its
    first scrape twice as long as need be.
    """
    return [
        str(binary),
        f"--config.file={root / 'prometheus.yml'}",
        f"--storage.tsdb.path={root / 'data'}",
        f"--storage.tsdb.retention.time={RETENTION}",
        f"--web.listen-address={address}:{port}",
        "--web.cors.origin=$^",  # no web page may read along
        "--scrape.discovery-reload-interval=100ms",
        "--log.level=warn",
    ]


def targets(
    services: Iterable[Object], endpoint_slices: Iterable[Object], pods: Iterable[Object]
) -> list[dict[str, Any]]:
    """The content of the targets file: one group for each address of each Service.

    Of a Service's ports, the one called metrics or http-metrics, else the first. Annotations
    `prometheus.io/scrape: "false"`, `prometheus.io/port` and `prometheus.io/path` on the pod are honoured.
    Pods that are not ready are scraped too; the ones that have ended are not.
    """
    ports = {key_of(service): _scrape_port(service) for service in services}
    known = {key_of(pod): pod for pod in pods}
    found = [group for piece in endpoint_slices for group in _slice_targets(piece, ports, known)]
    unique = {
        (group["targets"][0], group["labels"]["namespace"], group["labels"]["job"]): group for group in found
    }
    return [unique[key] for key in sorted(unique)]


def _scrape_port(service: Object) -> str | None:
    """The name of the port to scrape; None for a Service without ports."""
    names = [port.get("name") or "" for port in (service.get("spec") or {}).get("ports") or ()]
    return next((name for name in METRICS_PORTS if name in names), names[0] if names else None)


def _slice_targets(
    piece: Object, ports: Mapping[Key, str | None], pods: Mapping[Key, Object]
) -> Iterator[dict[str, Any]]:
    namespace = key_of(piece).namespace
    service = (metadata(piece).get("labels") or {}).get("kubernetes.io/service-name") or ""
    wanted = ports.get(Key(namespace, service))
    number = next(
        (port.get("port") for port in piece.get("ports") or () if (port.get("name") or "") == wanted), None
    )
    if wanted is None or number is None:
        return
    for endpoint in piece.get("endpoints") or ():
        target = endpoint.get("targetRef") or {}
        pod = pods.get(Key(target.get("namespace") or namespace, target.get("name") or ""), {})
        annotations = metadata(pod).get("annotations") or {}
        if annotations.get("prometheus.io/scrape") == "false":
            continue
        labels = _target_labels(pod, namespace, service)
        if path := annotations.get("prometheus.io/path"):
            labels["__metrics_path__"] = path
        for address in endpoint.get("addresses") or ():
            at = f"{address}:{annotations.get('prometheus.io/port') or number}"
            yield {"targets": [at], "labels": labels}


def _target_labels(pod: Object, namespace: str, service: str) -> dict[str, str]:
    labels = {label_name(name): str(value) for name, value in (metadata(pod).get("labels") or {}).items()}
    labels = {
        name: value for name, value in labels.items() if name not in _OURS and not name.startswith("__")
    }
    labels |= {"job": service, "service": service, "namespace": namespace}
    if pod:
        labels |= {"pod": key_of(pod).name, "workload": workload_of(pod)}
    return labels


def label_name(text: str) -> str:
    """A Kubernetes label's key as a Prometheus label name, as Prometheus' own discovery writes it."""
    name = re.sub(r"[^a-zA-Z0-9_]", "_", text)
    return f"_{name}" if name[:1].isdigit() else name
