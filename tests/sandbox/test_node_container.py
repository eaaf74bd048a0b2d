"""One container's supervisor, at moments that whole pods reach by chance only."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from rollout.runtime.clock import SystemClock
from rollout.sandbox.node.container import Supervisor
from rollout.sandbox.node.launch import Launch
from rollout.sandbox.node.podstatus import Container, Terminated
from rollout.sandbox.node.prober import Target
from rollout.sandbox.node.probes import BackOff
from rollout.sandbox.node.process import Process, Processes

pytestmark = pytest.mark.sandbox


class SlowProcesses(Processes):
    """Starts a process only when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.go = asyncio.Event(), asyncio.Event()

    async def start(self, *args: Any, **options: Any) -> Process:
        self.asked.set()
        await self.go.wait()
        return await super().start(*args, **options)


class Pod:
    """A Host that does as little as it can."""

    grace = 30.0
    label = "web_default(uid)"

    def __init__(self, directory: Path, processes: Processes) -> None:
        self.clock, self.processes, self.backoff = SystemClock(), processes, BackOff(base=60)
        self.directory = directory
        self.changes = asyncio.Event()

    async def prepare(self, spec: Mapping[str, Any]) -> Launch:
        return Launch(tuple(spec["command"]), dict(os.environ))

    def target(self, spec: Mapping[str, Any], launch: Launch) -> Target:
        return Target("127.0.0.1", {}, {}, launch, self.directory)

    def changed(self) -> None:
        self.changes.set()

    def emit(self, reason: str, message: str, *, warning: bool = False) -> None:
        return


async def test_a_container_told_to_stop_while_it_is_being_started_ends_at_once(tmp_path: Path) -> None:
    async with SlowProcesses() as processes, asyncio.timeout(20):
        host = Pod(tmp_path, processes)
        container = Supervisor(host, {"command": ["sleep", "1000"]}, "Always", Container("web", "x"))
        running = asyncio.create_task(container.run())
        await processes.asked.wait()
        await container.stop(lambda: 10.0)
        processes.go.set()
        await running
        assert isinstance(container.now.state, Terminated)
        assert container.now.state.exit_code == 137


async def test_a_container_told_to_stop_in_its_back_off_does_not_start_again(tmp_path: Path) -> None:
    async with Processes() as processes, asyncio.timeout(20):
        host = Pod(tmp_path, processes)
        container = Supervisor(host, {"command": ["false"]}, "Always", Container("web", "x"))
        running = asyncio.create_task(container.run())
        while container.now.restarts < 1 or container.now.last is None or not _waits(container):
            host.changes.clear()
            await host.changes.wait()
        await container.stop(lambda: 10.0)
        await running
        assert container.now.restarts == 1


def _waits(container: Supervisor) -> bool:
    return getattr(container.now.state, "reason", "") == "CrashLoopBackOff"
