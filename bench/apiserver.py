"""Figures of the sandbox's API server: one client over HTTPS, a large list, a watch with many watchers.

    .venv/bin/python bench/apiserver.py [--requests N] [--pods N] [--watchers N] [--events N]

Starts a server of its own on loopback (in memory) and ends it. Prints one figure per line.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import os
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"
MERGE = "application/merge-patch+json"


class Server:
    """The server process, and how to get in."""

    def __init__(self, ready: dict[str, Any], process: subprocess.Popen[str]) -> None:
        self.process = process
        self.port = urlsplit(ready["address"]).port or 0
        self.tls = ssl.create_default_context(cafile=ready["certificateAuthority"])
        self.token = Path(ready["tokenFile"]).read_text().strip()

    def cpu_seconds(self) -> float:
        """CPU time that the server has used so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def server() -> Iterator[Server]:
    with tempfile.TemporaryDirectory() as state:
        command = [sys.executable, "-m", "rollout.sandbox.http", "--state", state]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout is not None
            ready = process.stdout.readline()
            if not ready:
                raise SystemExit("the server did not start; its own message is above")
            yield Server(json.loads(ready), process)
        finally:
            process.communicate()


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


def rate(label: str, to: Server, count: int, act: Callable[[int], object]) -> None:
    cpu, started = to.cpu_seconds(), time.perf_counter()
    for number in range(count):
        act(number)
    seconds = time.perf_counter() - started
    per_request = (to.cpu_seconds() - cpu) / count * 1e6
    print(f"{label:<42} {count / seconds:>9.0f} requests/s   {per_request:>6.0f} µs server CPU each")


def one_client(to: Server, count: int) -> None:
    client = Client(to)
    rate("POST a ConfigMap", to, count, lambda n: client.request("POST", CONFIG_MAPS, config_map(f"cm-{n}")))
    rate("GET it", to, count, lambda n: client.request("GET", f"{CONFIG_MAPS}/cm-{n}"))
    rate(
        "PATCH it (merge)",
        to,
        count,
        lambda n: client.request("PATCH", f"{CONFIG_MAPS}/cm-{n}", {"data": {"a": str(n)}}, MERGE),
    )
    rate("POST a Pod", to, count, lambda n: client.request("POST", PODS, pod(f"web-{n}")))
    patch = {"status": {"phase": "Running", "podIP": "127.0.0.1"}}
    rate(
        "PATCH its status (merge)",
        to,
        count,
        lambda n: client.request("PATCH", f"{PODS}/web-{n}/status", patch, MERGE),
    )


def large_list(to: Server, count: int) -> None:
    client = Client(to)
    have = len(json.loads(client.request("GET", PODS))["items"])
    for number in range(have, count):
        client.request("POST", PODS, pod(f"web-{number}"))
    for attempt in ("first (encodes what is new)", "again"):
        started = time.perf_counter()
        size = len(client.request("GET", PODS))
        seconds = time.perf_counter() - started
        print(f"list {count} pods, {attempt:<28} {seconds * 1000:>7.1f} ms   {size / 1e6:.1f} MB")


async def fan_out(to: Server, watchers: int, events: int) -> None:
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
    print(f"watch: {events} writes to {watchers} watchers {total / seconds:>21.0f} events/s", end="")
    print(f"     {used:>6.0f} µs server CPU each; writing alone took {written:.2f} s of {seconds:.2f} s")


def write_events(to: Server, events: int) -> None:
    client = Client(to)
    for number in range(events):
        client.request("POST", CONFIG_MAPS, config_map(f"event-{number}"))


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


def main() -> None:
    parser = argparse.ArgumentParser(description="Figures of the sandbox's API server.")
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--pods", type=int, default=5000)
    parser.add_argument("--watchers", type=int, default=50)
    parser.add_argument("--events", type=int, default=200)
    arguments = parser.parse_args()
    with server() as to:
        one_client(to, arguments.requests)
        large_list(to, arguments.pods)
        asyncio.run(fan_out(to, arguments.watchers, arguments.events))


if __name__ == "__main__":
    main()
