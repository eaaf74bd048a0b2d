"""A proxy before the API of a cluster that counts what one client writes, and can kill it at any of its writes.

TLS ends in it: its certificate is signed by an authority of its own, which `kubeconfig` makes the client trust. The
client proves who it is by a token, which is passed on as it is. Answers are passed on as they come, watches included.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal, NamedTuple

import aiohttp
import yaml
from aiohttp import web

from rollout.runtime.config import Connection
from tests.cluster.certificates import Authority

LOOPBACK = "127.0.0.1"
WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})
UNCOUNTED = frozenset({"leases", "events"})
"""Writes to these change nothing that a release consists of."""
HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length", "host", "upgrade"})
Moment = Literal["before", "after"]


class Write(NamedTuple):
    """A write that arrived: its number since `count_from_here`, from 1 on; how it was answered, 0 if it was not."""

    number: int
    what: str
    status: int = 0


class Strike(NamedTuple):
    """Kill at the write of this number: before it is passed on, or when it is done and before that is told."""

    number: int
    moment: Moment


def is_counted(method: str, path: str) -> bool:
    """Whether a request is a write that counts. Path: /api/v1/..., /apis/GROUP/VERSION/..., without the query."""
    parts = path.strip("/").split("/")
    below = parts[2:] if parts[0] == "api" else parts[3:]
    if below[:1] == ["namespaces"] and len(below) > 2:
        below = below[2:]
    return method in WRITES and below[:1] != [] and below[0] not in UNCOUNTED


class CountingProxy:
    """`writes` since `count_from_here`; `strikes` those at which `kill` is still to be called, and nothing answered."""

    def __init__(self, upstream: Connection, folder: Path) -> None:
        self._upstream, self._folder = upstream, folder
        self._authority = Authority(folder / "proxy")
        self._session: aiohttp.ClientSession | None = None
        self.url = ""
        self.writes: list[Write] = []
        self.strikes: set[Strike] = set()
        self.struck: list[tuple[Strike, str]] = []
        """The strikes that were carried out, with the write at which they were."""
        self.kill: Callable[[], None] = lambda: None

    def count_from_here(self, *strikes: Strike) -> None:
        """Forget what was counted, and kill at these from now on."""
        self.writes, self.struck, self.strikes = [], [], set(strikes)

    def kubeconfig(self, token: str) -> Path:
        """For a client that has this token: the way through the proxy."""
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "proxy",
            "clusters": [
                {
                    "name": "proxy",
                    "cluster": {
                        "server": self.url,
                        "certificate-authority": str(self._authority.pair.certificate),
                    },
                }
            ],
            "users": [{"name": "controller", "user": {"token": token}}],
            "contexts": [{"name": "proxy", "context": {"cluster": "proxy", "user": "controller"}}],
        }
        path = self._folder / "through-proxy.kubeconfig"
        path.touch(mode=0o600)
        path.write_text(yaml.safe_dump(config))
        return path

    @asynccontextmanager
    async def running(self) -> AsyncIterator[CountingProxy]:
        """Serves on a free port of loopback until the end of the block."""
        trust = ssl.create_default_context(cadata=(self._upstream.ca or b"").decode())
        connector = aiohttp.TCPConnector(limit=0, ssl=trust)
        served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        served.load_cert_chain(*self._authority.server("proxy", (LOOPBACK,)))
        app = web.Application(client_max_size=0)
        app.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=1.0)
        async with aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=None),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
        ) as self._session:
            try:
                await runner.setup()
                site = web.TCPSite(runner, LOOPBACK, 0, ssl_context=served)
                await site.start()
                port = runner.addresses[0][1]
                self.url = f"https://{LOOPBACK}:{port}"
                yield self
            finally:
                await runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        if not is_counted(request.method, request.path):
            return await self._answer(request, body)
        number = len(self.writes) + 1
        write = Write(number, f"{request.method} {request.path}")
        self.writes.append(write)
        if self._strikes(Strike(number, "before"), write):
            return _silence(request)
        # What has been passed on is carried out, whether or not the client lives to hear of it.
        status, headers, answer = await asyncio.shield(self._whole(request, body))
        self.writes[number - 1] = write._replace(status=status)
        if self._strikes(Strike(number, "after"), write):
            return _silence(request)
        return web.Response(status=status, headers=headers, body=answer)

    def _strikes(self, strike: Strike, write: Write) -> bool:
        if strike not in self.strikes:
            return False
        self.strikes.discard(strike)
        self.struck.append((strike, write.what))
        self.kill()
        return True

    async def _whole(self, request: web.Request, body: bytes) -> tuple[int, Mapping[str, str], bytes]:
        async with self._sent(request, body) as answer:
            return answer.status, _passed_on(answer.headers), await answer.read()

    async def _answer(self, request: web.Request, body: bytes) -> web.StreamResponse:
        async with self._sent(request, body) as answer:
            response = web.StreamResponse(status=answer.status, headers=_passed_on(answer.headers))
            await response.prepare(request)
            async for chunk in answer.content.iter_any():
                await response.write(chunk)
            await response.write_eof()
            return response

    @asynccontextmanager
    async def _sent(self, request: web.Request, body: bytes) -> AsyncIterator[aiohttp.ClientResponse]:
        assert self._session is not None
        async with self._session.request(
            request.method,
            f"{self._upstream.server}{request.rel_url.raw_path_qs}",
            headers=_passed_on(request.headers),
            data=body or None,
            skip_auto_headers=("User-Agent", "Content-Type", "Accept", "Accept-Encoding"),
            allow_redirects=False,
        ) as answer:
            yield answer


def _passed_on(headers: Mapping[str, str]) -> Mapping[str, str]:
    return {name: value for name, value in headers.items() if name.lower() not in HOP_BY_HOP}


def _silence(request: web.Request) -> web.Response:
    """Whoever asked is dead: the connection is cut, and what is returned goes nowhere."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=502)
