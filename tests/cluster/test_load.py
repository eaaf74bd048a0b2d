"""Releases gated by load that locust makes in a Job of the cluster, under the chart's roles (docs/load.md)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rollout.api.meta import metadata
from rollout.api.resources import ANALYSIS_TEMPLATES, CONFIG_MAPS, JOBS, PODS
from rollout.runtime.kube import Object
from tests.cluster import ours
from tests.cluster.ground.cluster import Cluster
from tests.cluster.releases import APP, Load, Releases, rollout, stage
from tests.sandbox.release_support import GATE, service

pytestmark = pytest.mark.cluster
LABEL = "surefoot.dev/load-test"
RATE, SECONDS = 10, 6


@pytest.fixture(scope="module")
def prepared(own_cluster: Cluster) -> Iterator[Cluster]:
    with ours.prepared(own_cluster, "demo", "load"):
        yield own_cluster


def gate(**fields: Any) -> Object:
    """The AnalysisTemplate `gate`: the canary bears this load; `fields` are of the provider."""
    load_test = {
        "target": {"role": "canary"},
        "requestsPerSecond": RATE,
        "duration": f"{SECONDS}s",
        # How long an answer may take on a busy machine is no question here.
        "timeout": "60s",
        **fields,
    }
    metric = {
        "name": "load",
        "consecutiveErrorLimit": 0,
        "successCondition": "result.failRatio < 0.01",
        "provider": {"loadTest": load_test},
    }
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "AnalysisTemplate",
        "metadata": {"name": "gate"},
        "spec": {"metrics": [metric]},
    }


def measurement(run: Object) -> Object:
    """The only one that was made."""
    [result] = run["status"]["metricResults"]
    [found] = result["measurements"]
    return dict(found)


async def gated(releases: Releases) -> Object:
    """The analysis of the present release, which is over; its Job belonged to it, and is gone with its pods."""
    await releases.seen.complete()
    now = releases.status()["currentPodHash"]
    [run] = [one for one in releases.runs() if metadata(one)["labels"]["rollouts-pod-template-hash"] == now]
    mine = [{"uid": metadata(run)["uid"], "controller": True}]
    jobs = [one.new for one in releases.seen.happenings if one.resource == JOBS and one.new is not None]
    [name] = {
        metadata(job)["name"]
        for job in jobs
        if [{key: owner[key] for key in ("uid", "controller")} for owner in metadata(job)["ownerReferences"]]
        == mine
    }
    await releases.until(
        lambda: (
            not releases.seen.store[JOBS]
            and not any("job-name" in metadata(one)["labels"] for one in releases.seen.store[PODS].values())
        ),
        f"Job {name} is gone with its pods",
    )
    return run


async def test_a_release_passes_a_load_test_fails_it_or_cannot_have_it(
    prepared: Cluster, namespace: str, tmp_path: Path
) -> None:
    canary, stable = f"{APP}-canary", f"{APP}-stable"
    strategy = {
        "maxSurge": 1,
        "maxUnavailable": 0,
        "abortScaleDownDelaySeconds": 1,
        "canaryService": canary,
        "stableService": stable,
        "steps": [{"setWeight": 50}, {"analysis": GATE}],
    }
    async with stage(prepared, namespace, tmp_path, more=(JOBS, PODS, CONFIG_MAPS)) as releases:
        await releases.create(service(canary, app=APP), service(stable, app=APP), gate())
        await releases.create(rollout({"canary": strategy}, version="v1"))
        await releases.phase("Healthy")
        await releases.seen.complete()
        async with Load(f"http://{releases.address(stable)}/").running() as users:
            await users.begun("v1")
            await releases.release("v2", "web-frontend:v2")
            await releases.phase("Healthy", step=2)
            good = await gated(releases)
            assert good["status"]["phase"] == "Successful"
            said = json.loads(measurement(good)["metadata"]["result"])
            assert said["reached"] is True
            assert said["failures"] == 0
            # Of an open load 95 of a hundred requests are to be sent at the least.
            assert said["requests"] >= 0.95 * RATE * SECONDS
            [kept] = [
                one
                for one in releases.seen.store[CONFIG_MAPS].values()
                if LABEL in (metadata(one).get("labels") or {})
            ]
            assert json.loads(kept["data"]["result.json"])["requests"] == said["requests"]
            assert [one["uid"] for one in metadata(kept)["ownerReferences"]] == [metadata(good)["uid"]]

            await releases.release("v3", "web-frontend:v3")
            await releases.phase("Degraded")
            bad = await gated(releases)
            assert bad["status"]["phase"] == "Failed"
            assert measurement(bad)["phase"] == "Failed"

            spec = {"spec": gate(image="surefoot/load:absent")["spec"]}
            await releases.kube.patch(ANALYSIS_TEMPLATES, namespace, "gate", spec)
            await releases.release("v4", "web-frontend:v2")
            await releases.phase("Degraded")
            unknown = await gated(releases)
            assert unknown["status"]["phase"] == "Error"
            assert measurement(unknown)["phase"] == "Error"
            assert "absent" in measurement(unknown)["message"]
            await releases.until(
                lambda: releases.sizes() == {"v1": 0, "v2": 2, "v3": 0, "v4": 0}, "only v2 has pods"
            )
            await users.answered_by("v2")
        assert set(users.lost) <= {"HTTP 500 by v3"}
        await releases.seen.complete()
        assert releases.seen.broken() == []
