"""`rollout demo --chaos`: a release that survives a storm, one that does not, a halt, and a schedule beside them."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from analysis.load.objects import TIMELINE_KEY
from chaos.plan.schedule import SCHEDULED_AT
from rollout.api.chaos import RUN_LABEL, ChaosRun, ChaosSchedule
from rollout.api.codec import view as view_of
from rollout.api.meta import Key, time_of
from rollout.api.resources import ANALYSIS_RUNS, CHAOS_RUNS, CHAOS_SCHEDULES, CONFIG_MAPS, ENVOY_FILTERS
from rollout.cli import output as out
from rollout.cli.chaos.acts import analyses, lane_width
from rollout.cli.chaos.lanes import Second, Timeline, course, timeline
from rollout.cli.chaos.shape import run_of, shape
from rollout.cli.chaos.text import run_text, timeline_text
from rollout.cli.chaos.traffic import LOAD_TEST
from rollout.cli.demo.ground import (
    MANIFESTS,
    apply,
    background,
    command_line,
    connected,
    on_stage,
    start_sandbox,
)
from rollout.cli.demo.load import Load, Tally
from rollout.cli.demo.perform import drawn, perform
from rollout.cli.demo.scenes import Outcome, Stage
from rollout.cli.demo.screen import Screen
from rollout.cli.demo.summary import summary
from rollout.cli.demo.view import View
from rollout.cli.text import Paint, plain
from rollout.errors import SandboxError
from rollout.runtime.clock import SystemClock
from rollout.runtime.kube import Object
from rollout.runtime.process import Supervisor
from rollout.sandbox import supervisor as sandbox
from rollout.sandbox.state import StateDirectory

WEB = Key("demo-chaos", "web-frontend")
SHOP = Key("demo-shop", "weekly")
HOSTS = {"web-frontend.demo-chaos": 1}
USERS = 12
SCENE_SECONDS = 60.0
WEEK_SECONDS = 12.0
SPEED = 7 * 86400 / WEEK_SECONDS
SCHEDULED_RUNS = 2
"""So many runs of the schedule must have been Successful at the end."""


def demo(*, keep: bool) -> int:
    """Play it; the exit code: 0 when every scene ended as it should, 3 otherwise, 130 after Ctrl-C."""
    return on_stage(lambda children, folder: _play(children, folder, keep=keep))


async def _play(children: Supervisor, folder: Path, *, keep: bool) -> int:
    clock = SystemClock()
    started = clock.monotonic()
    images = MANIFESTS / "chaos-images.yaml"
    state = await start_sandbox(children, folder, images, "--schedule-speed", f"{SPEED:g}")
    kube = connected(state, clock)
    try:
        await apply(kube, "chaos.yaml")
        view = View(
            kube,
            clock,
            (WEB.namespace, SHOP.namespace),
            extra=(CHAOS_RUNS, CHAOS_SCHEDULES, ENVOY_FILTERS, CONFIG_MAPS),
        )
        async with background(view.run()):
            await view.ready()
            stage = ChaosStage(view, command_line(children, state, folder), lambda _text: None)
            load = Load(children, sandbox.status(state).gateway, folder, HOSTS, USERS)
            outcomes = await _scenes(stage, load, clock)
            seconds = clock.monotonic() - started
            tally = load.tally() if keep else await load.stop()
            _tell(stage, outcomes, tally, seconds, clock)
            if keep:
                await _keep(state)
    finally:
        await kube.close()
    return 0 if all(outcome.expected for outcome in outcomes) else 3


async def _scenes(stage: ChaosStage, load: Load, clock: SystemClock) -> list[Outcome]:
    opening = "v1 is up; locust sends load to it; a schedule goes on beside it, a week every 12 s"
    async with drawn(Screen(_picture), stage, load, clock):
        return await perform(stage, load, SCENES, keys=(WEB,), opening=opening, noun="scene")


class ChaosStage(Stage):
    """A stage that also sees ChaosRuns."""

    def runs(self, namespace: str = WEB.namespace) -> list[ChaosRun]:
        """The ChaosRuns, oldest first."""
        raws = self.view.list(CHAOS_RUNS, namespace)
        return [
            run_of(raw)
            for raw in sorted(
                raws, key=lambda raw: (raw["metadata"]["creationTimestamp"], raw["metadata"]["name"])
            )
        ]

    def shown(self) -> ChaosRun | None:
        """The newest run of the scene's namespace."""
        found = self.runs()
        return found[-1] if found else None

    def drawn(self, run: ChaosRun, now: Any) -> Timeline | None:
        """Its timeline, with the load of the same analysis."""
        ours = [
            raw
            for raw in self.view.list(ANALYSIS_RUNS, run.metadata.namespace)
            if (raw["metadata"].get("labels") or {}).get(RUN_LABEL) == run.metadata.name
        ]
        return timeline(run, analyses(ours), list(self._load(run)), now, min(lane_width(), 60))

    def _load(self, run: ChaosRun) -> Iterator[Second]:
        owner = next(
            (one.name for one in run.metadata.owner_references if one.kind == ANALYSIS_RUNS.kind), ""
        )
        for raw in self.view.list(ANALYSIS_RUNS, run.metadata.namespace):
            if raw["metadata"]["name"] != owner:
                continue
            for name in _load_tests(raw):
                yield from self._course(name)

    def _course(self, name: str) -> Iterator[Second]:
        for one in self.view.list(CONFIG_MAPS, WEB.namespace):
            kept = (one.get("data") or {}).get(TIMELINE_KEY)
            if one["metadata"]["name"] == name and kept:
                yield from course(msgspec.json.decode(kept))

    async def until(self, what: str, holds: Callable[[], bool], seconds: float = SCENE_SECONDS) -> None:
        if not await self.view.until(holds, seconds):
            run = self.shown()
            said = (
                f"; the last run is {run.status.phase} {run.status.verdict}: {run.status.message}"
                if run
                else ""
            )
            raise SandboxError(f"not within {seconds:.0f} s: {what}{said}")


def _load_tests(raw: Object) -> Iterator[str]:
    for result in (raw.get("status") or {}).get("metricResults") or ():
        for measurement in result.get("measurements") or ():
            if name := (measurement.get("metadata") or {}).get(LOAD_TEST):
                yield name


# --- scenes -------------------------------------------------------------------------------------------


async def survives(stage: ChaosStage) -> Outcome:
    stage.title = "1  v1 -> v2, gated on 100 requests/s while pods die and answers are late: it survives"
    await _set_image(stage, "v2")
    stage.say(
        "at 20 %: a quarter of the canary's pods is killed, the others answer 300 ms late, p99 must stay below 800 ms"
    )
    await stage.phase("Healthy", seconds=SCENE_SECONDS)
    done = stage.view.status(WEB)
    promoted = done.get("stableRS") == done.get("currentPodHash")
    verdict = _verdict(stage)
    return Outcome(
        stage.title, promoted and verdict == "Successful", f"promoted; chaos {verdict}", stage.decisions()
    )


async def breaks(stage: ChaosStage) -> Outcome:
    stage.title = "2  v2 -> v3, the same gate: v3 is fast enough, but has nothing to spare"
    await _set_image(stage, "v3")
    stage.say("v3 answers in about 340 ms: nobody would notice, until 300 ms come from outside")
    await stage.phase("Degraded", seconds=SCENE_SECONDS)
    message = stage.view.status(WEB).get("message", "")
    stage.say("caught before it got more than 20 %; back to v2")
    await stage.pods_gone("web-frontend:v3")
    return Outcome(stage.title, message.startswith("RolloutAborted"), message, stage.decisions())


async def halted(stage: ChaosStage) -> Outcome:
    stage.title = "3  five minutes of latency for everybody, and somebody pulls the switch"
    before = len(stage.runs())
    await stage.command("chaos", "run", "--template", "long-latency", "-n", WEB.namespace)
    await stage.until(
        "the latency is proved", lambda: len(stage.runs()) > before and _proved(stage.runs()[-1])
    )
    stage.say("proved by Envoy's own counter; now: rollout chaos halt --wait")
    await stage.command("chaos", "halt", "--reason", "the demo's third scene", "--wait", "-n", WEB.namespace)
    await stage.until("the run has ended", lambda: stage.runs()[-1].completed)
    run = stage.runs()[-1]
    result, undone = aftermath(run, len(stage.view.list(ENVOY_FILTERS, WEB.namespace)))
    stage.say("undone, and nothing is left; now: rollout chaos resume")
    await stage.command("chaos", "resume", "-n", WEB.namespace)
    return Outcome(stage.title, undone and run.status.verdict == "Inconclusive", result, ())


def aftermath(run: ChaosRun, filters: int) -> tuple[str, bool]:
    """How a halted run ended, and whether all it did is undone; `filters` are EnvoyFilters that are still there."""
    receipts = run.status.receipts
    undone = bool(receipts) and all(one.state == "Reverted" for one in receipts) and not filters
    said = "every fault undone, nothing left" if undone else "NOT UNDONE"
    return f"{run.status.verdict} ({run.status.stopping}); {said}", undone


async def scheduled(stage: ChaosStage) -> Outcome:
    stage.title = "4  beside all that: every Tuesday at 14:00 in Berlin"

    def good() -> list[ChaosRun]:
        return [run for run in stage.runs(SHOP.namespace) if run.status.verdict == "Successful"]

    await stage.until("two scheduled runs were Successful", lambda: len(good()) >= SCHEDULED_RUNS)
    result, once = tuesdays(stage.runs(SHOP.namespace))
    return Outcome(stage.title, once, result, ())


def tuesdays(runs: Sequence[ChaosRun]) -> tuple[str, bool]:
    """How the times of the schedule have gone, and whether each was run only once."""
    times = [run.metadata.annotation(SCHEDULED_AT) for run in runs]
    ended = [run for run in runs if run.completed]
    good = [run for run in ended if run.status.verdict == "Successful"]
    once = "" not in times and len(set(times)) == len(times)
    said = "no time twice" if once else "A TIME TWICE"
    return f"{len(runs)} Tuesdays came, {len(good)} of {len(ended)} completed runs Successful, {said}", once


SCENES: tuple[Callable[[ChaosStage], Awaitable[Outcome]], ...] = (survives, breaks, halted, scheduled)


async def _set_image(stage: ChaosStage, version: str) -> None:
    stage.key = WEB
    await stage.command("set", "image", WEB.name, f"web-frontend=web-frontend:{version}", "-n", WEB.namespace)


def _verdict(stage: ChaosStage) -> str:
    run = stage.shown()
    return run.status.verdict if run else "missing"


def _proved(run: ChaosRun) -> bool:
    return any(one.proof for one in run.status.receipts)


# --- what is shown ------------------------------------------------------------------------------------


def _picture(stage: Stage, now: Any) -> list[str]:
    """The timeline of the newest run, for the live picture."""
    assert isinstance(stage, ChaosStage)
    run = stage.shown()
    if run is None or (drawn := stage.drawn(run, now)) is None:
        return []
    return ["", *run_lines(run, drawn, out.painter())]


def run_lines(run: ChaosRun, drawn: Timeline, paint: Paint = plain) -> list[str]:
    """A run in short: how it stands, and its timeline."""
    return [
        f"chaos run {run.metadata.name}: {run.status.verdict or run.status.phase}",
        *timeline_text(drawn, paint),
    ]


def _tell(
    stage: ChaosStage, outcomes: Sequence[Outcome], tally: Tally, seconds: float, clock: SystemClock
) -> None:
    width = shutil.get_terminal_size().columns if out.on_terminal() else None
    lines = ["", "Chaos runs"]
    for run in stage.runs():
        lines += ["", *run_text(shape(run), stage.drawn(run, clock.now()), clock.now(), journal=0)]
    lines += ["", *_calendar(stage), "", *summary(outcomes, tally, seconds, width)]
    out.lines(lines)


def _calendar(stage: ChaosStage) -> list[str]:
    raw = next(iter(stage.view.list(CHAOS_SCHEDULES, SHOP.namespace)), None)
    return calendar(view_of(raw, ChaosSchedule), stage.runs(SHOP.namespace)) if raw is not None else []


def calendar(schedule: ChaosSchedule, runs: Sequence[ChaosRun]) -> list[str]:
    """What a schedule has run, what it has left out and why, and what comes next."""
    lines = [
        f"Schedule {schedule.spec.schedule!r} {schedule.spec.time_zone}, a week every {WEEK_SECONDS:g} s"
    ]
    for run in runs:
        probes = ", ".join(f"{one.name} {one.phase or 'not asked'}" for one in run.status.probes)
        lines.append(f"  {run.metadata.name}: {run.status.verdict or run.status.phase}  {probes}".rstrip())
    lines += [f"  skipped {entry.at}: {entry.message or entry.what}" for entry in schedule.status.skipped]
    for text in schedule.status.next_times[:2]:
        moment = time_of(text)
        lines.append(f"  next {moment:%a %Y-%m-%d %H:%M} UTC" if moment else f"  next {text}")
    return lines


async def _keep(state: StateDirectory) -> None:
    out.lines(
        [
            "",
            "It is all still running. In another terminal:",
            f"  export KUBECONFIG={state.kubeconfig}",
            f"  rollout chaos list -n {WEB.namespace}",
            f"  rollout chaos run --template long-latency -n {WEB.namespace} -w",
            "  rollout chaos halt --wait",
            f"  rollout chaos schedule list -n {SHOP.namespace}",
            "Ctrl-C here stops everything.",
        ]
    )
    await asyncio.Event().wait()
