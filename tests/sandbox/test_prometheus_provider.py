"""The Prometheus provider and the analysis controller against the real server."""

import asyncio
import contextlib
import math
import socket

import pytest

from analysis.controller import AnalysisController
from analysis.judge import judge
from analysis.providers.registry import providers
from rollout.api import crds
from rollout.api.analysis import Metric
from rollout.api.codec import encode
from rollout.api.resources import ANALYSIS_RUNS, CRDS, NAMESPACES
from rollout.errors import ProviderError
from rollout.runtime.clock import SystemClock
from rollout.runtime.http import HttpClient, Request
from rollout.sandbox.inmemory import StorageKube
from rollout.sandbox.prometheus.install import require_prometheus
from rollout.sandbox.storage import Storage

pytestmark = pytest.mark.sandbox


@contextlib.asynccontextmanager
async def prometheus(root):
    """A server that scrapes itself every 200 ms; gives its address once it has data."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    scrape = {"job_name": "self", "scrape_interval": "200ms", "scrape_timeout": "200ms"}
    scrape["static_configs"] = [{"targets": [address]}]
    (root / "prometheus.yml").write_bytes(encode({"scrape_configs": [scrape]}))
    process = await asyncio.create_subprocess_exec(
        str(require_prometheus()),
        f"--config.file={root / 'prometheus.yml'}",
        f"--storage.tsdb.path={root / 'data'}",
        f"--web.listen-address={address}",
        "--log.level=error",
    )
    try:
        async with HttpClient(proxies=False) as client, asyncio.timeout(30):
            while True:
                with contextlib.suppress(ProviderError):
                    url = f"http://{address}/api/v1/query"
                    answer = await client.fetch(Request(url=url, params={"query": "up"}), deadline=1.0)
                    if '"value"' in answer.text():
                        break
                await asyncio.sleep(0.1)
        yield f"http://{address}"
    finally:
        process.kill()
        await process.wait()


def metric(address, query, **more):
    conditions = {name: more.pop(name) for name in ("success_condition", "failure_condition") if name in more}
    return Metric(
        name="m", provider={"prometheus": {"address": address, "query": query, **more}}, **conditions
    )


async def test_every_kind_of_answer_of_the_real_server(tmp_path):
    async with prometheus(tmp_path) as address, HttpClient(proxies=False) as client:
        provider = providers(client, {}, loopback=True)["prometheus"]

        async def ask(query, **more):
            reading = await provider.measure(metric(address, query, **more), {}, SystemClock().now())
            return reading.value

        assert await ask("up") == [1.0]
        assert await ask("vector(0.25) or up") == [0.25, 1.0]
        assert await ask("scalar(vector(2))") == 2.0
        assert await ask('"v2"') == "v2"
        assert await ask("up == 7") == []
        assert math.isnan((await ask("vector(0) / vector(0)"))[0])
        assert (await ask("vector(1) / vector(0)")) == [math.inf]
        assert set(await ask("up[5s]")) == {1.0}
        span = {"start": "now() - duration('2s')", "end": "now()", "step": "1s"}
        assert await ask("vector(3)", rangeQuery=span) == [3.0, 3.0, 3.0]

        with pytest.raises(ProviderError, match=r"HTTP 400: bad_data: .*parse error"):
            await ask("sum(")
        with pytest.raises(ProviderError, match="HTTP 422: execution"):
            await ask("label_replace(up, 'a', '$1', 'instance', '(') ")
        with pytest.raises(ProviderError, match="does the address name a Prometheus server"):
            await provider.measure(metric(f"{address}/nowhere", "up"), {}, SystemClock().now())


async def test_no_data_and_no_number_never_pass_a_usual_condition(tmp_path):
    async with prometheus(tmp_path) as address, HttpClient(proxies=False) as client:
        provider = providers(client, {}, loopback=True)["prometheus"]
        now = SystemClock().now()
        phases = {}
        for query in ("up", "vector(0.5)", "up == 7", "vector(0) / vector(0)"):
            asked = metric(address, query, success_condition="result[0] >= 0.95")
            reading = await provider.measure(asked, {}, now)
            phases[query] = judge(asked, reading.value, now, reading.warnings)[0]

        assert phases == {
            "up": "Successful",
            "vector(0.5)": "Failed",
            "up == 7": "Error",
            "vector(0) / vector(0)": "Error",
        }


async def test_a_server_that_is_away_is_an_error_and_loopback_must_be_allowed():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        closed = f"http://127.0.0.1:{probe.getsockname()[1]}"
    async with HttpClient(proxies=False) as client:
        with pytest.raises(ProviderError, match="cannot connect"):
            await providers(client, {}, loopback=True)["prometheus"].measure(
                metric(closed, "up"), {}, SystemClock().now()
            )
        with pytest.raises(ProviderError, match="a loopback address, which metrics may not ask"):
            await providers(client, {})["prometheus"].measure(metric(closed, "up"), {}, SystemClock().now())


async def test_a_run_is_carried_out_against_the_real_server(tmp_path):
    clock = SystemClock()
    storage = Storage(clock)
    for crd in crds.crds():
        storage.create(CRDS, None, crd)
    storage.create(NAMESPACES, None, {"metadata": {"name": "prod"}})

    def run(name, threshold):
        body = {"query": 'sum(up{job="{{args.job}}"})'}
        spec = {
            "args": [{"name": "job", "value": "self"}],
            "metrics": [
                {
                    "name": "up",
                    "interval": "1s",
                    "count": 2,
                    "successCondition": f"result[0] >= {threshold}",
                    "provider": {"prometheus": body},
                }
            ],
        }
        meta = {"name": name, "namespace": "prod"}
        obj = {"apiVersion": "argoproj.io/v1alpha1", "kind": "AnalysisRun", "metadata": meta, "spec": spec}
        storage.create(ANALYSIS_RUNS, "prod", obj)

    async def ended(name):
        async with asyncio.timeout(30):
            while True:
                status = storage.get(ANALYSIS_RUNS, "prod", name).get("status") or {}
                if status.get("completedAt"):
                    return status
                await asyncio.sleep(0.05)

    async with prometheus(tmp_path) as address, HttpClient(proxies=False) as client:
        environment = {"ARGO_ROLLOUTS_PROMETHEUS_ADDRESS": address, "SUREFOOT_METRICS_ON_LOOPBACK": "true"}
        controller = AnalysisController(StorageKube(storage), clock, providers(client, environment))
        working = asyncio.create_task(controller.run())
        try:
            run("good", 1)
            run("bad", 2)
            good, bad = await ended("good"), await ended("bad")
        finally:
            controller.stop()
            await working

    assert good["phase"] == "Successful"
    taken = good["metricResults"][0]["measurements"]
    assert [m["value"] for m in taken] == ["[1]", "[1]"]
    assert taken[0]["metadata"]["ResolvedPrometheusQuery"] == 'sum(up{job="self"})'
    assert bad["message"] == 'Metric "up" assessed Failed due to failed (1) > failureLimit (0)'
