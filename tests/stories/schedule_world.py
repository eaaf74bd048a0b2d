"""A world whose chaos is on a schedule: four weeks of it, with the real controllers and scripted answers of probes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import yaml

from analysis.controller import AnalysisController
from analysis.providers.base import Reading
from analysis.providers.chaos import Chaos
from analysis.providers.kubernetes import Kubernetes
from chaos.controller.caches import Caches
from chaos.controller.run import ChaosController
from chaos.controller.schedule import ScheduleController
from chaos.controller.switch import SwitchController
from chaos.faults.pods import SANDBOX_VERSION
from chaos.observed import Evidence
from rollout.api.analysis import Metric
from rollout.api.chaos import RECEIPT, Receipt
from rollout.api.meta import Key, metadata
from rollout.api.resources import (
    CHAOS_RUNS,
    CHAOS_SCHEDULES,
    CHAOS_SWITCHES,
    ENVOY_FILTERS,
    NODES,
    PODS,
    Resource,
)
from rollout.controller.rollout import RolloutController
from rollout.runtime.clock import LoopClock
from rollout.runtime.kube import Object
from rollout.sandbox.inmemory import StorageKube
from rollout.sandbox.workloads.podmodel import NODE
from tests import virtual
from tests.stories.faults import FaultyKube
from tests.stories.world import ROOT, World

NAMESPACE = "default"
_NODE_INFO = (
    "machineID",
    "systemUUID",
    "bootID",
    "kernelVersion",
    "osImage",
    "containerRuntimeVersion",
    "kubeProxyVersion",
    "operatingSystem",
    "architecture",
)


class ScheduleWorld(World):
    """`asked` are the probes' questions with their times, `made` the names of all ChaosRuns that there ever were.

    `answers` maps a part of a question to what is answered; exceptions are raised. `off` keeps our controllers away;
    with `only_schedules` nobody carries the ChaosRuns out.
    """

    def __init__(self, clock: LoopClock, *, only_schedules: bool = False, **world: Any) -> None:
        super().__init__(clock, answer=self._answer, **world)
        self.only_schedules = only_schedules
        self.asked: list[tuple[datetime, str]] = []
        self.answers: dict[str, Any] = {}
        self.made: list[str] = []
        self.off = False
        self.storage.on_write(self._runs_made)
        info = dict.fromkeys(_NODE_INFO, "-") | {"kubeletVersion": f"v1.34.0{SANDBOX_VERSION}"}
        self.storage.create(NODES, None, {"metadata": {"name": NODE}, "status": {"nodeInfo": info}})

    def example(self, name: str) -> None:
        self.apply(*yaml.safe_load_all((ROOT / "examples" / name).read_text()))

    async def _controllers_once(self, crashed: asyncio.Event) -> None:
        if self.off:
            return
        kube = FaultyKube(StorageKube(self.storage, manager="surefoot"), self.faults, crashed)
        step = RolloutController(kube, self.clock, recorder=self.events)
        caches = Caches(kube, self.clock, shared=step.caches.informers)
        providers = {
            "prometheus": Asked(self._answer, lambda body: body["query"]),
            "http": Asked(self._answer, lambda body: body["url"]),
            "kubernetes": Kubernetes(kube),
            "chaos": Chaos(kube),
        }
        schedules = ScheduleController(kube, self.clock, caches.informers, recorder=self.events)
        runs = [step.caches.run(), caches.run(), schedules.run()]
        if not self.only_schedules:
            measuring = AnalysisController(kube, self.clock, providers, recorder=self.events)
            chaos = ChaosController(kube, self.clock, caches, gather=self._mesh, recorder=self.events)
            switches = SwitchController(kube, self.clock, caches.informers)
            runs += [step.run(), measuring.run(), chaos.run(), switches.run()]
        async with asyncio.TaskGroup() as group:
            for one in runs:
                group.create_task(one)

    async def _mesh(
        self, wanted: Sequence[Receipt], objects: Mapping[Resource, Mapping[Key, Object]]
    ) -> Mapping[str, Evidence]:
        """A mesh with traffic: what a filter says happens to requests, and stops with it."""
        there = {
            (metadata(one).get("annotations") or {}).get(RECEIPT)
            for one in self.storage.list(ENVOY_FILTERS).items
        }
        return {
            one.id: Evidence(delayed=100 if one.id in there else 200, active=one.id in there)
            for one in wanted
        }

    def _answer(self, question: str) -> Any:
        self.asked.append((self.clock.now(), question))
        return next((answer for part, answer in self.answers.items() if part in question), None)

    def _runs_made(self, kind: str, resource: Resource, old: Object | None, new: Object | None) -> None:
        if resource == CHAOS_RUNS and kind == "ADDED" and new is not None:
            self.made.append(new["metadata"]["name"])

    # --- looking ----------------------------------------------------------------------------------

    def schedule(self, name: str) -> Object:
        return self.get(CHAOS_SCHEDULES, name, NAMESPACE).get("status") or {}

    def switch(self) -> Object:
        return self.get(CHAOS_SWITCHES, "default").get("status") or {}

    def run_status(self, name: str) -> Object:
        return self.get(CHAOS_RUNS, name, NAMESPACE).get("status") or {}

    def list_pods(self) -> list[Object]:
        return [one for one in self.list(PODS, NAMESPACE) if not one["metadata"].get("deletionTimestamp")]

    async def sleep_until(self, moment: datetime) -> None:
        await self.clock.sleep((moment - self.clock.now()).total_seconds())

    async def skip_until(self, moment: datetime) -> None:
        """The whole machine sleeps: time goes on and nobody notices, until all wake up."""
        loop = asyncio.get_running_loop()
        assert isinstance(loop, virtual.VirtualLoop)
        loop.advance(max(0.0, (moment - self.clock.now()).total_seconds()))
        await self.clock.sleep(0.1)


class Asked:
    """A metric provider that answers what the story says, and remembers what was asked."""

    def __init__(self, answer: Callable[[str], Any], question: Callable[[Mapping[str, Any]], str]) -> None:
        self._answer = answer
        self._question = question

    def asked(self, metric: Metric) -> dict[str, str]:
        return {"asked": self._question(next(iter(metric.provider.values())))}

    async def measure(self, metric: Metric, secrets: Mapping[str, str], now: datetime) -> Reading:
        await asyncio.sleep(0.05)
        value = self._answer(self.asked(metric)["asked"])
        if isinstance(value, Exception):
            raise value
        return Reading(value)


def play(
    story: Callable[[ScheduleWorld], Awaitable[None]],
    *,
    start: datetime,
    seed: int = 0,
    **options: Any,
) -> ScheduleWorld:
    """Run a story that begins at `start` to its end; the world it has left."""

    async def main(clock: LoopClock) -> ScheduleWorld:
        world = ScheduleWorld(clock, seed=seed, **options)
        await world.run(story)
        return world

    return virtual.run(main, seed=seed, start=start)
