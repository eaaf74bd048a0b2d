"""A node agent with real processes on the in-memory storage."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from rollout.api.resources import EVENTS, PODS
from rollout.errors import NotFound
from rollout.runtime.clock import SystemClock
from rollout.sandbox.inmemory import StorageKube
from rollout.sandbox.node.agent import run_node
from rollout.sandbox.node.probes import BackOff
from rollout.sandbox.storage import Storage

PATIENCE = 120.0


class World:
    def __init__(self, state: Path) -> None:
        self.clock = SystemClock()
        self.storage = Storage(self.clock)
        self.kube = StorageKube(self.storage)
        self.state = state

    async def create(self, spec: dict[str, Any], name: str = "web", **meta: Any) -> dict[str, Any]:
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, **meta}, "spec": spec}
        return await self.kube.create(PODS, "default", pod)

    def pod(self, name: str = "web") -> dict[str, Any]:
        return self.storage.get(PODS, "default", name)

    def events(self, reason: str) -> list[str]:
        return [e["message"] for e in self.storage.list(EVENTS, "default").items if e["reason"] == reason]

    async def until(self, holds: Callable[[], Any]) -> Any:
        """Waits for writes until `holds()` gives something; its value."""
        changed = asyncio.Event()
        stop = self.storage.on_write(lambda *_: changed.set())
        try:
            async with asyncio.timeout(PATIENCE):
                while True:
                    changed.clear()
                    if found := holds():
                        return found
                    await changed.wait()
        finally:
            stop()

    async def ready(self, name: str = "web") -> dict[str, Any]:
        return await self.until(lambda: condition(self.pod(name), "Ready") == "True" and self.pod(name))

    async def gone(self, name: str = "web") -> None:
        def missing() -> bool:
            try:
                self.pod(name)
            except NotFound:
                return True
            return False

        await self.until(missing)

    @asynccontextmanager
    async def node(self, **options: Any) -> AsyncIterator[None]:
        options.setdefault("backoff", BackOff(base=0.2))
        task = asyncio.create_task(run_node(self.kube, self.clock, state_dir=self.state, **options))
        try:
            yield
            if task.done():
                task.result()
        finally:
            task.cancel()
            await asyncio.wait({task})


def condition(pod: dict[str, Any], type: str) -> str:
    found = [c["status"] for c in pod["status"].get("conditions") or () if c["type"] == type]
    return found[0] if found else ""


def status_of(pod: dict[str, Any], index: int = 0) -> dict[str, Any]:
    found = pod["status"].get("containerStatuses") or ()
    return found[index] if len(found) > index else {"state": {}, "lastState": {}, "restartCount": -1}


def sh(script: str, name: str = "main", **more: Any) -> dict[str, Any]:
    return {"name": name, "image": "busybox", "command": ["sh", "-c", script], **more}
