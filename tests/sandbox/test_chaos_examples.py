"""The examples of docs/chaos.md, one for each fault, in a sandbox: they happen, it is proved, and nothing is left."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import yaml

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
from tests.sandbox.release_support import PATIENCE, ROOT, Ground

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


async def completed(kube: HttpKube, example: str) -> Object:
    """Run an example, shortened, to its end."""
    (run,) = documents(example)
    run["metadata"] |= {"name": f"{example}-test"}
    del run["metadata"]["generateName"]
    run["spec"]["duration"] = SECONDS
    await kube.create(CHAOS_RUNS, SPACE, run)
    async with asyncio.timeout(PATIENCE):
        while True:
            seen = await kube.get(CHAOS_RUNS, SPACE, run["metadata"]["name"])
            if (seen.get("status") or {}).get("phase") == "Completed":
                return seen
            await asyncio.sleep(0.2)


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
    status = (await completed(kube, example))["status"]
    receipts = status.get("receipts") or []
    said = yaml.safe_dump(status)
    assert receipts, said
    assert {one["state"] for one in receipts} == {"Reverted"}, said
    assert all(one["proof"] and one["gone"] for one in receipts), said
    assert status["verdict"] == "Successful", said
    assert not (await kube.list(ENVOY_FILTERS, SPACE)).items
    assert not (await kube.get(CHAOS_RUNS, SPACE, f"{example}-test"))["metadata"].get("finalizers")
    assert await whole(kube)


@pytest.mark.parametrize("example", ["network-latency", "network-loss"])
async def test_what_the_sandbox_cannot_do_is_said_before_any_damage(kube: HttpKube, example: str) -> None:
    status = (await completed(kube, example))["status"]
    said = yaml.safe_dump(status)
    assert status["verdict"] == "Error", said
    assert "share one network" in said
    assert not status.get("receipts"), said
