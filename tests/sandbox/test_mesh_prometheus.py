"""Istio's queries against a real Prometheus that scrapes a real Envoy."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from rollout.api.codec import encode
from rollout.sandbox.mesh.model import Snapshot
from rollout.sandbox.prometheus.config import command, configuration, targets
from rollout.sandbox.prometheus.install import require_prometheus
from tests.sandbox.mesh_support import Mesh, Server, running_mesh
from tests.unit.mesh.objects import destination_rule, endpoint_slice, pod, service, to, virtual_service

pytestmark = pytest.mark.sandbox


class Prometheus:
    def __init__(self, port: int, session: aiohttp.ClientSession) -> None:
        self.url, self.session = f"http://127.0.0.1:{port}", session

    async def query(self, text: str) -> list[tuple[dict[str, str], float]]:
        async with self.session.get(f"{self.url}/api/v1/query", params={"query": text}) as answer:
            body = await answer.json()
        assert body["status"] == "success", body
        return [(item["metric"], float(item["value"][1])) for item in body["data"]["result"]]

    async def until(self, text: str, wanted: float) -> dict[str, str]:
        """The labels of the one series of `text` once its value is `wanted`."""
        async with asyncio.timeout(20):
            while True:
                found = await self.query(text)
                if len(found) == 1 and found[0][1] == wanted:
                    return found[0][0]
                await asyncio.sleep(0.1)


@contextlib.asynccontextmanager
async def running_prometheus(root: Path, mesh: Mesh, snapshot: Snapshot) -> AsyncIterator[Prometheus]:
    root.mkdir()
    found = targets(snapshot.services, snapshot.endpoint_slices, snapshot.pods)
    (root / "targets.json").write_bytes(encode(found))
    config = configuration(root / "targets.json", f"127.0.0.1:{mesh.ports.metrics}")
    (root / "prometheus.yml").write_bytes(encode(config))
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with (root / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(*command(require_prometheus(), root, port), stderr=log)
    try:
        async with asyncio.timeout(20):
            while True:
                with contextlib.suppress(aiohttp.ClientError):
                    async with mesh.session.get(f"http://127.0.0.1:{port}/-/ready") as answer:
                        if answer.status == 200:
                            break
                assert process.returncode is None, (root / "log").read_text()
                await asyncio.sleep(0.05)
        yield Prometheus(port, mesh.session)
    finally:
        process.kill()
        await process.wait()


async def test_the_canary_can_be_asked_about_alone(tmp_path: Path):
    up = {name: await Server(name).start() for name in ("stable", "canary")}
    up["canary"].status = 500
    snapshot = Snapshot(
        services=(service("web"),),
        pods=tuple(
            pod(name, owner=f"web-{code}", app="web", rollouts_pod_template_hash=code)
            for name, code in (("stable", "aaa"), ("canary", "bbb"))
        ),
        endpoint_slices=tuple(endpoint_slice("web", {name: server.address for name, server in up.items()})),
        destination_rules=(
            destination_rule(
                "web",
                ("stable", {"rollouts-pod-template-hash": "aaa"}),
                ("canary", {"rollouts-pod-template-hash": "bbb"}),
            ),
        ),
        virtual_services=(
            virtual_service(
                {"match": [{"uri": {"prefix": "/canary"}}], "route": [to("web", subset="canary")]},
                {"route": [to("web", subset="stable")]},
            ),
        ),
    )
    async with (
        running_mesh(tmp_path / "mesh", snapshot) as mesh,
        running_prometheus(tmp_path / "prometheus", mesh, snapshot) as prometheus,
    ):
        for _ in range(7):
            assert (await mesh.get("http://web/"))[0] == 200
        for _ in range(3):
            assert (await mesh.get("http://web/canary"))[0] == 500
        labels = await prometheus.until(
            'istio_requests_total{reporter="destination",destination_service_name="web",destination_service_namespace="shop",response_code=~"5.*"}',
            3,
        )
        assert labels["destination_workload"] == "web"
        assert labels["destination_subset"] == "canary"
        assert labels["destination_pod_template_hash"] == "bbb"
        assert labels["source_workload"] == "unknown"
        assert labels["destination_version"] == "unknown"
        assert labels["destination_service"] == "web.shop.svc.cluster.local"
        rate = (
            'sum(istio_requests_total{reporter="source",destination_pod_template_hash="aaa",response_code!~"5.*"})'
            ' / sum(istio_requests_total{reporter="source"})'
        )
        await prometheus.until(rate, 0.7)
        count = 'istio_request_duration_milliseconds_count{reporter="source",destination_subset="canary"}'
        await prometheus.until(count, 3)
        le = 'istio_request_duration_milliseconds_bucket{reporter="source",destination_subset="canary",le="+Inf"}'
        await prometheus.until(le, 3)
        up_by_job = 'up{job="web",rollouts_pod_template_hash="bbb",namespace="shop",pod="canary"}'
        await prometheus.until(up_by_job, 0)  # the test's server answers 500 and has no metrics
    for server in up.values():
        await server.stop()
