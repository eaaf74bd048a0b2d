"""What a metric provider is: it measures once and returns a value; whether that is good, others judge.

Providers are found by name in an explicit dict; an unknown name is InvalidSpec, never a default. A third party's
provider is one more entry.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Protocol

import msgspec

from rollout.api.analysis import Metric
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


class Provider(Protocol):
    """Measures one metric. Cancelling the call ends it; it keeps nothing between calls."""

    async def measure(self, metric: Metric, secrets: Mapping[str, str], now: datetime) -> Reading:
        """The present value. `metric` is substituted but for the placeholders of `secrets`.

        Raises ProviderError when there is no trustworthy answer; its text must hold no secret.
        """
        ...

    def asked(self, metric: Metric) -> dict[str, str]:
        """What will be asked (the resolved query), for the record also when there is no answer."""
        ...


Providers = Mapping[str, Provider]


class Fetch(Protocol):
    """One HTTP exchange: `HttpClient.fetch`, or `GuardedFetch.fetch` which refuses forbidden addresses."""

    async def __call__(self, request: Request, *, deadline: float, max_bytes: int) -> Response:
        """Raises ProviderError when no whole answer of at most `max_bytes` arrived within `deadline` seconds."""
        ...


def provider_of(metric: Metric, providers: Providers) -> Provider:
    """The provider that a metric names. InvalidSpec when there is none, or not exactly one."""
    path = f"spec.metrics[{metric.name}].provider"
    names = sorted(metric.provider)
    if len(names) != 1:
        raise InvalidSpec(str(invalid(path, names, "a metric needs exactly one provider")))
    if (found := providers.get(names[0])) is not None:
        return found
    fix = f"use one of: {', '.join(sorted(providers))}"
    raise InvalidSpec(str(unsupported(f"{path}.{names[0]}", f"the provider {names[0]}", fix)))
