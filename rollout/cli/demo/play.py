"""Plays the demo: a sandbox, load, three releases, a summary; and stops every process it started."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

from rollout.cli import output as out
from rollout.cli.demo.ground import (
    MANIFESTS,
    apply,
    background,
    command_line,
    connected,
    on_stage,
    start_sandbox,
)
from rollout.cli.demo.load import Load
from rollout.cli.demo.perform import drawn, perform
from rollout.cli.demo.scenes import BLUE_GREEN, CANARY, SCENES, Outcome, Stage
from rollout.cli.demo.screen import Screen
from rollout.cli.demo.summary import summary
from rollout.cli.demo.view import View
from rollout.runtime.clock import SystemClock
from rollout.runtime.process import Supervisor
from rollout.sandbox import supervisor as sandbox
from rollout.sandbox.state import StateDirectory

HOSTS = {
    "web-frontend.demo": 8,
    "web-frontend-active.demo-bluegreen": 3,
    "web-frontend-preview.demo-bluegreen": 1,
}


def demo(*, keep: bool) -> int:
    """Play it; the exit code: 0 when every release ended as it should, 3 otherwise, 130 after Ctrl-C."""
    return on_stage(lambda children, folder: _play(children, folder, keep=keep))


async def _play(children: Supervisor, folder: Path, *, keep: bool) -> int:
    clock = SystemClock()
    started = clock.monotonic()
    state = await start_sandbox(children, folder, MANIFESTS / "images.yaml")
    kube = connected(state, clock)
    try:
        await apply(kube, "canary.yaml", "bluegreen.yaml")
        view = View(kube, clock, (CANARY.namespace, BLUE_GREEN.namespace))
        async with background(view.run()):
            await view.ready()
            stage = Stage(view, command_line(children, state, folder), lambda _text: None)
            gateway = sandbox.status(state).gateway
            load = Load(children, gateway, folder, HOSTS)
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
    opening = "v1 is up; locust sends load to it"
    async with drawn(Screen(), stage, load, clock):
        return await perform(stage, load, SCENES, keys=(BLUE_GREEN, CANARY), opening=opening, noun="release")


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
