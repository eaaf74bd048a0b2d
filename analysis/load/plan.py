"""What a load test does, as one JSON document: written by the provider or the command line, read inside locust.

Times are seconds, but for the limits of checks, which are milliseconds like all results.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import msgspec

from rollout.core.arguments import reveal
from rollout.core.validate_providers.load_test import MAX_USERS

DEFAULT_TIMEOUT = 10.0
REACHED = 0.95
"""The share of the wanted rate from which a load counts as reached."""
SUCCESS = ("2xx", "3xx")
"""The statuses that are a success where a request says nothing else."""
START_ALLOWANCE = 120.0
"""Seconds that pods may take to be scheduled, pulled and started."""

PLAN_VARIABLE = "SUREFOOT_LOAD_PLAN"
SECRETS_VARIABLE = "SUREFOOT_LOAD_SECRETS"
LOCUSTFILE_VARIABLE = "SUREFOOT_LOAD_LOCUSTFILE"

Model = Literal["open", "closed"]


class _Part(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, forbid_unknown_fields=True):
    """A part of the document."""


class Checks(_Part, frozen=True):
    """What makes an answer a success: one of these statuses ("200", "2xx"), fast enough, with this text in it."""

    status: tuple[str, ...] = SUCCESS
    max_latency_ms: float | None = None
    body_contains: str = ""

    def failed(self, status: int, milliseconds: float, body: str) -> str:
        """Why an answer is a failure; "" when it is none. The texts are few, so that they can be counted."""
        code = str(status)
        if code not in self.status and f"{code[0]}xx" not in self.status:
            return f"HTTP {code}, wanted {' or '.join(self.status)}"
        if self.max_latency_ms is not None and milliseconds > self.max_latency_ms:
            return f"slower than {self.max_latency_ms:g} ms"
        if self.body_contains and self.body_contains not in body:
            return "the body does not contain the wanted text"
        return ""


class Request(_Part, frozen=True):
    """One kind of request. `weight` is its share among all."""

    name: str
    method: str = "GET"
    path: str = "/"
    weight: int = 1
    headers: dict[str, str] = {}
    body: str = ""
    checks: Checks = Checks()


class Plan(_Part, frozen=True):
    """A load test.

    open: `rate` requests per second arrive, whether or not earlier ones are answered; each takes a free user, and
    there are at most `users`. closed: `users` each send the next request when the last one is answered, after
    `think_time`; they start at `spawn_rate` per second.
    """

    target: str
    model: Model
    duration: float
    users: int
    rate: float = 0.0
    spawn_rate: float = 1.0
    think_time: float = 0.0
    timeout: float = DEFAULT_TIMEOUT
    """Of one request, from sending it to the end of its answer."""
    insecure: bool = False
    """Do not verify certificates."""
    headers: dict[str, str] = {}
    requests: tuple[Request, ...] = ()
    """None where the user's own locustfile says what is sent."""
    workers: int = 1
    start_at: float = 0.0
    """Unix time before which nothing is sent."""


def encode(plan: Plan) -> str:
    """The plan as JSON."""
    return msgspec.json.encode(plan).decode()


def decode(text: str) -> Plan:
    """The plan in a JSON text. ValueError (msgspec's) when it is none."""
    return msgspec.json.decode(text, type=Plan)


def users_for(rate: float, timeout: float) -> int:
    """Users that an arrival rate can ever need: by Little's law as many as may wait for an answer at one time."""
    return max(1, min(MAX_USERS, math.ceil(rate * timeout)))


def arrivals(rate: float, duration: float, index: int, count: int) -> range:
    """The numbers of the arrivals that worker `index` of `count` sends; arrival n is due n / rate after the start."""
    return range(index, max(1, round(rate * duration)), count)


def arguments(plan: Plan) -> list[str]:
    """The command line of locust that carries the plan out, but for its role among several."""
    users, spawn_rate = (
        (plan.workers, float(plan.workers)) if plan.model == "open" else (plan.users, plan.spawn_rate)
    )
    return [
        "--headless", "--only-summary", "--skip-log-setup", "--exit-code-on-error", "0",
        "--users", str(users), "--spawn-rate", f"{spawn_rate:g}",
        "--stop-timeout", str(math.ceil(plan.timeout) + 2), "--host", plan.target,
    ]  # fmt: skip


def draw(requests: tuple[Request, ...], point: float) -> Request:
    """The request at `point` (0..1) of all weights laid end to end."""
    left = point * sum(request.weight for request in requests)
    for request in requests:
        left -= request.weight
        if left < 0:
            return request
    return requests[-1]


def revealed(plan: Plan, values: Mapping[str, str]) -> Plan:
    """The plan with the values of secret arguments in its headers. Never written anywhere."""
    if not values:
        return plan
    return msgspec.structs.replace(
        plan,
        headers=_revealed(plan.headers, values),
        requests=tuple(
            msgspec.structs.replace(request, headers=_revealed(request.headers, values))
            for request in plan.requests
        ),
    )


def _revealed(headers: Mapping[str, str], values: Mapping[str, str]) -> dict[str, str]:
    return {name: reveal(text, values) for name, text in headers.items()}
