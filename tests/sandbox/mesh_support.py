"""A real Envoy and small HTTP servers for mesh tests."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import aiohttp

from rollout.runtime.clock import SystemClock
from rollout.runtime.unix_http import UnixHttp
from rollout.sandbox.mesh import envoy
from rollout.sandbox.mesh.bootstrap import Ports
from rollout.sandbox.mesh.model import Snapshot
from rollout.sandbox.mesh.names import proxy_url
from rollout.sandbox.mesh.push import Pusher
from rollout.sandbox.mesh.render import Rendered, render

REST = 0.01
"""Seconds between two calls of one client under `load`."""


class Server:
    """An HTTP/1.1 server on loopback that answers with its name, after `gate` opens if there is one."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.requests: list[bytes] = []
        self.gate: asyncio.Event | None = None
        self.arrived = asyncio.Event()
        self.status = 200
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> Server:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    @property
    def address(self) -> tuple[str, int]:
        assert self._server is not None
        host, port = self._server.sockets[0].getsockname()[:2]
        return host, port

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                self.requests.append(await reader.readuntil(b"\r\n\r\n"))
                self.arrived.set()
                if self.gate:
                    await self.gate.wait()
                body = self.name.encode()
                writer.write(b"HTTP/1.1 %d X\r\ncontent-length: %d\r\n\r\n" % (self.status, len(body)) + body)
                await writer.drain()
        self._writers.discard(writer)
        writer.close()

    async def stop(self) -> None:
        """As a server that shuts down gracefully: no new connections, idle ones closed."""
        assert self._server is not None
        self._server.close()
        for writer in self._writers:
            writer.close()


class Mesh:
    """One Envoy, and a client inside the mesh."""

    def __init__(self, files: envoy.EnvoyFiles, ports: Ports, pusher: Pusher, admin: UnixHttp) -> None:
        self.files, self.ports, self.pusher, self.admin = files, ports, pusher, admin
        self.session = aiohttp.ClientSession()
        self.process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        with self.files.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(*envoy.command(self.files), stderr=log)
        await envoy.wait_ready(self.admin, SystemClock())
        self.ports = await envoy.listening(self.admin)

    async def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        await self.process.wait()

    def rendered(self, snapshot: Snapshot) -> Rendered:
        return render(snapshot)

    async def push(self, snapshot: Snapshot) -> bool:
        return await self.pusher.push(self.rendered(snapshot))

    async def get(
        self, url: str, *, namespace: str = "shop", pod: str = "", **options: object
    ) -> tuple[int, str]:
        proxy = proxy_url(namespace, self.ports.mesh, pod=pod)
        async with self.session.get(url, proxy=proxy, allow_redirects=False, **options) as answer:
            return answer.status, await answer.text()

    async def gateway(self, host: str, path: str = "/") -> tuple[int, str]:
        url = f"http://127.0.0.1:{self.ports.gateway}{path}"
        async with self.session.get(url, headers={"Host": host}) as answer:
            return answer.status, await answer.text()

    async def metrics(self) -> str:
        async with self.session.get(f"http://127.0.0.1:{self.ports.metrics}/stats/prometheus") as answer:
            assert answer.status == 200
            return await answer.text()


@contextlib.asynccontextmanager
async def running_mesh(root: Path, snapshot: Snapshot) -> AsyncIterator[Mesh]:
    files = envoy.files_in(root)
    envoy.write_bootstrap(files, Ports())
    admin = UnixHttp(files.admin_socket)
    pusher = Pusher(files, admin, SystemClock())
    pusher.prepare(render(snapshot))
    mesh = Mesh(files, Ports(), pusher, admin)
    try:
        await mesh.start()
        yield mesh
    finally:
        await mesh.session.close()
        await mesh.kill()
        await admin.close()


async def load(call: Callable[[], object], *, clients: int, until: asyncio.Event, most: int = 60_000) -> list:
    """Clients that call one after the other until `until` is set: all results.

    Each rests a little between its calls, so that the load lasts for as long as a busy machine needs; a test
    whose load has ended must not go on as if there were one, so it fails here.
    """
    results: list = []

    async def client() -> None:
        while not until.is_set():
            assert len(results) < most, f"the load has ended after {most} calls"
            results.append(await call())  # type: ignore[misc]
            await asyncio.sleep(REST)

    async with asyncio.TaskGroup() as group:
        for _ in range(clients):
            group.create_task(client())
    return results
