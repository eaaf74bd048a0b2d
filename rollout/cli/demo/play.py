"""Plays the demo: a sandbox, load, three releases, a summary; and stops every process it started."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any

import yaml

from rollout.api.resources import Resource
from rollout.cli import output as out
from rollout.cli.demo.load import Load
from rollout.cli.demo.scenes import BLUE_GREEN, CANARY, SCENES, Command, Outcome, Stage
from rollout.cli.demo.screen import Screen
from rollout.cli.demo.summary import summary
from rollout.cli.demo.view import View
from rollout.errors import NotFound, SandboxError
from rollout.runtime.client import HttpKube
from rollout.runtime.clock import SystemClock
from rollout.runtime.config import load as load_connection
from rollout.runtime.kube import Kube, Object
from rollout.runtime.process import Process, Supervisor
from rollout.sandbox import supervisor as sandbox
from rollout.sandbox.prometheus.install import ensure_prometheus
from rollout.sandbox.state import StateDirectory, state_directory

MANIFESTS = Path(__file__).with_name("manifests")
START_SECONDS = 60.0
WARM_UP_REQUESTS = 200
FRAME_SECONDS = 0.25


def demo(*, keep: bool) -> int:
    """Play it; the exit code: 0 when every release ended as it should, 3 otherwise, 130 after Ctrl-C."""
    try:
        return asyncio.run(_demo(keep=keep))
    except KeyboardInterrupt:
        return 130


async def _demo(*, keep: bool) -> int:
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
            return await _play(children, folder, keep=keep)
    except asyncio.CancelledError:
        out.say("Stopped; nothing is left running.")
        return 130
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def _play(children: Supervisor, folder: Path, *, keep: bool) -> int:
    clock = SystemClock()
    started = clock.monotonic()
    state = await _start_sandbox(children, folder)
    connection = load_connection(kubeconfig=str(state.kubeconfig), context="surefoot-sandbox")
    kube = HttpKube(connection, clock=clock)
    try:
        await _apply(kube, "canary.yaml", "bluegreen.yaml")
        view = View(kube, clock, (CANARY.namespace, BLUE_GREEN.namespace))
        async with _background(view.run()):
            await view.ready()
            stage = Stage(view, _command(children, state, folder), lambda _text: None)
            gateway = sandbox.status(state).gateway
            load = Load(children, gateway, folder)
            outcomes = await _releases(stage, load, clock)
            seconds = clock.monotonic() - started
            tally = load.tally() if keep else await load.stop()
            width = shutil.get_terminal_size().columns if out.on_terminal() else None
            out.lines(["", *summary(outcomes, tally, seconds, width)])
            if keep:
                await _keep(state)
    finally:
        await kube.close()
    good = all(outcome.expected for outcome in outcomes) and not tally.lost
    return 0 if good else 3


async def _releases(stage: Stage, load: Load, clock: SystemClock) -> list[Outcome]:
    outcomes = []
    with Screen() as screen:
        stage.say = screen.note

        async def draw() -> None:
            while True:
                screen.draw(stage, load.tally(), clock.now())
                await stage.view.tick(FRAME_SECONDS)
                await asyncio.sleep(FRAME_SECONDS / 4)

        async with _background(draw()):
            for stage.key in (BLUE_GREEN, CANARY):
                await stage.phase("Healthy")
            screen.note("v1 is up; locust sends load to it")
            await load.start()
            await _warm(load)
            for scene in SCENES:
                outcomes.append(await scene(stage))
                screen.note(f"release {outcomes[-1].title.partition(' ')[0]}: {outcomes[-1].result}")
    return outcomes


async def _warm(load: Load) -> None:
    """Wait until requests flow, so that the first question to Prometheus has an answer."""
    async with asyncio.timeout(START_SECONDS):
        while load.tally().requests < WARM_UP_REQUESTS:  # noqa: ASYNC110 - locust is another process
            await asyncio.sleep(0.2)


async def _start_sandbox(children: Supervisor, folder: Path) -> StateDirectory:
    """A sandbox of our own, in the foreground of a child process, so that it ends when we do."""
    state = state_directory("demo", folder / "state")
    argv = [
        sys.executable, "-m", "rollout.cli.main", "sandbox", "up", "--foreground", "--name", "demo",
        "--state", str(state.root), "--images", str(MANIFESTS / "images.yaml"),
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


def _command(children: Supervisor, state: StateDirectory, folder: Path) -> Command:
    """`rollout ...` in a process of its own, as a person would type it."""

    async def run(*arguments: str) -> None:
        env = {**os.environ, "KUBECONFIG": str(state.kubeconfig), "NO_COLOR": "1"}
        log = folder / "command.log"
        log.unlink(missing_ok=True)
        argv = [sys.executable, "-m", "rollout.cli.main", *arguments]
        process = await children.start(argv, name="rollout", env=env, log=log)
        code = await process.wait()
        if code != 0:
            raise SandboxError(f"`rollout {' '.join(arguments)}` failed ({code}): {_last(log)}")

    return run


async def _apply(kube: Kube, *names: str) -> None:
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


async def _keep(state: StateDirectory) -> None:
    out.lines(
        [
            "",
            "It is all still running. In another terminal:",
            f"  export KUBECONFIG={state.kubeconfig}",
            "  kubectl get rollouts,pods -A",
            f"  rollout get {CANARY.name} -n {CANARY.namespace} -w",
            f"  rollout get {BLUE_GREEN.name} -n {BLUE_GREEN.namespace} -w",
            f"  rollout set image {CANARY.name} web-frontend=web-frontend:v4 -n {CANARY.namespace}",
            "Ctrl-C here stops everything.",
        ]
    )
    await asyncio.Event().wait()


@contextlib.asynccontextmanager
async def _background(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
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
