"""Ephemeral containers as real processes beside a pod's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rollout.api.resources import CONFIG_MAPS, PODS

from .node_world import World, sh
from .test_node_kubectl import Kubectl, kubectl  # noqa: F401 - a fixture
from .test_node_pods import WAIT, alive, read

pytestmark = pytest.mark.sandbox


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def add(world: World, name: str, script: str, **fields: Any) -> None:
    container = {"name": name, "image": "busybox", "command": ["sh", "-c", script], **fields}
    patch = {"spec": {"ephemeralContainers": [container]}}
    await world.kube.patch(PODS, "default", "web", patch, type="strategic", subresource="ephemeralcontainers")


def told(world: World, name: str) -> dict[str, Any]:
    found = world.pod()["status"].get("ephemeralContainerStatuses") or ()
    return next((one for one in found if one["name"] == name), {})


async def ended(world: World, name: str) -> dict[str, Any]:
    over = await world.until(lambda: (told(world, name).get("state") or {}).get("terminated"))
    assert isinstance(over, dict)
    return over


async def test_it_runs_once_with_the_pods_address_and_its_own_environment(world: World) -> None:
    async with world.node():
        await world.create({"containers": [sh(WAIT)]})
        await world.until(lambda: world.pod()["status"].get("phase") == "Running")
        data = {"metadata": {"name": "settings"}, "data": {"WHO": "me"}}
        await world.kube.create(CONFIG_MAPS, "default", data)
        script = 'echo "$POD_IP $POD_NAME $WHO ${SUREFOOT_TARGET_PID:-none}"; exit 3'
        await add(world, "once", script, envFrom=[{"configMapRef": {"name": "settings"}}])
        over = await ended(world, "once")
        assert (over["exitCode"], over["reason"]) == (3, "Error")
        assert await read(world, "once") == f"{world.pod()['status']['podIP']} web me none\n"
        assert told(world, "once")["restartCount"] == 0
        status = world.pod()["status"]
        assert status["phase"] == "Running"
        assert status["containerStatuses"][0]["restartCount"] == 0
        # A second one starts beside it; the first is not started again.
        await add(world, "again", "echo second")
        assert (await ended(world, "again"))["exitCode"] == 0
        assert await ended(world, "once") == over


async def test_one_aimed_at_a_container_can_end_its_main_process(world: World) -> None:
    async with world.node():
        await world.create({"containers": [sh(WAIT)]})
        await world.until(lambda: world.pod()["status"].get("phase") == "Running")
        before = world.pod()["status"]["containerStatuses"][0]
        await add(world, "kill", 'kill -9 "$SUREFOOT_TARGET_PID"', targetContainerName="main")
        assert (await ended(world, "kill"))["exitCode"] == 0

        def again() -> Any:
            now = world.pod()["status"]["containerStatuses"][0]
            return now["restartCount"] == 1 and "running" in now["state"] and now

        now = await world.until(again)
        assert now["lastState"]["terminated"]["exitCode"] == 137
        assert now["containerID"] != before["containerID"]
        assert world.pod()["metadata"]["name"] == "web"


async def test_one_whose_target_does_not_run_waits_and_says_so(world: World) -> None:
    async with world.node():
        await world.create({"containers": [sh("exit 0")], "restartPolicy": "OnFailure"})
        await world.until(lambda: world.pod()["status"].get("phase") == "Succeeded")
        await world.create(
            {"containers": [sh(WAIT, name="main"), sh("sleep 0.2; exit 1", name="lame")]}, "two"
        )
        await world.until(lambda: world.pod("two")["status"].get("phase") == "Running")
        patch = {
            "spec": {
                "ephemeralContainers": [
                    {"name": "look", "image": "x", "command": ["true"], "targetContainerName": "lame"}
                ]
            }
        }

        def lame(reason: str) -> Any:
            state = world.pod("two")["status"]["containerStatuses"][1]["state"]
            return state.get("waiting", {}).get("reason") == reason

        await world.until(lambda: lame("CrashLoopBackOff"))
        await world.kube.patch(PODS, "default", "two", patch, subresource="ephemeralcontainers")

        def waits() -> Any:
            found = world.pod("two")["status"].get("ephemeralContainerStatuses") or ({},)
            return (found[0].get("state") or {}).get("waiting", {}).get("message")

        assert "unable to find target container 'lame'" in await world.until(waits)


async def test_it_ends_with_its_pod(world: World) -> None:
    async with world.node():
        await world.create({"containers": [sh(WAIT)], "terminationGracePeriodSeconds": 1})
        await world.until(lambda: world.pod()["status"].get("phase") == "Running")
        await add(world, "stays", f"echo $$$$; {WAIT}")
        await world.until(lambda: "running" in (told(world, "stays").get("state") or {}))
        text = ""
        while not text.strip():
            text = await read(world, "stays")
            await world.clock.sleep(0.02)
        assert alive(int(text))
        await world.kube.delete(PODS, "default", "web")
        await world.gone()
        assert not alive(int(text))


async def test_it_ends_when_its_pod_has_done_its_work(world: World) -> None:
    async with world.node():
        await world.create({"containers": [sh("sleep 1.5")], "restartPolicy": "Never"})
        await world.until(lambda: world.pod()["status"].get("phase") == "Running")
        await add(world, "stays", WAIT)
        await world.until(lambda: world.pod()["status"].get("phase") == "Succeeded")
        assert (await ended(world, "stays"))["exitCode"] == 143


async def test_after_a_restart_of_the_node_agent_it_is_not_run_again(world: World) -> None:
    async with world.node():
        await world.create({"containers": [sh(WAIT)]})
        await world.until(lambda: world.pod()["status"].get("phase") == "Running")
        await add(world, "stays", WAIT)
        await world.until(lambda: "running" in (told(world, "stays").get("state") or {}))
    async with world.node():
        over = await ended(world, "stays")
        assert (over["exitCode"], over["reason"]) == (137, "ContainerStatusUnknown")
        await world.until(lambda: world.pod()["status"]["containerStatuses"][0]["restartCount"] == 1)
        assert told(world, "stays")["state"].keys() == {"terminated"}


@pytest.mark.parametrize("name", ["probe"])
async def test_kubectl_debug_and_logs(kubectl: Kubectl, name: str) -> None:  # noqa: F811
    await kubectl("run", "web", "--image=busybox", "--command", "--", "sh", "-c", WAIT)
    await kubectl("wait", "--for=condition=Ready", "pod/web", "--timeout=20s")
    target = ("--target=web", "--profile=general")
    await kubectl(
        "debug",
        "web",
        "--image=busybox",
        "-c",
        name,
        *target,
        "--",
        "sh",
        "-c",
        "echo pid $SUREFOOT_TARGET_PID",
    )
    path = "jsonpath={.status.ephemeralContainerStatuses[0].state.terminated.exitCode}=0"
    await kubectl("wait", f"--for={path}", "pod/web", "--timeout=20s")
    assert (await kubectl("logs", "web", "-c", name)).startswith("pid ")
