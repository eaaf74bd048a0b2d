"""What happens to pods when the node agent ends, and when it comes back."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import pytest

from rollout.api.resources import PODS

from .node_world import World, sh, status_of
from .test_node_pods import WAIT, alive, directory

pytestmark = pytest.mark.sandbox

PROBE = {"exec": {"command": ["test", "-s", "pid"]}, "periodSeconds": 1}


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def pid(world: World) -> int:
    return int((directory(world) / "pid").read_text())


async def test_a_new_agent_starts_the_pods_again_on_their_address_and_counts_one_restart(
    world: World,
) -> None:
    async with world.node():
        await world.create({"containers": [sh(f"echo $$$$ > pid; {WAIT}", readinessProbe=PROBE)]})
        before = await world.ready()
        first = pid(world)
    assert not alive(first)
    (directory(world) / "pid").unlink()
    async with world.node():
        pod = await world.until(lambda: status_of(world.pod())["restartCount"] == 1 and world.pod())
        pod = await world.ready()
        assert alive(pid(world))
        assert status_of(pod)["restartCount"] == 1
        assert status_of(pod)["lastState"]["terminated"]["reason"] == "ContainerStatusUnknown"
        assert pod["metadata"]["uid"] == before["metadata"]["uid"]
        assert pod["status"]["podIP"] == before["status"]["podIP"]
        assert pod["status"]["startTime"] == before["status"]["startTime"]


async def test_a_pod_that_never_restarts_has_failed_when_its_agent_was_lost(world: World) -> None:
    async with world.node():
        await world.create({"restartPolicy": "Never", "containers": [sh(WAIT)]})
        await world.ready()
    async with world.node():
        pod = await world.until(lambda: world.pod()["status"]["phase"] == "Failed" and world.pod())
        assert status_of(pod)["state"]["terminated"]["reason"] == "ContainerStatusUnknown"


async def test_a_finished_pod_is_left_as_it_is_by_a_new_agent(world: World) -> None:
    async with world.node():
        await world.create({"restartPolicy": "Never", "containers": [sh("echo done")]})
        before = await world.until(lambda: world.pod()["status"]["phase"] == "Succeeded" and world.pod())
    async with world.node():
        await world.create({"containers": [sh(WAIT)]}, "other")
        await world.ready("other")
        assert world.pod()["status"] == before["status"]


async def test_a_pod_deleted_while_no_agent_ran_is_cleaned_up_by_the_next(world: World) -> None:
    async with world.node():
        await world.create({"containers": [sh(WAIT)]})
        await world.ready()
    world.storage.delete(PODS, "default", "web")
    assert world.pod()["metadata"]["deletionTimestamp"]
    async with world.node():
        await world.gone()
        async with asyncio.timeout(10):
            while list((world.state / "pods").iterdir()):
                await asyncio.sleep(0.02)


AGENT = """
import asyncio, sys
from pathlib import Path
from tests.sandbox.node_world import World, sh

async def main():
    world = World(Path(sys.argv[1]))
    async with world.node():
        script = "sleep 7654 & echo $! > child; echo $$$$ > pid; wait"
        probe = {"exec": {"command": ["test", "-s", "pid"]}, "periodSeconds": 1}
        await world.create({"containers": [sh(script, readinessProbe=probe)]})
        await world.ready()
        print("ready", flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
async def test_no_process_outlives_an_agent_that_is_killed(world: World, number: signal.Signals) -> None:
    agent = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        AGENT,
        str(world.state),
        stdout=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    try:
        assert agent.stdout is not None
        async with asyncio.timeout(30):
            assert await agent.stdout.readline() == b"ready\n"
        pids = [int((directory(world) / name).read_text()) for name in ("pid", "child")]
        assert all(map(alive, pids))
    finally:
        agent.send_signal(number)
        await agent.wait()
    async with asyncio.timeout(10):
        while any(map(alive, pids)):
            await asyncio.sleep(0.02)
