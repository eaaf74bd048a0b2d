"""The Prometheus provider: instant and range queries over the HTTP API.

API: https://prometheus.io/docs/prometheus/latest/querying/api/. Field meanings: study/argo-rollouts.md 1.7.

| result type | value in the conditions |
|---|---|
| vector | list of floats, one per series |
| matrix (range query) | list of floats: all samples of all series |
| scalar | float |
| string | string |

A warning in the answer means that part of the data was missing: the controller makes it an Error unless the
conditions ask for `warnings` themselves.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from analysis.providers.asking import headers_of, short
from analysis.providers.base import MAX_BODY, Fetch, Reading
from rollout.api.analysis import Metric
from rollout.api.codec import decode
from rollout.api.meta import duration
from rollout.core import expr
from rollout.core.arguments import reveal
from rollout.core.checks import whole
from rollout.errors import ProviderError
from rollout.runtime.http import Request

DEFAULT_TIMEOUT_SECONDS = 30
STALE_SECONDS = 300.0
"""An instant answer that is older than this, by our clock, is not about now."""
QUERY_KEY = "ResolvedPrometheusQuery"
"""The key under which users of Argo Rollouts find the query in the metadata of a metric's result."""


class Prometheus:
    """Asks a Prometheus server. `default_address` is used by metrics that name no address."""

    def __init__(self, fetch: Fetch, *, default_address: str = "") -> None:
        self._fetch = fetch
        self._default_address = default_address

    def asked(self, metric: Metric) -> dict[str, str]:
        body = _body(metric)
        return {QUERY_KEY: str(body.get("query", "")).strip(), "address": self._address(body)}

    async def measure(self, metric: Metric, secrets: Mapping[str, str], now: datetime) -> Reading:
        body = _body(metric)
        address = self._address(body)
        if not address:
            raise ProviderError(
                "no address of a Prometheus server; set provider.prometheus.address, or "
                "ARGO_ROLLOUTS_PROMETHEUS_ADDRESS in the controller's environment"
            )
        timeout = whole(body.get("timeout")) or DEFAULT_TIMEOUT_SECONDS
        path, form = _request(body, timeout, now)
        request = Request(
            url=f"{address.rstrip('/')}{path}",
            method="POST",
            headers={
                "content-type": "application/x-www-form-urlencoded",
                "accept": "application/json",
                **_headers(body, secrets),
            },
            body=urlencode(form).encode(),
            verify=not body.get("insecure", False),
        )
        answer = await self._fetch(request, deadline=float(timeout), max_bytes=MAX_BODY)
        return read(answer.status, answer.body, address, now)

    def _address(self, body: Mapping[str, Any]) -> str:
        return str(body.get("address") or self._default_address)


def _body(metric: Metric) -> Mapping[str, Any]:
    body = metric.provider.get("prometheus")
    return body if isinstance(body, Mapping) else {}


def _request(body: Mapping[str, Any], timeout: int, now: datetime) -> tuple[str, dict[str, str]]:
    form = {"query": str(body.get("query", "")).strip(), "timeout": f"{timeout}s"}
    span = body.get("rangeQuery")
    if span is None:
        return "/api/v1/query", form
    start, end = (_moment(str(span.get(field, "")), now) for field in ("start", "end"))
    if end < start:
        raise ProviderError(
            f"rangeQuery: the end ({end.isoformat()}) is before the start ({start.isoformat()})"
        )
    form |= {
        "start": f"{start.timestamp():.3f}",
        "end": f"{end.timestamp():.3f}",
        "step": f"{duration(str(span.get('step', ''))):g}",
    }
    return "/api/v1/query_range", form


def _moment(source: str, now: datetime) -> datetime:
    try:
        value = expr.compile(source).evaluate({}, now)
    except expr.ExprError as error:
        raise ProviderError(f"rangeQuery: {error.sentence}") from None
    if not isinstance(value, datetime):
        raise ProviderError(f"rangeQuery: `{source}` is not a time; write for example now() - duration('5m')")
    return value


def _headers(body: Mapping[str, Any], secrets: Mapping[str, str]) -> dict[str, str]:
    headers = headers_of(body.get("headers"), secrets)
    if basic := (body.get("authentication") or {}).get("basicAuth"):
        user, password = (reveal(str(basic.get(field, "")), secrets) for field in ("username", "password"))
        headers["authorization"] = f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"
    return headers


def read(status: int, body: bytes, address: str, now: datetime) -> Reading:
    """The value in an answer of the HTTP API. ProviderError when there is none, or none to be trusted."""
    try:
        answer = decode(body)
    except ValueError:
        answer = None
    said = answer if isinstance(answer, dict) else {}
    if status != 200 or said.get("status") != "success":
        raise ProviderError(_refusal(status, said, address))
    try:
        kind = said["data"]["resultType"]
        value = _value(kind, said["data"]["result"], now)
    except (KeyError, IndexError, TypeError, ValueError, OverflowError):
        raise ProviderError(f"the answer of {address} is not one of the Prometheus query API") from None
    metadata = {"resultType": str(kind)}
    if infos := _texts(said.get("infos")):
        metadata["infos"] = "; ".join(infos)
    return Reading(value, metadata, _texts(said.get("warnings")))


def _refusal(status: int, said: Mapping[str, Any], address: str) -> str:
    """Why there is no value. Foreign text is repeated only where it is an error of the Prometheus API."""
    kind, reason = said.get("errorType"), said.get("error")
    if said.get("status") == "error" and isinstance(kind, str) and isinstance(reason, str):
        return f"{address} answered HTTP {status}: {short(kind)}: {short(reason)}"
    if 300 <= status < 400:
        return f"{address} answered HTTP {status}, a redirect; give the address that it leads to"
    hint = "; does the address name a Prometheus server?"
    return f"{address} answered HTTP {status} without an answer of the Prometheus API{hint}"


def _value(kind: Any, result: Any, now: datetime) -> Any:
    match kind:
        case "vector":
            return [_sample(series["value"], now) for series in _list(result)]
        case "scalar":
            return _sample(result, now)
        case "matrix":
            return [_number(sample[1]) for series in _list(result) for sample in _list(series["values"])]
        case "string":
            moment, text = result
            if not isinstance(text, str):
                raise TypeError
            _fresh(moment, now)
            return text
        case _:
            raise ValueError(kind)


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError
    return value


def _sample(sample: Any, now: datetime) -> float:
    moment, value = sample
    _fresh(moment, now)
    return _number(value)


def _number(text: Any) -> float:
    if not isinstance(text, str):
        raise TypeError
    return float(text)


def _fresh(moment: Any, now: datetime) -> None:
    """An instant query is answered for the server's present; a cache, or a clock gone wrong, gives another."""
    age = now.timestamp() - float(moment)
    if not math.isfinite(age) or abs(age) > STALE_SECONDS:
        when = timedelta(seconds=round(abs(age))) if math.isfinite(age) else "unknown"
        side = "old" if age > 0 else "ahead"
        raise ProviderError(
            f"the answer is {when} {side} by our clock; look for a stale cache or wrong clocks"
        )


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(short(str(item)) for item in value[:10]) if isinstance(value, list) else ()
