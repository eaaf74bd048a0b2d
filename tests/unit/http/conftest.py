import asyncio
import json
from contextlib import asynccontextmanager

import httpx
import pytest

from rollout.runtime.clock import SystemClock
from rollout.sandbox.http.server import ApiServer
from rollout.sandbox.storage import Storage

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
PODS = "/api/v1/namespaces/default/pods"
CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"


def config_map(name="settings", **data):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


class Running:
    """A server, and an HTTP client that trusts and may use it."""

    def __init__(self, server, storage, http):
        self.server = server
        self.storage = storage
        self.http = http

    @asynccontextmanager
    async def watch(self, path, **params):
        """The events of a watch, as (type, object)."""
        params = {"watch": "true"} | params
        async with self.http.stream("GET", path, params=params) as response:
            assert response.status_code == 200
            yield _events(response)


async def _events(response):
    async for line in response.aiter_lines():
        event = json.loads(line)
        yield event["type"], event["object"]


@pytest.fixture
async def api(tmp_path):
    clock = SystemClock()
    storage = Storage(clock)
    server = ApiServer(storage, tmp_path / "state", clock, logs=fake_logs)
    await server.start()
    verify = str(server.authority_file)
    headers = {"authorization": f"Bearer {server.token}"}
    async with httpx.AsyncClient(base_url=server.address, verify=verify, headers=headers, timeout=20) as http:
        yield Running(server, storage, http)
    await server.stop()


async def fake_logs(query):
    """Says what it was asked; follows until the reader goes away when told to."""

    async def chunks():
        yield f"{query.container} tail={query.tail_lines}\n".encode()
        if query.follow:
            yield b"following\n"
            await asyncio.Event().wait()

    return chunks()
