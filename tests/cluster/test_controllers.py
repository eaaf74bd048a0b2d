"""Our controllers before a real API server under the chart's roles, with no node: a stand-in turns pods Ready.

The whole cluster's tests need root and a kubelet; this one needs etcd and Kubernetes' programs only, and is where a
right that is used and not granted is found soonest: in the API server's own audit log.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from bench import manifests
from bench.cluster import objects
from bench.cluster.audit import OURS
from bench.cluster.world import (
    BASE,
    MANAGER_FLAGS,
    SYSTEM,
    documents,
    install_base,
    start_controller,
    start_standins,
    until,
)
from rollout.api.resources import (
    ANALYSIS_RUNS,
    ANALYSIS_TEMPLATES,
    PODS,
    ROLLOUTS,
    SERVICES,
    VIRTUAL_SERVICES,
    Resource,
)
from rollout.runtime.client import HttpKube
from rollout.runtime.config import load
from rollout.runtime.process import Supervisor
from tests.cluster.control_plane import ControlPlane
from tests.cluster.planes import plane_or_skip

Object = dict[str, Any]
NAMESPACE = manifests.NAMESPACE
HASH = "rollouts-pod-template-hash"


class World:
    """`prometheus` is the address of the stand-in that answers every query with 1."""

    def __init__(self, plane: ControlPlane, kube: HttpKube, prometheus: str) -> None:
        self.plane, self.kube, self.prometheus = plane, kube, prometheus

    async def make(self, *made: tuple[Resource, Object]) -> None:
        for resource, obj in made:
            await self.kube.create(resource, NAMESPACE, obj)

    async def rollout(self, name: str) -> Object:
        return await self.kube.get(ROLLOUTS, NAMESPACE, name)

    async def selector(self, name: str) -> str:
        """The hash of the pods that a Service selects."""
        found = (await self.kube.get(SERVICES, NAMESPACE, name))["spec"]["selector"]
        return str(found.get(HASH, ""))

    async def healthy(self, name: str, image: str) -> None:
        """Until the release of `image` is done."""

        async def done() -> bool:
            found = await self.rollout(name)
            status = found.get("status") or {}
            assert not status.get("abort"), status
            # the words of its own generation: those of the one before are about another image
            of_now = str(status.get("observedGeneration")) == str(found["metadata"]["generation"])
            wanted = found["spec"]["template"]["spec"]["containers"][0]["image"] == image
            stable = status.get("stableRS") and status["stableRS"] == status.get("currentPodHash")
            return bool(wanted and of_now and stable and status.get("phase") == "Healthy")

        await until(f"{name} runs {image} and is Healthy", done)

    async def update(self, name: str) -> None:
        await self.kube.patch(ROLLOUTS, NAMESPACE, name, objects.update())

    async def running(self, name: str) -> set[str]:
        """The images of the pods of a Rollout that are not going."""
        pods = (await self.kube.list(PODS, NAMESPACE, labels=f"app={name}")).items
        return {
            one["spec"]["containers"][0]["image"]
            for one in pods
            if "deletionTimestamp" not in one["metadata"]
        }

    def asked(self) -> list[Object]:
        """The audit log's events of our controller."""
        events = [
            json.loads(line)
            for line in self.plane.audit.read_bytes().splitlines(keepends=True)
            if line.endswith(b"\n")
        ]
        return [one for one in events if one["user"]["username"] == OURS]


def chart_options() -> list[str]:
    """What the rendered chart tells its controller of its rights."""
    (deployment,) = [one for one in documents(BASE / "controller.yaml") if one["kind"] == "Deployment"]
    arguments = deployment["spec"]["template"]["spec"]["containers"][0]["args"]
    return [one for one in arguments if one.startswith("--features=")]


@asynccontextmanager
async def world(folder: Path) -> AsyncIterator[World]:
    with plane_or_skip(folder, manager_flags=MANAGER_FLAGS) as plane:
        kube = HttpKube(load(kubeconfig=str(plane.kubeconfig())), field_manager="test", user_agent="test")
        try:
            await install_base(kube)
            async with Supervisor() as children:
                _, port = await start_standins(children, plane)
                await start_controller(children, plane, kube, chart_options())
                yield World(plane, kube, f"http://127.0.0.1:{port}")
        finally:
            await kube.close()


def application(name: str, strategy: Object, *, replicas: int = 2) -> tuple[Resource, Object]:
    made = manifests.rollout(name, {}, replicas=replicas, image=objects.OLD)
    made["spec"]["strategy"] = strategy
    made["spec"]["template"]["spec"]["nodeName"] = objects.NODE
    return ROLLOUTS, made


def service(name: str, app: str) -> tuple[Resource, Object]:
    made = manifests.service(name)
    made["spec"]["selector"] = {"app": app}
    return SERVICES, made


async def a_canary_by_service_selectors(seen: World) -> None:
    steps = [{"setWeight": 50}, {"pause": {"duration": "1s"}}]
    canary = {"canary": {"stableService": "plain-stable", "canaryService": "plain-canary", "steps": steps}}
    await seen.make(
        service("plain-stable", "plain"), service("plain-canary", "plain"), application("plain", canary)
    )
    await seen.healthy("plain", objects.OLD)
    before = await seen.selector("plain-stable")
    await seen.update("plain")
    await seen.healthy("plain", objects.NEW)
    after = await seen.selector("plain-stable")
    assert before
    assert after not in {"", before}
    assert await seen.selector("plain-canary") == after


async def a_canary_over_istio_objects(seen: World) -> None:
    await seen.make((ANALYSIS_TEMPLATES, objects.template(seen.prometheus)), *objects.canary("meshed"))
    await seen.healthy("meshed", objects.OLD)
    await seen.update("meshed")
    await seen.healthy("meshed", objects.NEW)

    async def at_home() -> bool:
        spec = (await seen.kube.get(VIRTUAL_SERVICES, NAMESPACE, "meshed"))["spec"]
        weights = {one["destination"]["subset"]: one.get("weight", 0) for one in spec["http"][0]["route"]}
        return weights == {"stable": 100, "canary": 0}

    await until("the whole weight is on stable, which is the new version now", at_home)
    runs = [
        one
        for one in (await seen.kube.list(ANALYSIS_RUNS, NAMESPACE)).items
        if "meshed" in one["metadata"]["name"]
    ]
    assert [(one.get("status") or {}).get("phase") for one in runs] == ["Successful"]


async def a_blue_green_release(seen: World) -> None:
    strategy = {
        "blueGreen": {
            "activeService": "bg-active",
            "previewService": "bg-preview",
            "scaleDownDelaySeconds": 1,
        }
    }
    await seen.make(service("bg-active", "bg"), service("bg-preview", "bg"), application("bg", strategy))
    await seen.healthy("bg", objects.OLD)
    before = await seen.selector("bg-active")
    await seen.update("bg")
    await seen.healthy("bg", objects.NEW)
    assert await seen.selector("bg-active") not in {"", before}

    async def old_is_gone() -> bool:
        return await seen.running("bg") == {objects.NEW}

    await until("the pods of the old colour are gone", old_is_gone)


async def an_analysis_run_of_its_own(seen: World) -> None:
    metric = {
        "name": "up",
        "count": 2,
        "interval": "1s",
        "successCondition": "result[0] >= 0.95",
        "provider": {"prometheus": {"address": seen.prometheus, "query": "up"}},
    }
    run = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "AnalysisRun",
        "metadata": {"name": "alone", "namespace": NAMESPACE},
        "spec": {"metrics": [metric]},
    }
    await seen.make((ANALYSIS_RUNS, run))

    async def over() -> bool:
        found = await seen.kube.get(ANALYSIS_RUNS, NAMESPACE, "alone")
        return (found.get("status") or {}).get("phase") == "Successful"

    await until("the AnalysisRun has succeeded", over)


@pytest.mark.cluster
async def test_releases_and_analysis_under_the_charts_roles_ask_for_nothing_that_is_not_granted(
    tmp_path: Path,
) -> None:
    async with world(tmp_path) as seen:
        async with asyncio.TaskGroup() as group:
            group.create_task(a_canary_by_service_selectors(seen))
            group.create_task(a_canary_over_istio_objects(seen))
            group.create_task(a_blue_green_release(seen))
            group.create_task(an_analysis_run_of_its_own(seen))
        asked = seen.asked()
    assert asked, "the audit log tells of no request of ours"
    refused = {
        f"{one['verb']} {one['objectRef'].get('resource')}/{one['objectRef'].get('subresource', '')}"
        f".{one['objectRef'].get('apiGroup', '')}"
        for one in asked
        if one["responseStatus"]["code"] == 403
    }
    assert refused == set(), (
        f"used, and not granted by the chart's roles (lease in {SYSTEM}): {sorted(refused)}"
    )
    written = {
        (one["verb"], one["objectRef"]["resource"]) for one in asked if one["verb"] in {"create", "patch"}
    }
    assert {("create", "replicasets"), ("patch", "services"), ("patch", "virtualservices")} <= written
