"""The loop of ChaosSchedules: wake up, plan, save the status, create the run, tidy, tell, sleep.

What is decided is in `chaos.plan.schedule`; so is why the status is saved first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, Protocol, TypeVar

import structlog

from chaos.plan.schedule import Plan, Seen, plan
from rollout.api.chaos import (
    ChaosRun,
    ChaosSchedule,
    ChaosScheduleSpec,
    ChaosScheduleStatus,
    ChaosSwitch,
    TemplateUse,
)
from rollout.api.codec import merge_diff, plain, view
from rollout.api.meta import Key, ObjectMeta, key_of, metadata
from rollout.api.resources import (
    CHAOS_RUNS,
    CHAOS_SCHEDULES,
    CHAOS_SWITCHES,
    CHAOS_TEMPLATES,
    ROLLOUTS,
    Resource,
)
from rollout.api.rollout import INSTANCE_ID
from rollout.core.problem import problems_of
from rollout.core.validate_schedule import validate_schedule
from rollout.effects import chaos as effects
from rollout.effects import schedules
from rollout.errors import ApiError, InvalidSpec
from rollout.runtime.clock import Clock, FastClock
from rollout.runtime.fresh import Fresh
from rollout.runtime.informer import Informer, wait_synced
from rollout.runtime.kube import Kube, Object
from rollout.runtime.runner import After, Runner

log = structlog.get_logger()

NEEDS = (CHAOS_SCHEDULES, CHAOS_RUNS, CHAOS_TEMPLATES, CHAOS_SWITCHES, ROLLOUTS)
"""What `ScheduleController` must be given informers of."""
WORKERS = 2

T = TypeVar("T")


class Recorder(Protocol):
    """Where Kubernetes Events go (`rollout.runtime.events`)."""

    def emit(self, about: Object, type: Literal["Normal", "Warning"], reason: str, message: str) -> None: ...


class ScheduleController:
    """Reconciles ChaosSchedules. `informers` (of all that it `NEEDS`) are run by whoever made them.

    Schedules go by a calendar that runs `speed` times as fast as `clock`: more than 1 rehearses weeks in minutes.
    """

    def __init__(
        self,
        kube: Kube,
        clock: Clock,
        informers: Mapping[Resource, Informer],
        *,
        speed: float = 1.0,
        instance_id: str = "",
        recorder: Recorder | None = None,
        on_reconcile: Callable[[str, float], None] | None = None,
    ) -> None:
        self._kube = kube
        self._clock = clock
        self._speed = speed
        self._calendar: Clock = clock if speed == 1 else FastClock(speed)
        self._informers = {resource: informers[resource] for resource in NEEDS}
        self._instance_id = instance_id
        self._recorder = recorder
        self.fresh = Fresh((informers[CHAOS_SCHEDULES].store, informers[CHAOS_RUNS].store), clock=clock)
        self.runner: Runner[Key] = Runner(
            "chaos schedule",
            self.reconcile,
            clock=clock,
            workers=WORKERS,
            keys=informers[CHAOS_SCHEDULES].store.keys,
            ready=self.fresh.ready,
            on_reconcile=on_reconcile,
        )
        informers[CHAOS_SCHEDULES].on_change(lambda old, new: self.runner.add(key_of(new or old or {})))
        informers[CHAOS_RUNS].on_change(self._run_changed)
        informers[CHAOS_TEMPLATES].on_change(self._template_changed)

    async def run(self) -> None:
        """Wait for the caches, then reconcile until `stop` or cancelled."""
        await wait_synced(*self._informers.values())
        await self.runner.run()

    def stop(self) -> None:
        self.runner.stop()

    async def reconcile(self, key: Key) -> After | None:
        """One pass over one ChaosSchedule."""
        raw = self._informers[CHAOS_SCHEDULES].store.get(key)
        if raw is None or metadata(raw).get("deletionTimestamp") or not self._ours(raw):
            self.fresh.forget(key)
            return None
        seen = self._observe(raw)
        decision = plan(seen)
        await self._carry_out(seen, decision)
        if decision.wake_at is None:
            return None
        return After(max(0.0, (decision.wake_at - seen.now).total_seconds()) / self._speed + 0.005)

    async def _carry_out(self, seen: Seen, decision: Plan) -> None:
        raw = dict(seen.raw)
        kube = self.fresh.kube(seen.schedule.metadata.key, self._kube)
        if change := merge_diff(plain(seen.schedule.status), plain(decision.status)):
            await schedules.patch_status(CHAOS_SCHEDULES, raw, change, kube)
        if decision.create is not None:
            try:
                await schedules.create_run(decision.create, raw, kube, self._clock)
            except ApiError as error:
                self._tell(raw, "ChaosRunNotMade", error.message, warning=True)
                raise
        _, troubles = await effects.apply(decision.actions, raw, kube)
        for event in decision.events:
            self._tell(raw, event.reason, event.message, warning=event.warning)
        for trouble in troubles:
            log.warning("an action of a chaos schedule failed", message=trouble.message)

    def _tell(self, raw: Object, reason: str, message: str, *, warning: bool) -> None:
        log.info(reason, detail=message)
        if self._recorder is not None:
            self._recorder.emit(raw, "Warning" if warning else "Normal", reason, message)

    def _observe(self, raw: Object) -> Seen:
        now = self._calendar.now()
        try:
            schedule = view(raw, ChaosSchedule)
        except InvalidSpec as error:
            return Seen(now=now, schedule=_bare(raw), raw=raw, problems=tuple(problems_of(error)))
        meta = schedule.metadata
        return Seen(
            now=now,
            schedule=schedule,
            raw=raw,
            runs=tuple(self._runs(meta.uid)),
            rollouts=tuple(self._informers[ROLLOUTS].store.list(meta.namespace)),
            switches=tuple(_readable(self._informers[CHAOS_SWITCHES].store.list(), ChaosSwitch)),
            template=self._informers[CHAOS_TEMPLATES].store.get(
                Key(meta.namespace, schedule.spec.run.template_name)
            ),
            problems=tuple(validate_schedule(raw)),
        )

    def _runs(self, uid: str) -> Iterable[ChaosRun]:
        found = _readable(self._informers[CHAOS_RUNS].store.owned_by(uid), ChaosRun)
        return (run for run in found if run.metadata.controlled_by(uid))

    def _run_changed(self, old: Object | None, new: Object | None) -> None:
        """Only how far a run is matters here, not what its probes say every second."""
        if old is not None and new is not None and _stand(old) == _stand(new):
            return
        run = new or old or {}
        for ref in metadata(run).get("ownerReferences") or ():
            if ref.get("controller") and ref.get("kind") == CHAOS_SCHEDULES.kind:
                self.runner.add(Key(key_of(run).namespace, ref["name"]))

    def _template_changed(self, old: Object | None, new: Object | None) -> None:
        template = key_of(new or old or {})
        for schedule in self._informers[CHAOS_SCHEDULES].store.list(template.namespace):
            if ((schedule.get("spec") or {}).get("run") or {}).get("templateName") == template.name:
                self.runner.add(key_of(schedule))

    def _ours(self, raw: Object) -> bool:
        return bool((metadata(raw).get("labels") or {}).get(INSTANCE_ID, "") == self._instance_id)


def _stand(run: Object) -> tuple[Any, ...]:
    status = run.get("status") or {}
    return (
        metadata(run).get("uid"),
        metadata(run).get("deletionTimestamp"),
        (run.get("spec") or {}).get("abort"),
        status.get("phase"),
        status.get("verdict"),
    )


def _readable(objects: Iterable[Object], kind: type[T]) -> list[T]:
    return [view(obj, kind) for obj in objects]


def _bare(raw: Object) -> ChaosSchedule:
    """A schedule that cannot be read: enough of it to say so in its status."""
    meta = metadata(raw)
    fields = ("name", "namespace", "uid", "generation", "resourceVersion")
    try:
        status = view(raw.get("status") or {}, ChaosScheduleStatus)
    except InvalidSpec:
        status = ChaosScheduleStatus()
    return ChaosSchedule(
        metadata=view({name: meta[name] for name in fields if name in meta}, ObjectMeta),
        spec=ChaosScheduleSpec(schedule="", run=TemplateUse()),
        status=status,
    )
