"""Asks the providers: one measurement at once, or one step of a measurement that lasts. The I/O of the controller.

Whatever goes wrong becomes a measurement of phase Error, or (what passes, with a lasting one) another try later; nothing
is raised. No secret is in what comes back.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec
import structlog

from analysis import lasting
from analysis.judge import Verdict, judge, text
from analysis.lasting import Act
from analysis.plan import begun_at
from analysis.policy import Policy
from analysis.providers.base import (
    Lasting,
    Namespaced,
    Progress,
    Provider,
    Providers,
    Reading,
    Task,
    provider_of,
)
from rollout.api.analysis import AnalysisRun, Measurement, Metric
from rollout.api.codec import plain
from rollout.api.meta import timestamp
from rollout.api.resources import SECRETS
from rollout.core import arguments
from rollout.errors import (
    AlreadyExists,
    ApiError,
    Conflict,
    Expired,
    InvalidSpec,
    ProviderError,
    Throttled,
    Unavailable,
)
from rollout.runtime.clock import Clock
from rollout.runtime.kube import Kube

log = structlog.get_logger()

MEASUREMENT_SECONDS = 660.0
"""A measurement at once that takes longer is given up; providers have shorter deadlines of their own."""
CALL_SECONDS = 60.0
"""One call of a lasting provider that takes longer is cancelled, and made again."""
AGAIN_SECONDS = 5.0
LOOK_SECONDS = 0.2, 60.0
"""A lasting provider is looked at within these bounds, whatever it asks for."""
_PASSING = (Conflict, AlreadyExists, Expired, Throttled, Unavailable, TimeoutError)
_HIDDEN = "***"


class Outcome(msgspec.Struct, frozen=True):
    """What a step of a lasting measurement has come to: news for the record (or None), and when to go on."""

    news: Measurement | None
    not_before: datetime | None = None


class Measuring:
    """Asks `providers` on behalf of runs; reads the Secrets that metrics name through `kube`."""

    def __init__(
        self, kube: Kube, clock: Clock, providers: Providers, policy: Callable[[], Policy] = Policy
    ) -> None:
        self._kube = kube
        self._clock = clock
        self._providers = providers
        self._policy = policy

    def check(self, run: AnalysisRun, metric: Metric) -> None:
        """Raise InvalidSpec when there is no provider for the metric, or a run that has not begun may not use it."""
        provider_of(metric, self._providers)
        if not run.status.phase and (problem := self._refusal(run, metric)):
            raise InvalidSpec(problem)

    def lasts(self, metric: Metric) -> bool:
        return isinstance(provider_of(metric, self._providers), Lasting)

    async def measure(self, run: AnalysisRun, metric: Metric) -> Measurement:
        """Take one measurement at once."""
        started = self._clock.now()
        details: dict[str, str] = {}
        secrets: dict[str, str] = {}
        try:
            provider = self._at_once(run, metric)
            details = provider.asked(metric)
            self._permit(run, metric)
            async with asyncio.timeout(MEASUREMENT_SECONDS):
                secrets = await self._secrets(run, metric)
                reading = await provider.measure(metric, secrets, started)
            found = self._judged(metric, reading, details, started)
        except (ProviderError, ApiError) as error:
            found = self._error(str(error), details)
        except TimeoutError:
            found = self._error(f"no answer within {MEASUREMENT_SECONDS:g} s", details)
        except Exception as error:  # noqa: BLE001 - a provider's defect is an Error of this metric, not our end
            found = self._error(self._defect(run, metric, error), details)
        return _scrubbed(msgspec.structs.replace(found, started_at=begun_at(metric, started)), secrets)

    async def act(self, run: AnalysisRun, metric: Metric, act: Act) -> Outcome:
        """Take one step of a measurement that lasts."""
        secrets: dict[str, str] = {}
        before = act.measurement
        try:
            async with asyncio.timeout(CALL_SECONDS):
                outcome = await self._step(run, metric, act, secrets)
        except _PASSING as error:
            outcome = self._again(run, act, str(error) or "the call took too long")
        except Exception as error:  # noqa: BLE001 - a provider's defect is an Error of this metric, not our end
            expected = isinstance(error, ProviderError | ApiError)
            said = str(error) if expected else self._defect(run, metric, error)
            if act.verb == "end":
                outcome = self._again(run, act, said)
            else:
                outcome = Outcome(lasting.answered(before, self._error(said)))
        news = outcome.news
        return Outcome(_scrubbed(news, secrets) if news is not None else None, outcome.not_before)

    async def _step(self, run: AnalysisRun, metric: Metric, act: Act, secrets: dict[str, str]) -> Outcome:
        provider, before = self._lasting(metric), act.measurement
        known = before.metadata or {}
        task = Task(
            run=run.metadata.key,
            run_uid=run.metadata.uid,
            metric=metric.name,
            number=act.number,
            start_at=act.start_at,
        )
        if act.verb == "end":
            await provider.end(metric, task, known)
            return Outcome(lasting.cleaned(before))
        if act.verb == "begin":
            self._permit(run, metric)
        secrets |= await self._secrets(run, metric)
        if act.verb == "begin":
            told = {**provider.asked(metric), **await provider.begin(metric, secrets, task)}
            return Outcome(lasting.begun(before, told, self._clock.now()))
        now = self._clock.now()
        found = await provider.look(metric, secrets, task, known, now)
        if isinstance(found, Progress):
            least, most = LOOK_SECONDS
            wait = timedelta(seconds=min(max(found.seconds, least), most))
            after = lasting.progressed(before, found.message, found.metadata)
            return Outcome(after if after != before else None, now + wait)
        return Outcome(lasting.answered(before, self._judged(metric, found, {}, now)))

    # --- measurements -----------------------------------------------------------------------------

    def _judged(
        self, metric: Metric, reading: Reading, details: Mapping[str, str], now: datetime
    ) -> Measurement:
        verdict = Verdict(reading.phase, reading.message, reading.inconclusive)
        phase, message = judge(
            metric, reading.value, now, reading.warnings, verdict=verdict, record=reading.record
        )
        return Measurement(
            phase=phase,
            message=message,
            finished_at=timestamp(self._clock.now()),
            value=text(reading.value if reading.record is None else reading.record),
            metadata={**details, **reading.metadata},
        )

    def _error(self, message: str, details: Mapping[str, str] | None = None) -> Measurement:
        return Measurement(
            phase="Error",
            message=message,
            finished_at=timestamp(self._clock.now()),
            metadata=dict(details or {}),
        )

    def _defect(self, run: AnalysisRun, metric: Metric, error: Exception) -> str:
        log.error("a metric provider failed", run=str(run.metadata.key), metric=metric.name, exc_info=error)
        return f"the provider failed: {type(error).__name__}: {error}"

    def _again(self, run: AnalysisRun, act: Act, why: str) -> Outcome:
        log.warning(
            "a step of a measurement is tried again",
            run=str(run.metadata.key),
            metric=act.metric,
            step=act.verb,
            reason=why,
        )
        return Outcome(None, self._clock.now() + timedelta(seconds=AGAIN_SECONDS))

    # --- what it may ------------------------------------------------------------------------------

    def _refusal(self, run: AnalysisRun, metric: Metric) -> str:
        path = f"spec.metrics[{metric.name}].provider"
        problems = (self._policy().problem(run.metadata.namespace, name, path) for name in metric.provider)
        return "; ".join(str(one) for one in problems if one is not None)

    def _permit(self, run: AnalysisRun, metric: Metric) -> None:
        """ProviderError when the operator does not, or no longer, allow what is about to begin."""
        if problem := self._refusal(run, metric):
            raise ProviderError(problem)

    # --- what it needs ----------------------------------------------------------------------------

    def _at_once(self, run: AnalysisRun, metric: Metric) -> Provider:
        provider = provider_of(metric, self._providers)
        assert not isinstance(provider, Lasting), "told apart by the plan"
        return provider.within(run.metadata.namespace) if isinstance(provider, Namespaced) else provider

    def _lasting(self, metric: Metric) -> Lasting:
        provider = provider_of(metric, self._providers)
        assert isinstance(provider, Lasting), "told apart by the plan"
        return provider

    async def _secrets(self, run: AnalysisRun, metric: Metric) -> dict[str, str]:
        """The values of the secret arguments that this metric uses, read by name and kept nowhere."""
        wanted = arguments.placeholders(plain(metric))
        found: dict[str, str] = {}
        for argument in run.spec.args:
            ref = argument.value_from.secret_key_ref if argument.value_from else None
            if ref is None or argument.name not in wanted:
                continue
            if problem := self._policy().secrets_problem():
                raise ProviderError(f'argument "{argument.name}": {problem}')
            try:
                secret = await self._kube.get(SECRETS, run.metadata.namespace, ref.name)
            except _PASSING:
                raise
            except ApiError as error:
                raise ProviderError(
                    f'the Secret "{ref.name}" of argument "{argument.name}": {error.message}'
                ) from None
            if problem := self._policy().secret_problem(secret):
                raise ProviderError(f'the Secret "{ref.name}" of argument "{argument.name}": {problem}')
            found[argument.name] = _value(secret, ref.name, ref.key, argument.name)
        return found


def _value(secret: Mapping[str, Any], name: str, key: str, argument: str) -> str:
    encoded = (secret.get("data") or {}).get(key)
    if encoded is None:
        raise ProviderError(f'the Secret "{name}" of argument "{argument}" has no key "{key}"')
    try:
        return base64.b64decode(encoded, validate=True).decode()
    except (binascii.Error, ValueError):
        raise ProviderError(f'the key "{key}" of the Secret "{name}" is not a text') from None


def _scrubbed(measurement: Measurement, secrets: Mapping[str, str]) -> Measurement:
    """The measurement without any secret value, whoever repeated it, and without empty metadata."""

    def hide(said: str) -> str:
        for secret in sorted(filter(None, secrets.values()), key=len, reverse=True):
            said = said.replace(secret, _HIDDEN)
        return said

    metadata = {
        name: item if name in lasting.OWN_KEYS - {lasting.PROGRESS} else hide(item)
        for name, item in (measurement.metadata or {}).items()
        if item
    }
    return msgspec.structs.replace(
        measurement, message=hide(measurement.message), value=hide(measurement.value), metadata=metadata
    )
