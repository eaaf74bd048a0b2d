"""Figures of the sandbox's API server: one client over HTTPS, a large list, a watch with many watchers.

Each server is one of its own on loopback. "server CPU" is the time of the server's process.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import time
from collections.abc import Callable
from typing import Any

from bench.figures import Figure, median, number, progress, ratio
from bench.processes import Server, api_server

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"
MERGE = "application/merge-patch+json"
BATCHES = 5


class Client:
    """One keep-alive connection."""

    def __init__(self, to: Server) -> None:
        self._connection = http.client.HTTPSConnection("127.0.0.1", to.port, context=to.tls)
        self._headers = {"Authorization": f"Bearer {to.token}"}

    def request(
        self, method: str, path: str, body: Any = None, content_type: str = "application/json"
    ) -> bytes:
        data = json.dumps(body).encode() if body is not None else None
        self._connection.request(method, path, data, self._headers | {"Content-Type": content_type})
        response = self._connection.getresponse()
        answer = response.read()
        if response.status >= 300:
            raise RuntimeError(f"{method} {path}: HTTP {response.status} {answer[:300]!r}")
        return answer


def config_map(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": "1"}}


def pod(name: str) -> dict[str, Any]:
    container = {
        "name": "web",
        "image": "web:1",
        "ports": [{"containerPort": 8080}],
        "readinessProbe": {"httpGet": {"path": "/ready", "port": 8080}},
        "env": [{"name": "LATENCY_MS", "value": "5"}],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": "web", "pod-template-hash": "abc123"}},
        "spec": {"containers": [container]},
    }


def measure(*, requests: int = 1000, pods: int = 5000, watchers: int = 50, events: int = 200) -> list[Figure]:
    """Requests per second of one client (in memory, and durable), the large list, the fan-out of a watch."""
    figures = []
    with api_server() as to:
        progress("apiserver: one client")
        in_memory = one_client(to, requests)
        progress(f"apiserver: list of {pods} pods")
        figures += large_list(to, pods)
        progress(f"apiserver: {events} writes to {watchers} watchers")
        figures += asyncio.run(fan_out(to, watchers, events))
    with api_server(durable=True) as to:
        progress("apiserver: one client, --data")
        durable = writes(Client(to), to, requests)
    durable = [one_with_data(one) for one in durable]
    return [
        *in_memory,
        *durable,
        ratio("POST a ConfigMap: with --data over in memory", durable[0].value, in_memory[0].value),
        *figures,
    ]


def one_with_data(figure: Figure) -> Figure:
    what = f"{figure.what}, --data"
    return Figure(what=what, value=figure.value, unit=figure.unit, note=figure.note)


def rate(label: str, to: Server, count: int, act: Callable[[int], object]) -> Figure:
    """Requests per second: the median of batches, since other work on the machine comes and goes."""
    cpu = to.cpu_seconds()
    rates = []
    for batch in range(BATCHES):
        first, last = count * batch // BATCHES, count * (batch + 1) // BATCHES
        started = time.perf_counter()
        for each in range(first, last):
            act(each)
        rates.append((last - first) / (time.perf_counter() - started))
    used = (to.cpu_seconds() - cpu) / count * 1e6
    return median(label, rates, "requests/s", note=f"{number(used)} µs server CPU each")


def writes(client: Client, to: Server, count: int) -> list[Figure]:
    return [
        rate(
            "POST a ConfigMap",
            to,
            count,
            lambda n: client.request("POST", CONFIG_MAPS, config_map(f"cm-{n}")),
        ),
        rate(
            "PATCH it (merge)",
            to,
            count,
            lambda n: client.request("PATCH", f"{CONFIG_MAPS}/cm-{n}", {"data": {"a": str(n)}}, MERGE),
        ),
    ]


def one_client(to: Server, count: int) -> list[Figure]:
    client = Client(to)
    patch = {"status": {"phase": "Running", "podIP": "127.0.0.1"}}
    return [
        *writes(client, to, count),
        rate("GET it", to, count, lambda n: client.request("GET", f"{CONFIG_MAPS}/cm-{n}")),
        rate("POST a Pod", to, count, lambda n: client.request("POST", PODS, pod(f"web-{n}"))),
        rate(
            "PATCH its status (merge)",
            to,
            count,
            lambda n: client.request("PATCH", f"{PODS}/web-{n}/status", patch, MERGE),
        ),
    ]


def large_list(to: Server, count: int) -> list[Figure]:
    client = Client(to)
    have = len(json.loads(client.request("GET", PODS))["items"])
    for each in range(have, count):
        client.request("POST", PODS, pod(f"web-{each}"))
    figures = []
    for attempt in ("first (encodes what is new)", "again"):
        started = time.perf_counter()
        size = len(client.request("GET", PODS))
        seconds = time.perf_counter() - started
        what = f"list {count} pods, {attempt}"
        figures.append(Figure(what=what, value=seconds * 1000, unit="ms", note=f"{number(size / 1e6)} MB"))
    return figures


async def fan_out(to: Server, watchers: int, events: int) -> list[Figure]:
    """Every watcher gets every event: from the first write to the last line read."""
    version = json.loads(Client(to).request("GET", CONFIG_MAPS + "?limit=1"))["metadata"]["resourceVersion"]
    path = f"{CONFIG_MAPS}?watch=true&resourceVersion={version}"
    connections = [await open_watch(to, path) for _ in range(watchers)]
    counting = asyncio.gather(*(count_lines(reader, events) for reader, _ in connections))
    cpu, started = to.cpu_seconds(), time.perf_counter()
    await asyncio.to_thread(write_events, to, events)
    written = time.perf_counter() - started
    await counting
    seconds = time.perf_counter() - started
    for _, writer in connections:
        writer.close()
    total = watchers * events
    used = (to.cpu_seconds() - cpu) / total * 1e6
    return [
        Figure(
            what=f"watch: {events} writes to {watchers} watchers",
            value=total / seconds,
            unit="events/s",
            note=f"{number(used)} µs server CPU per event; last event read {number((seconds - written) * 1000)} ms "
            "after the last write was acknowledged",
        ),
        Figure(what=f"writes with {watchers} watchers", value=events / written, unit="requests/s"),
    ]


def write_events(to: Server, events: int) -> None:
    client = Client(to)
    for each in range(events):
        client.request("POST", CONFIG_MAPS, config_map(f"event-{each}"))


async def open_watch(to: Server, path: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", to.port, ssl=to.tls, limit=1 << 20)
    writer.write(
        f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {to.token}\r\n\r\n".encode()
    )
    head = await reader.readuntil(b"\r\n\r\n")
    if b" 200 " not in head.partition(b"\r\n")[0]:
        raise RuntimeError(head.decode())
    return reader, writer


async def count_lines(reader: asyncio.StreamReader, events: int) -> None:
    """Reads until `events` events have come; the chunk headers in between have no such word."""
    seen = 0
    rest = b""
    while seen < events:
        data = await reader.read(1 << 16)
        if not data:
            raise RuntimeError(f"a watch ended after {seen} of {events} events")
        data = rest + data
        seen += data.count(b'{"type":"ADDED"')
        rest = data[-14:]
