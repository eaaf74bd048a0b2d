"""Releases judged by a Prometheus in their namespace: by what the pods of the new version alone say in a short window."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from rollout.api.meta import metadata
from rollout.api.resources import PODS, Resource
from rollout.runtime.kube import Object
from tests.cluster import prometheus
from tests.cluster.ground.cluster import Cluster
from tests.cluster.releases import Releases, stage

ENOUGH = 60
"""Requests to a version within the window, before its share of errors says anything."""
GATE = {
    "templates": [{"templateName": "evidence"}],
    "args": [{"name": "hash", "valueFrom": {"podTemplateHashValue": "Latest"}}],
}
"""The analysis of a step or phase that uses `template`."""


@asynccontextmanager
async def judged(
    cluster: Cluster, namespace: str, folder: Path, more: tuple[Resource, ...] = ()
) -> AsyncIterator[Releases]:
    """`releases.stage`, with a Prometheus and the AnalysisTemplate that asks it."""
    address = cluster.place.host_address
    async with (
        stage(cluster, namespace, folder, more=(PODS, *more)) as releases,
        prometheus.named(address, releases.seen.store[PODS].values) as url,
    ):
        cluster.kubectl("apply", "-n", namespace, "-f", "-", stdin=prometheus.objects(url))
        await releases.until(
            lambda: any(
                condition["type"] == "Ready" and condition["status"] == "True"
                for one in releases.seen.store[PODS].values()
                if metadata(one)["labels"].get("part") == prometheus.NAME
                for condition in one["status"].get("conditions", ())
            ),
            "Prometheus is ready",
        )
        await releases.seen.complete()
        await releases.create(template(f"http://{releases.address(prometheus.NAME)}:9090"))
        yield releases


def template(address: str) -> Object:
    """An AnalysisTemplate, `evidence`: the version answers well."""
    answered = 'increase(http_requests_total{hash="{{args.hash}}"%s}[30s])'
    good, all = answered % ',code!~"5.."', answered % ""
    success = {
        "name": "success-rate",
        "interval": "1s",
        "count": 4,
        # Too few requests for a verdict are no measurement.
        "consecutiveErrorLimit": 200,
        "successCondition": "result[0] >= 0.97",
        "provider": {
            "prometheus": {
                "address": address,
                "timeout": 30,
                "query": f"sum({good}) / (sum({all}) > {ENOUGH})",
            }
        },
    }
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "AnalysisTemplate",
        "metadata": {"name": "evidence"},
        "spec": {"args": [{"name": "hash"}], "metrics": [success]},
    }


async def passed(releases: Releases) -> None:
    """The only analysis so far is over, and found the version good each time."""
    await releases.seen.complete()
    [run] = releases.runs()
    assert run["status"]["phase"] == "Successful"
    assert _success_rate(run)["successful"] == 4


async def caught(releases: Releases) -> None:
    """The release was aborted because of one measurement: the errors of `web-frontend:v3`."""
    await releases.seen.complete()
    assert releases.status()["message"].startswith("RolloutAborted")
    assert "success-rate" in releases.status()["message"]
    [run] = [one for one in releases.runs() if one["status"]["phase"] == "Failed"]
    found = _success_rate(run)
    assert found["failed"] == 1
    # Eight of a hundred requests fail, and the window may have few.
    assert 0.7 < float(found["measurements"][-1]["value"].strip("[]")) < 0.97


def _success_rate(run: Object) -> Object:
    [found] = [one for one in run["status"]["metricResults"] if one["name"] == "success-rate"]
    return dict(found)
