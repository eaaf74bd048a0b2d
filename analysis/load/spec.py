"""From the body of a `loadTest` (validated, arguments substituted) to the plan and to what else must be made."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from analysis.load.plan import DEFAULT_TIMEOUT, SUCCESS, Checks, Plan, Request, users_for
from rollout.api.meta import duration
from rollout.core.checks import whole
from rollout.core.validate_providers.load_test import number, request_name

LOCUSTFILE_KEY = "locustfile.py"
SPAWN_RATE = 100
"""Users per second that are started at most where nothing is said; locust has trouble beyond."""


class Source(msgspec.Struct, frozen=True):
    """The user's own locustfile: its text, or the ConfigMap that has it."""

    inline: str = ""
    config_map: str = ""
    key: str = ""


def plan_of(body: Mapping[str, Any], target: str, start_at: datetime | None = None) -> Plan:
    """The plan of a valid body against the base URL `target`."""
    timeout = seconds(body.get("timeout"), DEFAULT_TIMEOUT)
    rate = number(body.get("requestsPerSecond"))
    users = whole(body.get("maxUsers" if rate else "users")) or users_for(rate or 1.0, timeout)
    return Plan(
        target=target.rstrip("/"),
        model="open" if rate else "closed",
        duration=seconds(body.get("duration"), 0.0),
        users=users,
        rate=rate or 0.0,
        spawn_rate=number(body.get("spawnRate")) or float(min(users, SPAWN_RATE)),
        think_time=seconds(body.get("thinkTime"), 0.0),
        timeout=timeout,
        insecure=body.get("insecure") is True,
        headers=_headers(body.get("headers")),
        requests=() if body.get("locustfile") else _requests(body.get("requests")),
        workers=workers_of(body),
        start_at=start_at.timestamp() if start_at else 0.0,
    )


def workers_of(body: Mapping[str, Any]) -> int:
    """Processes that send requests; several need a master beside them."""
    return whole(body.get("workers")) or 1


def seconds(value: Any, default: float) -> float:
    """The seconds of a Go duration; `default` for nothing."""
    return duration(value) if value else default


def source_of(body: Mapping[str, Any]) -> Source | None:
    """The user's own locustfile, if there is one."""
    given = body.get("locustfile")
    if not given:
        return None
    if "inline" in given:
        return Source(inline=given["inline"])
    ref = given["configMapRef"]
    return Source(config_map=ref["name"], key=ref.get("key") or LOCUSTFILE_KEY)


def _requests(given: Any) -> tuple[Request, ...]:
    return tuple(_request(item) for item in given) if given else (_request({}),)


def _request(item: Mapping[str, Any]) -> Request:
    headers, body = _headers(item.get("headers")), item.get("body", "")
    if "jsonBody" in item:
        body = json.dumps(item["jsonBody"], ensure_ascii=False)
        headers = {"content-type": "application/json", **headers}
    return Request(
        name=request_name(item),
        method=item.get("method", "GET"),
        path=item.get("path", "/"),
        weight=whole(item.get("weight")) or 1,
        headers=headers,
        body=body,
        checks=_checks(item.get("checks") or {}),
    )


def _checks(given: Mapping[str, Any]) -> Checks:
    limit = given.get("maxLatency")
    return Checks(
        status=tuple(str(one) for one in given.get("status") or SUCCESS),
        max_latency_ms=duration(limit) * 1000 if limit else None,
        body_contains=given.get("bodyContains", ""),
    )


def _headers(given: Any) -> dict[str, str]:
    return {item["key"].lower(): item.get("value", "") for item in given or ()}


def deadline_seconds(plan: Plan) -> int:
    """How long all of it may take once it has begun: the test itself and the answers that are still awaited."""
    return math.ceil(plan.duration + plan.timeout + _ENDING)


_ENDING = 15.0
"""Seconds that locust and its workers may take to report and to end."""
