"""An HTTP server on loopback that plays Slack, PagerDuty, Teams and any hook."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from aiohttp import web


class Got(msgspec.Struct, frozen=True):
    method: str
    path: str
    headers: Mapping[str, str]
    raw: bytes

    @property
    def body(self) -> Any:
        return json.loads(self.raw)


class Receiver:
    """`got` is what was asked, in order; `url` where it listens. Slack's answer carries a number as `ts`."""

    def __init__(self) -> None:
        self.got: list[Got] = []
        self.url = ""

    def of(self, path: str) -> list[Got]:
        return [one for one in self.got if one.path == path]

    async def answer(self, request: web.Request) -> web.Response:
        raw = await request.read()
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.got.append(Got(request.method, request.path, headers, raw))
        if request.path.endswith("/chat.postMessage"):
            return web.json_response({"ok": True, "channel": "C1", "ts": f"{len(self.got)}.5"})
        if "slack" in request.path:
            return web.Response(text="ok")  # as incoming webhooks say it
        return web.json_response({"status": "success"}, status=202)


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", receiver.answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        receiver.url = f"http://{host}:{port}"
        yield receiver
    finally:
        await runner.cleanup()
