"""The examples of docs/chaos.md, one for each fault, in a sandbox: they happen, it is proved, and nothing is left."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import yaml

from rollout.api.chaos import EXPIRES_AT, RUN_LABEL, RUN_UID
from rollout.api.resources import (
    CHAOS_RUNS,
    DEPLOYMENTS,
    ENVOY_FILTERS,
    NAMESPACES,
    SERVICES,
)
from rollout.errors import AlreadyExists
from rollout.runtime.client import HttpKube
from rollout.runtime.config import load
from rollout.runtime.kube import Object
from tests.sandbox.release_support import PATIENCE, ROOT, Ground, command

pytestmark = [pytest.mark.sandbox, pytest.mark.slow]
EXAMPLES = ROOT / "examples" / "chaos"
SPACE = "chaos-examples"
SECONDS = "6s"
KINDS = {one.kind: one for one in (NAMESPACES, DEPLOYMENTS, SERVICES)}


def documents(name: str) -> list[dict[str, Any]]:
    return [one for one in yaml.safe_load_all((EXAMPLES / f"{name}.yaml").read_text()) if one]


@pytest.fixture
async def kube(ground: Ground) -> AsyncIterator[HttpKube]:
    """A client, with the examples' parts applied and ready."""
    client = HttpKube(load(kubeconfig=str(ground.config.directory().kubeconfig)))
    try:
        for one in documents("parts"):
            try:
                await client.create(KINDS[one["kind"]], one["metadata"].get("namespace"), one)
            except AlreadyExists:
                continue
        async with asyncio.timeout(PATIENCE):
            while not await whole(client):
                await asyncio.sleep(0.1)
        yield client
    finally:
        await client.close()


async def whole(kube: HttpKube) -> bool:
    """Whether every Deployment has all the replicas that its example says, ready."""
    found = {one["metadata"]["name"]: one for one in (await kube.list(DEPLOYMENTS, SPACE)).items}
    return all(
        (found.get(one["metadata"]["name"], {}).get("status") or {}).get("readyReplicas")
        == one["spec"]["replicas"]
        for one in documents("parts")
        if one["kind"] == "Deployment"
    )


async def begun(kube: HttpKube, example: str, name: str, **spec: Any) -> None:
    """Begin an example, shortened."""
    (run,) = documents(example)
    run["metadata"] |= {"name": name}
    del run["metadata"]["generateName"]
    run["spec"] |= {"duration": SECONDS, **spec}
    await kube.create(CHAOS_RUNS, SPACE, run)


async def seen(kube: HttpKube, name: str, holds: Callable[[Object], bool]) -> Object:
    """The run's status, once it is as it should be."""
    status: Object = {}
    try:
        async with asyncio.timeout(PATIENCE):
            while not holds(status):
                await asyncio.sleep(0.2)
                status = (await kube.get(CHAOS_RUNS, SPACE, name)).get("status") or {}
    except TimeoutError:
        raise AssertionError(f"waited in vain: {yaml.safe_dump(status)}") from None
    return status


async def completed(kube: HttpKube, example: str) -> Object:
    """Run an example to its end."""
    await begun(kube, example, f"{example}-test")
    return await seen(kube, f"{example}-test", is_completed)


def is_completed(status: Object) -> bool:
    return status.get("phase") == "Completed"


def states(status: Object) -> set[str]:
    return {one.get("state", "Planned") for one in status.get("receipts") or ()}


@pytest.mark.parametrize(
    "example",
    [
        "pod-delete",
        "container-kill",
        "http-latency",
        "http-abort",
        "dependency-latency",
        "dependency-outage",
        "scale-down",
    ],
)
async def test_the_fault_happens_is_proved_and_is_gone(kube: HttpKube, example: str) -> None:
    status = await completed(kube, example)
    receipts = status.get("receipts") or []
    said = yaml.safe_dump(status)
    assert receipts, said
    assert states(status) == {"Reverted"}, said
    assert all(one["proof"] and one["gone"] for one in receipts), said
    assert status["verdict"] == "Successful", said
    assert not (await kube.list(ENVOY_FILTERS, SPACE)).items
    assert not (await kube.get(CHAOS_RUNS, SPACE, f"{example}-test"))["metadata"].get("finalizers")
    assert await whole(kube)


@pytest.mark.parametrize("example", ["network-latency", "network-loss"])
async def test_what_the_sandbox_cannot_do_is_said_before_any_damage(kube: HttpKube, example: str) -> None:
    status = await completed(kube, example)
    said = yaml.safe_dump(status)
    assert status["verdict"] == "Error", said
    assert "share one network" in said
    assert not status.get("receipts"), said


@pytest.mark.parametrize("example", ["http-latency", "dependency-outage", "scale-down"])
async def test_a_controller_killed_during_the_fault_undoes_it_when_it_is_back(
    kube: HttpKube, ground: Ground, example: str
) -> None:
    name = f"{example}-killed"
    await begun(kube, example, name, duration="10s")
    await seen(kube, name, lambda status: states(status) == {"Proved"})
    old = await ground.kill("controller")
    await ground.started_again("controller", old)
    status = await seen(kube, name, is_completed)
    assert states(status) == {"Reverted"}, yaml.safe_dump(status)
    assert not (await kube.list(ENVOY_FILTERS, SPACE)).items
    assert await whole(kube)


async def test_a_run_that_is_stopped_early_is_undone_at_once(kube: HttpKube) -> None:
    await begun(kube, "http-latency", "stopped", duration="10m")
    await seen(kube, "stopped", lambda status: states(status) == {"Proved"})
    await kube.patch(CHAOS_RUNS, SPACE, "stopped", {"spec": {"abort": True}})
    status = await seen(kube, "stopped", is_completed)
    assert states(status) == {"Reverted"}, yaml.safe_dump(status)
    assert "no effect any more" in status["receipts"][0]["gone"]
    assert not (await kube.list(ENVOY_FILTERS, SPACE)).items


async def test_the_command_reaps_what_nobody_owns_any_more(kube: HttpKube, ground: Ground) -> None:
    """Expired for long, so that the controller's own reaper would take it too: one of the two is first."""
    orphan = {
        "apiVersion": ENVOY_FILTERS.api_version,
        "kind": ENVOY_FILTERS.kind,
        "metadata": {
            "name": "orphan",
            "namespace": SPACE,
            "labels": {RUN_LABEL: "gone", RUN_UID: "gone"},
            "annotations": {EXPIRES_AT: "2020-01-01T00:00:00Z"},
        },
        "spec": {"configPatches": []},
    }
    await kube.create(ENVOY_FILTERS, SPACE, orphan)
    said = await command("chaos", "reap", KUBECONFIG=str(ground.config.directory().kubeconfig))
    assert said.code == 0, said.err
    assert "its lease is over" in said.out or "Nothing is left" in said.out + said.err
    assert not (await kube.list(ENVOY_FILTERS, SPACE)).items
