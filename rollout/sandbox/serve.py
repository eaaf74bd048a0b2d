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
import structlog

from rollout.api.codec import decode, encode
from rollout.api.meta import timestamp
from rollout.api.resources import NODES
from rollout.errors import SandboxError, SurefootError
from rollout.runtime.client import HttpKube
from rollout.runtime.clock import Clock, SystemClock
from rollout.runtime.config import load
from rollout.runtime.kube import Kube
from rollout.runtime.process import Supervisor
from rollout.runtime.unix_http import UnixHttp
from rollout.sandbox.children import Child, Command, first_of, stop_all
from rollout.sandbox.config import SandboxConfig
from rollout.sandbox.mesh import envoy
from rollout.sandbox.mesh.bootstrap import Ports
from rollout.sandbox.mesh.names import DEFAULT_NAMESPACE, proxy_url
from rollout.sandbox.prometheus.install import require_prometheus
from rollout.sandbox.state import MARKER, Lock, Part, Record

log = structlog.get_logger()

LOOPBACK = "127.0.0.1"
NO_PROXY = f"localhost,{LOOPBACK},127.0.0.0/8"
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
        binaries = Binaries(envoy.envoy_path(), require_prometheus())
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


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.create_server((LOOPBACK, 0)) as probe:
        return int(probe.getsockname()[1])


class Sandbox:
    """One running sandbox."""

    def __init__(self, config: SandboxConfig, binaries: Binaries, processes: Supervisor, tell: Tell) -> None:
        self._config, self._binaries, self._tell = config, binaries, tell
        self._state = config.directory()
        self._clock = SystemClock()
        self._processes = processes
        self._children: dict[str, Child] = {}
        self._clients: list[HttpKube | UnixHttp] = []
        self._env = {**os.environ, MARKER: str(self._state.root)}
        self._group = asyncio.TaskGroup()
        self._record = Record(config.name, os.getpid(), timestamp(self._clock.now()))
        self._state.write(self._record)

    async def run(self, ready: Callable[[], None], stop: asyncio.Event) -> None:
        why = ""
        try:
            async with self._group:
                stopping = self._group.create_task(_until(stop))
                async with asyncio.timeout(READY_SECONDS):
                    await self._start()
                self._update(ready=True)
                ready()
                await stopping
        except BaseExceptionGroup as group:
            why = self._reason(group)
            if why:
                raise SandboxError(why) from group
        finally:
            await stop_all(self._children.values())
            for client in self._clients:
                await client.close()
            self._update(ready=False, ended=why, parts=())

    def _reason(self, group: BaseExceptionGroup[BaseException]) -> str:
        """Why the sandbox ends, "" when it was asked to. What is no error of ours is raised as it is."""
        found = list(_leaves(group))
        for error in found:
            if isinstance(error, SurefootError):
                return str(error)
        if any(isinstance(error, TimeoutError) for error in found):
            return f"the sandbox was not ready within {READY_SECONDS:g} s; see {self._state.logs}"
        if all(isinstance(error, _Stopped) for error in found):
            return ""
        raise group

    # --- starting -----------------------------------------------------------------------------------

    async def _start(self) -> None:
        self._tell("starting the API server and Envoy")
        api = await self._child(self._api_command())
        async with asyncio.TaskGroup() as group:
            data_plane = group.create_task(self._start_data_plane())
            group.create_task(self._api_ready(api))
        ports, prometheus_port = data_plane.result()
        # Imported while the others start: they cost this process the most.
        from rollout.runtime.client import HttpKube
        from rollout.sandbox import base

        kube = HttpKube(load(kubeconfig=str(self._state.kubeconfig)), clock=self._clock)
        self._clients.append(kube)
        directories = [*base.CRD_DIRECTORIES, *map(Path, self._config.crds)]
        await base.create_base(kube, base.read_crds(directories))
        self._tell("starting workloads, node and mesh")
        live = self._run_controllers(kube, ports)
        await asyncio.gather(
            *(base.put(kube, *pair) for pair in base.prometheus_objects(LOOPBACK, prometheus_port)),
            live,
            _registered(kube, self._clock),
            self._prometheus_ready(prometheus_port),
        )
        for command in self._config.commands:
            env = {**self._callers_env(ports), "KUBECONFIG": str(self._state.kubeconfig), **command.env}
            await self._child(Command(command.name, command.argv, env))

    def _api_command(self) -> Command:
        argv = [sys.executable, "-m", "rollout.sandbox.http", "--detached", "--state", str(self._state.api)]
        argv += ["--port", str(self._config.api_port)]
        if self._config.data:
            argv += ["--data", self._config.data]
        remedy = "Its objects are gone with it unless --data is used: start the sandbox again."
        return Command("api-server", tuple(argv), deaths=1, remedy=remedy)

    async def _api_ready(self, api: Child) -> None:
        async def announced() -> None:
            said = decode(await api.announcement())
            self._update(api=said["address"], kubeconfig=said["kubeconfig"])
            self._part("api-server", address=said["address"], state="running")

        await first_of(api, announced())

    async def _start_data_plane(self) -> tuple[Ports, int]:
        """Envoy, and as soon as its metrics port is known, Prometheus."""
        from rollout.runtime.unix_http import UnixHttp
        from rollout.sandbox.mesh.model import Snapshot
        from rollout.sandbox.mesh.push import Pusher
        from rollout.sandbox.mesh.render import render

        files = envoy.files_in(self._state.mesh)
        wanted = Ports(mesh=self._config.mesh_port, gateway=self._config.gateway_port)
        envoy.write_bootstrap(files, wanted)
        self._admin = UnixHttp(files.admin_socket)
        self._clients.append(self._admin)
        self._pusher = Pusher(files, self._admin, self._clock)
        self._pusher.prepare(render(Snapshot()))
        command = Command(
            "envoy",
            tuple(envoy.command(files, path=self._binaries.envoy)),
            deaths=5,
            remedy="Traffic stops while it is away. If it goes on dying: rollout sandbox down, then up.",
        )
        child = await self._child(command, log=files.log)
        await first_of(child, envoy.wait_ready(self._admin, self._clock))
        ports = await envoy.listening(self._admin)
        envoy.write_bootstrap(files, ports)
        self._update(mesh_port=ports.mesh, gateway_port=ports.gateway, metrics_port=ports.metrics)
        version = str(decode(await self._admin.get("/server_info"))["version"]).split("/")[1]
        self._part("envoy", address=f"http://{LOOPBACK}:{ports.gateway}", version=version, state="running")
        return ports, await self._start_prometheus(ports)

    async def _start_prometheus(self, ports: Ports) -> int:
        from rollout.sandbox.prometheus import config as prometheus

        root = self._state.prometheus
        root.mkdir(exist_ok=True, mode=0o700)
        port = self._config.prometheus_port or free_port()
        self._targets = root / "targets.json"
        self._targets.write_bytes(b"[]")
        configuration = prometheus.configuration(self._targets, f"{LOOPBACK}:{ports.metrics}")
        (root / "prometheus.yml").write_bytes(encode(configuration))
        command = Command(
            "prometheus",
            tuple(prometheus.command(self._binaries.prometheus, root, port)),
            deaths=5,
            remedy="Analyses cannot measure while it is away.",
        )
        await self._child(command)
        self._update(prometheus_port=port)
        return port

    async def _prometheus_ready(self, port: int) -> None:
        from rollout.runtime.dial import http_get

        async def answers() -> None:
            while True:
                with contextlib.suppress(OSError, ValueError):
                    status, _ = await http_get(LOOPBACK, port, "/-/ready")
                    if status == 200:
                        break
                await self._clock.sleep(0.03)
            _, body = await http_get(LOOPBACK, port, "/api/v1/status/buildinfo")
            version = str(decode(body)["data"]["version"])
            self._part("prometheus", address=f"http://{LOOPBACK}:{port}", version=version, state="running")

        await first_of(self._children["prometheus"], answers())

    def _run_controllers(self, kube: Kube, ports: Ports) -> Awaitable[object]:
        """Start what runs inside this process; the result is awaited until the mesh follows the API."""
        from rollout.sandbox.mesh.driver import Driver
        from rollout.sandbox.node.agent import run_node
        from rollout.sandbox.prometheus.driver import TargetsDriver
        from rollout.sandbox.workloads.controllers import run_workloads

        config = self._config
        driver = Driver(kube, self._clock, self._pusher)
        targets = TargetsDriver(driver.informers, self._clock, self._targets)

        self._children["envoy"].before_restart = driver.wake
        node = run_node(
            kube,
            self._clock,
            state_dir=self._state.node,
            images_path=Path(config.images) if config.images else None,
            strict_images=config.strict_images,
            environment={**self._callers_env(ports, "$(POD_NAMESPACE)"), MARKER: str(self._state.root)},
        )
        for name, work in (
            ("workloads", run_workloads(kube, self._clock)),
            ("node", node),
            ("mesh", driver.run()),
            ("targets", targets.run()),
        ):
            self._group.create_task(work, name=name)
            self._part(name, state="running")
        return driver.live.wait()

    @staticmethod
    def _callers_env(ports: Ports, namespace: str = DEFAULT_NAMESPACE) -> dict[str, str]:
        """The environment of processes that reach Services by name through the mesh."""
        proxy = proxy_url(namespace, ports.mesh)
        pairs = {"HTTP_PROXY": proxy, "NO_PROXY": NO_PROXY}
        return pairs | {name.lower(): value for name, value in pairs.items()}

    # --- children and the record --------------------------------------------------------------------

    async def _child(self, command: Command, *, log: Path | None = None) -> Child:
        child = Child(
            command,
            self._processes,
            log=log or self._state.logs / f"{command.name}.log",
            env=self._env,
            clock=self._clock,
            on_change=self._child_changed,
        )
        self._children[command.name] = child
        await child.start()
        self._group.create_task(child.run(), name=command.name)
        return child

    def _child_changed(self, child: Child) -> None:
        if child.message and not child.pid:
            self._tell(child.message)
        running = "running" if child.pid else "restarting"
        self._part(
            child.command.name, state=running, pid=child.pid, restarts=child.restarts, message=child.message
        )

    def _part(self, name: str, **changes: object) -> None:
        parts = {part.name: part for part in self._record.parts}
        old = parts.get(name) or Part(name, since=timestamp(self._clock.now()))
        if changes.get("pid") not in {None, old.pid}:
            changes["since"] = timestamp(self._clock.now())
        parts[name] = msgspec.structs.replace(old, **changes)
        self._update(parts=tuple(parts.values()))

    def _update(self, **changes: object) -> None:
        self._record = msgspec.structs.replace(self._record, **changes)
        self._state.write(self._record)


class _Stopped(Exception):
    """The sandbox was asked to end."""


async def _until(stop: asyncio.Event) -> None:
    await stop.wait()
    raise _Stopped


async def _registered(kube: Kube, clock: Clock) -> None:
    """Until the node agent's node is there."""
    while not (await kube.list(NODES)).items:
        await clock.sleep(0.02)


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
