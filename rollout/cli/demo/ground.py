"""What every demo stands on: a sandbox of its own, the command line, objects, and an end that leaves nothing."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import yaml

from rollout.api.resources import Resource
from rollout.cli import output as out
from rollout.errors import NotFound, SandboxError
from rollout.runtime.client import HttpKube
from rollout.runtime.clock import Clock
from rollout.runtime.config import load
from rollout.runtime.kube import Kube, Object
from rollout.runtime.process import Process, Supervisor
from rollout.sandbox import supervisor as sandbox
from rollout.sandbox.prometheus.install import ensure_prometheus
from rollout.sandbox.state import StateDirectory, state_directory

MANIFESTS = Path(__file__).with_name("manifests")
START_SECONDS = 60.0
Command = Callable[..., Awaitable[int]]
"""Runs `rollout ARGUMENTS...` as a person would; its exit code, or SandboxError when it is not one of `codes`."""


def on_stage(play: Callable[[Supervisor, Path], Awaitable[int]]) -> int:
    """Run `play` with a supervisor and a folder that end with it; its exit code, 130 after Ctrl-C."""
    try:
        return asyncio.run(_on_stage(play))
    except KeyboardInterrupt:
        return 130


async def _on_stage(play: Callable[[Supervisor, Path], Awaitable[int]]) -> int:
    task = asyncio.current_task()
    assert task is not None
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
    folder = Path(tempfile.mkdtemp(prefix="surefoot-demo-"))
    try:
        # Slow only the first time, when it is fetched; then said before anything is started.
        await asyncio.to_thread(ensure_prometheus, out.say)
        async with Supervisor() as children:
            return await play(children, folder)
    except asyncio.CancelledError:
        out.say("Stopped; nothing is left running.")
        return 130
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def start_sandbox(children: Supervisor, folder: Path, images: Path, *more: str) -> StateDirectory:
    """A sandbox of our own, in the foreground of a child process, so that it ends when we do."""
    state = state_directory("demo", folder / "state")
    argv = [
        sys.executable, "-m", "rollout.cli.main", "sandbox", "up", "--foreground", "--name", "demo",
        "--state", str(state.root), "--images", str(images), *more,
    ]  # fmt: skip
    log = folder / "sandbox.log"
    out.say("starting a sandbox: API server, node, Envoy, Prometheus, controller")
    process = await children.start(argv, name="sandbox", log=log)
    try:
        async with asyncio.timeout(START_SECONDS):
            while not sandbox.status(state).ready:
                _alive(process, log)
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise SandboxError(f"the sandbox was not ready after {START_SECONDS:.0f} s: {_last(log)}") from None
    return state


def _alive(process: Process, log: Path) -> None:
    if process.returncode is not None:
        raise SandboxError(f"the sandbox did not start (exit code {process.returncode}): {_last(log)}")


def _last(log: Path) -> str:
    """What a command says of its end: its error, else its last lines."""
    lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
    errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    return " | ".join(errors[-1:] or lines[-3:]) or "it said nothing"


def connected(state: StateDirectory, clock: Clock) -> HttpKube:
    """The API of the sandbox; to be closed."""
    connection = load(kubeconfig=str(state.kubeconfig), context="surefoot-sandbox")
    return HttpKube(connection, clock=clock)


def command_line(children: Supervisor, state: StateDirectory, folder: Path) -> Command:
    """`rollout ...` in a process of its own, as a person would type it."""

    async def run(*arguments: str, codes: tuple[int, ...] = (0,)) -> int:
        env = {**os.environ, "KUBECONFIG": str(state.kubeconfig), "NO_COLOR": "1"}
        log = folder / "command.log"
        log.unlink(missing_ok=True)
        argv = [sys.executable, "-m", "rollout.cli.main", *arguments]
        process = await children.start(argv, name="rollout", env=env, log=log)
        code = await process.wait()
        if code not in codes:
            raise SandboxError(f"`rollout {' '.join(arguments)}` failed ({code}): {_last(log)}")
        return code

    return run


async def apply(kube: Kube, *names: str) -> None:
    """Create the demo's objects."""
    for name in names:
        for doc in yaml.load_all((MANIFESTS / name).read_text(), yaml.CSafeLoader):
            resource = _resource(doc)
            namespace = doc["metadata"].get("namespace")
            try:
                await kube.get(resource, namespace, doc["metadata"]["name"])
            except NotFound:
                await kube.create(resource, namespace, doc)


def _resource(doc: Object) -> Resource:
    from rollout.api import resources

    known = [one for one in vars(resources).values() if isinstance(one, Resource)]
    return next(one for one in known if one.gvk == (doc["apiVersion"], doc["kind"]))


@contextlib.asynccontextmanager
async def background(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run something beside the body. An error in it ends the body and comes out; the body's end ends it."""
    body = asyncio.current_task()
    assert body is not None
    task = asyncio.create_task(work)

    def ended(done: asyncio.Task[None]) -> None:
        if not done.cancelled() and done.exception() is not None:
            body.cancel()

    task.add_done_callback(ended)
    try:
        yield
    except asyncio.CancelledError:
        error = task.exception() if task.done() and not task.cancelled() else None
        if error is None:
            raise
        body.uncancel()
        raise error from None
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
