"""Figures of the runtime kit: informer cost per event, HttpKube and SyncKube against a trivial server.

CPU is that of this process alone; the server is another process on loopback, and speaks plain HTTP.
"""

from __future__ import annotations

import asyncio
import gc
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from bench.figures import Figure, number, progress
from rollout.api.resources import PODS
from rollout.runtime.client import HttpKube
from rollout.runtime.clock import SystemClock
from rollout.runtime.config import Connection
from rollout.runtime.informer import Informer
from rollout.runtime.sync import SyncKube

SERVER = """
import asyncio, sys

LINE = sys.stdin.buffer.readline()
EVENTS = int(sys.argv[1])
POD = b'{"kind":"Pod","apiVersion":"v1","metadata":{"name":"a","namespace":"ns","uid":"u","resourceVersion":"7"}}'
ANSWER = b"HTTP/1.1 200 OK\\r\\nContent-Type: application/json\\r\\nContent-Length: %d\\r\\n\\r\\n" % len(POD) + POD
LIST = b'{"metadata":{"resourceVersion":"1"},"items":[]}'

class Server(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport, self.rest = transport, b""

    def data_received(self, data):
        self.rest += data
        while b"\\r\\n\\r\\n" in self.rest:
            head, _, self.rest = self.rest.partition(b"\\r\\n\\r\\n")
            if b"sendInitialEvents" in head:
                self.transport.write(b"HTTP/1.1 400 X\\r\\nContent-Length: 2\\r\\n\\r\\n{}")
            elif b"watch=1" in head:
                self.transport.write(b"HTTP/1.1 200 OK\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n")
                asyncio.ensure_future(self.stream())
            elif b"GET /api/v1/pods?" in head:
                self.transport.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: %d\\r\\n\\r\\n" % len(LIST) + LIST)
            else:
                self.transport.write(ANSWER)

    async def stream(self):
        for number in range(EVENTS):
            line = LINE.replace(b"@NAME@", b"p%d" % (number % 1000)).replace(b"@VERSION@", b"%d" % (number + 10))
            self.transport.write(b"%x\\r\\n%s\\r\\n" % (len(line), line))
            if number % 20 == 0:
                await asyncio.sleep(0)

async def main():
    server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)

asyncio.run(main())
"""


def pod() -> dict[str, Any]:
    """A pod of about 5 KB with the usual shape, managedFields included."""
    container = {
        "name": "app",
        "image": "registry.example/web-frontend:v1.2.3",
        "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}],
        "env": [{"name": f"SETTING_{n}", "value": f"value-{n}" * 2} for n in range(12)],
        "resources": {
            "limits": {"cpu": "500m", "memory": "512Mi"},
            "requests": {"cpu": "100m", "memory": "256Mi"},
        },
        "readinessProbe": {"httpGet": {"path": "/ready", "port": 8080}, "periodSeconds": 5},
        "volumeMounts": [{"name": "token", "mountPath": "/var/run/secrets", "readOnly": True}],
    }
    conditions = [
        {"type": kind, "status": "True", "lastTransitionTime": "2026-11-21T12:00:00Z", "lastProbeTime": None}
        for kind in ("Initialized", "Ready", "ContainersReady", "PodScheduled")
    ]
    fields: dict[str, Any] = {f"f:field{n}": {"f:inner": {}, "f:other": {}} for n in range(55)}
    return {
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {
            "name": "@NAME@",
            "namespace": "shop",
            "uid": "7a1f3c1e-0000-4000-8000-@NAME@",
            "resourceVersion": "@VERSION@",
            "labels": {"app": "web", "rollouts-pod-template-hash": "6d8f7c9b5d"},
            "ownerReferences": [
                {"kind": "ReplicaSet", "name": "web-6d8f7c9b5d", "uid": "u-rs", "controller": True}
            ],
            "managedFields": [{"manager": "kubelet", "operation": "Update", "fieldsV1": fields}],
        },
        "spec": {"containers": [container, container | {"name": "proxy"}], "nodeName": "node-1"},
        "status": {"phase": "Running", "conditions": conditions, "podIP": "10.0.0.7"},
    }


@contextmanager
def server(line: bytes, events: int) -> Iterator[str]:
    command = [sys.executable, "-c", SERVER, str(events)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(line + b"\n")
        process.stdin.flush()
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.stdin.close()
        process.wait()


async def informer_figures(url: str, size: int, events: int) -> Figure:
    kube = HttpKube(Connection(server=url, source="bench"))
    informer = Informer(
        kube, PODS, clock=SystemClock(), indexes={"app": lambda o: [o["metadata"]["labels"]["app"]]}
    )
    seen = 0
    finished = asyncio.Event()

    def count(_old: object, _new: object) -> None:
        nonlocal seen
        seen += 1
        if seen == events:
            finished.set()

    informer.on_change(count)
    gc.collect()
    gc.freeze()
    cpu, wall = time.process_time(), time.perf_counter()
    task = asyncio.create_task(informer.run())
    await finished.wait()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await kube.close()
    return Figure(
        what=f"informer, an event of {size} bytes",
        value=cpu / events * 1e6,
        unit="µs CPU",
        note=f"{number(events / wall)} events/s",
    )


async def client_figures(url: str, requests: int, together: int) -> Figure:
    kube = HttpKube(Connection(server=url, source="bench", token="t"))
    await kube.get(PODS, "ns", "a")
    left = requests

    async def worker() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            await kube.get(PODS, "ns", "a")

    cpu, wall = time.process_time(), time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(together)))
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    await kube.close()
    return request_figure(f"HttpKube, a GET, {together} at once", requests, cpu, wall)


def sync_figures(url: str, requests: int) -> Figure:
    with SyncKube(Connection(server=url, source="bench", token="t")) as kube:
        kube.get(PODS, "ns", "a")
        cpu, wall = time.process_time(), time.perf_counter()
        for _ in range(requests):
            kube.get(PODS, "ns", "a")
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return request_figure("SyncKube, a GET", requests, cpu, wall)


def request_figure(what: str, requests: int, cpu: float, wall: float) -> Figure:
    note = f"{number(requests / wall)} requests/s"
    return Figure(what=what, value=cpu / requests * 1e6, unit="µs CPU", note=note)


def measure(*, events: int = 20_000, requests: int = 5_000) -> list[Figure]:
    """CPU per watched event and per request."""
    line = json.dumps({"type": "MODIFIED", "object": pod()}, separators=(",", ":")).encode()
    with server(line, events) as url:
        progress(f"runtime: informer, {events} events")
        figures = [asyncio.run(informer_figures(url, len(line), events))]
        progress(f"runtime: clients, {requests} requests each")
        figures += [asyncio.run(client_figures(url, requests, together)) for together in (1, 64)]
        return [*figures, sync_figures(url, requests)]
