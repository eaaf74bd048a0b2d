"""Carries AnalysisRuns out: wake up, plan, save the status, measure what is due, sleep.

What is due and what it means is in `analysis.plan` and `analysis.judge`. Here: one status write per pass, with the
resourceVersion it rests on, before any measurement it announces; measurements side by side within a bound and a
deadline; every measurement recorded once, however often the write has to be repeated.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, Protocol

import structlog

from analysis.judge import judge, text
from analysis.plan import delete_at, plan, refused, transitions
from analysis.providers.base import Providers, provider_of
from rollout.api.analysis import AnalysisRun, AnalysisRunSpec, AnalysisRunStatus, Measurement, Metric
from rollout.api.codec import merge_diff, plain, view
from rollout.api.meta import Key, ObjectMeta, key_of, metadata, timestamp
from rollout.api.resources import ANALYSIS_RUNS, SECRETS
from rollout.api.rollout import INSTANCE_ID
from rollout.core import arguments
from rollout.core.validate_analysis import require_valid_run
from rollout.core.validate_providers import chosen
from rollout.errors import ApiError, InvalidSpec, NotFound, ProviderError
from rollout.runtime.clock import Clock
from rollout.runtime.fresh import Fresh
from rollout.runtime.informer import Informer, wait_synced
from rollout.runtime.kube import Kube, Object
from rollout.runtime.runner import After, Runner

log = structlog.get_logger()

WORKERS = 10
MEASUREMENTS = 64
"""Measurements at one time, over all runs."""
MEASUREMENT_SECONDS = 660.0
"""A measurement that takes longer is given up; providers have shorter deadlines of their own."""
_HIDDEN = "***"


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
        recorder: Recorder | None = None,
        informer: Informer | None = None,
        on_reconcile: Callable[[str, float], None] | None = None,
    ) -> None:
        self._kube = kube
        self._clock = clock
        self._providers = providers
        self._instance_id = instance_id
        self._recorder = recorder
        self._slots = asyncio.Semaphore(measurements)
        self._shared = informer is not None
        self.informer = informer or Informer(kube, ANALYSIS_RUNS, clock=clock, namespaces=namespaces)
        self._fresh = Fresh([self.informer.store], clock=clock)
        self._resolved: dict[Key, tuple[str, Mapping[str, Any], tuple[Metric, ...]]] = {}
        self._tasks: dict[tuple[Key, str, str], asyncio.Task[None]] = {}
        self._finished: dict[tuple[Key, str], dict[str, Measurement]] = {}
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
        if raw is None or metadata(raw).get("deletionTimestamp") or not self._ours(raw):
            self._forget(key)
            return None
        now = self._clock.now()
        try:
            run = view(raw, AnalysisRun)
        except InvalidSpec as error:
            bare = _bare(raw)
            await self._save(raw, bare, refused(bare, error.problems, now))
            return None
        if run.completed:
            return await self._retire(key, run, now)
        try:
            metrics = self._metrics(key, raw, run)
        except InvalidSpec as error:
            await self._save(raw, run, refused(run, error.problems, now))
            return None
        return await self._advance(raw, run, metrics, now)

    async def _advance(
        self, raw: Object, run: AnalysisRun, metrics: Sequence[Metric], now: datetime
    ) -> After | None:
        key, uid = run.metadata.key, run.metadata.uid
        finished = dict(self._finished.get((key, uid), {}))
        flying = {name for other, of, name in self._tasks if (other, of) == (key, uid)}
        decision = plan(run, metrics, now, finished, flying)
        await self._save(raw, run, decision.status)
        self._told(key, uid, finished)
        if decision.status.completed_at is not None:
            self._forget(key)
            return After(0.0)
        self._cancel(key, uid, {result.name for result in decision.status.metric_results if result.completed})
        for metric in metrics:
            if metric.name in decision.due:
                self._start(run, metric)
        if decision.wake is None:
            return None
        return After(max(0.0, (decision.wake - now).total_seconds()))

    async def _save(self, raw: Object, run: AnalysisRun, status: AnalysisRunStatus) -> None:
        """Write the status if it differs, resting on the version that was read; then tell what has changed."""
        change = merge_diff(plain(run.status), plain(status))
        if not change:
            return
        key = run.metadata.key
        version = metadata(raw).get("resourceVersion")
        kube = self._fresh.kube(key, self._kube)
        patch = {"metadata": {"resourceVersion": version}, "status": change}
        try:
            await kube.patch(ANALYSIS_RUNS, key.namespace, key.name, patch)
        except NotFound:
            return  # deleted in between; the watch will say so
        for happened in transitions(run.status, status):
            log.info(happened.reason, run=str(key), message=happened.message)
            if self._recorder is not None:
                kind: Literal["Normal", "Warning"] = "Warning" if happened.warning else "Normal"
                self._recorder.emit(raw, kind, happened.reason, happened.message)

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
            provider_of(metric, self._providers)
        self._resolved[key] = uid, spec, metrics
        return metrics

    # --- measuring --------------------------------------------------------------------------------

    def _start(self, run: AnalysisRun, metric: Metric) -> None:
        place = run.metadata.key, run.metadata.uid, metric.name
        if place in self._tasks:
            return
        task = asyncio.create_task(self._measure(run, metric), name=f"measure {place[0]} {metric.name}")
        self._tasks[place] = task
        task.add_done_callback(lambda done: self._ended(place, done))

    def _ended(self, place: tuple[Key, str, str], task: asyncio.Task[None]) -> None:
        if self._tasks.get(place) is task:
            del self._tasks[place]

    async def _measure(self, run: AnalysisRun, metric: Metric) -> None:
        """Take one measurement and have the run looked at again. Ends without one only when cancelled."""
        key, uid = run.metadata.key, run.metadata.uid
        async with self._slots:
            measurement = await self._measured(run, metric)
        log.info(
            "measured",
            run=str(key),
            metric=metric.name,
            phase=measurement.phase,
            value=measurement.value,
            message=measurement.message,
        )
        self._tasks.pop((key, uid, metric.name), None)
        self._finished.setdefault((key, uid), {})[metric.name] = measurement
        self.runner.add(key)

    async def _measured(self, run: AnalysisRun, metric: Metric) -> Measurement:
        started = self._clock.now()
        provider = provider_of(metric, self._providers)
        value = ""
        details: dict[str, str] = {}
        secrets: dict[str, str] = {}
        try:
            details = provider.asked(metric)
            async with asyncio.timeout(MEASUREMENT_SECONDS):
                secrets = await self._secrets(run, metric)
                reading = await provider.measure(metric, secrets, started)
            phase, message = judge(metric, reading.value, started, reading.warnings)
            value, details = text(reading.value), {**details, **reading.metadata}
        except ProviderError as error:
            phase, message = "Error", str(error)
        except TimeoutError:
            phase, message = "Error", f"no answer within {MEASUREMENT_SECONDS:g} s"
        except (
            Exception
        ) as error:  # a provider's defect is an Error of this metric, never the end of the others
            log.exception("a metric provider failed", run=str(run.metadata.key), metric=metric.name)
            phase, message = "Error", f"the provider failed: {type(error).__name__}: {error}"
        return Measurement(
            phase=phase,
            message=_scrubbed(message, secrets),
            started_at=timestamp(started),
            finished_at=timestamp(self._clock.now()),
            value=_scrubbed(value, secrets),
            metadata={name: _scrubbed(item, secrets) for name, item in details.items() if item},
        )

    async def _secrets(self, run: AnalysisRun, metric: Metric) -> dict[str, str]:
        """The values of the secret arguments that this metric uses, read by name and kept nowhere."""
        wanted = arguments.placeholders(plain(metric))
        found: dict[str, str] = {}
        for argument in run.spec.args:
            ref = argument.value_from.secret_key_ref if argument.value_from else None
            if ref is None or argument.name not in wanted:
                continue
            try:
                secret = await self._kube.get(SECRETS, run.metadata.namespace, ref.name)
            except ApiError as error:
                raise ProviderError(
                    f'the Secret "{ref.name}" of argument "{argument.name}": {error.message}'
                ) from None
            encoded = (secret.get("data") or {}).get(ref.key)
            if encoded is None:
                raise ProviderError(
                    f'the Secret "{ref.name}" of argument "{argument.name}" has no key "{ref.key}"'
                )
            try:
                found[argument.name] = base64.b64decode(encoded, validate=True).decode()
            except (binascii.Error, ValueError):
                raise ProviderError(f'the key "{ref.key}" of the Secret "{ref.name}" is not a text') from None
        return found

    def _told(self, key: Key, uid: str, saved: Iterable[str]) -> None:
        """These measurements are in the status now; others may have come in while it was written."""
        waiting = self._finished.get((key, uid), {})
        for name in saved:
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
        if self.informer.store.get(key) is None:
            self._fresh.forget(key)

    def _cancel(self, key: Key, uid: str, names: set[str]) -> None:
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


def _scrubbed(said: str, secrets: Mapping[str, str]) -> str:
    """`said` without any secret value, whoever repeated it."""
    for secret in sorted(secrets.values(), key=len, reverse=True):
        if secret:
            said = said.replace(secret, _HIDDEN)
    return said
