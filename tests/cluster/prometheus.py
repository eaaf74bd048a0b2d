"""Prometheus in a namespace of a cluster: each second it scrapes the pods that this process names to it.

Debian's Prometheus cannot ask Kubernetes for pods (no `kubernetes_sd_configs`), so it asks us, by HTTP.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import yaml
from aiohttp import web

from rollout.api.meta import metadata
from rollout.api.rollout import HASH_LABEL
from rollout.runtime.kube import Object

IMAGE = "docker.io/surefoot-test/prometheus:local"
NAME = "prometheus"


@asynccontextmanager
async def named(address: str, pods: Callable[[], Iterable[Object]]) -> AsyncIterator[str]:
    """Serves at this address of the machine which pods to scrape, until the end of the block; the URL."""

    async def handle(_request: web.Request) -> web.Response:
        return web.json_response([one for pod in pods() for one in target(pod)])

    app = web.Application()
    app.router.add_get("/", handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    try:
        await runner.setup()
        await web.TCPSite(runner, address, 0).start()
        yield f"http://{address}:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()


def target(pod: Object) -> list[Any]:
    """A pod of a Rollout in the words of http_sd: `hash` is its pod-template hash."""
    labels, address = metadata(pod).get("labels") or {}, (pod.get("status") or {}).get("podIP")
    if not address or HASH_LABEL not in labels:
        return []
    told = {"hash": labels[HASH_LABEL], "pod": metadata(pod)["name"]}
    return [{"targets": [f"{address}:8080"], "labels": told}]


def objects(url: str) -> list[dict[str, Any]]:
    """All it needs; `url` says which pods to scrape."""
    sd = [{"url": url, "refresh_interval": "1s"}]
    jobs = [{"job_name": "pods", "http_sd_configs": sd}]
    config = {"global": {"scrape_interval": "1s"}, "scrape_configs": jobs}
    container = {
        "name": NAME,
        "image": IMAGE,
        "imagePullPolicy": "Never",
        "args": ["--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/data"],
        "ports": [{"name": "http", "containerPort": 9090}],
        "readinessProbe": {
            "httpGet": {"path": "/-/ready", "port": "http"},
            "periodSeconds": 1,
            "timeoutSeconds": 10,
        },
        "volumeMounts": [
            {"name": "config", "mountPath": "/etc/prometheus"},
            {"name": "data", "mountPath": "/data"},
        ],
    }
    volumes = [{"name": "config", "configMap": {"name": NAME}}, {"name": "data", "emptyDir": {}}]
    pod = {
        "metadata": {"labels": {"part": NAME}},
        "spec": {"securityContext": {"fsGroup": 65532}, "containers": [container], "volumes": volumes},
    }
    return [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": NAME},
            "data": {"prometheus.yml": yaml.safe_dump(config)},
        },
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": NAME},
            "spec": {"replicas": 1, "selector": {"matchLabels": {"part": NAME}}, "template": pod},
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": NAME},
            "spec": {"selector": {"part": NAME}, "ports": [{"port": 9090, "targetPort": "http"}]},
        },
    ]
