"""A Rollout takes the place of a running Deployment, under load, and is released through it."""

from __future__ import annotations

import asyncio

import pytest

from rollout.api.resources import DEPLOYMENTS
from rollout.runtime.kube import Object
from tests.sandbox.release_support import APP, PATIENCE, Ground, Load, World, rollout, service

pytestmark = pytest.mark.sandbox


def deployment_and_rollout() -> tuple[Object, Object]:
    one = rollout({"canary": {"steps": [{"setWeight": 34}]}})
    spec = one["spec"]
    source = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": APP},
        "spec": {name: spec[name] for name in ("replicas", "selector", "template")},
    }
    del spec["template"], spec["selector"], spec["replicas"]
    spec["workloadRef"] = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "name": APP,
        "scaleDown": "progressively",
    }
    return source, one


async def left(world: World) -> int:
    """The pods that the Deployment still asks for."""
    return int((await world.kube.get(DEPLOYMENTS, world.namespace, APP))["spec"]["replicas"])


async def test_a_rollout_replaces_a_deployment_and_is_released_through_it_without_losing_a_request(
    ground: Ground, world: World
):
    source, taking_over = deployment_and_rollout()
    await world.apply(source, service())
    async with Load(ground.sandbox.gateway, f"{APP}.{world.namespace}").running() as load:
        await load.begun("v1")
        await world.apply(taking_over)
        await world.phase("Healthy")
        async with asyncio.timeout(PATIENCE):
            while await left(world):
                await asyncio.sleep(0.1)
        shown = await world.rollout("get", APP)
        assert "Workload:        Deployment web (scaleDown: progressively)" in shown.out
        said = await world.rollout("set", "image", APP, f"{APP}={APP}:v2", "--wait", "--timeout", "60s")
        assert said.code == 0, said
        assert "image updated in Deployment web" in said.out
        assert (await load.sample(100)).keys() == {"v2"}
        said = await world.rollout("undo", APP, "--wait", "--timeout", "60s")
        assert said.code == 0, said
        assert (await load.sample(100)).keys() == {"v1"}
    assert load.lost == {}
    assert await left(world) == 0
    live = await world.kube.get(DEPLOYMENTS, world.namespace, APP)
    assert world.status()["workloadObservedGeneration"] == str(live["metadata"]["generation"])
