"""The controllers and the pod model together, on the storage, under a virtual clock."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from rollout.api.resources import ENDPOINT_SLICES, EVENTS, PODS, REPLICA_SETS, SERVICES
from rollout.sandbox.workloads.podmodel import Behaviour

from .builders import replica_set
from .world import World, new, play, template


@pytest.mark.parametrize("seed", range(5))
def test_a_replica_set_gets_its_pods_and_reports_them_ready(seed: int) -> None:
    async def story(world: World) -> None:
        await world.kube.create(REPLICA_SETS, "default", new(replica_set(3, template=template())))
        await world.clock.sleep(2.5)
        assert len(world.pods()) == 3
        assert world.replica_set()["status"]["replicas"] == 3
        assert "readyReplicas" not in world.replica_set()["status"]
        await world.clock.sleep(2)
        assert world.replica_set()["status"]["readyReplicas"] == 3
        assert world.replica_set()["status"]["availableReplicas"] == 3

    play(story, seed=seed)


@pytest.mark.parametrize("seed", range(5))
def test_no_pod_is_created_twice_while_replicas_change_quickly(seed: int) -> None:
    async def story(world: World) -> None:
        most = 0

        def watch(type: str, resource: Any, old: Any, new: Any) -> None:
            nonlocal most
            alive = [p for p in world.pods() if not p["metadata"].get("deletionTimestamp")]
            most = max(most, len(alive))

        world.storage.on_write(watch)
        await world.kube.create(REPLICA_SETS, "default", new(replica_set(1, template=template())))
        for replicas in (4, 2, 5, 3, 5):
            await world.kube.patch(REPLICA_SETS, "default", "web", {"spec": {"replicas": replicas}})
            await asyncio.sleep(0)
        await world.clock.sleep(20)
        assert most <= 5
        assert len(world.pods()) == 5

    play(story, seed=seed)


def test_scaling_down_removes_pods_and_their_endpoints_while_they_terminate() -> None:
    async def story(world: World) -> None:
        service = {"metadata": {"name": "web"}, "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]}}
        await world.kube.create(SERVICES, "default", service)
        await world.kube.create(REPLICA_SETS, "default", new(replica_set(3, template=template())))
        await world.clock.sleep(10)
        [item] = world.storage.list(ENDPOINT_SLICES, "default").items
        assert [e["conditions"]["ready"] for e in item["endpoints"]] == [True] * 3
        await world.kube.patch(REPLICA_SETS, "default", "web", {"spec": {"replicas": 1}})
        await world.clock.sleep(1)
        [item] = world.storage.list(ENDPOINT_SLICES, "default").items
        assert sorted(e["conditions"]["terminating"] for e in item["endpoints"]) == [False, True, True]
        assert len(world.pods()) == 3
        await world.clock.sleep(5)
        [item] = world.storage.list(ENDPOINT_SLICES, "default").items
        assert len(item["endpoints"]) == len(world.pods()) == 1

    play(story)


def test_a_deleted_pod_is_replaced_and_events_tell_of_it() -> None:
    async def story(world: World) -> None:
        await world.kube.create(REPLICA_SETS, "default", new(replica_set(1, template=template())))
        await world.clock.sleep(5)
        [before] = world.names(PODS)
        await world.kube.delete(PODS, "default", before)
        await world.clock.sleep(10)
        [after] = world.names(PODS)
        assert after != before
        messages = [e["message"] for e in world.storage.list(EVENTS, "default").items]
        assert {f"Created pod: {before}", f"Created pod: {after}"} <= set(messages)

    play(story)


def test_a_crashing_pod_is_restarted_and_counted_never_ready_one_stays_so() -> None:
    def behaviour(pod: Any) -> Behaviour:
        if pod["metadata"]["labels"].get("kind") == "crash":
            return Behaviour(crashes_after=4, restarts_in=6)
        return Behaviour(ready_in=None)

    async def story(world: World) -> None:
        selector = {"matchLabels": {"app": "web", "kind": "crash"}}
        crash = replica_set(1, name="crash", template=template(kind="crash"), selector=selector)
        await world.kube.create(REPLICA_SETS, "default", new(crash))
        selector = {"matchLabels": {"app": "web", "kind": "never"}}
        never = replica_set(1, name="never", template=template(kind="never"), selector=selector)
        await world.kube.create(REPLICA_SETS, "default", new(never))
        await world.clock.sleep(3)
        assert world.replica_set("crash")["status"]["readyReplicas"] == 1
        await world.clock.sleep(3)
        assert "readyReplicas" not in world.replica_set("crash")["status"]
        await world.clock.sleep(6)
        assert world.replica_set("crash")["status"]["readyReplicas"] == 1
        [pod] = [p for p in world.pods() if p["metadata"]["labels"]["kind"] == "crash"]
        assert pod["status"]["containerStatuses"][0]["restartCount"] == 1
        assert "readyReplicas" not in world.replica_set("never")["status"]

    play(story, behaviour)


def test_the_same_seed_gives_the_same_names() -> None:
    seen: list[list[str]] = []

    async def story(world: World) -> None:
        await world.kube.create(REPLICA_SETS, "default", new(replica_set(4, template=template())))
        await world.clock.sleep(5)
        seen.append(sorted(world.names(PODS)))

    play(story, seed=7)
    play(story, seed=7)
    assert seen[0] == seen[1]


def test_a_flapping_pod_loses_and_regains_readiness_without_restarting() -> None:
    async def story(world: World) -> None:
        await world.kube.create(REPLICA_SETS, "default", new(replica_set(1, template=template())))
        seen = []
        for _ in range(4):
            await world.clock.sleep(10)
            seen.append(world.replica_set()["status"].get("readyReplicas", 0))
        assert seen == [1, 0, 1, 0]
        assert world.pods()[0]["status"]["containerStatuses"][0]["restartCount"] == 0

    play(story, Behaviour(ready_in=5, flaps_every=10))


def test_pods_that_were_there_before_the_controllers_are_adopted_not_doubled() -> None:
    async def story(world: World) -> None:
        body = {"metadata": {"name": "lone", **template()["metadata"]}, "spec": template()["spec"]}
        await world.kube.create(PODS, "default", body)
        await world.kube.create(REPLICA_SETS, "default", new(replica_set(2, template=template())))
        await world.clock.sleep(10)
        assert len(world.pods()) == 2
        owners = [pod["metadata"]["ownerReferences"][0]["name"] for pod in world.pods()]
        assert owners == ["web", "web"]

    play(story)
