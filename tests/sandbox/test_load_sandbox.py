"""Load tests as measurements in a real sandbox: API server, controllers, node agent, Envoy, locust."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from analysis.load.objects import LABEL
from rollout.api.meta import Key
from rollout.api.resources import ANALYSIS_RUNS, CONFIG_MAPS, JOBS, PODS, SERVICES
from tests.sandbox.release_support import (
    APP,
    Ground,
    World,
    canary,
    example,
    processes_naming,
    rollout,
    service,
    until,
)

pytestmark = pytest.mark.sandbox
GROUP = "argoproj.io/v1alpha1"


def load_test(**changes: Any) -> dict[str, Any]:
    """A metric: 40 requests a second to the service, for four seconds."""
    body = {"target": {"url": f"http://{APP}"}, "requestsPerSecond": 40, "duration": "4s", "timeout": "2s"}
    condition = "result.p95 < 2000 && result.failRatio < 0.05"
    return {"name": "load", "successCondition": condition, "provider": {"loadTest": body | changes}}


def run_of(name: str, *metrics: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": GROUP,
        "kind": "AnalysisRun",
        "metadata": {"name": name},
        "spec": {"metrics": metrics},
    }


async def serving(world: World) -> None:
    """The application with its Service, ready."""
    await world.apply(service(), rollout({"canary": {"steps": []}}, replicas=1))
    await world.phase("Healthy")


def measured(world: World, name: str) -> dict[str, Any]:
    """The only measurement of the first metric; empty before there is one."""
    found = world.informers[ANALYSIS_RUNS].store.get(Key(world.namespace, name)) or {}
    results = (found.get("status") or {}).get("metricResults") or [{}]
    return (results[0].get("measurements") or [{}])[-1]


async def left(world: World) -> list[str]:
    """The objects of load tests in the namespace, but for their results."""
    found = []
    for resource in (JOBS, PODS, SERVICES):
        page = await world.kube.list(resource, world.namespace, labels=LABEL)
        found += [f"{resource.kind} {one['metadata']['name']}" for one in page.items]
    return found


async def nothing_left(world: World) -> None:
    async with asyncio.timeout(60):
        while await left(world):
            await asyncio.sleep(0.1)
    await until(lambda: not locusts(world), "no locust is left")


def locusts(world: World) -> list[int]:
    """The processes of load tests in this namespace."""
    mark = f"POD_NAMESPACE={world.namespace}\0"
    return [pid for pid in processes_naming("analysis/load/locustfile.py") if _in(pid, mark)]


def _in(pid: int, mark: str) -> bool:
    try:
        with open(f"/proc/{pid}/environ", encoding="utf-8", errors="replace") as file:  # noqa: PTH123
            return mark in file.read()
    except OSError:
        return False  # it has ended meanwhile


def ended(world: World, name: str) -> bool:
    return measured(world, name).get("phase") not in {None, "Running"}


def under_way(world: World) -> bool:
    return "% failed, p95" in (measured(world, "load").get("metadata") or {}).get("progress", "")


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_load_test_is_measured_and_leaves_its_result_and_nothing_else(
    world: World, workers: int
) -> None:
    await serving(world)
    await world.apply(run_of("load", load_test(workers=workers)))
    await world.until(lambda: under_way(world), "progress is told")
    await world.until(lambda: ended(world, "load"), "the load test has ended")
    one = measured(world, "load")
    assert one["phase"] == "Successful", one
    result = json.loads(one["metadata"]["result"])
    assert (result["requests"], result["failures"], result["reached"]) == (160, 0, True)
    kept = (await world.kube.get(CONFIG_MAPS, world.namespace, one["metadata"]["configMap"]))["data"]
    rows = json.loads(kept["timeline.json"])["rows"]
    assert sum(row["rps"] for row in rows) == 160
    assert json.loads(kept["result.json"])["requests"] == 160
    await nothing_left(world)


async def test_a_run_that_is_deleted_in_the_middle_leaves_nothing(world: World) -> None:
    await serving(world)
    await world.apply(run_of("load", load_test(duration="5m", workers=2)))
    await world.until(lambda: under_way(world), "it is under way")
    assert len(await left(world)) == 6, "two Jobs, three pods and a Service"
    assert len(locusts(world)) == 3
    await world.kube.delete(ANALYSIS_RUNS, world.namespace, "load")
    await nothing_left(world)
    assert not (await world.kube.list(CONFIG_MAPS, world.namespace, labels=LABEL)).items


async def test_a_run_that_is_terminated_in_the_middle_leaves_nothing(world: World) -> None:
    await serving(world)
    await world.apply(run_of("load", load_test(duration="5m")))
    await world.until(lambda: under_way(world), "it is under way")
    await world.kube.patch(ANALYSIS_RUNS, world.namespace, "load", {"spec": {"terminate": True}})
    await nothing_left(world)


async def test_a_load_that_cannot_be_reached_is_inconclusive(world: World) -> None:
    await serving(world)
    slow = {"requests": [{"path": "/", "checks": {"status": ["2xx", "4xx", "5xx"]}}], "maxUsers": 1}
    await world.apply(run_of("load", load_test(**slow, requestsPerSecond=5000, duration="2s")))
    await world.until(lambda: ended(world, "load"), "the load test has ended")
    one = measured(world, "load")
    assert one["phase"] == "Inconclusive", one
    assert "the load was not reached" in one["message"]


async def test_a_locustfile_that_is_wrong_is_an_error_with_its_last_words(world: World) -> None:
    await serving(world)
    body = {
        "target": {"url": f"http://{APP}"},
        "users": 1,
        "duration": "2s",
        "locustfile": {"inline": "raise RuntimeError('my own mistake')"},
    }
    await world.apply(run_of("load", {"name": "load", "provider": {"loadTest": body}}))
    await world.until(lambda: ended(world, "load"), "the load test has ended")
    one = measured(world, "load")
    assert one["phase"] == "Error"
    assert "my own mistake" in one["message"]


async def test_a_release_is_gated_by_a_load_test_of_its_canary(ground: Ground, world: World) -> None:
    gate = {
        "apiVersion": GROUP,
        "kind": "AnalysisTemplate",
        "metadata": {"name": "gate"},
        "spec": {"metrics": [load_test(target={"role": "canary"})]},
    }
    steps = ({"setWeight": 20}, {"analysis": {"templates": [{"templateName": "gate"}]}})
    objects = canary(*steps, canaryService=f"{APP}-canary", stableService=APP)
    await world.apply(gate, service(f"{APP}-canary", app=APP), *objects)
    await world.phase("Healthy")
    await world.set_image("v2")
    await world.phase("Healthy", step=2)
    runs = world.runs()
    assert [run["status"]["phase"] for run in runs] == ["Successful"]
    one = runs[0]["status"]["metricResults"][0]["measurements"][0]
    assert one["metadata"]["target"] == f"http://{APP}-canary.{world.namespace}.svc:80"
    await nothing_left(world)


async def test_the_examples_of_the_documentation_run(world: World) -> None:
    await world.apply(*example("load-gate.yaml"))
    await world.phase("Healthy", "shop")
    assert (await world.rollout("set", "image", "shop", "shop=shop:v2")).code == 0
    await world.phase("Healthy", "shop", step=2)
    assert [run["status"]["phase"] for run in world.runs()] == ["Successful"]
    await world.apply(*example("load-locustfile.yaml"))
    await world.until(lambda: ended(world, "shop-visitors"), "the visitors have gone")
    one = measured(world, "shop-visitors")
    assert one["phase"] == "Successful", one
    assert set(json.loads(one["metadata"]["result"])["perName"]) == {"look", "buy"}
    await nothing_left(world)


async def test_a_controller_that_is_killed_in_the_middle_goes_on_with_the_same_test(
    ground: Ground, world: World
) -> None:
    await serving(world)
    await world.apply(run_of("load", load_test(duration="8s")))
    await world.until(lambda: under_way(world), "it is under way")
    before = await left(world)
    old = await ground.kill("controller")
    await world.until(lambda: ended(world, "load"), "the load test has ended")
    await ground.started_again("controller", old)
    one = measured(world, "load")
    assert one["phase"] == "Successful", one
    assert json.loads(one["metadata"]["result"])["requests"] == 320
    assert one["metadata"]["number"] == "1"
    assert len(before) == 2, "one Job and its pod"
    await nothing_left(world)
