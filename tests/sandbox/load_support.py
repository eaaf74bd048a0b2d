"""A small HTTP server that keeps its own count, and real locust against it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from analysis.load import lines
from analysis.load.plan import PLAN_VARIABLE, Plan, arguments, encode

PATIENCE = 60.0


class Server:
    """Answers by path: /slow after 0.2 s, /flaky with 500 every fourth time, /never not at all, all else "hello".

    `seen` counts (request target, status); `heads` keeps the first request of every target, as it came.
    """

    def __init__(self) -> None:
        self.seen: Counter[tuple[str, int]] = Counter()
        self.heads: dict[str, str] = {}
        self.bodies: dict[str, str] = {}
        self.first: float | None = None
        self.port = 0
        self._flaky = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def requests(self) -> int:
        return sum(self.seen.values())

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                await self._answer(head, reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client has gone
        finally:
            writer.close()

    async def _answer(self, head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        target = head.split(" ")[1]
        length = [
            line.partition(":")[2] for line in head.splitlines() if line.lower().startswith("content-length")
        ]
        body = await reader.readexactly(int(length[0])) if length else b""
        self.heads.setdefault(target, head)
        self.bodies.setdefault(target, body.decode())
        status = 200
        match target:
            case "/never":
                self.seen[target, 0] += 1
                await reader.read()  # until the client gives up
                return
            case "/slow":
                await asyncio.sleep(0.2)
            case "/flaky":
                self._flaky += 1
                status = 500 if self._flaky % 4 == 0 else 200
            case "/away":
                status = 302
        self.seen[target, status] += 1
        writer.write(f"HTTP/1.1 {status} X\r\nlocation: /\r\nContent-Length: 5\r\n\r\nhello".encode())


@asynccontextmanager
async def served() -> AsyncIterator[Server]:
    found = Server()
    server = await asyncio.start_server(found.serve, "127.0.0.1", 0)
    found.port = server.sockets[0].getsockname()[1]
    try:
        yield found
    finally:
        server.close()


class Run:
    """One locust process, from its start to its end."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.out: list[str] = []

    async def until(self, kind: str) -> None:
        """Read until a line of a kind has come."""
        assert self.process.stdout is not None
        async with asyncio.timeout(PATIENCE):
            while f'{{"surefoot":"{kind}"' not in "".join(self.out[-1:]):
                line = await self.process.stdout.readline()
                assert line, self.out
                self.out.append(line.decode())

    async def said(self) -> lines.Said:
        """All of it, at its end."""
        async with asyncio.timeout(PATIENCE):
            out, _ = await self.process.communicate()
        return lines.read([*self.out, *out.decode().splitlines()])


@asynccontextmanager
async def locust(folder: Path, plan: Plan, *args: str, **env: str) -> AsyncIterator[Run]:
    """`python -m analysis.load` with a plan; its whole group is gone afterwards."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "analysis.load", *(args or arguments(plan))),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=_environment(plan, env),
        cwd=folder,
        start_new_session=True,
    )
    try:
        yield Run(process)
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()


def _environment(plan: Plan, env: Mapping[str, str]) -> dict[str, str]:
    direct = dict.fromkeys(("HTTP_PROXY", "http_proxy", "NO_PROXY", "no_proxy"), "")
    return {**os.environ, **direct, PLAN_VARIABLE: encode(plan), **env}


async def result_of(folder: Path, plan: Plan, **env: str) -> Mapping[str, Any]:
    """The result of a plan that one process carries out."""
    async with locust(folder, plan, **env) as run:
        said = await run.said()
    assert said.result, (said.failed, said.other)
    return said.result
