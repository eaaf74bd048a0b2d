"""How long the image's controller takes to start: from its process's beginning until /healthz and /readyz answer.

    python -m tools.images.start_up [TIMES]        # prints seconds, as JSON; needs root, runc, and the built image

It runs under runc, before the sandbox's API server on loopback, which is filled with our CRDs.
"""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median
from typing import Any

import httpx

from rollout.api.crds import crds
from rollout.api.resources import Resource
from rollout.runtime.client import HttpKube
from rollout.runtime.clock import SystemClock
from rollout.runtime.config import load
from tools.images import runtime
from tools.images.python import ROOT

PATIENCE = 180.0
PATHS = ("healthz", "readyz")
_DEFINITIONS = Resource(
    "apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", namespaced=False
)


@asynccontextmanager
async def api_server(folder: Path) -> AsyncIterator[Path]:
    """The sandbox's API server with our CRDs; the path of its kubeconfig, which anybody may read."""
    argv = [sys.executable, "-m", "rollout.sandbox.http", "--state", str(folder)]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*argv, cwd=ROOT, stdin=pipe, stdout=pipe)
    try:
        assert process.stdout is not None
        async with asyncio.timeout(PATIENCE):
            told = json.loads(await process.stdout.readline())
        kubeconfig = Path(told["kubeconfig"])
        kube = HttpKube(load(kubeconfig=str(kubeconfig)))
        try:
            for one in crds():
                await kube.create(_DEFINITIONS, None, one)
        finally:
            await kube.close()
        await asyncio.to_thread(kubeconfig.chmod, 0o644)
        yield kubeconfig
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


@asynccontextmanager
async def controller(
    root: Path, config: dict[str, Any], kubeconfig: Path, folder: Path
) -> AsyncIterator[tuple[runtime.Container, dict[str, float]]]:
    """The controller of an unpacked image, healthy and ready; after how many seconds, by a clock and of a processor."""
    port = _free_port()
    arguments = ["controller", "run", "--no-leader-election", f"--metrics-address=127.0.0.1:{port}"]
    arguments += ["--kubeconfig=/mnt/kubeconfig"]
    clock = SystemClock()
    began, seconds = clock.monotonic(), {}
    with runtime.running(root, config, arguments, folder, {"/mnt/kubeconfig": kubeconfig}) as container:
        async with httpx.AsyncClient(timeout=20) as client, asyncio.timeout(PATIENCE):
            for path in PATHS:
                while not await _answers(client, f"http://127.0.0.1:{port}/{path}"):
                    if not container.alive:
                        raise RuntimeError(f"the controller ended: {container.output.read_text()}")
                    await asyncio.sleep(0.01)
                seconds[path] = round(clock.monotonic() - began, 3)
            seconds["processor"] = container.processor_seconds()
        yield container, seconds


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


async def _answers(client: httpx.AsyncClient, url: str) -> bool:
    try:
        return (await client.get(url)).status_code == 200
    except httpx.TransportError:
        return False


async def measured(archive: Path, times: int) -> dict[str, Any]:
    """The seconds of each start, and their medians."""
    found: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory(prefix="surefoot-start-") as scratch:
        folder = Path(scratch)
        root = folder / "root"
        runtime.unpack(archive, root)
        config = runtime.image_config(archive)["config"]
        async with api_server(folder / "api") as kubeconfig:
            for number in range(times):
                async with controller(root, config, kubeconfig, folder / f"bundle-{number}") as (_, seconds):
                    found.append(seconds)
    return {"median": {what: median(one[what] for one in found) for what in found[0]}, "starts": found}


def main() -> int:
    times = int(sys.argv[1]) if sys.argv[1:] else 5
    argv = [sys.executable, "-m", "tools.images", "--if-there", "controller"]
    told = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    if told.returncode:
        sys.stderr.write(told.stderr)
        return told.returncode
    archive = Path(json.loads(told.stdout)["controller"]["archive"])
    print(json.dumps(asyncio.run(measured(archive, times)), indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
