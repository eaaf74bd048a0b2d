"""The loop of ChaosRuns: wake up, observe, plan, act, save the status, tell, look again in a second.

What is decided is in `chaos.plan`; what is written, in `rollout.effects.chaos`. Actions come before the status here
because they rest on the status that was saved before; the status then says what came of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Literal, Protocol

import structlog

from chaos.controller.caches import Caches, bare
from chaos.faults.base import Kinds
from chaos.faults.kinds import KINDS
from chaos.observed import Evidence
from chaos.plan.draft import OVER
from chaos.plan.guarded import guarded
from chaos.plan.receipts import settled
from chaos.plan.run import Plan, plan
from chaos.reap import clear, left
from rollout.api.chaos import RUN_LABEL, ChaosRun, Receipt
from rollout.api.codec import merge_diff, plain, view
from rollout.api.meta import Key, key_of, metadata
from rollout.api.resources import (
    ANALYSIS_RUNS,
    CHAOS_RUNS,
    CHAOS_SWITCHES,
    Resource,
)
from rollout.api.rollout import INSTANCE_ID
from rollout.core.problem import Problem
from rollout.core.validate_chaos import validate_run
from rollout.effects import chaos as effects
from rollout.errors import ApiError, Forbidden, InvalidSpec, NotFound
from rollout.runtime.clock import Clock
from rollout.runtime.fresh import Fresh
from rollout.runtime.kube import Kube, Object
from rollout.runtime.runner import After, Runner

log = structlog.get_logger()

WORKERS = 8
EVIDENCE_SECONDS = 3.0
"""How long the data plane may take to say what it sees; after that nobody could tell."""
REAP_SECONDS = 30.0
FIRST_REAP_SECONDS = 10.0
"""At the start runs go first: they can ask whether a fault has ended, and the reaper only makes an end of it."""
QUIET_REAP_SECONDS = 900.0
"""Where there is neither a run under way nor anything left of one, the server is not asked all the time."""
SEEN_SECONDS = 5.0
"""How long an admission waits for the caches to show it before the next run is looked at."""

Gather = Callable[
    [Sequence[Receipt], Mapping[Resource, Mapping[Key, Object]]], Awaitable[Mapping[str, Evidence]]
]
"""Asks the data plane about receipts that are at work (`chaos.controller.evidence`)."""


class Recorder(Protocol):
    """Where Kubernetes Events go (`rollout.runtime.events`)."""

    def emit(self, about: Object, type: Literal["Normal", "Warning"], reason: str, message: str) -> None: ...


class ChaosController:
    """Reconciles ChaosRuns. `caches` run before and independently of `run`: a standby keeps them warm."""

    def __init__(
        self,
        kube: Kube,
        clock: Clock,
        caches: Caches,
        *,
        kinds: Kinds = KINDS,
        gather: Gather | None = None,
        namespaces: Sequence[str] = (),
        instance_id: str = "",
        workers: int = WORKERS,
        recorder: Recorder | None = None,
        on_reconcile: Callable[[str, float], None] | None = None,
    ) -> None:
        self._kube = kube
        self._clock = clock
        self.caches = caches
        self._kinds = guarded(kinds, _defect)
        self._gather = gather
        self._namespaces = namespaces
        self._instance_id = instance_id
        self._recorder = recorder
        self.fresh = Fresh((one.store for one in caches.informers.values()), clock=clock)
        self._validated: dict[Key, tuple[str, int, tuple[Problem, ...]]] = {}
        self._admission = asyncio.Lock()
        self._stirred = asyncio.Event()
        self._refused = ""
        self.runner: Runner[Key] = Runner(
            "chaos run",
            self.reconcile,
            clock=clock,
            workers=workers,
            keys=caches.runs,
            ready=self.fresh.ready,
            on_reconcile=on_reconcile,
        )
        informers = caches.informers
        informers[CHAOS_RUNS].on_change(lambda old, new: self.runner.add(key_of(new or old or {})))
        informers[CHAOS_RUNS].on_change(lambda _old, _new: self._stirred.set())
        informers[ANALYSIS_RUNS].on_change(self._measured)
        informers[CHAOS_SWITCHES].on_change(lambda _old, _new: self._wake_all())

    async def run(self) -> None:
        """Wait for the caches, tidy up, then reconcile until `stop` or cancelled."""
        await self.caches.wait_kinds()
        reaper = asyncio.create_task(self._reap_forever(), name="chaos reaper")
        try:
            await self.runner.run()
        finally:
            reaper.cancel()
            await asyncio.gather(reaper, return_exceptions=True)

    def stop(self) -> None:
        self.runner.stop()

    async def reconcile(self, key: Key) -> After | None:
        """One pass over one ChaosRun."""
        raw = self.caches.get(CHAOS_RUNS, key)
        if raw is None or not self._ours(raw):
            self._validated.pop(key, None)
            self.fresh.forget(key)
            return None
        phase = (raw.get("status") or {}).get("phase") or "Pending"
        if phase != "Completed":
            await self._wait_world(raw)
        if phase == "Pending":
            # One at a time: each sees what those before it were let to do.
            async with self._admission:
                return await self._admit(key)
        return await self._pass(raw)

    async def _wait_world(self, raw: Object) -> None:
        """Until the world is there. What may not be seen is said to whoever looks at the run, too."""
        try:
            await self.caches.wait_world()
        except Forbidden as error:
            if self._recorder is not None:
                self._recorder.emit(raw, "Warning", "NotGranted", f"nothing can be done: {error}")
            raise

    async def _admit(self, key: Key) -> After | None:
        raw = self.caches.get(CHAOS_RUNS, key)
        if raw is None:
            return None
        after = await self._pass(raw)
        until = self._clock.monotonic() + SEEN_SECONDS
        while not self.fresh.ready(key) and self._clock.monotonic() < until:
            await self._clock.sleep(0.01)
        return after

    async def _pass(self, raw: Object) -> After | None:
        problems = self._problems(raw)
        try:
            run = view(raw, ChaosRun)
        except InvalidSpec as error:
            problems = problems or tuple(Problem("", text) for text in error.problems)
            run = bare(raw)
        objects = self.caches.objects()
        evidence = await self._evidence(run, objects)
        seen = self.caches.observe(raw, run, self._clock.now(), self.caches.objects(), evidence)
        return await self._carry_out(raw, run, plan(seen, self._kinds, problems), seen.now)

    async def _carry_out(self, raw: Object, run: ChaosRun, decision: Plan, now: datetime) -> After | None:
        kube = self.fresh.kube(run.metadata.key, self._kube)
        version, troubles = await effects.apply(decision.actions, raw, kube)
        status = settled(run.status, decision.status, troubles, now)
        if patch := merge_diff(plain(run.status), plain(status)):
            try:
                await effects.patch_status(raw, patch, version, kube)
            except NotFound:
                return None  # it is gone, with all that it held
        for event in decision.events:
            log.info(event.reason, detail=event.message)
            if self._recorder is not None:
                kind: Literal["Normal", "Warning"] = "Warning" if event.warning else "Normal"
                self._recorder.emit(raw, kind, event.reason, event.message)
        if decision.remove:
            await effects.delete_run(raw, kube)
            return None
        if decision.again:
            return After(0.0)
        return None if decision.wake is None else After(max(0.0, decision.wake))

    async def _evidence(
        self, run: ChaosRun, objects: Mapping[Resource, Mapping[Key, Object]]
    ) -> Mapping[str, Evidence]:
        """What the data plane says of the faults at work; {} when nobody could tell."""
        at_work = [one for one in run.status.receipts if one.state not in OVER]
        if self._gather is None or not at_work:
            return {}
        try:
            async with asyncio.timeout(EVIDENCE_SECONDS):
                return await self._gather(at_work, objects)
        except TimeoutError:
            log.warning("the data plane did not answer in time", run=str(run.metadata.key))
        except Exception:
            # Evidence that cannot be had must never keep a fault from being undone.
            log.exception("the data plane could not be asked", run=str(run.metadata.key))
        return {}

    def _problems(self, raw: Object) -> tuple[Problem, ...]:
        """What `validate_run` says of the spec; asked once per generation."""
        meta = metadata(raw)
        key, uid, generation = key_of(raw), str(meta.get("uid")), int(meta.get("generation") or 0)
        known = self._validated.get(key)
        if known is None or known[:2] != (uid, generation):
            known = self._validated[key] = (uid, generation, tuple(validate_run(raw)))
        return known[2]

    # --- waking -----------------------------------------------------------------------------------

    def _measured(self, old: Object | None, new: Object | None) -> None:
        """A probe has said something: look at its run."""
        meta = metadata(new or old or {})
        if RUN_LABEL not in (meta.get("labels") or {}):
            return
        for owner in meta.get("ownerReferences") or ():
            if owner.get("kind") == CHAOS_RUNS.kind:
                self.runner.add(Key(meta.get("namespace") or "", owner.get("name") or ""))

    def _wake_all(self) -> None:
        for raw in self.caches.informers[CHAOS_RUNS].store:
            if (raw.get("status") or {}).get("phase") != "Completed":
                self.runner.add(key_of(raw))

    def _ours(self, raw: Object) -> bool:
        label = (metadata(raw).get("labels") or {}).get(INSTANCE_ID, "")
        return bool(label == self._instance_id)

    # --- the last line ----------------------------------------------------------------------------

    async def _reap_forever(self) -> None:
        await self._clock.sleep(FIRST_REAP_SECONDS)
        while True:
            self._stirred.clear()
            quiet = False
            try:
                quiet = not await self.reap() and not self._under_way()
            except ApiError as error:
                log.warning("could not look for what faults left behind", error=str(error))
            except Exception:
                log.exception("the chaos reaper failed")
            await self._clock.sleep(REAP_SECONDS)
            if quiet:
                await self._stir()

    async def _stir(self) -> None:
        """Until a run is made, changed or deleted; without one, for a long while."""
        try:
            async with asyncio.timeout(QUIET_REAP_SECONDS):
                await self._stirred.wait()
        except TimeoutError:
            log.debug("looking for what faults left behind, though there was no run")

    def _under_way(self) -> bool:
        runs = self.caches.informers[CHAOS_RUNS].store
        return any((raw.get("status") or {}).get("phase") != "Completed" for raw in runs)

    async def reap(self) -> bool:
        """Delete what faults have left behind, as the server itself has it now. Whether there is anything of a fault."""
        objects, refused = await left(self._kube, self._namespaces)
        if refused is not None:
            # What is not granted stays so for long: the same again is said quietly.
            say = log.debug if str(refused) == self._refused else log.warning
            say("could not look for what faults left behind", error=str(refused))
        self._refused = str(refused or "")
        for delete, why in await clear(self._kube, self._clock, objects, self._namespaces):
            log.warning("removed what a fault left behind", object=delete.name, why=why)
        return bool(objects)


def _defect(kind: str, error: Exception) -> None:
    log.error("a kind of fault failed", kind=kind, error=f"{type(error).__name__}: {error}", exc_info=error)
