"""Everything around the controllers that a fleet needs, as a process: workload controllers, and pods that are
Ready at once (no processes). `python -m bench.pods KUBECONFIG`; ends on SIGTERM.
"""

from __future__ import annotations

import asyncio
import signal
import sys

from rollout.runtime import logs
from rollout.runtime.client import HttpKube
from rollout.runtime.clock import SystemClock
from rollout.runtime.config import load
from rollout.sandbox.workloads.controllers import run_workloads
from rollout.sandbox.workloads.podmodel import PodModel


async def main(kubeconfig: str) -> None:
    clock = SystemClock()
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    kube = HttpKube(load(kubeconfig=kubeconfig), clock=clock)
    async with asyncio.TaskGroup() as group:
        work = [
            group.create_task(run_workloads(kube, clock)),
            group.create_task(PodModel(kube, clock).run()),
        ]
        await stop.wait()
        for task in work:
            task.cancel()
    await kube.close()


if __name__ == "__main__":
    logs.configure(level="warning")
    asyncio.run(main(sys.argv[1]))
