"""Probe rules, pure: when to probe next and what a row of results means.

Contract: https://kubernetes.io/docs/reference/generated/kubernetes-api/v1.32/#probe-v1-core . Times are
seconds. Defaults: period 10, timeout 1, success threshold 1, failure threshold 3, initial delay 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from rollout.api.meta import View

ProbeKind = Literal["readiness", "liveness", "startup"]


class HttpGet(View, frozen=True):
    port: int | str
    path: str = "/"
    host: str = ""
    scheme: str = "HTTP"
    http_headers: tuple[dict[str, str], ...] = ()


class TcpSocket(View, frozen=True):
    port: int | str
    host: str = ""


class Exec(View, frozen=True):
    command: tuple[str, ...] = ()


class SleepAction(View, frozen=True):
    seconds: int


class Handler(View, frozen=True):
    """What a probe or a lifecycle hook does: exactly one of these."""

    http_get: HttpGet | None = None
    tcp_socket: TcpSocket | None = None
    exec: Exec | None = None
    sleep: SleepAction | None = None


class Probe(View, frozen=True):
    http_get: HttpGet | None = None
    tcp_socket: TcpSocket | None = None
    exec: Exec | None = None
    grpc: dict[str, Any] | None = None
    initial_delay_seconds: int = 0
    period_seconds: int = 10
    timeout_seconds: int = 1
    success_threshold: int = 1
    failure_threshold: int = 3
    termination_grace_period_seconds: int | None = None

    @property
    def handler(self) -> Handler:
        return Handler(http_get=self.http_get, tcp_socket=self.tcp_socket, exec=self.exec)


class ProbeState(msgspec.Struct, frozen=True):
    """What a probe has said so far. `verdict` is None until a threshold was reached for the first time."""

    verdict: bool | None = None
    row: int = 0
    last: bool | None = None


def after(probe: Probe, state: ProbeState, success: bool) -> ProbeState:
    """The state after one more result: the verdict turns when `row` equal results reach their threshold."""
    row = state.row + 1 if state.last == success else 1
    threshold = probe.success_threshold if success else probe.failure_threshold
    verdict = success if row >= max(threshold, 1) else state.verdict
    return ProbeState(verdict, row, success)


class Health(msgspec.Struct, frozen=True):
    """What the probes of one running container mean together.

    `kill` names the probe that asks for a restart, or is "".
    """

    started: bool
    ready: bool
    kill: Literal["", "liveness", "startup"] = ""


def health(probes: Mapping[ProbeKind, Probe], states: Mapping[ProbeKind, ProbeState]) -> Health:
    """Readiness and liveness count only once the startup probe has succeeded; without probes all is well."""

    def verdict(kind: ProbeKind) -> bool | None:
        return states.get(kind, ProbeState()).verdict

    started = "startup" not in probes or verdict("startup") is True
    if "startup" in probes and verdict("startup") is False:
        return Health(started=False, ready=False, kill="startup")
    ready = started and ("readiness" not in probes or verdict("readiness") is True)
    if started and verdict("liveness") is False:
        return Health(started=True, ready=ready, kill="liveness")
    return Health(started=started, ready=ready)


def unhealthy_message(kind: ProbeKind, output: str) -> str:
    """As the kubelet words it: `Readiness probe failed: HTTP probe failed with statuscode: 500`."""
    return f"{kind.capitalize()} probe failed: {output}"


class BackOff(msgspec.Struct, frozen=True):
    """The wait before a crashed container starts again: `base` doubling to `limit`, forgotten after `quiet`."""

    base: float = 10.0
    limit: float = 300.0
    quiet: float = 600.0

    def wait(self, crashes: int) -> float:
        """Seconds to wait after the `crashes`-th exit in a row: none, base, twice base, ... limit."""
        if crashes <= 1:
            return 0.0
        return min(self.limit, self.base * 2.0 ** min(crashes - 2, 32))

    def crashes(self, before: int, ran: float) -> int:
        """Exits in a row, counting the one just seen of a container that ran `ran` seconds."""
        return 1 if ran >= self.quiet else before + 1
