"""All chaos controllers of one process, with the caches that they share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Protocol

from chaos.controller import lease
from chaos.controller.caches import Caches
from chaos.controller.evidence import Fetch, Gatherer
from chaos.controller.run import ChaosController
from chaos.controller.schedule import ScheduleController
from chaos.controller.switch import SwitchController
from chaos.faults.base import Kinds
from chaos.faults.kinds import KINDS
from rollout.api.resources import CHAOS_RUNS, Resource
from rollout.runtime.clock import Clock
from rollout.runtime.fresh import Fresh
from rollout.runtime.informer import Informer
from rollout.runtime.kube import Kube, Object
from rollout.runtime.runner import Runner

OnReconcile = Callable[[str, float], None]


class Recorder(Protocol):
    """Where Kubernetes Events go (`rollout.runtime.events`)."""

    def emit(self, about: Object, type: Literal["Normal", "Warning"], reason: str, message: str) -> None: ...


class ChaosControllers:
    """Runs, schedules and switches. `caches.run` goes before and independently of `run`: a standby keeps them warm.

    `shared` are informers that somebody else runs, `fetch` asks the proxies of a mesh for their statistics.
    `on_reconcile(name)` gives the callback that is told every outcome of the controller of that name. Schedules go by
    a calendar that is `schedule_speed` times as fast as `clock`.
    """

    def __init__(
        self,
        kube: Kube,
        clock: Clock,
        *,
        fetch: Fetch,
        shared: Mapping[Resource, Informer],
        kinds: Kinds = KINDS,
        schedule_speed: float = 1.0,
        namespaces: Sequence[str] = (),
        instance_id: str = "",
        recorder: Recorder | None = None,
        on_reconcile: Callable[[str], OnReconcile | None] = lambda _: None,
    ) -> None:
        self._instance_id = instance_id
        self._working = False
        self.caches = Caches(kube, clock, namespaces, shared=shared)
        informers = self.caches.informers
        self._runs = ChaosController(
            kube,
            clock,
            self.caches,
            kinds=kinds,
            gather=Gatherer(fetch, kube, clock),
            namespaces=namespaces,
            instance_id=instance_id,
            recorder=recorder,
            on_reconcile=on_reconcile("chaos run"),
        )
        self._schedules = ScheduleController(
            kube,
            clock,
            informers,
            speed=schedule_speed,
            instance_id=instance_id,
            recorder=recorder,
            on_reconcile=on_reconcile("chaos schedule"),
        )
        self._switches = SwitchController(kube, clock, informers, on_reconcile=on_reconcile("chaos switch"))

    @property
    def runners(self) -> tuple[Runner[Any], ...]:
        return self._runs.runner, self._schedules.runner, self._switches.runner

    @property
    def barriers(self) -> tuple[Fresh, ...]:
        return self._runs.fresh, self._schedules.fresh, self._switches.fresh

    async def run(self) -> None:
        """Reconcile until `stop` or cancelled."""
        await self.caches.wait_kinds()
        self._working = True
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._runs.run(), name="chaos run controller")
                group.create_task(self._schedules.run(), name="chaos schedule controller")
                group.create_task(self._switches.run(), name="chaos switch controller")
        finally:
            self._working = False

    def lease(self, uid: str) -> int:
        """What an injector is answered that asks whether the run of this uid is carried on (`lease.answer`)."""
        runs = self.caches.informers[CHAOS_RUNS].store
        return lease.answer(uid, runs, instance_id=self._instance_id, working=self._working)

    def stop(self) -> None:
        self._working = False
        self._runs.stop()
        self._schedules.stop()
        self._switches.stop()

    def silent(self, seconds: float) -> list[str]:
        """The resources whose watches have not said anything for so long, and have not said why."""
        late = [one for one in self.caches.following if one.age() > seconds and not one.problem]
        return [str(one.resource) for one in late if one.served]
