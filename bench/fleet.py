"""Many canaries at once over real HTTPS: API server, workload controllers with instant pods, and our controllers,
each a process of its own.

The old pods' scale-down is put off, so that it does not come into the figures. Wall time is from the first update until the last Rollout is Healthy on its new version; it cannot be less than the
pause of 2 s. With BENCH_PROFILE=FILE in the environment the controllers run under `bench.sampled`.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from bench import manifests
from bench.figures import Figure, number, progress
from bench.processes import Server, api_server, cpu_seconds, memory_mib
from rollout.api.meta import Object, metadata
from rollout.api.resources import DESTINATION_RULES, ROLLOUTS, SERVICES, VIRTUAL_SERVICES, Resource
from rollout.runtime.client import HttpKube
from rollout.runtime.clock import SystemClock
from rollout.runtime.config import load
from rollout.runtime.informer import Informer
from rollout.runtime.process import Supervisor
from rollout.sandbox import base

REPLICAS = 3
STEPS: list[dict[str, Any]] = [{"setWeight": 20}, {"pause": {"duration": "2s"}}, {"setWeight": 50}]
OLD, NEW = "web:v1", "web:v2"
START_SECONDS = 30.0
PATIENCE_SECONDS = 300.0
QUIET_SECONDS = 1.0
TOP = 6
PAUSED = "1 to 2 s of it are the pause of 2 s (its start is kept in whole seconds)"


class Fleet(msgspec.Struct, frozen=True, kw_only=True):
    """What one fleet took. `cpu`: seconds of the controllers, the API server, and the pods' process, until the
    last event had been told. `events_lost`: Events that the recorder had to drop, installation included."""

    size: int
    wall: float
    cpu: list[float]
    requests: Counter[tuple[str, str]]
    events_lost: float
    memory_mib: float


def measure(*, sizes: Iterable[int] = (1, 200)) -> list[Figure]:
    """Wall time, CPU per canary and process, requests per canary and memory, for each number of canaries."""
    return [figure for size in sizes for figure in figures(fleet(size))]


def figures(took: Fleet) -> list[Figure]:
    size = took.size
    many = f"{size} canar{'y' if size == 1 else 'ies'}"
    often = ", ".join(
        f"{verb} {resource.partition('.')[0]} {number(count / size)}"
        for (verb, resource), count in took.requests.most_common(TOP)
    )
    ours, server, pods = (seconds / size * 1000 for seconds in took.cpu)
    requests = took.requests.total() / size
    return [
        Figure(what=f"{many}: update to all Healthy", value=took.wall, unit="s", note=PAUSED),
        Figure(what=f"{many}: controllers, CPU per canary", value=ours, unit="ms"),
        Figure(
            what=f"{many}: controllers, API requests per canary", value=requests, unit="requests", note=often
        ),
        Figure(what=f"{many}: Events lost", value=took.events_lost, unit="Events", goal=0),
        Figure(
            what=f"{many}: controllers, memory",
            value=took.memory_mib,
            unit="MiB",
            note="resident, at the end",
        ),
        Figure(what=f"{many}: API server, CPU per canary", value=server, unit="ms"),
        Figure(what=f"{many}: workloads and pods, CPU per canary", value=pods, unit="ms"),
    ]


def fleet(size: int) -> Fleet:
    """Start everything, install `size` Rollouts, update them all, and wait."""
    with api_server() as server:
        return asyncio.run(_fleet(server, size))


async def _fleet(server: Server, size: int) -> Fleet:
    names = [f"app-{each:03}" for each in range(size)]
    kube = HttpKube(load(kubeconfig=server.kubeconfig), field_manager="bench")
    try:
        await base.create_base(kube, base.read_crds(base.CRD_DIRECTORIES))
        async with Supervisor() as children, following(kube) as seen:
            pods = await children.start(
                [sys.executable, "-m", "bench.pods", server.kubeconfig], log=server.state / "pods.log"
            )
            ours = await controller(children, server)
            progress(f"fleet: installing {size}")
            await together(names, lambda name: install(kube, name))
            await until_healthy(seen, names, OLD)
            await until_quiet(ours)
            pids = (ours.pid, server.pid, pods.pid)
            before, asked = [cpu_seconds(pid) for pid in pids], ours.requests()
            progress(f"fleet: updating {size}")
            started = time.perf_counter()
            await together(names, lambda name: update(kube, name))
            await until_healthy(seen, names, NEW)
            wall = time.perf_counter() - started
            await until_quiet(ours)
            return Fleet(
                size=size,
                wall=wall,
                cpu=[cpu_seconds(pid) - used for pid, used in zip(pids, before, strict=True)],
                requests=ours.requests() - asked,
                events_lost=ours.events_lost(),
                memory_mib=memory_mib(ours.pid),
            )
    finally:
        await kube.close()


async def together(names: Iterable[str], act: Callable[[str], Awaitable[None]]) -> None:
    """All of them, as many at a time as the client lets through."""
    await asyncio.gather(*(act(name) for name in names))


async def install(kube: HttpKube, name: str) -> None:
    objects: list[tuple[Resource, dict[str, Any]]] = [
        (SERVICES, manifests.service(name)),
        (VIRTUAL_SERVICES, manifests.virtual_service(name)),
        (DESTINATION_RULES, manifests.destination_rule(name)),
        (
            ROLLOUTS,
            manifests.rollout(name, manifests.by_subsets(name, STEPS), replicas=REPLICAS, image=OLD),
        ),
    ]
    for resource, obj in objects:
        await kube.create(resource, manifests.NAMESPACE, obj)


async def update(kube: HttpKube, name: str) -> None:
    template = {"spec": {"containers": [manifests.container(NEW)]}}
    await kube.patch(ROLLOUTS, manifests.NAMESPACE, name, {"spec": {"template": template}})


# --- our controllers ------------------------------------------------------------------------------------


class Controller(msgspec.Struct, frozen=True):
    """Our controllers' process, and where it serves its metrics."""

    pid: int
    port: int

    def requests(self) -> Counter[tuple[str, str]]:
        """Requests to the API server so far by (verb, resource), watches not counted."""
        return requests_in(self.metrics())

    def events_lost(self) -> float:
        """Events that the recorder has dropped so far."""
        found = re.search(r"^surefoot_events_dropped_total (\S+)$", self.metrics(), re.MULTILINE)
        assert found is not None
        return float(found[1])

    def metrics(self) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=10) as answer:
            text: str = answer.read().decode()
        return text


def requests_in(metrics: str) -> Counter[tuple[str, str]]:
    """The requests that an exposition text tells of."""
    found: Counter[tuple[str, str]] = Counter()
    for line in metrics.splitlines():
        if line.startswith("rest_client_requests_total{"):
            labels = dict(re.findall(r'(\w+)="([^"]*)"', line))
            if labels["verb"] != "watch":
                found[labels["verb"], labels["resource"]] += int(float(line.rpartition(" ")[2]))
    return found


async def controller(children: Supervisor, server: Server) -> Controller:
    """Start `rollout controller run` against the server; returns when it serves its metrics."""
    profile = os.environ.get("BENCH_PROFILE")
    module = ["bench.sampled", profile] if profile else ["rollout.cli.main"]
    command = [sys.executable, "-m", *module, "controller", "run", "--kubeconfig", server.kubeconfig]
    command += ["--no-leader-election", "--metrics-address", "127.0.0.1:0"]
    log = server.state / "controller.log"
    process = await children.start(command, log=log)
    end = time.perf_counter() + START_SECONDS
    while process.returncode is None and time.perf_counter() < end:
        for line in log.read_text().splitlines():
            if '"serving metrics and health"' in line:
                return Controller(process.pid, int(json.loads(line)["port"]))
        await asyncio.sleep(0.05)
    raise RuntimeError(f"the controllers did not start; they said: {log.read_text()[-2000:]}")


# --- looking on -----------------------------------------------------------------------------------------


@asynccontextmanager
async def following(kube: HttpKube) -> AsyncIterator[Informer]:
    """All Rollouts as they change."""
    informer = Informer(kube, ROLLOUTS, clock=SystemClock())
    task = asyncio.create_task(informer.run())
    try:
        yield informer
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until_quiet(ours: Controller) -> None:
    """Until the controllers have asked nothing of the API for a while."""
    before, now = -1, ours.requests().total()
    while now != before:
        await asyncio.sleep(QUIET_SECONDS)
        before, now = now, ours.requests().total()


async def until_healthy(seen: Informer, names: Iterable[str], image: str) -> None:
    """Until all these Rollouts run `image` alone, and are Healthy. TimeoutError with those that are not."""
    waiting = set(names)
    all_there = asyncio.Event()

    def look(_old: Object | None, new: Object | None) -> None:
        if new is not None and is_healthy(new, image):
            waiting.discard(metadata(new)["name"])
        if not waiting:
            all_there.set()

    seen.on_change(look)
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await all_there.wait()
    except TimeoutError:
        some = [one for one in seen.store.list() if metadata(one)["name"] in waiting][:3]
        told = "; ".join(f"{metadata(one)['name']}: {one.get('status')}" for one in some)
        raise TimeoutError(f"{len(waiting)} Rollouts are not Healthy with {image}: {told}") from None


def is_healthy(rollout: Object, image: str) -> bool:
    """Whether the release of `image` is over and well."""
    status = rollout.get("status") or {}
    return (
        rollout["spec"]["template"]["spec"]["containers"][0]["image"] == image
        and status.get("observedGeneration") == str(metadata(rollout)["generation"])
        and status.get("phase") == "Healthy"
        and status.get("stableRS") == status.get("currentPodHash")
    )
