"""The parts of a sandbox but for its API server: Envoy, Prometheus, and what runs inside the supervisor.

Heavy to import, on purpose apart from `serve`: the API server boots meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import shutil
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from rollout.api.codec import decode, encode
from rollout.api.resources import NODES
from rollout.errors import SandboxError
from rollout.runtime.client import HttpKube
from rollout.runtime.clock import Clock
from rollout.runtime.config import load
from rollout.runtime.dial import http_get
from rollout.runtime.unix_http import UnixHttp
from rollout.sandbox import base
from rollout.sandbox.children import Command, first_of
from rollout.sandbox.mesh import envoy
from rollout.sandbox.mesh.bootstrap import Ports
from rollout.sandbox.mesh.driver import Driver
from rollout.sandbox.mesh.model import Snapshot
from rollout.sandbox.mesh.names import DEFAULT_NAMESPACE, proxy_url
from rollout.sandbox.mesh.push import Pusher
from rollout.sandbox.mesh.render import render
from rollout.sandbox.node.agent import run_node
from rollout.sandbox.prometheus import config as prometheus
from rollout.sandbox.prometheus.driver import TargetsDriver
from rollout.sandbox.state import MARKER
from rollout.sandbox.workloads.controllers import run_workloads

if TYPE_CHECKING:
    from rollout.sandbox.serve import Sandbox

LOOPBACK = "127.0.0.1"
NO_PROXY = f"localhost,{LOOPBACK},127.0.0.0/8"


class Parts:
    """Made once the API server has been started (it need not answer yet)."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._clock = sandbox.clock
        self._files = envoy.files_in(sandbox.state.mesh)
        self._admin = UnixHttp(self._files.admin_socket)
        self._pusher = Pusher(self._files, self._admin, self._clock)
        self._targets = sandbox.state.prometheus / "targets.json"
        self._ports = Ports(mesh=sandbox.config.mesh_port, gateway=sandbox.config.gateway_port)
        self._prometheus_port = sandbox.config.prometheus_port or _free_port(sandbox.clock)
        self._kube: HttpKube | None = None

    async def close(self) -> None:
        await self._admin.close()
        envoy.remove_socket(self._files)
        if self._kube is not None:
            await self._kube.close()

    async def start_data_plane(self) -> None:
        """Envoy, and as soon as its metrics port is known, Prometheus (which need not be ready yet)."""
        envoy.write_bootstrap(self._files, self._ports)
        self._pusher.prepare(render(Snapshot()))
        command = Command(
            "envoy",
            tuple(envoy.command(self._files, path=self._sandbox.binaries.envoy)),
            deaths=5,
            remedy="Traffic stops while it is away. If it goes on dying: rollout sandbox down, then up.",
        )
        child = await self._sandbox.child(command, log=self._files.log)
        await first_of(child, envoy.wait_ready(self._admin, self._clock))
        self._ports = ports = await envoy.listening(self._admin)
        envoy.write_bootstrap(self._files, ports)
        self._sandbox.update(mesh_port=ports.mesh, gateway_port=ports.gateway, metrics_port=ports.metrics)
        version = str(decode(await self._admin.get("/server_info"))["version"]).split("/")[1]
        address = f"http://{LOOPBACK}:{ports.gateway}"
        self._sandbox.part("envoy", address=address, version=version, state="running")
        await self._start_prometheus()

    async def _start_prometheus(self) -> None:
        sandbox, root = self._sandbox, self._sandbox.state.prometheus
        root.mkdir(exist_ok=True, mode=0o700)
        if not sandbox.config.data:  # objects of the run before are gone, and so are its measurements
            shutil.rmtree(root / "data", ignore_errors=True)
        self._targets.write_bytes(b"[]")
        configuration = prometheus.configuration(self._targets, f"{LOOPBACK}:{self._ports.metrics}")
        (root / "prometheus.yml").write_bytes(encode(configuration))
        command = Command(
            "prometheus",
            tuple(prometheus.command(sandbox.binaries.prometheus, root, self._prometheus_port)),
            deaths=5,
            remedy="Analyses cannot measure while it is away.",
        )
        await sandbox.child(command)
        sandbox.update(prometheus_port=self._prometheus_port)

    async def start_controllers(self) -> None:
        """What makes a bare API a sandbox; returns once the node is there, the mesh follows the API, and
        Prometheus answers."""
        sandbox = self._sandbox
        self._kube = kube = HttpKube(load(kubeconfig=str(sandbox.state.kubeconfig)), clock=self._clock)
        directories = [*base.CRD_DIRECTORIES, *map(Path, sandbox.config.crds)]
        await base.create_base(kube, base.read_crds(dict.fromkeys(path.resolve() for path in directories)))
        driver = Driver(kube, self._clock, self._pusher)
        targets = TargetsDriver(driver.informers, self._clock, self._targets)
        sandbox.children["envoy"].before_restart = driver.wake
        node = run_node(
            kube,
            self._clock,
            state_dir=sandbox.state.node,
            images_path=Path(sandbox.config.images) if sandbox.config.images else None,
            strict_images=sandbox.config.strict_images,
            environment={
                **self.callers_env("$(POD_NAMESPACE)", "$(POD_NAME)"),
                MARKER: str(sandbox.state.root),
            },
        )
        for name, work in (
            ("workloads", run_workloads(kube, self._clock)),
            ("node", node),
            ("mesh", driver.run()),
            ("targets", targets.run()),
        ):
            sandbox.group.create_task(work, name=name)
            sandbox.part(name, state="running")
        await asyncio.gather(
            *(base.put(kube, *pair) for pair in base.prometheus_objects(LOOPBACK, self._prometheus_port)),
            driver.live.wait(),
            self._registered(kube),
            first_of(sandbox.children["prometheus"], self._prometheus_answers()),
        )

    async def _registered(self, kube: HttpKube) -> None:
        """Until the node agent's node is there."""
        while not (await kube.list(NODES)).items:
            await self._clock.sleep(0.02)

    async def _prometheus_answers(self) -> None:
        port = self._prometheus_port
        while True:
            with contextlib.suppress(OSError, ValueError):
                status, _ = await http_get(LOOPBACK, port, "/-/ready")
                if status == 200:
                    break
            await self._clock.sleep(0.03)
        _, body = await http_get(LOOPBACK, port, "/api/v1/status/buildinfo")
        version = str(decode(body)["data"]["version"])
        self._sandbox.part(
            "prometheus", address=f"http://{LOOPBACK}:{port}", version=version, state="running"
        )

    def callers_env(self, namespace: str = DEFAULT_NAMESPACE, pod: str = "") -> dict[str, str]:
        """The environment of processes that reach Services by name through the mesh."""
        pairs = {"HTTP_PROXY": proxy_url(namespace, self._ports.mesh, pod=pod), "NO_PROXY": NO_PROXY}
        return pairs | {name.lower(): value for name, value in pairs.items()}


def _free_port(clock: Clock) -> int:
    """A port that was free a moment ago, outside the range from which outgoing connections take theirs
    (Linux: 32768-60999, macOS: 49152-65535): one of those could take it before its server binds it."""
    for _ in range(50):
        port = clock.random.randrange(20_000, 32_000)
        with socket.socket() as probe:
            if probe.connect_ex((LOOPBACK, port)) == errno.ECONNREFUSED:
                return port
    raise SandboxError(f"no free port on {LOOPBACK} between 20000 and 32000; name one with --prometheus-port")
