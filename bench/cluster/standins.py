"""What stands in for scheduler, kubelet and Prometheus, as one process: `python -m bench.cluster.standins KUBECONFIG`.

A pod is patched to Ready as soon as it is seen, in one request, and removed as soon as somebody deletes it; it names
its node itself, so that nobody needs to bind it. Prometheus answers every query at once with the same value;
`GET /value/0.5` sets it, and `GET /asked` says when it was first told since: the monotonic clock is that of the
machine, so that another process may subtract. Ends on SIGTERM.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from typing import Any

from rollout.api.meta import Object, metadata, timestamp
from rollout.api.resources import PODS
from rollout.errors import Conflict, NotFound
from rollout.runtime import logs
from rollout.runtime.client import HttpKube
from rollout.runtime.clock import SystemClock
from rollout.runtime.config import load
from rollout.runtime.informer import Informer

CLOCK = SystemClock()
GOOD = "1"


class Kubelet:
    """Turns pods Ready."""

    def __init__(self, kube: HttpKube, clock: SystemClock) -> None:
        self._kube, self._clock = kube, clock
        self._informer = Informer(kube, PODS, clock=clock)
        self._told: set[str] = set()
        self._group = asyncio.TaskGroup()

    async def run(self) -> None:
        async with self._group as group:
            self._informer.on_change(self._changed)
            group.create_task(self._informer.run())

    def _changed(self, old: Object | None, new: Object | None) -> None:
        uid = str(metadata(new or old or {})["uid"])
        if new is None:
            self._told.discard(uid)
        elif metadata(new).get("deletionTimestamp"):
            self._group.create_task(self._remove(new))
        elif uid not in self._told:
            self._told.add(uid)
            self._group.create_task(self._tell(new))

    async def _remove(self, pod: Object) -> None:
        meta = metadata(pod)
        try:
            await self._kube.delete(PODS, meta["namespace"], meta["name"], uid=meta["uid"], grace_seconds=0)
        except (NotFound, Conflict):
            return  # gone

    async def _tell(self, pod: Object) -> None:
        meta, now = metadata(pod), timestamp(self._clock.now())
        number = len(self._told)
        try:
            await self._kube.patch(
                PODS,
                meta["namespace"],
                meta["name"],
                {"status": _ready(pod, f"10.244.{number // 250 % 250}.{1 + number % 250}", now)},
                subresource="status",
            )
        except (NotFound, Conflict):
            return  # gone again


def _ready(pod: Object, address: str, now: str) -> dict[str, Any]:
    types = ("PodScheduled", "Initialized", "ContainersReady", "Ready")
    return {
        "phase": "Running",
        "conditions": [{"type": one, "status": "True", "lastTransitionTime": now} for one in types],
        "podIP": address,
        "podIPs": [{"ip": address}],
        "startTime": now,
        "containerStatuses": [
            {
                "name": one["name"],
                "image": one["image"],
                "imageID": "",
                "ready": True,
                "started": True,
                "restartCount": 0,
                "state": {"running": {"startedAt": now}},
            }
            for one in pod["spec"]["containers"]
        ],
    }


class Answers:
    """What Prometheus says, and when it was first asked since that changed."""

    def __init__(self) -> None:
        self._value, self._first = GOOD, 0.0

    def to(self, target: str) -> bytes:
        if target.startswith("/value/"):
            self._value, self._first = target.rpartition("/")[2], 0.0
            return b"{}"
        if target == "/asked":
            return json.dumps({"first": self._first}).encode()
        self._first = self._first or CLOCK.monotonic()
        sample = {"metric": {}, "value": [CLOCK.now().timestamp(), self._value]}
        return json.dumps(
            {"status": "success", "data": {"resultType": "vector", "result": [sample]}}
        ).encode()


class Connection(asyncio.Protocol):
    """One connection of a client that sends bodies with their length, as ours does."""

    def __init__(self, answers: Answers) -> None:
        self._answers, self._rest = answers, b""
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._rest += data
        while b"\r\n\r\n" in self._rest:
            head, _, rest = self._rest.partition(b"\r\n\r\n")
            first, *lines = head.decode().lower().split("\r\n")
            length = next((int(line[15:]) for line in lines if line.startswith("content-length:")), 0)
            if len(rest) < length:
                return
            self._rest = rest[length:]
            body = self._answers.to(first.split()[1])
            answer = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
            self._transport.write(answer.encode() + b"\r\n\r\n" + body)


async def main(kubeconfig: str) -> None:
    clock, stop, answers = SystemClock(), asyncio.Event(), Answers()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    server = await loop.create_server(lambda: Connection(answers), "127.0.0.1", 0)
    kube = HttpKube(load(kubeconfig=kubeconfig), clock=clock, user_agent="bench-kubelet")
    async with asyncio.TaskGroup() as group:
        work = group.create_task(Kubelet(kube, clock).run())
        sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
        sys.stdout.flush()
        await stop.wait()
        work.cancel()
    server.close()
    await kube.close()


if __name__ == "__main__":
    logs.configure(level="warning")
    asyncio.run(main(sys.argv[1]))
