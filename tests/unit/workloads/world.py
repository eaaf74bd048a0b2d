"""The controllers and the pod model together, on the storage, under a virtual clock."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from rollout.api.resources import PODS, REPLICA_SETS
from rollout.runtime.clock import LoopClock
from rollout.sandbox.inmemory import StorageKube
from rollout.sandbox.storage import Storage
from rollout.sandbox.workloads.controllers import run_workloads
from rollout.sandbox.workloads.podmodel import Behaviour, PodModel
from tests import virtual

SLOW = Behaviour(starts_in=1, ready_in=2, stops_in=3)


def template(**labels: str) -> dict[str, Any]:
    return {
        "metadata": {"labels": {"app": "web", **labels}},
        "spec": {"containers": [{"name": "web", "image": "web:v1"}], "terminationGracePeriodSeconds": 5},
    }


def new(rs: dict[str, Any]) -> dict[str, Any]:
    rs["metadata"] = {"name": rs["metadata"]["name"], "namespace": "default"}
    return rs


class World:
    """A storage with controllers and pods running on it."""

    def __init__(self, clock: LoopClock) -> None:
        self.clock = clock
        self.storage = Storage(clock)
        self.kube = StorageKube(self.storage)

    def names(self, resource: Any) -> list[str]:
        return [item["metadata"]["name"] for item in self.storage.list(resource, "default").items]

    def pods(self) -> list[dict[str, Any]]:
        return list(self.storage.list(PODS, "default").items)

    def replica_set(self, name: str = "web") -> dict[str, Any]:
        return self.storage.get(REPLICA_SETS, "default", name)


async def collect_garbage(world: World) -> None:
    while True:
        await world.clock.sleep(1)
        world.storage.collect_garbage()


def play(
    story: Callable[[World], Any],
    behaviour: Any = SLOW,
    seed: int = 0,
) -> None:
    async def main(clock: LoopClock) -> None:
        world = World(clock)
        model = PodModel(world.kube, clock, behaviour)
        tasks = [
            asyncio.create_task(run_workloads(world.kube, clock)),
            asyncio.create_task(model.run()),
            asyncio.create_task(collect_garbage(world)),
        ]
        told = asyncio.create_task(story(world))
        await asyncio.wait([told, *tasks], return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            assert not task.done(), task.exception()
            task.cancel()
        await told

    virtual.run(main, seed=seed)
