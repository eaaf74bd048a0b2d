"""The provider `http`, a probe: one request, and how it went. That nobody answers is an answer.

value in the conditions: `{status, body, latencyMs, error}`. A refused or broken connection and a timeout are status 0 with
`error` told. `body` is what JSON stands for, else text of at most 4 KiB; it is seen by conditions, and not kept in the
record. Without conditions a status of 2xx or 3xx is Successful, all else Failed.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from analysis.providers.asking import bare, headers_of, short
from analysis.providers.base import MAX_BODY, Fetch, Reading
from rollout.api.analysis import Metric, Phase
from rollout.api.codec import decode
from rollout.api.meta import duration
from rollout.errors import NoAnswer
from rollout.runtime.clock import Clock
from rollout.runtime.http import Request, Response

DEFAULT_TIMEOUT = "5s"
MAX_TEXT = 4096


class Http:
    """Asks URLs that users wrote; `fetch` is to be guarded."""

    def __init__(self, fetch: Fetch, clock: Clock) -> None:
        self._fetch = fetch
        self._clock = clock

    def asked(self, metric: Metric) -> dict[str, str]:
        body = metric.provider["http"]
        return {"url": f"{body.get('method') or 'GET'} {bare(str(body['url']))}"}

    async def measure(self, metric: Metric, secrets: Mapping[str, str], now: datetime) -> Reading:
        body = metric.provider["http"]
        request = Request(
            url=str(body["url"]),
            method=str(body.get("method") or "GET"),
            headers=headers_of(body.get("headers"), secrets),
            body=str(body["body"]).encode() if body.get("body") else None,
            verify=not body.get("insecure", False),
        )
        deadline = duration(str(body.get("timeout") or DEFAULT_TIMEOUT))
        begun = self._clock.monotonic()
        try:
            answer = await self._fetch(request, deadline=deadline, max_bytes=MAX_BODY)
        except NoAnswer as error:
            return unanswered(str(error), self._clock.monotonic() - begun)
        return answered(answer)


def answered(answer: Response) -> Reading:
    phase: Phase = "Successful" if 200 <= answer.status < 400 else "Failed"
    record = {"status": answer.status, "latencyMs": _milliseconds(answer.elapsed_seconds), "error": ""}
    return Reading(
        {**record, "body": _body(answer)}, phase=phase, message=f"HTTP {answer.status}", record=record
    )


def unanswered(error: str, seconds: float) -> Reading:
    record = {"status": 0, "latencyMs": _milliseconds(seconds), "error": short(error)}
    return Reading({**record, "body": ""}, phase="Failed", message=short(error), record=record)


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 3)


def _body(answer: Response) -> Any:
    try:
        return decode(answer.body)
    except (ValueError, RecursionError):
        return answer.body[:MAX_TEXT].decode("utf-8", "replace")
