"""The step controller's loop: wake up, observe, plan, record, apply, save the status, tell, sleep.

Everything that decides is in `rollout.plan`; everything that writes is in `rollout.effects`. What is here is the
order of the two, and what wakes a Rollout.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Literal, Protocol

import msgspec
import structlog

from rollout import effects
from rollout.api import codec
from rollout.api.analysis import BAD
from rollout.api.features import FEATURES
from rollout.api.meta import Key, ObjectMeta, key_of, metadata
from rollout.api.resources import ANALYSIS_RUNS, CHAOS_SWITCHES, REPLICA_SETS, ROLLOUTS, Resource
from rollout.api.rollout import INSTANCE_ID, REVISION, Rollout, RolloutStatus
from rollout.controller.caches import Caches
from rollout.controller.journal import Journal
from rollout.controller.pace import Pace
from rollout.controller.reports import Reports
from rollout.controller.turns import Turns
from rollout.controller.workload import resolve
from rollout.core.actions import Event
from rollout.core.observed import Observed
from rollout.core.problem import Problem
from rollout.core.validate import validate
from rollout.errors import Forbidden, InvalidSpec, InvariantBroken
from rollout.plan.hold import told, without_new
from rollout.plan.plan import BROKEN_RETRY_SECONDS, Plan, plan, plan_abort
from rollout.plan.references import without_gates
from rollout.plan.status import only_reports
from rollout.plan.unrecorded import forbidden, recorded
from rollout.runtime.clock import Clock
from rollout.runtime.fresh import Fresh
from rollout.runtime.informer import wait_synced
from rollout.runtime.kube import Kube, Object
from rollout.runtime.runner import After, Retry, Runner, policy

log = structlog.get_logger()

UNRECORDED_SECONDS = 30.0
"""How long a decision waits that may not be recorded, before it is tried again."""


class Recorder(Protocol):
    """Where Kubernetes Events go (`rollout.runtime.events`)."""

    def emit(self, about: Object, type: Literal["Normal", "Warning"], reason: str, message: str) -> None: ...


class RolloutController:
    """Reconciles Rollouts. `caches` run before and independently of `run`: a standby keeps them warm.

    `identity` is unique to this process and this start of it; one is drawn when it is left out. `features` are those that
    are not left out (`rollout.api.features`).
    """

    def __init__(
        self,
        kube: Kube,
        clock: Clock,
        *,
        namespaces: Sequence[str] = (),
        features: Collection[str] = FEATURES,
        instance_id: str = "",
        workers: int = 10,
        recorder: Recorder | None = None,
        identity: str = "",
        on_reconcile: Callable[[str, float], None] | None = None,
        on_plan: Callable[[Key, Plan], None] | None = None,
    ) -> None:
        self._kube = kube
        self._clock = clock
        self._instance_id = instance_id
        self._recorder = recorder
        self._on_plan = on_plan
        self.caches = Caches(kube, clock, namespaces, features)
        self.fresh = Fresh((one.store for one in self.caches.informers.values()), clock=clock)
        self._pace = Pace(clock)
        self._reports = Reports(clock)
        self._turns = Turns(clock, identity or clock.uid())
        self._journal = Journal(kube, clock) if "decisions" in features else None
        self._validated: dict[Key, tuple[str, int, tuple[Problem, ...]]] = {}
        self.runner: Runner[Key] = Runner(
            "rollout",
            self.reconcile,
            clock=clock,
            workers=workers,
            keys=self.caches.rollouts,
            ready=self.fresh.ready,
            on_error=_policy,
            on_reconcile=on_reconcile,
        )
        for resource, informer in self.caches.informers.items():
            informer.on_change(_waker(resource, self.caches, self.runner))

    @property
    def decisions(self) -> Mapping[str, int]:
        """How many decisions were recorded since the start, by kind."""
        return self._journal.counts if self._journal is not None else {}

    async def run(self) -> None:
        """Wait for the caches, then reconcile until `stop` or cancelled."""
        await wait_synced(*self.caches.needed)
        await self.runner.run()

    def stop(self) -> None:
        self.runner.stop()

    async def reconcile(self, key: Key) -> After | None:
        """One pass over one Rollout; two when the first has saved a decision that its acts had to wait for."""
        raw = self.caches.get(ROLLOUTS, key)
        if raw is None or metadata(raw).get("deletionTimestamp") or not self._ours(raw):
            self._validated.pop(key, None)
            self.fresh.forget(key)
            self._pace.forget(key)
            self._reports.done(key)
            self._turns.forget(key)
            if self._journal is not None:
                self._journal.forget(key)
            return None
        after, saved = await self._pass(key, raw)
        if saved is not None and not metadata(saved).get("deletionTimestamp"):
            # What the server has answered is what the watch will show: traffic goes home without waiting for that.
            after, _ = await self._pass(key, saved)
        return after

    async def _pass(self, key: Key, raw: Object) -> tuple[After | None, Object | None]:
        """Look, decide, act. When to look again; and the Rollout as it is, where a decision was saved and no more done."""
        now = self._clock.now()
        problems = self._problems(raw)
        resolved = await resolve(raw, self.caches, self._kube)
        raw, problems = resolved.raw, problems or resolved.problems
        try:
            rollout = codec.view(raw, Rollout)
        except InvalidSpec as error:
            # `validate` looks at everything that decoding looks at; whatever it missed is said all the same.
            problems = problems or tuple(Problem("", text) for text in error.problems)
            rollout = _bare(raw)
        problems = problems or self.caches.unseen(rollout)
        aborting = without_gates(raw) if problems and rollout.status.abort else None
        if aborting is not None:
            rollout = aborting
            seen = await self.caches.observe(raw, rollout, now, resolved.workload)
            decision = plan_abort(seen, problems)
        elif problems:
            seen = Observed(now=now, rollout=rollout, raw=raw)
            decision = plan(seen, problems)
        else:
            seen = await self.caches.observe(raw, rollout, now, resolved.workload)
            why = self.caches.held()
            before = without_new(seen) if why else None
            seen = before or seen
            decision = plan(seen) if before is None else told(plan(before), before, why)
        # With the key, which the runner binds, a line tells the revision and the version of the object it rests on.
        meta = rollout.metadata
        trace = {"revision": meta.annotation(REVISION), "version": meta.resource_version}
        with structlog.contextvars.bound_contextvars(**trace):
            after, saved = await self._carry_out(seen, decision)
        if decision.broken:
            raise InvariantBroken(f"{decision.broken} (Rollout {key})")
        return _sooner(after, resolved.poll), saved

    async def _carry_out(self, seen: Observed, decision: Plan) -> tuple[After | None, Object | None]:
        key, rollout = seen.key, seen.rollout
        if self._on_plan is not None:
            self._on_plan(key, decision)
        kube = self.fresh.kube(key, self._kube)
        # `said` still has the complaint that decisions cannot be recorded, if there was one: it is renewed, not said anew.
        said, decision = decision.status, msgspec.structs.replace(decision, status=recorded(decision.status))
        patch = codec.merge_diff(codec.plain(rollout.status), codec.plain(decision.status))
        # A complaint about the spec, or about ourselves, is a status and nothing else: anybody may say it.
        complains = (decision.problems or decision.broken) and not decision.actions
        acts = bool(decision.actions or patch) and not complains
        late = self._late(seen, decision) if patch and not complains else 0.0
        if late and not decision.actions:
            return _sooner(_again(seen, decision), late), None
        if not acts:
            self._turns.rest(key)
        elif wait := self._turns.wait(seen):
            return After(wait), None
        if (decision.actions or patch) and (wait := self._pace.wait(key)):
            log.warning("this Rollout is written to too often; waiting", seconds=round(wait, 3))
            return After(wait), None
        if acts and (first := self._turns.first(seen)):
            await effects.apply(first, rollout, kube)
            return After(0.0), None
        if decision.outcome is not None and self._journal is not None:
            try:
                await self._journal.note(seen, decision.outcome)
            except Forbidden as error:
                if not decision.status.abort and not complains:
                    return await self._stand_still(seen, str(error), kube), None
                status, events = forbidden(said, str(error), seen.now)
                decision = msgspec.structs.replace(
                    decision, status=status, events=(*decision.events, *events)
                )
                patch = codec.merge_diff(codec.plain(rollout.status), codec.plain(status))
        version = await effects.apply(decision.actions, rollout, kube)
        saved = None
        if patch and not late:
            kept = await effects.patch_status(rollout, patch, version, kube)
            saved = kept if decision.again and not decision.actions else None
        if not late:
            self._reports.done(key)
        self._tell(seen, decision.events)
        return _sooner(_again(seen, decision), late or None), saved

    def _late(self, seen: Observed, decision: Plan) -> float:
        """How long the status of this plan may wait; 0.0 when it has to be written now."""
        if decision.again or not only_reports(seen.rollout.status, decision.status):
            return 0.0
        return self._reports.wait(seen.key, moving=bool(decision.actions))

    async def _stand_still(self, seen: Observed, why: str, kube: Kube) -> After:
        """A decision that may not be recorded is not carried out; that is all that is written."""
        status, events = forbidden(seen.rollout.status, why, seen.now)
        if patch := codec.merge_diff(codec.plain(seen.rollout.status), codec.plain(status)):
            await effects.patch_status(seen.rollout, patch, seen.rollout.metadata.resource_version, kube)
        self._tell(seen, events)
        return After(UNRECORDED_SECONDS)

    def _tell(self, seen: Observed, events: Sequence[Event]) -> None:
        for event in events:
            log.info(event.reason, detail=event.message)
            if self._recorder is not None:
                kind: Literal["Normal", "Warning"] = "Warning" if event.warning else "Normal"
                self._recorder.emit(dict(seen.raw), kind, event.reason, event.message)

    def _problems(self, raw: Object) -> tuple[Problem, ...]:
        """What `validate` says of the spec; asked once per generation."""
        meta = metadata(raw)
        key, uid, generation = key_of(raw), str(meta.get("uid")), int(meta.get("generation") or 0)
        known = self._validated.get(key)
        if known is None or known[:2] != (uid, generation):
            known = self._validated[key] = (uid, generation, tuple(validate(raw)))
        return known[2]

    def _ours(self, raw: Object) -> bool:
        label = (metadata(raw).get("labels") or {}).get(INSTANCE_ID, "")
        return bool(label == self._instance_id)


def _again(seen: Observed, decision: Plan) -> After | None:
    """When the plan wants another look."""
    if decision.again:
        return After(0.0)
    if decision.wake_at is None:
        return None
    return After(max(0.0, (decision.wake_at - seen.now).total_seconds()) + 0.005)


def _sooner(after: After | None, poll: float | None) -> After | None:
    """Look again after `poll` seconds at the latest; None means that a watch tells when to."""
    if poll is None:
        return after
    return After(poll if after is None else min(poll, after.seconds))


def _policy(error: Exception) -> Retry:
    """A plan that breaks a safety rule is loud, and decided again slowly: the world may have moved on."""
    if isinstance(error, InvariantBroken):
        return Retry(float(BROKEN_RETRY_SECONDS), "error", traceback=True)
    return policy(error)


def _waker(
    resource: Resource, caches: Caches, runner: Runner[Key]
) -> Callable[[Object | None, Object | None], None]:
    """The handler that wakes the Rollouts that a changed object concerns."""

    def wake(old: Object | None, new: Object | None) -> None:
        obj = new or old or {}
        key = key_of(obj)
        if resource is ROLLOUTS:
            runner.add(key, urgent=_aborted(new) and not _aborted(old))
        elif resource in (REPLICA_SETS, ANALYSIS_RUNS):
            # When many releases fail at once, the traffic of all of them goes home before anything else is done.
            urgent = resource is ANALYSIS_RUNS and _ended_badly(new) and not _ended_badly(old)
            for ref in metadata(obj).get("ownerReferences") or ():
                if ref.get("controller") and ref.get("kind") == ROLLOUTS.kind:
                    runner.add(Key(key.namespace, ref["name"]), urgent=urgent)
        elif resource is CHAOS_SWITCHES:
            for one in caches.rollouts():
                runner.add(one)
        else:
            for one in caches.referring_to(resource, key):
                runner.add(one)

    return wake


def _aborted(rollout: Object | None) -> bool:
    return bool(((rollout or {}).get("status") or {}).get("abort"))


def _ended_badly(run: Object | None) -> bool:
    return ((run or {}).get("status") or {}).get("phase") in BAD


def _bare(raw: Object) -> Rollout:
    """A Rollout whose spec cannot be read: enough of it to say so in its status."""
    meta = metadata(raw)
    fields = ("name", "namespace", "uid", "generation", "resourceVersion")
    try:
        status = codec.view(raw.get("status") or {}, RolloutStatus)
    except InvalidSpec:
        status = RolloutStatus()
    return Rollout(
        metadata=codec.view({name: meta[name] for name in fields if name in meta}, ObjectMeta), status=status
    )
