"""The releases of `make demo` on a real cluster: replica shares and blue/green, judged by a real Prometheus, with load.
Nothing is lost but what a bad version itself fails.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from rollout.api.meta import metadata
from rollout.api.resources import PODS
from rollout.runtime.kube import Object
from tests.cluster import ours, prometheus
from tests.cluster.ground.cluster import Cluster
from tests.cluster.releases import APP, Load, Releases, rollout, stage
from tests.sandbox.release_support import pause, service

pytestmark = pytest.mark.cluster
ENOUGH = 60
"""Requests to a version within the window, before its share of errors says anything."""


@pytest.fixture(scope="module")
def prepared(own_cluster: Cluster) -> Iterator[Cluster]:
    with ours.prepared(own_cluster, "demo", "prometheus"):
        yield own_cluster


@asynccontextmanager
async def watched(cluster: Cluster, namespace: str, folder: Path) -> AsyncIterator[Releases]:
    """The namespace with a Prometheus of its own, and our controller."""
    address = cluster.place.host_address
    async with (
        stage(cluster, namespace, folder, more=(PODS,)) as releases,
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
        yield releases


def evidence(releases: Releases) -> Object:
    """An AnalysisTemplate: by Prometheus, the version answers well."""
    answered = 'increase(http_requests_total{hash="{{args.hash}}"%s}[30s])'
    good, all = answered % ',code!~"5.."', answered % ""
    query = f"sum({good}) / (sum({all}) > {ENOUGH})"
    address = f"http://{releases.address(prometheus.NAME)}:9090"
    success = {
        "name": "success-rate",
        "interval": "1s",
        "count": 4,
        # Too few requests for a verdict are no measurement.
        "consecutiveErrorLimit": 200,
        "successCondition": "result[0] >= 0.97",
        "provider": {"prometheus": {"address": address, "timeout": 30, "query": query}},
    }
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "AnalysisTemplate",
        "metadata": {"name": "evidence"},
        "spec": {"args": [{"name": "hash"}], "metrics": [success]},
    }


GATE = {
    "templates": [{"templateName": "evidence"}],
    "args": [{"name": "hash", "valueFrom": {"podTemplateHashValue": "Latest"}}],
}


def measured(run: Object, metric: str) -> Object:
    [found] = [one for one in run["status"]["metricResults"] if one["name"] == metric]
    return dict(found)


async def test_a_canary_by_replica_share_is_promoted_or_aborted_on_the_evidence_of_prometheus(
    prepared: Cluster, namespace: str, tmp_path: Path
) -> None:
    async with watched(prepared, namespace, tmp_path) as releases:
        await releases.create(service())
        await releases.seen.complete()
        url = f"http://{releases.address(APP)}"
        strategy = {
            "maxSurge": 1,
            "maxUnavailable": 0,
            "abortScaleDownDelaySeconds": 1,
            "steps": [{"setWeight": 50}, {"analysis": GATE}, pause("1s")],
        }
        await releases.create(
            evidence(releases), rollout({"canary": strategy}, version="v1", image="web-frontend:v1")
        )
        await releases.phase("Healthy")
        async with Load(f"{url}/").running() as load:
            await load.begun("v1")
            await releases.release("v2", "web-frontend:v2")
            await releases.phase("Healthy", step=3)
            await releases.until(lambda: releases.sizes() == {"v1": 0, "v2": 2}, "the old pods are gone")
            await load.answered_by("v2")
            assert load.lost == {}
            [good] = releases.runs()
            assert good["status"]["phase"] == "Successful"
            assert measured(good, "success-rate")["successful"] == 4

            await releases.release("v3", "web-frontend:v3")
            await releases.phase("Degraded")
            await releases.until(
                lambda: releases.sizes() == {"v1": 0, "v2": 2, "v3": 0}, "the bad pods are gone"
            )
            await load.answered_by("v2")
        assert releases.status()["message"].startswith("RolloutAborted")
        assert (
            '"success-rate"' in releases.status()["message"] or "success-rate" in releases.status()["message"]
        )
        [bad] = [one for one in releases.runs() if one["status"]["phase"] == "Failed"]
        assert measured(bad, "success-rate")["failed"] == 1
        value = measured(bad, "success-rate")["measurements"][-1]["value"]
        assert 0.7 < float(value.strip("[]")) < 0.97
        # The bad version's own errors are all that was lost.
        assert set(load.lost) == {"HTTP 500 by v3"}
        await releases.seen.complete()
        assert releases.seen.broken() == []


async def test_a_blue_green_release_waits_for_a_person_between_two_analyses_and_loses_nothing(
    prepared: Cluster, namespace: str, tmp_path: Path
) -> None:
    active, preview = f"{APP}-active", f"{APP}-preview"
    async with watched(prepared, namespace, tmp_path) as releases:
        await releases.create(service(active, app=APP), service(preview, app=APP))
        await releases.seen.complete()
        strategy = {
            "activeService": active,
            "previewService": preview,
            "autoPromotionEnabled": False,
            "scaleDownDelaySeconds": 2,
            "prePromotionAnalysis": GATE,
            "postPromotionAnalysis": GATE,
        }
        await releases.create(
            evidence(releases), rollout({"blueGreen": strategy}, version="v1", image="web-frontend:v1")
        )
        await releases.phase("Healthy")
        old = releases.status()["stableRS"]
        users = Load(f"http://{releases.address(active)}/")
        testers = Load(f"http://{releases.address(preview)}/", rate=10)
        async with users.running(), testers.running():
            await users.begun("v1")
            await releases.release("v2", "web-frontend:v2")
            await releases.phase("Paused")
            await releases.until(
                lambda: [one["status"].get("phase") for one in releases.runs()] == ["Successful"],
                "the preview is proved",
            )
            await testers.answered_by("v2")
            new = releases.status()["currentPodHash"]
            assert (releases.selector(active), releases.selector(preview)) == (old, new)
            assert (await users.sample(100)).keys() == {"v1"}
            assert (await releases.rollout("promote", APP)).code == 0
            await releases.phase("Healthy")
            assert releases.selector(active) == new
            await releases.until(lambda: releases.sizes() == {"v1": 0, "v2": 2}, "the old pods are gone")
            await users.answered_by("v2")
        assert users.lost == {}
        assert testers.lost == {}
        assert [one["status"]["phase"] for one in releases.runs()] == ["Successful"] * 2
