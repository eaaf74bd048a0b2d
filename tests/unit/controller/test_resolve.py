"""Where a Rollout's workload is read from, and what is said when it cannot be."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest

from rollout.api.resources import DEPLOYMENTS, NAMESPACES, Resource
from rollout.controller.caches import Caches
from rollout.controller.workload import POLL_SECONDS, resolve
from rollout.errors import Forbidden
from rollout.runtime.clock import LoopClock
from rollout.sandbox.inmemory import StorageKube
from rollout.sandbox.storage import Storage
from tests import virtual

DEPLOYMENT = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web"},
    "spec": {
        "replicas": 2,
        "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "web", "image": "web:v1"}]},
        },
    },
}


def rollout(**ref: str) -> dict[str, Any]:
    return {
        "metadata": {"name": "web", "namespace": "shop", "uid": "u"},
        "spec": {"workloadRef": {"kind": "Deployment", "name": "web", **ref}},
    }


class Limited(StorageKube):
    """A client that counts what it is asked for, and may not be allowed to ask."""

    def __init__(self, storage: Storage, *, allowed: bool = True) -> None:
        super().__init__(storage)
        self.asked: list[str] = []
        self._allowed = allowed

    async def get(self, resource: Resource, namespace: str | None, name: str, **more: Any) -> Any:
        self.asked.append(f"{resource} {namespace}/{name}")
        if not self._allowed:
            raise Forbidden("deployments.apps is forbidden")
        return await super().get(resource, namespace, name, **more)


def world(clock: LoopClock, *, allowed: bool = True) -> tuple[Storage, Limited, Caches]:
    storage = Storage(clock)
    storage.create(NAMESPACES, None, {"metadata": {"name": "shop"}})
    storage.create(DEPLOYMENTS, "shop", DEPLOYMENT)
    kube = Limited(storage, allowed=allowed)
    return storage, kube, Caches(kube, clock)


def test_before_its_cache_is_filled_the_deployment_is_read_from_the_server_again_and_again() -> None:
    async def main(clock: LoopClock) -> None:
        _, kube, caches = world(clock)
        found = await resolve(rollout(), caches, kube)
        assert found.workload is not None
        assert found.workload.replicas == 2
        assert found.poll == POLL_SECONDS
        assert kube.asked == ["deployments.apps shop/web"]

    virtual.run(main)


def test_with_a_full_cache_nothing_is_asked_and_nothing_is_polled() -> None:
    async def main(clock: LoopClock) -> None:
        _, kube, caches = world(clock)
        task = asyncio.create_task(caches.informers[DEPLOYMENTS].run())
        await caches.informers[DEPLOYMENTS].wait_synced()
        found = await resolve(rollout(), caches, kube)
        assert found.workload is not None
        assert (found.poll, kube.asked) == (None, [])
        assert (await resolve(rollout(name="other"), caches, kube)).problems
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    virtual.run(main)


def test_what_may_not_be_read_is_said_with_the_right_that_is_missing() -> None:
    async def main(clock: LoopClock) -> None:
        _, kube, caches = world(clock, allowed=False)
        (problem,) = (await resolve(rollout(), caches, kube)).problems
        assert problem.path == "spec.workloadRef"
        assert "may not be read" in problem.message
        assert "let the controller get, list and watch deployments.apps" in problem.message

    virtual.run(main)


@pytest.mark.parametrize("kind", ["ReplicaSet", "PodTemplate"])
def test_a_kind_without_a_cache_that_is_missing_is_looked_for_again(kind: str) -> None:
    async def main(clock: LoopClock) -> None:
        _, kube, caches = world(clock)
        found = await resolve(rollout(kind=kind), caches, kube)
        assert f'{kind} "shop/web" not found' in found.problems[0].message
        assert found.poll == POLL_SECONDS

    virtual.run(main)


def test_deployments_are_followed_only_once_a_rollout_names_one() -> None:
    async def main(clock: LoopClock) -> None:
        _, _, caches = world(clock)
        task = asyncio.create_task(caches.run())
        await clock.sleep(60)
        assert not caches.informers[DEPLOYMENTS].synced()
        assert DEPLOYMENTS not in {one.resource for one in caches.needed}
        caches._rollout_changed(None, {**rollout(), "spec": {"template": {}}})
        await clock.sleep(60)
        assert not caches.informers[DEPLOYMENTS].synced()
        caches._rollout_changed(None, rollout())
        await clock.sleep(60)
        assert caches.informers[DEPLOYMENTS].synced()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    virtual.run(main)
