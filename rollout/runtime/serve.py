"""/metrics, /healthz and /readyz over plain HTTP, and yes or no to what `asked` names: read-only, small.

Own and tiny on purpose: the controller's image has no web framework. Each connection gets one answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Self

from rollout.errors import ConfigError
from rollout.runtime.metrics import CONTENT_TYPE, Metrics

Check = Callable[[], str]
"""What is wrong, or "" if nothing is."""
Ask = Callable[[str], int]
"""From what stands behind a prefix of the path to a status of HTTP; nothing else is told."""

REQUEST_SECONDS = 10.0
MAX_HEAD = 16_384
TEXT = "text/plain; charset=utf-8"


class HealthServer:
    """Serves while it is entered. `healthy` and `ready` are named checks; any that says something makes it a 503.
    `notes` are told beside the checks of /readyz, whatever they say. `asked` are questions by the prefix of their paths.

        async with HealthServer("127.0.0.1:8090", metrics=metrics, ready={"caches": problem}) as server:
            ...   # server.port is the port (asked for 0: the one it got)

    ConfigError if the address is malformed or taken.
    """

    def __init__(
        self,
        address: str,
        *,
        metrics: Metrics | None = None,
        healthy: Mapping[str, Check] | None = None,
        ready: Mapping[str, Check] | None = None,
        notes: Mapping[str, Callable[[], Iterable[str]]] | None = None,
        asked: Mapping[str, Ask] | None = None,
    ) -> None:
        host, _, port = address.rpartition(":")
        if not port.isdecimal() or int(port) > 65535:
            raise ConfigError(f"{address!r} is not an address; write for example 127.0.0.1:8090 or :8090")
        self.port = int(port)
        self._host = host.strip("[]") or None
        self._address = address
        self._metrics = metrics
        self._checks = {"/healthz": dict(healthy or {}), "/readyz": dict(ready or {})}
        self._notes = {"/readyz": dict(notes or {})}
        self._asked = dict(asked or {})
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        try:
            self._server = await asyncio.start_server(self._serve, self._host, self.port, limit=MAX_HEAD)
        except OSError as error:
            raise ConfigError(
                f"cannot serve metrics and health on {self._address}: {error.strerror}"
            ) from error
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(self._answer(head))
                await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            return  # the client went away, dawdles, or talks too much
        finally:
            writer.close()

    def _answer(self, head: bytes) -> bytes:
        method, _, rest = head.split(b"\r\n", 1)[0].decode("latin-1").partition(" ")
        path = rest.partition(" ")[0].partition("?")[0]
        if method not in {"GET", "HEAD"}:
            return _http(405, TEXT, b"only GET\n", head=False)
        code, kind, body = self._page(path)
        return _http(code, kind, body, head=method == "HEAD")

    def _page(self, path: str) -> tuple[int, str, bytes]:
        if path == "/metrics" and self._metrics is not None:
            return 200, CONTENT_TYPE, self._metrics.render()
        for prefix, ask in self._asked.items():
            if path.startswith(prefix):
                code = ask(path.removeprefix(prefix))
                return code, TEXT, f"{_REASONS[code]}\n".encode()
        checks = self._checks.get(path.rstrip("/"))
        if checks is None:
            return 404, TEXT, b"there are /metrics, /healthz and /readyz\n"
        said = {name: check() for name, check in checks.items()}
        lines = [f"[{'-' if wrong else '+'}]{name} {wrong or 'ok'}" for name, wrong in said.items()]
        for name, tell in self._notes.get(path.rstrip("/"), {}).items():
            lines += [f"[i]{name} {note}" for note in tell()]
        bad = any(said.values())
        lines.append("failed" if bad else "ok")
        return 503 if bad else 200, TEXT, ("\n".join(lines) + "\n").encode()


_REASONS = {
    200: "OK",
    404: "Not Found",
    405: "Method Not Allowed",
    410: "Gone",
    503: "Service Unavailable",
}


def _http(code: int, kind: str, body: bytes, *, head: bool) -> bytes:
    lines = (
        f"HTTP/1.1 {code} {_REASONS[code]}",
        f"Content-Type: {kind}",
        f"Content-Length: {len(body)}",
        "Connection: close",
        "X-Content-Type-Options: nosniff",
        "",
        "",
    )
    return "\r\n".join(lines).encode() + (b"" if head else body)
