"""The examples of docs/analysis.md in a real sandbox: API server, controllers, node agent, Envoy."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import pytest

from rollout.api.meta import Key, time_of
from rollout.api.resources import ANALYSIS_RUNS, JOBS, PODS
from tests.sandbox.release_support import World, example, rollout, service, until

pytestmark = pytest.mark.sandbox


def status(world: World, name: str) -> dict[str, Any]:
    found = world.informers[ANALYSIS_RUNS].store.get(Key(world.namespace, name)) or {}
    return found.get("status") or {}


def measurements(world: World, name: str) -> list[dict[str, Any]]:
    results = status(world, name).get("metricResults") or []
    return [one for result in results for one in result.get("measurements") or []]


async def ended(world: World, name: str) -> str:
    await until(lambda: "completedAt" in status(world, name), f"{name} ends")
    return str(status(world, name)["phase"])


def clean(world: World, name: str) -> bool:
    return all("cleanup" not in (one.get("metadata") or {}) for one in measurements(world, name))


async def left(world: World, kind: Any) -> list[str]:
    page = await world.kube.list(kind, world.namespace)
    return [
        one["metadata"]["name"] for one in page.items if one["metadata"].get("labels", {}).get("app") != "web"
    ]


async def test_the_examples_of_all_providers_run_to_their_end(world: World) -> None:
    await world.apply(service(), rollout({"canary": {"steps": []}}, replicas=1))
    await world.phase("Healthy")
    runs = example("analysis-metrics.yaml")
    for run in runs:
        for argument in run["spec"].get("args") or ():
            argument["value"] = world.namespace
    await world.apply(*runs)

    names = [run["metadata"]["name"] for run in runs]
    for name in names:
        assert await ended(world, name) == "Successful", status(world, name)

    assert [one["value"] for one in measurements(world, "example-web")] == ["v1"]
    assert len(measurements(world, "example-http")) == 3
    (answer,) = measurements(world, "example-cmd")
    assert '"exitCode": 0' in answer["value"]
    starts = {one["metadata"]["start-at"] for one in measurements(world, "example-start-group")}
    assert len(starts) == 1, "begun together"

    await until(lambda: all(clean(world, name) for name in names), "all is cleaned up")
    (kept,) = await left(world, JOBS)
    (pod,) = await left(world, PODS)
    assert ".smoke.1" in kept, "the job of the user stays for its log, those of cmd do not"
    assert await world.kube.log(world.namespace, pod) == "all is well\n"


async def test_a_job_in_its_middle_is_taken_up_by_the_next_controller_and_made_only_once(
    world: World,
) -> None:
    run = example("analysis-metrics.yaml")[3]
    wait = "import time; time.sleep(6)"
    container = run["spec"]["metrics"][0]["provider"]["job"]["spec"]["template"]["spec"]["containers"][0]
    container["command"] = [sys.executable, "-c", wait]
    await world.apply(run)
    await until(
        lambda: "begun" in ((measurements(world, "example-job") or [{}])[0].get("metadata") or {}),
        "it is begun",
    )
    (before,) = (await world.kube.list(JOBS, world.namespace)).items

    old = await world.ground.kill("controller")
    await world.ground.started_again("controller", old)

    assert await ended(world, "example-job") == "Successful"
    (after,) = (await world.kube.list(JOBS, world.namespace)).items
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    (measurement,) = measurements(world, "example-job")
    begun, over = time_of(measurement["startedAt"]), time_of(measurement["finishedAt"])
    assert begun is not None
    assert over is not None
    assert (over - begun).total_seconds() >= 5


async def test_a_terminated_run_leaves_no_process_behind(world: World) -> None:
    run = example("analysis-metrics.yaml")[4]
    body = run["spec"]["metrics"][0]["provider"]["cmd"]
    body["command"], body["args"], body["timeout"] = (
        [sys.executable, "-c"],
        ["import time; time.sleep(300)"],
        "10m",
    )
    await world.apply(run)
    await until(
        lambda: "ran" in ((measurements(world, "example-cmd") or [{}])[0].get("metadata") or {}), "it runs"
    )
    await world.kube.patch(ANALYSIS_RUNS, world.namespace, "example-cmd", {"spec": {"terminate": True}})
    assert await ended(world, "example-cmd") == "Inconclusive"
    async with asyncio.timeout(30):
        while await left(world, JOBS) or await left(world, PODS):
            await asyncio.sleep(0.1)
