"""Ephemeral containers of modelled pods."""

from __future__ import annotations

from typing import Any

from rollout.api.resources import PODS, REPLICA_SETS
from rollout.sandbox.workloads.podmodel import Behaviour, Effect

from .builders import replica_set
from .world import World, new, play, template


async def with_debugger(world: World) -> str:
    await world.kube.create(REPLICA_SETS, "default", new(replica_set(1, template=template())))
    await world.clock.sleep(5)
    name = world.pods()[0]["metadata"]["name"]
    patch = {"spec": {"ephemeralContainers": [{"name": "debug", "image": "x", "targetContainerName": "web"}]}}
    await world.kube.patch(PODS, "default", name, patch, subresource="ephemeralcontainers")
    return name


def state(pod: dict[str, Any]) -> dict[str, Any]:
    [told] = pod["status"]["ephemeralContainerStatuses"]
    return told["state"]


def test_it_runs_ends_with_0_and_disturbs_nobody() -> None:
    async def story(world: World) -> None:
        name = await with_debugger(world)
        await world.clock.sleep(0.5)
        assert "running" in state(world.storage.get(PODS, "default", name))
        await world.clock.sleep(2)
        pod = world.storage.get(PODS, "default", name)
        assert state(pod)["terminated"]["exitCode"] == 0
        assert pod["status"]["containerStatuses"][0]["restartCount"] == 0
        assert world.replica_set()["status"]["readyReplicas"] == 1

    play(story, Behaviour())


def test_one_that_kills_raises_the_restart_count_and_the_pod_comes_back() -> None:
    async def story(world: World) -> None:
        name = await with_debugger(world)
        await world.clock.sleep(2)
        pod = world.storage.get(PODS, "default", name)
        [told] = pod["status"]["containerStatuses"]
        assert (told["lastState"]["terminated"]["exitCode"], told["ready"]) == (137, False)
        await world.clock.sleep(5)
        pod = world.storage.get(PODS, "default", name)
        assert pod["status"]["containerStatuses"][0]["restartCount"] == 1
        assert state(pod)["terminated"]["exitCode"] == 0
        assert world.replica_set()["status"]["readyReplicas"] == 1

    play(story, Behaviour(restarts_in=3, ephemeral=lambda _: Effect(kills=True)))


def test_one_that_never_ends_goes_with_its_pod() -> None:
    async def story(world: World) -> None:
        name = await with_debugger(world)
        await world.clock.sleep(60)
        assert "running" in state(world.storage.get(PODS, "default", name))
        await world.kube.patch(REPLICA_SETS, "default", "web", {"spec": {"replicas": 0}})
        await world.clock.sleep(10)
        assert world.pods() == []

    play(story, Behaviour(ephemeral=lambda _: Effect(runs=None)))
