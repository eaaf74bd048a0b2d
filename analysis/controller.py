"""Carries AnalysisRuns out: wake up, plan, save the status, measure what is due, sleep.

What is due and what it means is in `analysis.plan` and `analysis.judge`; `analysis.measuring` asks the providers. Here:
one status write per pass, with the resourceVersion it rests on, before any measurement it announces; measurements side
by side within a bound; every measurement recorded once, however often the write has to be repeated.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal, Protocol

import structlog

from analysis import lasting
from analysis.lasting import Act
from analysis.measuring import Measuring
from analysis.plan import delete_at, plan, refused, transitions
from analysis.policy import Policy
from analysis.providers.base import Providers
from rollout.api.analysis import AnalysisRun, AnalysisRunSpec, AnalysisRunStatus, Measurement, Metric
from rollout.api.codec import merge_diff, plain, view
from rollout.api.meta import Key, ObjectMeta, key_of, metadata
from rollout.api.resources import ANALYSIS_RUNS
from rollout.api.rollout import INSTANCE_ID
from rollout.core import arguments
from rollout.core.validate_analysis import require_valid_run
from rollout.core.validate_providers import chosen
from rollout.errors import InvalidSpec, NotFound
from rollout.runtime.clock import Clock
from rollout.runtime.fresh import Fresh
from rollout.runtime.informer import Informer, wait_synced
from rollout.runtime.kube import Kube, Object
from rollout.runtime.runner import After, Runner
from rollout.runtime.settings import MEASUREMENTS
from rollout.runtime.slots import Slots

log = structlog.get_logger()

WORKERS = 10
PROGRESS_SECONDS = 2.0
"""How far a lasting measurement has come is written at most so often."""
CLEANUP_SECONDS = 300.0
"""So long past its time to live a run stays when it cannot be cleaned up after."""


class Recorder(Protocol):
    """Where Kubernetes Events go (`rollout.runtime.events.Recorder`)."""

    def emit(self, about: Object, type: Literal["Normal", "Warning"], reason: str, message: str) -> None: ...


class AnalysisController:
    """Reconciles AnalysisRuns with the given metric providers.

    `informer` is one of AnalysisRuns that somebody else runs; without it the controller has its own.
    """

    def __init__(
        self,
        kube: Kube,
        clock: Clock,
        providers: Providers,
        *,
        namespaces: Sequence[str] = (),
        instance_id: str = "",
        workers: int = WORKERS,
        measurements: int = MEASUREMENTS,
        policy: Policy | None = None,
        recorder: Recorder | None = None,
        informer: Informer | None = None,
        on_reconcile: Callable[[str, float], None] | None = None,
    ) -> None:
        self._kube = kube
        self._clock = clock
        self.policy = policy or Policy()
        """What runs may measure with; may be set at any time, and counts for what begins from then on."""
        self._measuring = Measuring(kube, clock, providers, lambda: self.policy)
        self._instance_id = instance_id
        self._recorder = recorder
        self.slots = Slots(measurements)
        self._shared = informer is not None
        self.informer = informer or Informer(kube, ANALYSIS_RUNS, clock=clock, namespaces=namespaces)
        self._fresh = Fresh([self.informer.store], clock=clock)
        self._resolved: dict[Key, tuple[str, Mapping[str, Any], tuple[Metric, ...]]] = {}
        self._tasks: dict[tuple[Key, str, str], asyncio.Task[None]] = {}
        self._finished: dict[tuple[Key, str], dict[str, Measurement]] = {}
        self._not_before: dict[tuple[Key, str, str], datetime] = {}
        self._progress_at: dict[tuple[Key, str, str], datetime] = {}
        self.runner: Runner[Key] = Runner(
            "analysis",
            self.reconcile,
            clock=clock,
            workers=workers,
            keys=self.informer.store.keys,
            ready=self._fresh.ready,
            on_reconcile=on_reconcile,
        )
        self.informer.on_change(lambda old, new: self.runner.add(key_of(new or old or {})))

    async def run(self) -> None:
        """Wait for the cache, then carry runs out until `stop` or cancelled. No measurement outlives it."""
        follower = (
            None if self._shared else asyncio.create_task(self.informer.run(), name="analysis informer")
        )
        try:
            await wait_synced(self.informer)
            await self.runner.run()
        finally:
            left = [*self._tasks.values(), *([follower] if follower else [])]
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

    def stop(self) -> None:
        """Take no more runs, and let `run` return. What was being measured is measured again by the next."""
        self.runner.stop()

    async def reconcile(self, key: Key) -> After | None:
        """One pass over one AnalysisRun."""
        raw = self.informer.store.get(key)
        if raw is None or not self._ours(raw):
            self._forget(key)
            return None
        now = self._clock.now()
        try:
            run = view(raw, AnalysisRun)
        except InvalidSpec as error:
            bare = _bare(raw)
            await self._save(raw, bare, refused(bare, error.problems, now))
            return None
        if run.metadata.deletion_timestamp:
            return self._leave(key, raw, run, now)
        if run.completed and not _owes(run, now):
            return await self._retire(key, run, now)
        try:
            metrics = self._metrics(key, raw, run)
        except InvalidSpec as error:
            if run.completed:
                return await self._retire(key, run, now)
            await self._save(raw, run, refused(run, error.problems, now))
            return None
        return await self._advance(raw, run, metrics, now)

    async def _advance(
        self, raw: Object, run: AnalysisRun, metrics: Sequence[Metric], now: datetime
    ) -> After | None:
        key, uid = run.metadata.key, run.metadata.uid
        finished, later = self._news(run, now)
        slow = {metric.name for metric in metrics if self._measuring.lasts(metric)}
        decision = plan(
            run,
            metrics,
            now,
            finished,
            self._flying(key, uid),
            slow=slow,
            not_before={name: at for (of, u, name), at in self._not_before.items() if (of, u) == (key, uid)},
        )
        if not await self._save(raw, run, decision.status):
            return None
        self._told(key, uid, finished, now)
        over = {result.name for result in decision.status.metric_results if result.completed}
        self._cancel(key, uid, over - slow)
        by_name = {metric.name: metric for metric in metrics}
        for name in decision.due:
            self._start(run, name, self._measure(run, by_name[name]))
        for act in decision.acts:
            self._start(run, act.metric, self._act(run, by_name[act.metric], act))
        moments = [moment for moment in (decision.wake, later) if moment]
        return After(max(0.0, (min(moments) - now).total_seconds())) if moments else None

    def _leave(self, key: Key, raw: Object, run: AnalysisRun, now: datetime) -> After | None:
        """A run that is being deleted measures nothing more, and what it has begun is ended. Nothing is saved."""
        uid = run.metadata.uid
        try:
            metrics = {metric.name: metric for metric in self._metrics(key, raw, run)}
        except InvalidSpec:
            return None  # what it owns goes with it
        slow = {name for name, metric in metrics.items() if self._measuring.lasts(metric)}
        self._cancel(key, uid, metrics.keys() - slow)
        told, busy = self._finished.get((key, uid), {}), self._flying(key, uid)
        later: list[datetime] = []
        for result in run.status.metric_results:
            name = result.name
            open_one = lasting.current(result) or lasting.owing(result)
            if open_one is None or name not in slow or name in busy or _is_over(told.get(name)):
                continue
            if (moment := self._not_before.get((key, uid, name), now)) > now:
                later.append(moment)
            else:
                self._start(run, name, self._act(run, metrics[name], Act("end", name, open_one)))
        return After((min(later) - now).total_seconds()) if later else None

    async def _save(self, raw: Object, run: AnalysisRun, status: AnalysisRunStatus) -> bool:
        """Write the status if it differs, resting on the version that was read; then tell what has changed.

        False when there is no such run any more.
        """
        change = merge_diff(plain(run.status), plain(status))
        if not change:
            return True
        key = run.metadata.key
        version = metadata(raw).get("resourceVersion")
        kube = self._fresh.kube(key, self._kube)
        patch = {"metadata": {"resourceVersion": version}, "status": change}
        try:
            await kube.patch(ANALYSIS_RUNS, key.namespace, key.name, patch)
        except NotFound:
            return False  # deleted in between; the watch will say so
        for happened in transitions(run.status, status):
            log.info(happened.reason, run=str(key), message=happened.message)
            if self._recorder is not None:
                kind: Literal["Normal", "Warning"] = "Warning" if happened.warning else "Normal"
                self._recorder.emit(raw, kind, happened.reason, happened.message)
        return True

    async def _retire(self, key: Key, run: AnalysisRun, now: datetime) -> After | None:
        """A completed run only waits for the end of its time to live."""
        self._forget(key)
        moment = delete_at(run)
        if moment is None:
            return None
        if moment > now:
            return After((moment - now).total_seconds())
        try:
            await self._kube.delete(ANALYSIS_RUNS, key.namespace, key.name, uid=run.metadata.uid)
        except NotFound:
            log.debug("a run whose time was over is gone already", run=str(key))
        return None

    def _metrics(self, key: Key, raw: Object, run: AnalysisRun) -> tuple[Metric, ...]:
        """The run's metrics with their arguments; worked out once per spec. InvalidSpec when it is not valid."""
        spec, uid = raw.get("spec") or {}, run.metadata.uid
        known = self._resolved.get(key)
        if known is not None and known[0] == uid and known[1] == spec:
            return known[2]
        require_valid_run(spec)
        metrics = resolved(spec)
        for metric in metrics:
            self._measuring.check(run, metric)
        self._resolved[key] = uid, spec, metrics
        return metrics

    # --- measuring --------------------------------------------------------------------------------

    def _start(self, run: AnalysisRun, name: str, work: Coroutine[Any, Any, None]) -> None:
        place = run.metadata.key, run.metadata.uid, name
        if place in self._tasks:
            work.close()
            return
        self._not_before.pop(place, None)
        task = asyncio.create_task(work, name=f"measure {place[0]} {name}")
        self._tasks[place] = task
        task.add_done_callback(lambda done: self._ended(place, done))

    def _ended(self, place: tuple[Key, str, str], task: asyncio.Task[None]) -> None:
        if self._tasks.get(place) is task:
            del self._tasks[place]

    async def _measure(self, run: AnalysisRun, metric: Metric) -> None:
        """Take one measurement and have the run looked at again. Ends without one only when cancelled."""
        async with self.slots:
            measurement = await self._measuring.measure(run, metric)
        self._arrived(run, metric, measurement)

    async def _act(self, run: AnalysisRun, metric: Metric, act: Act) -> None:
        """Take one step of a measurement that lasts, and have the run looked at again."""
        async with self.slots:
            outcome = await self._measuring.act(run, metric, act)
        if outcome.not_before is not None:
            self._not_before[run.metadata.key, run.metadata.uid, metric.name] = outcome.not_before
        self._arrived(run, metric, outcome.news)

    def _arrived(self, run: AnalysisRun, metric: Metric, measurement: Measurement | None) -> None:
        key, uid = run.metadata.key, run.metadata.uid
        self._tasks.pop((key, uid, metric.name), None)
        if measurement is not None:
            if measurement.phase != "Running":
                log.info(
                    "measured",
                    run=str(key),
                    metric=metric.name,
                    phase=measurement.phase,
                    value=measurement.value,
                    message=measurement.message,
                )
            self._finished.setdefault((key, uid), {})[metric.name] = measurement
        self.runner.add(key)

    def _flying(self, key: Key, uid: str) -> set[str]:
        return {name for other, of, name in self._tasks if (other, of) == (key, uid)}

    def _news(self, run: AnalysisRun, now: datetime) -> tuple[dict[str, Measurement], datetime | None]:
        """What is to be written now, and when the words about progress that came too soon after the last may be."""
        key, uid = run.metadata.key, run.metadata.uid
        running = {result.name: lasting.current(result) for result in run.status.metric_results}
        news: dict[str, Measurement] = {}
        later: list[datetime] = []
        for name, measurement in self._finished.get((key, uid), {}).items():
            before, last = running.get(name), self._progress_at.get((key, uid, name))
            free = last + timedelta(seconds=PROGRESS_SECONDS) if last is not None else now
            if before is not None and free > now and lasting.only_progress(before, measurement):
                later.append(free)
            else:
                news[name] = measurement
        return news, min(later, default=None)

    def _told(self, key: Key, uid: str, saved: Mapping[str, Measurement], now: datetime) -> None:
        """These measurements are in the status now; others may have come in while it was written."""
        waiting = self._finished.get((key, uid), {})
        for name, measurement in saved.items():
            if measurement.phase == "Running":
                self._progress_at[key, uid, name] = now
            else:
                self._progress_at.pop((key, uid, name), None)
            if waiting.get(name) is measurement:
                del waiting[name]
        if not waiting:
            self._finished.pop((key, uid), None)

    # --- forgetting -------------------------------------------------------------------------------

    def _forget(self, key: Key) -> None:
        """Nothing is measured for `key` any more, and nothing remembered."""
        self._resolved.pop(key, None)
        for place in [place for place in self._tasks if place[0] == key]:
            self._tasks[place].cancel()
        for owner in [owner for owner in self._finished if owner[0] == key]:
            del self._finished[owner]
        for times in (self._not_before, self._progress_at):
            for place in [place for place in times if place[0] == key]:
                del times[place]
        if self.informer.store.get(key) is None:
            self._fresh.forget(key)

    def _cancel(self, key: Key, uid: str, names: Collection[str]) -> None:
        """Give the measurements of these metrics up.

        Not meant for those that last: a request to create something, given up half-way, could arrive after the one to
        delete it. Their steps end by themselves within a minute, and the clean-up waits for that.
        """
        for name in names:
            if (task := self._tasks.get((key, uid, name))) is not None:
                task.cancel()

    def _ours(self, raw: Object) -> bool:
        label = (metadata(raw).get("labels") or {}).get(INSTANCE_ID, "")
        return bool(label == self._instance_id)


def resolved(spec: Mapping[str, Any]) -> tuple[Metric, ...]:
    """The metrics of a valid run's spec with all arguments but secrets put in, and plugins under their own names."""
    values: dict[str, str] = {}
    secrets: set[str] = set()
    for argument in view(spec, AnalysisRunSpec).args:
        if argument.value is not None:
            values[argument.name] = argument.value
        else:
            secrets.add(argument.name)
    found = []
    for index, metric in enumerate(spec.get("metrics") or ()):
        path = f"spec.metrics[{index}]"
        filled = arguments.substitute(metric, values, secrets, path)
        name, body, _ = chosen(filled.get("provider"), f"{path}.provider")
        found.append(view({**filled, "provider": {name: body}}, Metric, path=path))
    return tuple(found)


def _bare(raw: Object) -> AnalysisRun:
    """A run that cannot be read: enough of it to say so in its status."""
    meta = metadata(raw)
    fields = ("name", "namespace", "uid", "resourceVersion")
    try:
        status = view(raw.get("status") or {}, AnalysisRunStatus)
    except InvalidSpec:
        status = AnalysisRunStatus()
    return AnalysisRun(
        metadata=view({name: meta[name] for name in fields if name in meta}, ObjectMeta), status=status
    )


def _owes(run: AnalysisRun, now: datetime) -> bool:
    """Whether a completed run must stay for its clean-up. In the end its deletion takes what it owns with it."""
    moment = delete_at(run)
    patient = moment is None or now < moment + timedelta(seconds=CLEANUP_SECONDS)
    return patient and any(map(lasting.owing, run.status.metric_results))


def _is_over(measurement: Measurement | None) -> bool:
    return measurement is not None and lasting.CLEANUP not in (measurement.metadata or {})
