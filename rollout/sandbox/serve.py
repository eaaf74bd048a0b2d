"""The supervisor's process: `python -m rollout.sandbox.serve --config JSON --lock-fd N [--report-fd N]`.

The API server, Envoy, Prometheus and extra commands are children of this process; the workload
controllers, the node agent and the drivers of Envoy and Prometheus run inside it. Two cores are then used
by two Python processes, and a start pays for two interpreters instead of five.

When this process ends in whatever way, also by `kill -9`, so do all others: see `runtime.process`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import errno
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import msgspec

from rollout.api.codec import decode, encode
from rollout.api.meta import timestamp
from rollout.errors import SandboxError, SurefootError
from rollout.runtime.clock import SystemClock
from rollout.runtime.process import Supervisor
from rollout.sandbox.children import Child, Command, first_of, stop_all
from rollout.sandbox.config import SandboxConfig
from rollout.sandbox.http.version import GIT_VERSION
from rollout.sandbox.mesh.binary import envoy_path
from rollout.sandbox.prometheus.install import require_prometheus
from rollout.sandbox.state import MARKER, Lock, Part, Record

LOOPBACK = "127.0.0.1"
READY_SECONDS = 60.0

Tell = Callable[[str], None]


async def serve(
    config: SandboxConfig, lock: Lock, tell: Tell, ready: Callable[[], None], stop: asyncio.Event
) -> None:
    """Run a sandbox until `stop` is set, then release `lock`, which the caller holds.

    `tell` gets progress lines, `ready` is called once all is up.
    SandboxError says what is wrong and what to do; nothing is left running then either.
    """
    try:
        _check_ports(config)
        binaries = Binaries(envoy_path(), require_prometheus())
        async with Supervisor() as processes:
            sandbox = Sandbox(config, binaries, processes, tell)
            await sandbox.run(ready, stop)
    finally:
        lock.release()


class Binaries(msgspec.Struct, frozen=True):
    envoy: str
    prometheus: Path


def _check_ports(config: SandboxConfig) -> None:
    """Asked-for ports that are taken are said before anything starts."""
    for option, port in (
        ("--port", config.api_port),
        ("--mesh-port", config.mesh_port),
        ("--gateway-port", config.gateway_port),
        ("--prometheus-port", config.prometheus_port),
    ):
        if not port:
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((LOOPBACK, port))
            except OSError as error:
                taken = error.errno == errno.EADDRINUSE
                why = "is taken by another process" if taken else f"cannot be used ({error.strerror})"
                raise SandboxError(
                    f"port {port} ({option}) on {LOOPBACK} {why}; choose another with {option}, or 0 for any free one"
                ) from error


class Sandbox:
    """One running sandbox."""

    def __init__(self, config: SandboxConfig, binaries: Binaries, processes: Supervisor, tell: Tell) -> None:
        self.config, self.binaries, self.tell = config, binaries, tell
        self.state = config.directory()
        self.clock = SystemClock()
        self._processes = processes
        self.children: dict[str, Child] = {}
        self._close: list[Callable[[], Awaitable[None]]] = []
        self._env = {**os.environ, MARKER: str(self.state.root)}
        self.group = asyncio.TaskGroup()
        self._record = Record(config.name, os.getpid(), timestamp(self.clock.now()))
        self.state.write(self._record)

    async def run(self, ready: Callable[[], None], stop: asyncio.Event) -> None:
        why = ""
        try:
            async with self.group:
                stopping = self.group.create_task(_until(stop))
                async with asyncio.timeout(READY_SECONDS):
                    await self._start()
                self.update(ready=True)
                ready()
                await stopping
        except BaseExceptionGroup as group:
            why = self._reason(group)
            if why:
                raise SandboxError(why) from group
        finally:
            await stop_all(self.children.values())
            for close in self._close:
                await close()
            self.update(ready=False, ended=why, parts=())

    def _reason(self, group: BaseExceptionGroup[BaseException]) -> str:
        """Why the sandbox ends, "" when it was asked to. What is no error of ours is raised as it is."""
        found = list(_leaves(group))
        for error in found:
            if isinstance(error, SurefootError):
                return str(error)
        if any(isinstance(error, TimeoutError) for error in found):
            return f"the sandbox was not ready within {READY_SECONDS:g} s; see {self.state.logs}"
        if all(isinstance(error, _Stopped) for error in found):
            return ""
        raise group

    # --- starting -----------------------------------------------------------------------------------

    async def _start(self) -> None:
        """The API server takes longest to come up, so it is started before anything else is even imported."""
        self.tell("starting the API server, Envoy and Prometheus")
        api = await self.child(self._api_command())
        from rollout.sandbox.parts import Parts

        parts = Parts(self)
        self._close.append(parts.close)
        async with asyncio.TaskGroup() as group:
            group.create_task(parts.start_data_plane())
            group.create_task(self._api_ready(api))
        self.tell("starting workloads, node and mesh")
        await parts.start_controllers()
        for command in self.config.commands:
            env = {**parts.callers_env(), "KUBECONFIG": str(self.state.kubeconfig), **command.env}
            await self.child(Command(command.name, command.argv, env))

    def _api_command(self) -> Command:
        argv = [sys.executable, "-m", "rollout.sandbox.http", "--detached", "--state", str(self.state.api)]
        argv += ["--port", str(self.config.api_port), "--node-state", str(self.state.node)]
        if self.config.data:
            argv += ["--data", self.config.data]
        remedy = "Its objects are gone with it unless --data is used: start the sandbox again."
        return Command("api-server", tuple(argv), deaths=1, remedy=remedy)

    async def _api_ready(self, api: Child) -> None:
        async def announced() -> None:
            said = decode(await api.announcement())
            self.update(api=said["address"], kubeconfig=said["kubeconfig"])
            self.part("api-server", address=said["address"], version=GIT_VERSION, state="running")

        await first_of(api, announced())

    # --- children and the record --------------------------------------------------------------------

    async def child(self, command: Command, *, log: Path | None = None) -> Child:
        child = Child(
            command,
            self._processes,
            log=log or self.state.logs / f"{command.name}.log",
            env=self._env,
            clock=self.clock,
            on_change=self._child_changed,
        )
        self.children[command.name] = child
        await child.start()
        self.group.create_task(child.run(), name=command.name)
        return child

    def _child_changed(self, child: Child) -> None:
        if child.message and not child.pid:
            self.tell(child.message)
        running = "running" if child.pid else "restarting"
        self.part(
            child.command.name, state=running, pid=child.pid, restarts=child.restarts, message=child.message
        )

    def part(self, name: str, **changes: object) -> None:
        parts = {part.name: part for part in self._record.parts}
        old = parts.get(name) or Part(name, since=timestamp(self.clock.now()))
        if changes.get("pid") not in {None, old.pid}:
            changes["since"] = timestamp(self.clock.now())
        parts[name] = msgspec.structs.replace(old, **changes)
        self.update(parts=tuple(parts.values()))

    def update(self, **changes: object) -> None:
        self._record = msgspec.structs.replace(self._record, **changes)
        self.state.write(self._record)


class _Stopped(Exception):
    """The sandbox was asked to end."""


async def _until(stop: asyncio.Event) -> None:
    await stop.wait()
    raise _Stopped


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


# --- the process ------------------------------------------------------------------------------------


class Report:
    """Lines of JSON to whoever started us, until we are ready: {"progress"}, {"ready"}, {"error"}."""

    def __init__(self, descriptor: int | None) -> None:
        self._pipe = os.fdopen(descriptor, "wb", buffering=0) if descriptor is not None else None

    def send(self, kind: str, text: str) -> None:
        if kind != "ready":
            sys.stderr.write(f"{text}\n")
            sys.stderr.flush()
        if self._pipe is None:
            return
        with contextlib.suppress(BrokenPipeError):  # nobody waits for us any more
            self._pipe.write(encode({kind: text}) + b"\n")
        if kind != "progress":
            self._pipe.close()
            self._pipe = None


async def run_process(config: SandboxConfig, lock: Lock, report: Report) -> int:
    """Serve until SIGTERM or SIGINT. The exit code: 0 when it ended on request."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        await serve(
            config, lock, lambda line: report.send("progress", line), lambda: report.send("ready", ""), stop
        )
    except SurefootError as error:
        report.send("error", str(error))
        return 1
    except Exception as error:
        import structlog

        log = structlog.get_logger()
        log.exception("the sandbox ends because of a defect")
        report.send(
            "error", f"a defect in the sandbox ended it: {type(error).__name__}: {error}; please report it"
        )
        return 1
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m rollout.sandbox.serve")
    parser.add_argument("--config", required=True, help="a SandboxConfig as JSON")
    parser.add_argument(
        "--lock-fd", type=int, required=True, help="the inherited lock of the state directory"
    )
    parser.add_argument("--report-fd", type=int, help="where to tell about progress")
    arguments = parser.parse_args()
    config = msgspec.json.decode(arguments.config, type=SandboxConfig)
    lock = Lock(config.directory(), arguments.lock_fd)
    return asyncio.run(run_process(config, lock, Report(arguments.report_fd)))


if __name__ == "__main__":
    sys.exit(main())
