"""Logs, metrics, health, and the loop watchdog."""

import asyncio
import contextlib
import io
import json
import socket
import urllib.error
import urllib.request
from typing import Any

import pytest
import structlog

from rollout.api.resources import PODS
from rollout.errors import ConfigError
from rollout.runtime import logs
from rollout.runtime.clock import LoopClock
from rollout.runtime.informer import Informer
from rollout.runtime.metrics import Metrics
from rollout.runtime.runner import Runner
from rollout.runtime.serve import HealthServer
from rollout.runtime.watchdog import LoopWatchdog
from tests import virtual
from tests.unit.runtime.fake import FakeKube

# --- logs -------------------------------------------------------------------------------------------


@pytest.fixture
def stream():
    before = structlog.get_config()
    yield io.StringIO()
    structlog.configure(**before)


def test_json_lines_carry_time_level_message_and_bound_values(stream: io.StringIO) -> None:
    logs.configure(stream=stream)
    with structlog.contextvars.bound_contextvars(controller="rollout", key="ns/a"):
        structlog.get_logger().info("promoted", weight=20, path=("a", 1), odd=object)
    line = json.loads(stream.getvalue())
    assert line.pop("time").endswith("Z")
    assert line == {
        "message": "promoted",
        "level": "info",
        "controller": "rollout",
        "key": "ns/a",
        "weight": 20,
        "path": ["a", 1],
        "odd": "<class 'object'>",
    }


def test_long_values_are_cut(stream: io.StringIO) -> None:
    logs.configure(stream=stream)
    structlog.get_logger().info("x", body="y" * 1_000_000)
    assert len(stream.getvalue()) < 3000
    assert "(1000000 characters)" in stream.getvalue()


def test_levels_below_the_chosen_one_are_silent(stream: io.StringIO) -> None:
    logs.configure(level="warning", stream=stream)
    structlog.get_logger().info("no")
    structlog.get_logger().warning("yes")
    assert [json.loads(line)["message"] for line in stream.getvalue().splitlines()] == ["yes"]


@pytest.mark.parametrize("format", ["json", "console"])
def test_tracebacks_are_kept(stream: io.StringIO, format: Any) -> None:
    logs.configure(format=format, stream=stream)
    try:
        int("boom")
    except ValueError as error:
        structlog.get_logger().error("failed", exc_info=error)
    text = stream.getvalue()
    assert "ValueError: invalid literal" in text
    assert "test_observe.py" in text
    assert "\x1b" not in text  # no colours where there is no terminal


# --- metrics ----------------------------------------------------------------------------------------


def sample(metrics: Metrics, metric: str, /, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(metric, labels)


def test_reconciles_queues_and_watches_are_measured() -> None:
    async def main(clock: LoopClock) -> None:
        metrics, kube = Metrics(), FakeKube()
        kube.put("a")
        informer = Informer(kube, PODS, clock=clock)

        async def reconcile(key: str) -> None:
            if key == "bad":
                raise ZeroDivisionError
            await clock.sleep(0.2)

        runner: Runner[str] = Runner(
            "test", reconcile, clock=clock, workers=1, on_reconcile=metrics.reconcile("test")
        )
        metrics.add_runner(runner)
        metrics.add_informer(informer)
        runner.add("a")
        runner.add("b")
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(runner.run()), group.create_task(informer.run())]
            await clock.sleep(0.1)
            assert sample(metrics, "workqueue_depth", name="test") == 1
            assert sample(metrics, "controller_runtime_active_workers", controller="test") == 1
            await clock.sleep(10)
            runner.add("bad")
            await clock.sleep(0.001)
            assert (
                sample(metrics, "controller_runtime_reconcile_total", controller="test", result="success")
                == 2
            )
            assert (
                sample(metrics, "controller_runtime_reconcile_total", controller="test", result="error") == 1
            )
            assert sample(metrics, "controller_runtime_reconcile_time_seconds_count", controller="test") == 3
            assert sample(metrics, "workqueue_queue_duration_seconds_sum", name="test") == pytest.approx(0.2)
            assert sample(metrics, "surefoot_cached_objects", resource="pods") == 1
            assert sample(metrics, "surefoot_watch_age_seconds", resource="pods") == pytest.approx(
                10.1, abs=0.1
            )
            for task in tasks:
                task.cancel()

    virtual.run(main)


# --- watchdog ---------------------------------------------------------------------------------------


def test_a_blocked_loop_is_measured_and_told() -> None:
    async def main(clock: LoopClock) -> None:
        fatal: list[float] = []
        watchdog = LoopWatchdog(clock, on_fatal=fatal.append)
        task = asyncio.create_task(watchdog.run())
        await clock.sleep(10)
        assert watchdog.worst == pytest.approx(0)
        loop = asyncio.get_running_loop()
        assert isinstance(loop, virtual.VirtualLoop)
        loop.advance(5)
        await clock.sleep(1)
        assert watchdog.worst == pytest.approx(5, abs=0.25)
        assert fatal == []
        loop.advance(8)
        await clock.sleep(1)
        assert len(fatal) == 1
        await clock.sleep(70)
        assert watchdog.worst == pytest.approx(0)
        task.cancel()

    virtual.run(main)


# --- health -----------------------------------------------------------------------------------------


async def fetch(port: int, path: str, method: str = "GET") -> tuple[int, str]:
    def blocking() -> tuple[int, str]:
        request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", method=method)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    return await asyncio.to_thread(blocking)


async def test_health_and_readiness_follow_their_checks() -> None:
    problem = ["the pods cache is not filled"]
    checks = {"caches": lambda: problem[0], "other": lambda: ""}
    async with HealthServer("127.0.0.1:0", metrics=Metrics(), ready=checks) as server:
        assert await fetch(server.port, "/healthz") == (200, "ok\n")
        assert await fetch(server.port, "/readyz?verbose") == (
            503,
            "[-]caches the pods cache is not filled\n[+]other ok\nfailed\n",
        )
        problem[0] = ""
        assert await fetch(server.port, "/readyz") == (200, "[+]caches ok\n[+]other ok\nok\n")
        code, text = await fetch(server.port, "/metrics")
        assert code == 200
        assert "process_cpu_seconds_total" in text
        assert (await fetch(server.port, "/"))[0] == 404
        assert (await fetch(server.port, "/healthz", "POST"))[0] == 405
        assert await fetch(server.port, "/healthz", "HEAD") == (200, "")


async def test_a_question_behind_a_prefix_is_answered_by_its_status_alone() -> None:
    asked: list[str] = []

    def ask(what: str) -> int:
        asked.append(what)
        return {"mine": 200, "lost": 503}.get(what, 410)

    async with HealthServer("127.0.0.1:0", asked={"/lease/": ask}) as server:
        assert await fetch(server.port, "/lease/mine?x=1") == (200, "OK\n")
        assert await fetch(server.port, "/lease/lost") == (503, "Service Unavailable\n")
        assert await fetch(server.port, "/lease/") == (410, "Gone\n")
        assert (await fetch(server.port, "/lease"))[0] == 404
        assert (await fetch(server.port, "/lease/mine", "POST"))[0] == 405
    assert asked == ["mine", "lost", ""]


async def test_rubbish_ends_the_connection_and_nothing_else() -> None:
    async with HealthServer("127.0.0.1:0") as server:
        for rubbish in (b"\x00" * 100, b"x" * 100_000, b"GET\r\n\r\n"):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(rubbish)
            writer.write_eof()
            with contextlib.suppress(ConnectionResetError):
                await reader.read()
            writer.close()
        assert (await fetch(server.port, "/healthz"))[0] == 200


@pytest.mark.parametrize("address", ["", "localhost", "localhost:http", "127.0.0.1:70000"])
def test_malformed_addresses_are_told(address: str) -> None:
    with pytest.raises(ConfigError, match="is not an address"):
        HealthServer(address)


async def test_a_taken_port_is_told() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        server = HealthServer(f"127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(ConfigError, match="cannot serve metrics and health on 127"):
            await server.__aenter__()
