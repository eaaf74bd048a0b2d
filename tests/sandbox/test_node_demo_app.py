"""The demo application as a process."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from rollout.runtime import dial
from rollout.sandbox.node.images import DEMO_APP

pytestmark = pytest.mark.sandbox

HOST = "127.0.0.1"


class App:
    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        self.process, self.port = process, port

    async def get(self, path: str) -> tuple[int, bytes]:
        return await dial.http_get(HOST, self.port, path, seconds=10)

    async def line(self) -> str:
        assert self.process.stdout is not None
        async with asyncio.timeout(10):
            return (await self.process.stdout.readline()).decode()

    async def end(self) -> int:
        async with asyncio.timeout(10):
            return await self.process.wait()


@asynccontextmanager
async def app(*, wait: bool = True, **env: str) -> AsyncIterator[App]:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = probe.getsockname()[1]
    process = await asyncio.create_subprocess_exec(
        *DEMO_APP,
        env={"POD_IP": HOST, "PORT": str(port), "POD_NAME": "web-1", **env},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    running = App(process, port)
    try:
        if wait:
            assert "listening" in await running.line()
        yield running
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def exchange(port: int, request: bytes) -> bytes:
    """All that comes back until the server closes."""
    reader, writer = await asyncio.open_connection(HOST, port)
    writer.write(request)
    async with asyncio.timeout(10):
        answer = await reader.read()
    writer.close()
    return answer


async def test_answers_carry_the_version_in_header_and_body() -> None:
    async with app(VERSION="v9") as web:
        answer = await exchange(web.port, b"GET /api/x?y=1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK")
        assert b"x-version: v9" in head
        assert body == b'{"version":"v9","pod":"web-1","status":200,"path":"/api/x"}\n'


async def test_the_error_rate_is_met_exactly_and_counted() -> None:
    async with app(ERROR_RATE="0.08") as web:
        codes = [(await web.get("/"))[0] for _ in range(100)]
        assert codes.count(500) == 8
        assert codes.count(200) == 92
        assert (await web.get("/health"))[0] == 200
        text = (await web.get("/metrics"))[1].decode()
        assert 'http_requests_total{code="500",method="GET"} 8' in text
        assert 'http_requests_total{code="200",method="GET"} 92' in text
        assert 'http_request_duration_seconds_bucket{le="+Inf"} 100' in text
        assert "http_request_duration_seconds_count 100" in text


async def test_readiness_comes_after_its_delay_and_goes_at_sigterm() -> None:
    async with app(READY_DELAY="30", DRAIN_SECONDS="20") as web:
        assert (await web.get("/ready"))[0] == 503
        assert (await web.get("/health"))[0] == 200
    async with app(DRAIN_SECONDS="20") as web:
        assert (await web.get("/ready"))[0] == 200
        web.process.terminate()
        async with asyncio.timeout(10):
            while (await web.get("/ready"))[0] != 503:
                await asyncio.sleep(0.01)
        assert (await web.get("/"))[0] == 200


async def test_a_request_in_flight_is_answered_after_sigterm_and_the_exit_code_is_0() -> None:
    async with app(LATENCY_MS="700", DRAIN_SECONDS="0") as web:
        reader, writer = await asyncio.open_connection(HOST, web.port)
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await writer.drain()
        # One thread: when a later request has been answered, the first one has surely been taken.
        await web.get("/health")
        web.process.terminate()
        async with asyncio.timeout(10):
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        writer.close()
        assert await web.end() == 0


async def test_several_requests_on_one_connection_are_answered_in_order() -> None:
    async with app() as web:
        first = b"POST /api/a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"
        last = b"GET /api/b HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        answer = await exchange(web.port, first * 500 + last)
        assert answer.count(b"HTTP/1.1 200 OK") == 501
        assert answer.endswith(b'"path":"/api/b"}\n')


@pytest.mark.parametrize(
    ("request_bytes", "code"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nbad header\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", 411),
        (b"POST / HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n", 413),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * 70_000, 431),
        (b"GET /other HTTP/1.1\r\nConnection: close\r\n\r\n", 404),
    ],
)
async def test_requests_that_cannot_be_served_are_refused(request_bytes: bytes, code: int) -> None:
    async with app() as web:
        answer = await exchange(web.port, request_bytes)
        assert answer.startswith(f"HTTP/1.1 {code} ".encode())


async def test_it_crashes_as_told() -> None:
    async with app(CRASH="0.1:7") as web:
        assert "crashing" in await web.line()
        assert await web.end() == 7


@pytest.mark.parametrize(
    "env", [{"ERROR_RATE": "2"}, {"LATENCY_MS": "fast"}, {"START_DELAY": "-1"}, {"CRASH": "x"}]
)
async def test_an_environment_it_does_not_understand_is_an_error_that_names_it(env: dict[str, str]) -> None:
    async with app(wait=False, **env) as web:
        assert await web.end() == 2
        assert web.process.stderr is not None
        assert next(iter(env)) in (await web.process.stderr.read()).decode()


def test_two_pods_fail_at_different_requests_and_one_always_at_the_same() -> None:
    sys.path.insert(0, str(DEMO_APP[-1]).rpartition("/")[0])
    try:
        from demo_app import Behaviour, Settings  # type: ignore[import-not-found]
    finally:
        sys.path.pop(0)

    def failures(pod: str) -> list[int]:
        behaviour = Behaviour(Settings({"POD_NAME": pod, "ERROR_RATE": "0.05"}))
        return [n for n in range(200) if behaviour.fails()]

    assert failures("a") == failures("a") != failures("b")
    assert len(failures("a")) == 10
    slow = Behaviour(Settings({"LATENCY_MS": "20"}))
    times = [slow.seconds() for _ in range(5000)]
    assert 0.0195 < sum(times) / len(times) < 0.0205
    assert min(times) >= 0.014
