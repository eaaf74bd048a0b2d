"""What a metric provider is: it measures once and returns a value; whether that is good, others judge.

Providers are found by name in an explicit dict; an unknown name is InvalidSpec, never a default. A third party's
provider is one more entry.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Protocol, runtime_checkable

import msgspec

from rollout.api.analysis import Metric, Phase
from rollout.api.meta import Key
from rollout.core.problem import invalid, unsupported
from rollout.errors import InvalidSpec
from rollout.runtime.http import Request, Response

MAX_BODY = 1 << 20
"""Bytes of an answer that are read at most; more is an error."""


class Reading(msgspec.Struct, frozen=True):
    """One answer. `value` is plain data for the conditions; `metadata` what was asked, for the record.

    `warnings` are the source's own doubts about the answer: incomplete data, a shard that did not answer.
    """

    value: Any
    metadata: dict[str, str] = {}
    warnings: tuple[str, ...] = ()
    phase: Phase = ""
    """The source's own verdict (a Job's, a ChaosRun's); it counts where the metric has no condition of its own."""
    message: str = ""
    record: Any = None
    """What is kept and told of `value`, where that is less than all of it (a body is not for everybody who reads runs)."""
    inconclusive: str = ""
    """Why this answer decides nothing, whatever the conditions say of it (a load that was not reached): the
    measurement is Inconclusive, with this sentence."""


class Provider(Protocol):
    """Measures one metric at once. Cancelling the call ends it; it keeps nothing between calls."""

    async def measure(self, metric: Metric, secrets: Mapping[str, str], now: datetime) -> Reading:
        """The present value. `metric` is substituted but for the placeholders of `secrets`.

        Raises ProviderError when there is no trustworthy answer; its text must hold no secret.
        """
        ...

    def asked(self, metric: Metric) -> dict[str, str]:
        """What will be asked (the resolved query), for the record also when there is no answer."""
        ...


@runtime_checkable
class Namespaced(Protocol):
    """Measures at once in the namespace of the run that asks, and in no other."""

    def within(self, namespace: str) -> Provider: ...


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """One lasting measurement: whose, the how-manieth (from 1), and when it begins.

    All of it is in the AnalysisRun's status before `Lasting.begin` is called, so a controller that was killed goes on
    with the same task. `start_at` is shared by the metrics of one `startGroup`: what they start acts from then on.
    """

    run: Key
    run_uid: str
    metric: str
    number: int
    start_at: datetime


class Progress(msgspec.Struct, frozen=True):
    """A lasting measurement has no answer yet. `message` says how far it is, for people; look again in `seconds`."""

    message: str = ""
    metadata: dict[str, str] = {}
    seconds: float = 1.0


@runtime_checkable
class Lasting(Protocol):
    """Measures one metric by something that exists in the API meanwhile: a Job, a load test, a chaos run.

    Names of what it makes are computed from the task, and all of it is owned by the AnalysisRun. It keeps nothing
    between calls but what `begin` and `look` return as metadata, which is saved in the measurement (the keys in
    `analysis.lasting.OWN_KEYS` are the controller's own, and are dropped from what a provider returns). A call that takes
    longer than a minute is cancelled. Errors of the API that pass (not reachable, throttled, a conflict) may be let
    through from any call: it is made again later. Other errors are as good as a ProviderError.
    """

    def asked(self, metric: Metric) -> dict[str, str]: ...

    async def begin(self, metric: Metric, secrets: Mapping[str, str], task: Task) -> dict[str, str]:
        """Make it exist; when it does already, that is as good. The metadata for the record.

        Raises ProviderError when it cannot be begun: the measurement is an Error.
        """
        ...

    async def look(
        self,
        metric: Metric,
        secrets: Mapping[str, str],
        task: Task,
        metadata: Mapping[str, str],
        now: datetime,
    ) -> Reading | Progress:
        """How it stands. ProviderError when there will be no trustworthy answer any more."""
        ...

    async def end(self, metric: Metric, task: Task, metadata: Mapping[str, str]) -> None:
        """Leave nothing of it running: after its answer, its deadline, or when the run is over before.

        Idempotent, and called again until it succeeds; also when `begin` never has. The metric's next measurement waits.
        """
        ...


AnyProvider = Provider | Namespaced | Lasting
Providers = Mapping[str, AnyProvider]
"""By name. What kind one is of is asked with `isinstance`, and only in `analysis.measuring`."""


class Fetch(Protocol):
    """One HTTP exchange: `HttpClient.fetch`, or `GuardedFetch.fetch` which refuses forbidden addresses."""

    async def __call__(self, request: Request, *, deadline: float, max_bytes: int) -> Response:
        """Raises ProviderError when no whole answer of at most `max_bytes` arrived within `deadline` seconds."""
        ...


def provider_of(metric: Metric, providers: Providers) -> AnyProvider:
    """The provider that a metric names. InvalidSpec when there is none, or not exactly one."""
    path = f"spec.metrics[{metric.name}].provider"
    names = sorted(metric.provider)
    if len(names) != 1:
        raise InvalidSpec(str(invalid(path, names, "a metric needs exactly one provider")))
    if (found := providers.get(names[0])) is not None:
        return found
    fix = f"use one of: {', '.join(sorted(providers))}"
    raise InvalidSpec(str(unsupported(f"{path}.{names[0]}", f"the provider {names[0]}", fix)))
