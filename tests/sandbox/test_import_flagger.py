"""The users' Flagger Canary, converted by the command line and applied with kubectl: it takes over the Deployment and
releases it, under real load, through all its weights; a version with errors goes back."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from rollout.api.meta import Key
from rollout.api.resources import DEPLOYMENTS, VIRTUAL_SERVICES
from rollout.runtime.kube import Object
from tests.sandbox.release_support import PATIENCE, Ground, Load, World, command, world_in

pytestmark = [
    pytest.mark.sandbox,
    pytest.mark.slow,
    *(
        pytest.mark.skipif(shutil.which(one) is None, reason=f"needs {one} on PATH: {why}")
        for one, why in {
            "kubectl": "objects are applied with it",
            "curl": "the users' webhook is a pipe of it",
            "jq": "the users' webhook is a pipe into it",
            "bash": "the users' webhook is of type bash",
        }.items()
    ),
]
APPROXIMATE = 10
SHORT = {"60s": "5s"}
WINDOWS = {"[1m]": "[5s]", "[30s]": "[5s]"}
"""What the users' minutes become here; nothing else is changed."""
PARTS = "examples/flagger-canary-parts.yaml"
RELEASE_SECONDS = 180.0
WEIGHTS = [10, 20, 30, 40, 50]


@pytest.fixture
async def world(ground: Ground) -> AsyncIterator[World]:
    """The users' own namespace, watched."""
    async with world_in(ground, "production") as found:
        yield found


async def imported() -> list[Object]:
    """What `rollout import` writes, with short intervals."""
    said = await command("import", "flagger", "-f", "examples/flagger-canary.yaml", "-f", PARTS)
    assert said.code == APPROXIMATE, said
    objects = list(yaml.safe_load_all(said.out))
    for metric in next(one for one in objects if one["kind"] == "AnalysisTemplate")["spec"]["metrics"]:
        _shorten(metric)
    return objects


def _shorten(metric: dict[str, Any]) -> None:
    for field in ("interval", "initialDelay"):
        if field in metric:
            metric[field] = SHORT[metric[field]]
    provider = metric["provider"]
    if "loadTest" in provider:
        provider["loadTest"]["duration"] = SHORT[provider["loadTest"]["duration"]]
    for long, short in WINDOWS.items():
        if "prometheus" in provider:
            provider["prometheus"]["query"] = provider["prometheus"]["query"].replace(long, short)


async def kubectl(world: World, *arguments: str) -> str:
    said = await world.kubectl(*arguments)
    assert said.code == 0, said
    return said.out


def weights(world: World) -> list[int]:
    found = world.informers[VIRTUAL_SERVICES].store.get(Key("production", "myapp"))
    assert found is not None
    return [int(one["weight"]) for one in found["spec"]["http"][0]["route"]]


def results(run: Object) -> dict[str, list[Object]]:
    """Metric -> its measurements."""
    return {one["name"]: one["measurements"] for one in run["status"]["metricResults"]}


async def taken_over(world: World, tmp_path: Path) -> None:
    """The cut-over of docs/import.md, as far as there is no Flagger here."""
    await kubectl(world, "apply", "-f", PARTS)
    await kubectl(world, "rollout", "status", "deployment/myapp", "--timeout=50s")
    path = tmp_path / "release.yaml"
    path.write_text(yaml.safe_dump_all(await imported(), sort_keys=False), encoding="utf-8")
    await kubectl(world, "apply", "-f", str(path))
    await world.phase("Healthy", "myapp")
    async with asyncio.timeout(PATIENCE):
        while (await world.kube.get(DEPLOYMENTS, "production", "myapp"))["spec"]["replicas"]:
            await asyncio.sleep(0.1)


async def released(world: World) -> str:
    """Whether the release that has begun ends as Healthy or as Degraded."""

    def over() -> bool:
        return world.up_to_date("myapp") and world.status("myapp").get("phase") in {"Healthy", "Degraded"}

    await world.until(over, "the release is over", RELEASE_SECONDS)
    return str(world.status("myapp")["phase"])


async def begun(world: World) -> None:
    """Wait until the controller has seen the Deployment's new template."""
    old = world.status("myapp").get("currentPodHash")
    await world.until(lambda: world.status("myapp").get("currentPodHash") != old, "there is a new revision")


async def test_the_canary_is_released_as_converted_and_a_bad_version_goes_back(
    ground: Ground, world: World, tmp_path: Path
) -> None:
    await taken_over(world, tmp_path)
    seen: list[int] = []
    world.informers[VIRTUAL_SERVICES].on_change(lambda _old, _new: seen.append(weights(world)[1]))
    async with Load(ground.sandbox.gateway, "myapp.example.com").running() as load:
        await load.begun("1.2.3")
        change = asyncio.create_task(begun(world))
        await kubectl(world, "set", "image", "deployment/myapp", "myapp=myapp:1.2.4")
        await change
        assert await released(world) == "Healthy", world.status("myapp")
        await load.answered_by("1.2.4")
        assert load.lost == {}, "nobody noticed"
    assert list(dict.fromkeys(one for one in seen if one)) == [*WEIGHTS, 100], "all, then promoted"
    runs = world.runs()
    assert [run["status"]["phase"] for run in runs] == ["Successful"] * 5
    for run in runs:
        found = results(run)
        assert float(found["load-test"][0]["metadata"]["summary"].split()[0]) > 50
        assert found["request-success-rate"][-1]["phase"] == "Successful"
        assert found["request-duration"][-1]["phase"] == "Successful"
    job = results(runs[0])["integration-test"][-1]["metadata"]
    assert (await kubectl(world, "logs", f"job/{job['job-name']}")).strip() == "1.2.4", (
        "curl, jq and grep ran"
    )

    change = asyncio.create_task(begun(world))
    await kubectl(world, "set", "env", "deployment/myapp", "ERROR_RATE=0.3")
    await change
    assert await released(world) == "Degraded", world.status("myapp")
    await world.until(lambda: weights(world) == [100, 0], "the traffic is home")
    failed = results(world.runs()[-1])["request-success-rate"]
    assert [one["phase"] for one in failed] == ["Failed"] * 5, "the threshold of the Canary"
