"""Where the figures are measured: a control plane, stand-ins, and one controller with the chart's roles.

The controller is `rollout controller run` as the chart runs it: under its own service account, election on, workers as
many as by default. kube-controller-manager may ask as often as it likes: its own bound of 20 requests a second would
be what is measured.
"""

from __future__ import annotations

import asyncio
import functools
import json
import os
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import yaml

from bench.cluster import objects
from bench.cluster.audit import PODS_USER, Asked, Audit, counting
from bench.fleet import is_healthy, together
from bench.manifests import NAMESPACE
from rollout.api.meta import Key
from rollout.api.resources import (
    ANALYSIS_RUNS,
    ANALYSIS_TEMPLATES,
    CRDS,
    NODES,
    ROLLOUTS,
    VIRTUAL_SERVICES,
    Resource,
)
from rollout.runtime.client import HttpKube
from rollout.runtime.clock import SystemClock
from rollout.runtime.config import load
from rollout.runtime.informer import Informer, wait_synced
from rollout.runtime.process import Process, Supervisor
from rollout.sandbox.base import CRD_DIRECTORIES, read_crds
from tests.cluster.control_plane import ControlPlane, control_plane

ROOT = Path(__file__).parents[2]
BASE = ROOT / "deploy" / "base"
SYSTEM, ACCOUNT = "surefoot-system", "surefoot"
MANAGER_FLAGS = (
    "--kube-api-qps=2000",
    "--kube-api-burst=4000",
    "--controllers=*,-node-lifecycle-controller",  # the node has no kubelet whose heartbeats could be missed
)
PATIENCE_SECONDS = 300.0
QUIET_SECONDS = 1.5
LEASES = "leases"

Object = dict[str, Any]


class World:
    """A running control plane with everything beside it. `pids` are the processes by name, the controller's first."""

    def __init__(
        self, plane: ControlPlane, kube: HttpKube, ours: Process, beside: Process, port: int
    ) -> None:
        self.kube = kube
        self._processes = (ours, beside)
        self.audit = Audit(plane.audit)
        self.prometheus = f"http://127.0.0.1:{port}"
        self.rollouts = Informer(kube, ROLLOUTS, clock=SystemClock())
        self.routes = Informer(kube, VIRTUAL_SERVICES, clock=SystemClock())
        self.runs = Informer(kube, ANALYSIS_RUNS, clock=SystemClock())
        self.pids = {
            "controller": ours.pid,
            **{name: one.pid for name, one in plane.programs.items()},
            "stand-ins": beside.pid,
        }

    def cpu(self) -> dict[str, float]:
        """Seconds of CPU that each process has used so far."""
        return {name: cpu_seconds(pid) for name, pid in self.pids.items()}

    def memory(self) -> tuple[float, float]:
        """The controller's resident memory now, and the most that it has ever been, in MiB."""
        status = Path(f"/proc/{self.pids['controller']}/status").read_text()
        sizes = dict(line.split(":", 1) for line in status.splitlines() if line.startswith("Vm"))
        now, most = (int(sizes[name].split()[0]) / 1024 for name in ("VmRSS", "VmHWM"))
        return now, most

    async def install(self, names: Iterable[str], *, samples: int = 3) -> None:
        """Create the applications and wait until they are Healthy, and nobody has anything to do any more."""
        listed = list(names)

        async def one(name: str) -> None:
            for resource, obj in objects.canary(name, samples=samples):
                await self.kube.create(resource, NAMESPACE, obj)

        await together(listed, one)
        await self.released(listed, objects.OLD)
        await self.quiet()

    async def update(self, names: Iterable[str]) -> None:
        """Begin a release of each, as many at a time as the client lets through."""

        async def one(name: str) -> None:
            await self.kube.patch(ROLLOUTS, NAMESPACE, name, objects.update())

        await together(names, one)

    async def released(self, names: Iterable[str], image: str) -> None:
        """Until all these run `image` alone, and are Healthy. RuntimeError when one is aborted, or after a while."""
        waiting, over = set(names), asyncio.Event()
        failed: list[str] = []

        def look(_old: Object | None, new: Object | None) -> None:
            if new is None or over.is_set():
                return
            name, status = new["metadata"]["name"], new.get("status") or {}
            if is_healthy(new, image):
                waiting.discard(name)
            elif name in waiting and status.get("abort"):
                failed.append(f"{name}: {status.get('message')}")
            if failed or not waiting:
                over.set()

        self.rollouts.on_change(look)
        ends = [asyncio.ensure_future(one.wait()) for one in self._processes]
        settled = asyncio.ensure_future(over.wait())
        await asyncio.wait({settled, *ends}, timeout=PATIENCE_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        ended = [one.name for one, end in zip(self._processes, ends, strict=True) if end.done()]
        for task in (settled, *ends):
            task.cancel()
        over.set()
        if ended:
            raise RuntimeError(f"{' and '.join(ended)} ended by itself in the middle of a measurement")
        failed += sorted(waiting)
        if failed:
            raise RuntimeError(
                f"{len(failed)} Rollouts are not Healthy with {image}: {'; '.join(failed[:3])}"
            )

    async def measured(self, names: Iterable[str], samples: int) -> None:
        """Until the AnalysisRuns of all these have had as many good samples."""
        for name in names:
            await until(f"{name} has been measured", functools.partial(self._measured, name, samples))

    async def _measured(self, name: str, samples: int) -> bool:
        for run in self.runs.store.list():
            owners = [one["name"] for one in run["metadata"].get("ownerReferences") or ()]
            results = (run.get("status") or {}).get("metricResults") or ()
            if name in owners and any(int(one.get("successful") or 0) >= samples for one in results):
                return True
        return False

    def route(self, name: str) -> Object:
        """The VirtualService of an application, as a watch has shown it last."""
        found = self.routes.store.get(Key(NAMESPACE, name))
        assert found is not None
        return found

    async def quiet(self) -> None:
        """Until nobody but who renews a lease has asked anything for a while."""
        while True:
            position = self.audit.position()
            await asyncio.sleep(QUIET_SECONDS)
            if not without_leases(counting(self.audit.since(position))):
                return

    async def answer(self, value: str) -> None:
        """What Prometheus says from now on."""
        await asyncio.to_thread(_get, f"{self.prometheus}/value/{value}")

    async def first_answer(self) -> float:
        """When it first said so, by the machine's monotonic clock; 0.0 while nobody has asked."""
        return float((await asyncio.to_thread(_get, f"{self.prometheus}/asked"))["first"])


def without_leases(found: Counter[Asked]) -> Counter[Asked]:
    return Counter({one: number for one, number in found.items() if one.resource != LEASES})


def cpu_seconds(pid: int) -> float:
    """CPU time that all threads of a process have used so far, to the nanosecond: ticks are too coarse at rest."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            total += int((task / "schedstat").read_text().split()[0])
        except FileNotFoundError:
            continue  # the thread has ended
    return total / 1e9


@asynccontextmanager
async def world(profile: Path | None = None) -> AsyncIterator[World]:
    """A new one; ended on leaving. `profile` gets the samples of the controller's time then (`bench.sampled`)."""
    with (
        tempfile.TemporaryDirectory(prefix="bench-cluster-") as folder,
        control_plane(Path(folder), manager_flags=MANAGER_FLAGS) as plane,
    ):
        admin = load(kubeconfig=str(plane.kubeconfig()))
        kube = HttpKube(admin, field_manager="bench", user_agent="bench", deadline=PATIENCE_SECONDS)
        try:
            await install_base(kube)
            async with Supervisor() as children:
                beside, port = await start_standins(children, plane)
                ours = await start_controller(children, plane, kube, profile=profile)
                found = World(plane, kube, ours, beside, port)
                caches = (found.rollouts, found.routes, found.runs)
                following = [asyncio.create_task(one.run()) for one in caches]
                await wait_synced(*caches)
                await kube.create(ANALYSIS_TEMPLATES, NAMESPACE, objects.template(found.prometheus))
                yield found
                for task in following:
                    task.cancel()
                await asyncio.gather(*following, return_exceptions=True)
        finally:
            await kube.close()


async def install_base(kube: HttpKube) -> None:
    """Our CRDs and roles as the chart renders them, and Istio's and Gateway API's CRDs."""
    ours = [one for name in ("namespace", "crds", "rbac") for one in documents(BASE / f"{name}.yaml")]
    account = next(one for one in documents(BASE / "controller.yaml") if one["kind"] == "ServiceAccount")
    crds = {one["metadata"]["name"]: one for one in read_crds(CRD_DIRECTORIES)}
    crds |= {one["metadata"]["name"]: one for one in ours if one["kind"] == CRDS.kind}
    for crd in crds.values():
        await kube.create(CRDS, None, crd)
    for obj in [*(one for one in ours if one["kind"] != CRDS.kind), account]:
        await kube.create(resource_of(obj), obj["metadata"].get("namespace"), obj)
    await kube.create(NODES, None, objects.node())
    await until("the CRDs are established", lambda: _established(kube))


def documents(path: Path) -> list[Object]:
    return [one for one in yaml.load_all(path.read_bytes(), yaml.CSafeLoader) if one]


def resource_of(obj: Object) -> Resource:
    """The resource of an object of the chart."""
    group, _, version = obj["apiVersion"].rpartition("/")
    namespaced = "namespace" in obj["metadata"]
    return Resource(group, version, f"{obj['kind'].lower()}s", obj["kind"], namespaced=namespaced)


async def _established(kube: HttpKube) -> bool:
    crds = (await kube.list(CRDS)).items
    return all(
        any(one["type"] == "Established" and one["status"] == "True" for one in conditions)
        for conditions in ((crd.get("status") or {}).get("conditions") or () for crd in crds)
    )


async def start_standins(children: Supervisor, plane: ControlPlane) -> tuple[Process, int]:
    """The stand-ins, and the port where they are Prometheus."""
    config = plane.kubeconfig(PODS_USER)
    log = plane.folder / "standins.log"
    command = [sys.executable, "-m", "bench.cluster.standins", str(config)]
    process = await children.start(command, log=log, name="the stand-ins")
    await until("the stand-ins run", _came(log, "\n", process))
    return process, int(log.read_text().split()[0])


async def start_controller(
    children: Supervisor,
    plane: ControlPlane,
    kube: HttpKube,
    more: Iterable[str] = (),
    *,
    profile: Path | None = None,
) -> Process:
    """The controller, when it leads. Its token is one of its service account. `more` are options of `controller run`."""
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    tokens = Resource("", "v1", f"serviceaccounts/{ACCOUNT}/token", "TokenRequest")
    token = (await kube.create(tokens, SYSTEM, request))["status"]["token"]
    config = yaml.safe_load(plane.kubeconfig().read_bytes())
    config["users"] = [{"name": "admin", "user": {"token": token}}]
    kubeconfig = plane.folder / "controller.kubeconfig"
    kubeconfig.touch(mode=0o600)
    kubeconfig.write_text(yaml.safe_dump(config))
    module = ["bench.sampled", str(profile)] if profile is not None else ["rollout.cli.main"]
    command = [sys.executable, "-m", *module, "controller", "run", "--kubeconfig", str(kubeconfig)]
    command += ["--lease-namespace", SYSTEM, "--metrics-address", "127.0.0.1:0", *more]
    log = plane.folder / "controller.log"
    environment = {**os.environ, "SUREFOOT_METRICS_ON_LOOPBACK": "true"}
    process = await children.start(command, log=log, env=environment, name="the controller")
    await until("the controller leads", _came(log, '"controllers start"', process))
    return process


def _came(log: Path, text: str, process: Process) -> Callable[[], Any]:
    """Whether a process has written this. RuntimeError when it has ended instead."""

    async def came() -> bool:
        said = _read(log)
        if process.returncode is not None:
            raise RuntimeError(f"{process.name} has ended ({process.returncode}): {said[-2000:]}")
        return text in said

    return came


def _read(log: Path) -> str:
    return log.read_text() if log.exists() else ""


async def until(what: str, holds: Callable[[], Any]) -> None:
    """Wait for a condition. TimeoutError with its name."""
    end = time.perf_counter() + PATIENCE_SECONDS
    while not await holds():
        if time.perf_counter() > end:
            raise TimeoutError(f"after {PATIENCE_SECONDS:.0f} s it is not so that {what}")
        await asyncio.sleep(0.05)


def _get(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(url, timeout=10) as answer:
        found: dict[str, Any] = json.loads(answer.read())
    return found
