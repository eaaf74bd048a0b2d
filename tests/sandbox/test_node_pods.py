"""Pods as real processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rollout.runtime import dial
from rollout.sandbox.node.logs import LogRequest, read_log

from .node_world import World, condition, sh, status_of

pytestmark = pytest.mark.sandbox

PROBE = {"httpGet": {"path": "/ready", "port": 8080}, "periodSeconds": 1}


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def read(world: World, container: str, **options: Any) -> str:
    request = LogRequest("default", "web", container, **options)
    return b"".join([chunk async for chunk in read_log(world.state, request, world.clock)]).decode()


async def test_an_unknown_image_runs_the_demo_app_with_a_warning_and_becomes_ready(world: World) -> None:
    container = {
        "name": "web",
        "image": "web-frontend:v7",
        "ports": [{"containerPort": 8080}],
        "readinessProbe": PROBE,
    }
    async with world.node():
        await world.create({"containers": [container]})
        pod = await world.ready()
        code, body = await dial.http_get(pod["status"]["podIP"], 8080, "/", seconds=5)
        assert (code, b'"version":"v7"' in body) == (200, True)
        assert pod["status"]["phase"] == "Running"
        assert pod["spec"]["nodeName"] == "sandbox"
        await world.until(lambda: world.events("Started"))
        assert world.events("Scheduled") == ["Successfully assigned default/web to sandbox"]
        assert "web-frontend:v7" in world.events("UnknownImage")[0]


async def test_readiness_follows_the_probe_without_a_restart(world: World) -> None:
    container = sh(
        "touch ready; trap 'rm ready' USR1; echo $$ > pid; while :; do sleep 0.05; done",
        readinessProbe={
            "exec": {"command": ["test", "-e", "ready"]},
            "periodSeconds": 1,
            "failureThreshold": 1,
        },
    )
    async with world.node():
        await world.create({"containers": [container]})
        await world.ready()
        [directory] = (world.state / "pods").iterdir()
        (directory / "ready").unlink()
        pod = await world.until(lambda: condition(world.pod(), "Ready") == "False" and world.pod())
        assert status_of(pod)["restartCount"] == 0
        assert status_of(pod)["state"]["running"]
