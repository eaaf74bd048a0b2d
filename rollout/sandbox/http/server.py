"""The API server as something to start and stop: a TLS listener, the application, and storage's own chores."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
import ssl
from collections.abc import Generator
from pathlib import Path
from typing import Any

import uvicorn

from rollout.errors import SandboxError
from rollout.runtime.clock import Clock
from rollout.sandbox.http.app import ApiApp
from rollout.sandbox.http.identity import Identity, load_identity
from rollout.sandbox.http.kubeconfig import kubeconfig, write_kubeconfig
from rollout.sandbox.http.logs import LogSource
from rollout.sandbox.http.protocol import ApiProtocol
from rollout.sandbox.storage.storage import Storage

log = logging.getLogger(__name__)

HOST = "127.0.0.1"
_GRACE_SECONDS = 5
_GARBAGE_STEP = 50


class ApiServer:
    """Serves `storage` on loopback. After `start`, `address`, `authority` (PEM) and `token` say how to get in."""

    def __init__(
        self,
        storage: Storage,
        state: Path,
        clock: Clock,
        *,
        port: int = 0,
        logs: LogSource | None = None,
    ) -> None:
        self._storage = storage
        self._state = state
        self._clock = clock
        self._port = port
        self._logs = logs
        self._identity: Identity | None = None
        self._app: ApiApp | None = None
        self._server: _Uvicorn | None = None
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def port(self) -> int:
        return self._port

    @property
    def address(self) -> str:
        return f"https://{HOST}:{self._port}"

    @property
    def authority(self) -> bytes:
        """The certificate (PEM) that clients are to trust."""
        return self._started_identity().authority

    @property
    def authority_file(self) -> Path:
        return self._started_identity().authority_file

    @property
    def token(self) -> str:
        return self._started_identity().token

    @property
    def open_streams(self) -> int:
        """Watches and followed logs that are open now."""
        return len(self._app.streams) if self._app is not None else 0

    def kubeconfig(self) -> dict[str, Any]:
        return kubeconfig(self.address, self.authority, self.token)

    def write_kubeconfig(self, path: Path) -> None:
        write_kubeconfig(path, self.kubeconfig())

    async def start(self) -> None:
        """Listens; returns when requests are answered. SandboxError when the port or the directory is not to be had."""
        identity = load_identity(self._state, self._clock.now())
        listener = _listen(self._port)
        self._port = listener.getsockname()[1]
        self._identity = identity
        self._app = ApiApp(
            self._storage,
            token=identity.token,
            address=self.address,
            clock=self._clock,
            logs=self._logs,
        )
        self._server = _Uvicorn(_config(self._app, identity))
        serving = asyncio.create_task(self._server.serve(sockets=[listener]))
        listening = asyncio.create_task(self._server.listening.wait())
        await asyncio.wait({serving, listening}, return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            listening.cancel()
            listener.close()
            serving.result()  # raises what went wrong
        self._tasks = [serving, asyncio.create_task(self._collect_garbage())]

    async def stop(self) -> None:
        """Ends all streams, lets requests in progress finish (bounded), closes the listener."""
        if self._server is None or self._app is None:
            return
        serving, collecting = self._tasks
        self._app.streams.stop()
        self._server.should_exit = True
        await serving
        collecting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await collecting

    async def _collect_garbage(self) -> None:
        """Works off what writes left to collect, a few objects at a time so that requests come in between."""
        written = asyncio.Event()
        forget = self._storage.on_write(lambda *_: written.set())
        written.set()
        try:
            while True:
                await written.wait()
                written.clear()
                if self._collect_some():
                    written.set()
                    await asyncio.sleep(0)
        finally:
            forget()

    def _collect_some(self) -> bool:
        """One step; whether there may be more. An object that cannot be collected does not stop the others."""
        try:
            return self._storage.collect_garbage(limit=_GARBAGE_STEP) > 0
        except Exception:
            log.exception("garbage collection failed for one object; going on with the others")
            return True

    def _started_identity(self) -> Identity:
        if self._identity is None:
            raise RuntimeError("the API server has not been started")
        return self._identity


def _listen(port: int) -> socket.socket:
    # asyncio turns off Nagle only where the protocol is named; with it every answer would wait 40 ms.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
    except OSError as error:
        listener.close()
        raise SandboxError(_bind_problem(port, error)) from error
    return listener


def _bind_problem(port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"port {port} on {HOST} is taken by another process (see `ss -ltnp 'sport = :{port}'`); "
            "choose another one, or 0 for any free port"
        )
    if error.errno == errno.EACCES:
        return f"port {port} on {HOST} needs privileges; choose one above 1023, or 0 for any free port"
    return f"cannot listen on {HOST}:{port}: {error.strerror}; choose another port, or 0 for any free port"


def _config(app: ApiApp, identity: Identity) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        ssl_certfile=identity.certificate_file,
        ssl_keyfile=identity.key_file,
        ssl_version=ssl.PROTOCOL_TLS_SERVER,
        http=ApiProtocol,
        lifespan="off",
        ws="none",
        proxy_headers=False,
        server_header=False,
        access_log=False,
        log_config=None,
        timeout_keep_alive=120,  # longer than clients keep idle connections, so that they close first
        timeout_graceful_shutdown=_GRACE_SECONDS,
        h11_max_incomplete_event_size=64 * 1024,
    )


class _Uvicorn(uvicorn.Server):
    """uvicorn without its signal handlers (the process decides when to stop), telling when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield
