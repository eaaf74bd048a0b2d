"""A whole cluster in one process on virtual time: storage, workload controllers, pods, and our controllers.

    def test_...() -> None:
        @story
        async def _(world: World) -> None:
            await world.apply("examples/x.yaml")
            await world.phase("web", "Healthy")

After every write of anybody the invariants are checked on the server's own state (`tests.stories.rules`).
"""

from __future__ import annotations

import asyncio
import random  # noqa: TID251 - seeded
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from analysis.controller import AnalysisController
from analysis.providers.base import Reading
from chaos.controller.caches import Caches as ChaosCaches
from chaos.controller.run import ChaosController, Gather
from chaos.faults.base import Kinds
from chaos.faults.kinds import KINDS
from rollout.api import crds
from rollout.api.analysis import Metric
from rollout.api.meta import Key
from rollout.api.resources import (
    ANALYSIS_RUNS,
    CHAOS_RUNS,
    CRDS,
    EVENTS,
    NAMESPACES,
    PODS,
    REPLICA_SETS,
    ROLLOUTS,
    Resource,
)
from rollout.controller.rollout import RolloutController
from rollout.runtime.clock import LoopClock
from rollout.runtime.kube import Kube, Object
from rollout.sandbox.inmemory import StorageKube
from rollout.sandbox.storage import Storage
from rollout.sandbox.workloads.controllers import run_workloads
from rollout.sandbox.workloads.podmodel import GOOD, Behaviour, PodModel
from tests import virtual
from tests.stories.chaos_rules import ChaosRules
from tests.stories.faults import Faults, FaultyKube
from tests.stories.gateway import GatewayModel
from tests.stories.judge import Judge
from tests.stories.recorder import PlainRecorder
from tests.stories.rules import Rules

ROOT = Path(__file__).parents[2]
NAMESPACE = "prod"


@cache
def _definitions() -> list[Object]:
    """Our CRDs and those of the routers. Read once: parsing YAML costs more than a whole story."""
    paths = [ROOT / "rollout/sandbox/crds" / name for name in ("istio.yaml", "gateway.yaml")]
    routers = [doc for path in paths for doc in yaml.load_all(path.read_text(), yaml.CSafeLoader)]
    return [*crds.crds(), *routers]


class World:
    """The running cluster. `images` says what the pods of an image do.

    With `answer` (what Prometheus says to a query; an exception is raised) our own analysis controller measures;
    without it the `judge` ends the AnalysisRuns. `chaos` says that ChaosRuns are carried out as well, with these
    `kinds` of faults and what asks the data plane.
    """

    def __init__(
        self,
        clock: LoopClock,
        *,
        seed: int = 0,
        faults: Faults | None = None,
        answer: Callable[[str], Any] | None = None,
        controllers: int = 1,
        strict: bool = True,
        chaos: bool = False,
        kinds: Kinds = KINDS,
        gatherer: Callable[[Kube, LoopClock], Gather] | None = None,
    ) -> None:
        self.clock = clock
        self.chaos, self.kinds, self.gatherer = chaos, kinds, gatherer
        self.answer = answer
        self.controllers = controllers
        self._strict = strict
        self.seed = seed
        self.storage = Storage(clock)
        self.kube = StorageKube(self.storage, manager="kubectl")
        self.rules = Rules(self.storage, clock, alone=controllers == 1)
        self.chaos_rules = ChaosRules(self.storage, clock)
        self.faults = faults or Faults()
        self.images: dict[str, Behaviour] = {}
        self.stall: dict[str, bool] = {}
        """Queries that are not answered at all any more."""
        self.judge = Judge(self.storage, clock)
        self.gateway = GatewayModel(self.storage, clock, self.rules)
        self.writes = 0
        self.crashes = 0
        self.events = PlainRecorder()
        self._processes: list[asyncio.Task[None]] = []
        self._litter = asyncio.Event()
        self._random = random.Random(seed)
        self.storage.on_write(self._count)
        for crd in _definitions():
            self.storage.create(CRDS, None, crd)
        self.storage.create(NAMESPACES, None, {"metadata": {"name": NAMESPACE}})

    # --- running ----------------------------------------------------------------------------------

    async def run(self, story: Callable[[World], Awaitable[None]]) -> None:
        pods = PodModel(StorageKube(self.storage, manager="kubelet"), self.clock, self._behaviour)
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(pods.run(), name="pods"),
                group.create_task(self._garbage(), name="garbage"),
                *([group.create_task(self.judge.run(), name="judge")] if self.answer is None else []),
                group.create_task(
                    run_workloads(StorageKube(self.storage, manager="kcm"), self.clock, events=False),
                    name="workloads",
                ),
                *(
                    group.create_task(self._process_forever(), name=f"controllers {number}")
                    for number in range(self.controllers)
                ),
            ]
            await story(self)
            for task in tasks:
                task.cancel()
        if self._strict:
            self.rules.assert_kept()
            self.chaos_rules.assert_kept()

    async def _process_forever(self) -> None:
        """Our controllers, started again with empty caches whenever a fault has killed them."""
        while True:
            crashed = asyncio.Event()
            process = asyncio.create_task(self._controllers_once(crashed), name="our process")
            self._processes.append(process)
            dead = asyncio.create_task(crashed.wait())
            done, _ = await asyncio.wait({process, dead}, return_when=asyncio.FIRST_COMPLETED)
            dead.cancel()
            if process in done and not process.cancelled():
                process.result()
            process.cancel()
            await asyncio.gather(process, return_exceptions=True)
            self._processes.remove(process)
            self.crashes += 1
            await self.clock.sleep(1.0)

    async def _controllers_once(self, crashed: asyncio.Event) -> None:
        ours = StorageKube(self.storage, manager="surefoot")
        kube = FaultyKube(ours, self.faults, crashed)
        step = RolloutController(kube, self.clock, recorder=self.events)
        async with asyncio.TaskGroup() as group:
            group.create_task(step.caches.run())
            group.create_task(step.run())
            if self.answer is not None:
                providers = {"prometheus": Scripted(self.answer, self.stall)}
                group.create_task(AnalysisController(kube, self.clock, providers, recorder=self.events).run())
            if self.chaos:
                kube = FaultyKube(ours, self.faults, crashed, on_send=self.chaos_rules.sending)
                caches = ChaosCaches(kube, self.clock, shared=step.caches.informers)
                gather = self.gatherer(kube, self.clock) if self.gatherer is not None else None
                runs = ChaosController(
                    kube, self.clock, caches, kinds=self.kinds, gather=gather, recorder=self.events
                )
                group.create_task(caches.run())
                group.create_task(runs.run())

    def crash(self) -> None:
        """Kill our controllers now; they come back with empty caches."""
        for process in self._processes:
            process.cancel()

    async def _garbage(self) -> None:
        while True:
            await self._litter.wait()
            await self.clock.sleep(0.5)
            self._litter.clear()
            self.storage.collect_garbage()

    def _behaviour(self, pod: Object) -> Behaviour:
        image = pod["spec"]["containers"][0].get("image", "")
        return self.images.get(image, self.images.get("*", GOOD))

    def _count(self, *_: object) -> None:
        self.writes += 1
        if self.storage.has_garbage:
            self._litter.set()

    # --- acting -----------------------------------------------------------------------------------

    def apply(self, *documents: Object) -> None:
        """kubectl apply, as far as a story needs it: create, or merge into what is there."""
        for doc in documents:
            resource = self.resource(doc)
            namespace = doc["metadata"].get("namespace", NAMESPACE) if resource.namespaced else None
            if namespace and not self.storage.exists(NAMESPACES, None, namespace):
                self.storage.create(NAMESPACES, None, {"metadata": {"name": namespace}})
            if self.storage.exists(resource, namespace, doc["metadata"]["name"]):
                self.storage.patch(resource, namespace, doc["metadata"]["name"], doc, type="merge")
            else:
                self.storage.create(resource, namespace, doc)

    def resource(self, doc: Object) -> Resource:
        for served in self.storage.resources():
            if served.resource.gvk == (doc["apiVersion"], doc["kind"]):
                return served.resource
        raise LookupError(f"nothing serves {doc['apiVersion']} {doc['kind']}")

    def patch(
        self,
        resource: Resource,
        name: str,
        patch: Object,
        *,
        namespace: str = NAMESPACE,
        status: bool = False,
    ) -> None:
        self.storage.patch(resource, namespace, name, patch, subresource="status" if status else "")

    def edit(self, name: str, patch: Object, *, namespace: str = NAMESPACE) -> None:
        """Change a Rollout's spec."""
        self.patch(ROLLOUTS, name, {"spec": patch}, namespace=namespace)

    def command(self, name: str, status: Object, *, namespace: str = NAMESPACE) -> None:
        """Change a Rollout's status, as `rollout promote`, `abort` and `retry` do."""
        if "pauseConditions" in status or "currentStepIndex" in status:
            self.rules.promoted(self.rollout(name, namespace))
        before, self.rules.by_hand = self.rules.by_hand, True
        self.patch(ROLLOUTS, name, {"status": status}, namespace=namespace, status=True)
        self.rules.by_hand = before

    def promote(self, name: str, *, full: bool = False, namespace: str = NAMESPACE) -> None:
        """What `kubectl argo rollouts promote` patches (study/argo-rollouts.md 1.11)."""
        rollout = self.rollout(name, namespace)
        spec, status = rollout["spec"], rollout.get("status") or {}
        if spec.get("paused"):
            self.edit(name, {"paused": False}, namespace=namespace)
        if full:
            if status.get("currentPodHash") != status.get("stableRS"):
                self.command(name, {"promoteFull": True}, namespace=namespace)
            return
        steps = (spec["strategy"].get("canary") or {}).get("steps") or []
        index = status.get("currentStepIndex", 0)
        skip = {"currentStepIndex": index + 1} if index < len(steps) else {}
        reasons = {one["reason"] for one in status.get("pauseConditions") or []}
        if "InconclusiveAnalysisRun" in reasons and steps:
            change = {"pauseConditions": None, "controllerPause": False, **skip}
        elif reasons:
            change = {"pauseConditions": None}
        else:
            change = skip
        if change:
            self.command(name, change, namespace=namespace)

    def set_image(self, name: str, image: str, *, namespace: str = NAMESPACE) -> None:
        rollout = self.get(ROLLOUTS, name, namespace)
        containers = rollout["spec"]["template"]["spec"]["containers"]
        changed = [{**container, "image": image} for container in containers]
        self.edit(name, {"template": {"spec": {"containers": changed}}}, namespace=namespace)

    # --- looking ----------------------------------------------------------------------------------

    def get(self, resource: Resource, name: str, namespace: str = NAMESPACE) -> Object:
        return self.storage.get(resource, namespace if resource.namespaced else None, name)

    def rollout(self, name: str, namespace: str = NAMESPACE) -> Object:
        return self.get(ROLLOUTS, name, namespace)

    def status(self, name: str, namespace: str = NAMESPACE) -> Object:
        return self.rollout(name, namespace).get("status") or {}

    def list(self, resource: Resource, namespace: str = NAMESPACE) -> list[Object]:
        return list(self.storage.list(resource, namespace).items)

    def sets(self, namespace: str = NAMESPACE) -> dict[str, int]:
        """Image -> wanted replicas, over all ReplicaSets."""
        return {
            one["spec"]["template"]["spec"]["containers"][0]["image"]: one["spec"]["replicas"]
            for one in self.list(REPLICA_SETS, namespace)
        }

    def runs(self, namespace: str = NAMESPACE) -> dict[str, str]:
        """AnalysisRun -> phase."""
        return {
            run["metadata"]["name"]: (run.get("status") or {}).get("phase", "")
            for run in self.list(ANALYSIS_RUNS, namespace)
        }

    def reasons(self) -> list[str]:
        return [reason for reason, _ in self.events.told]

    async def until(self, what: str, holds: Callable[[], bool], *, within: float = 600.0) -> None:
        """Wait (virtual seconds) until `holds`; fail with the state of the world otherwise."""
        end = self.clock.monotonic() + within
        while not holds():
            self.rules.assert_kept()
            self.chaos_rules.assert_kept()
            assert self.clock.monotonic() < end, f"not within {within} s: {what}\n{self.describe()}"
            await self.clock.sleep(0.1)
        self.rules.assert_kept()

    async def phase(
        self, name: str, phase: str, *, namespace: str = NAMESPACE, within: float = 600.0
    ) -> None:
        def holds() -> bool:
            rollout = self.rollout(name, namespace)
            status = rollout.get("status") or {}
            observed = status.get("observedGeneration") == str(rollout["metadata"]["generation"])
            return observed and status.get("phase") == phase

        await self.until(f"{name} is {phase}", holds, within=within)

    async def rest(self, seconds: float) -> int:
        """Let time pass; the number of writes anybody made meanwhile."""
        before = self.writes
        await self.clock.sleep(seconds)
        return self.writes - before

    def describe(self) -> str:
        lines = [f"seed {self.seed}, crashes {self.crashes}, writes {self.writes}"]
        for rollout in self.storage.list(ROLLOUTS).items:
            lines.append(f"{rollout['metadata']['name']}: {yaml.safe_dump(rollout.get('status') or {})}")
            namespace = rollout["metadata"]["namespace"]
            lines += [
                f"  {one['metadata']['name']}: {one['spec']['replicas']} {one.get('status')}"
                for one in self.list(REPLICA_SETS, namespace)
            ]
            lines.append(f"  runs: {self.runs(namespace)}")
            lines.append(f"  pods: {len(self.list(PODS, namespace))}")
        lines += [yaml.safe_dump(run.get("status") or {}) for run in self.storage.list(CHAOS_RUNS).items]
        lines += [f"  {reason}: {message}" for reason, message in self.events.told[-15:]]
        return "\n".join(lines)


class Scripted:
    """A metric provider that answers what the story says."""

    def __init__(self, answer: Callable[[str], Any], stall: Mapping[str, bool]) -> None:
        self._answer = answer
        self._stall = stall

    def asked(self, metric: Metric) -> dict[str, str]:
        return {"ResolvedPrometheusQuery": metric.provider["prometheus"]["query"]}

    async def measure(self, metric: Metric, secrets: Mapping[str, str], now: datetime) -> Reading:
        await asyncio.sleep(0.05)
        if self._stall.get(metric.provider["prometheus"]["query"]):
            await asyncio.Event().wait()
        value = self._answer(metric.provider["prometheus"]["query"])
        if isinstance(value, Exception):
            raise value
        return Reading(value)


def play(
    story: Callable[[World], Awaitable[None]],
    *,
    seed: int = 0,
    faults: Faults | None = None,
    answer: Callable[[str], Any] | None = None,
    controllers: int = 1,
    strict: bool = True,
    **chaos: Any,
) -> World:
    """Run a story to its end; the world it has left.

    `controllers` processes of ours run side by side. When not `strict`, broken rules are left in `world.rules`.
    """

    async def main(clock: LoopClock) -> World:
        world = World(
            clock,
            seed=seed,
            faults=faults,
            answer=answer,
            controllers=controllers,
            strict=strict,
            **chaos,
        )
        await world.run(story)
        return world

    return virtual.run(main, seed=seed)


__all__ = ["EVENTS", "NAMESPACE", "Key", "World", "play"]
