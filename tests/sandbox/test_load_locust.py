"""Real locust against a server that keeps its own count."""

from __future__ import annotations

import os
import signal
import socket
import time
from pathlib import Path

import msgspec
import pytest

from analysis.load.plan import LOCUSTFILE_VARIABLE, SECRETS_VARIABLE, Checks, Plan, Request, arguments
from tests.sandbox.load_support import locust, result_of, served
from tests.sandbox.release_support import processes_naming

pytestmark = pytest.mark.sandbox
HOME = Request(name="home")


def opened(url: str, **changes: object) -> Plan:
    plan = Plan(target=url, model="open", duration=2.0, users=200, rate=60.0, timeout=5.0, requests=(HOME,))
    return msgspec.structs.replace(plan, **changes)


def closed(url: str, **changes: object) -> Plan:
    plan = Plan(
        target=url, model="closed", duration=2.0, users=4, spawn_rate=4.0, timeout=5.0, requests=(HOME,)
    )
    return msgspec.structs.replace(plan, **changes)


async def test_an_open_load_sends_what_its_rate_says_and_the_server_has_seen_all_of_it(
    tmp_path: Path,
) -> None:
    async with served() as server:
        result = await result_of(tmp_path, opened(server.url))
    assert result["requests"] == server.requests == 120
    assert (result["model"], result["wantedRps"], result["achievedRps"]) == ("open", 60.0, 60.0)
    assert (result["reached"], result["failures"], result["dropped"]) == (True, 0, 0)
    assert 0 < result["p50"] <= result["p95"] <= result["p99"] <= result["max"]


async def test_failures_are_those_that_the_server_sent_by_name_and_reason(tmp_path: Path) -> None:
    requests = (
        Request(name="home", weight=3),
        Request(name="flaky", path="/flaky"),
        Request(name="x", path="/away"),
    )
    async with served() as server:
        result = await result_of(tmp_path, opened(server.url, requests=requests))
    broken = server.seen["/flaky", 500]
    assert broken > 0
    assert result["failures"] == broken
    assert result["failRatio"] == pytest.approx(broken / server.requests, abs=1e-6)
    assert result["errors"] == [{"error": "HTTP 500, wanted 2xx or 3xx", "count": broken}]
    assert result["perName"]["flaky"]["requests"] == server.seen["/flaky", 500] + server.seen["/flaky", 200]
    assert result["perName"]["home"]["requests"] == server.seen["/", 200]
    assert result["perName"]["x"]["requests"] == server.seen["/away", 302], (
        "redirects are answers, and not followed"
    )


async def test_checks_of_latency_and_body_and_what_is_sent(tmp_path: Path) -> None:
    slow = Request(name="slow", path="/slow", checks=Checks(max_latency_ms=100))
    buy = Request(
        name="buy",
        method="POST",
        path="/buy",
        headers={"x-kind": "{{args.token}}"},
        body='{"ü": 1}',
        checks=Checks(status=("200",), body_contains="goodbye"),
    )
    secrets = {SECRETS_VARIABLE: '{"token": "s3cret"}'}
    async with served() as server:
        plan = opened(server.url, requests=(slow, buy), headers={"user-agent": "us"})
        result = await result_of(tmp_path, plan, **secrets)
    assert result["failures"] == result["requests"] == server.requests
    assert {one["error"]: one["count"] for one in result["errors"]} == {
        "slower than 100 ms": server.seen["/slow", 200],
        "the body does not contain the wanted text": server.seen["/buy", 200],
    }
    assert result["perName"]["slow"]["p50"] >= 200
    head = server.heads["/buy"].lower()
    assert head.startswith("post /buy ")
    assert "x-kind: s3cret\r\n" in head
    assert "user-agent: us\r\n" in head
    assert server.bodies["/buy"] == '{"ü": 1}'


async def test_a_closed_load_waits_for_its_answers(tmp_path: Path) -> None:
    slow = (Request(name="slow", path="/slow"),)
    async with served() as server:
        result = await result_of(tmp_path, closed(server.url, requests=slow))
    assert result["requests"] == server.requests
    # Four users, 0.2 s each: never more than 4 * (2 s / 0.2 s) and what was under way at the end.
    assert 4 <= result["requests"] <= 44
    assert (result["model"], result["users"], result["reached"], result["wantedRps"]) == (
        "closed",
        4,
        True,
        None,
    )


async def test_users_think_between_their_requests(tmp_path: Path) -> None:
    async with served() as server:
        result = await result_of(tmp_path, closed(server.url, think_time=0.5))
    assert result["requests"] == server.requests <= 4 * 5


async def test_arrivals_that_find_no_user_are_dropped_and_the_load_is_not_reached(tmp_path: Path) -> None:
    slow = (Request(name="slow", path="/slow"),)
    async with served() as server:
        result = await result_of(tmp_path, opened(server.url, users=2, requests=slow))
    assert result["requests"] == server.requests
    assert result["reached"] is False
    assert result["dropped"] == 120 - server.requests
    assert result["users"] == 2


async def test_a_server_that_is_not_there_is_failures_and_not_the_end(tmp_path: Path) -> None:
    async with served() as server:
        url = server.url
    result = await result_of(tmp_path, opened(url, duration=1.0))
    assert (result["requests"], result["failRatio"]) == (60, 1.0)
    assert "ConnectionRefusedError" in result["errors"][0]["error"]


async def test_no_answer_is_a_failure_after_the_time_out(tmp_path: Path) -> None:
    never = (Request(name="never", path="/never"),)
    async with served() as server:
        result = await result_of(
            tmp_path, opened(server.url, rate=5.0, duration=1.0, timeout=0.5, requests=never)
        )
    assert result["errors"] == [{"error": "no answer within 0.5 s", "count": 5}]
    assert result["requests"] == server.seen["/never", 0] == 5
    assert 500 <= result["p50"] < 5000


async def test_a_request_that_cannot_be_sent_is_a_failure_and_says_why(tmp_path: Path) -> None:
    odd = (Request(name="odd", headers={"x-odd": "☃"}),)
    async with served() as server:
        result = await result_of(tmp_path, opened(server.url, rate=10.0, duration=1.0, requests=odd))
    assert (result["requests"], result["failures"], server.requests) == (10, 10, 0)
    assert "invalid value for header field" in result["errors"][0]["error"]


async def test_the_users_own_locustfile_is_counted_the_same_way(tmp_path: Path) -> None:
    text = """
from locust import FastHttpUser, constant, task

class Mine(FastHttpUser):
    wait_time = constant(0.1)

    @task
    def flaky(self):
        self.client.get("/flaky", name="mine")
"""
    async with served() as server:
        plan = closed(server.url, requests=())
        result = await result_of(tmp_path, plan, **{LOCUSTFILE_VARIABLE: text})
    assert result["requests"] == server.requests == result["perName"]["mine"]["requests"]
    assert result["failures"] == server.seen["/flaky", 500] > 0


async def test_a_locustfile_with_a_load_shape_is_refused_and_says_why(tmp_path: Path) -> None:
    text = """
from locust import LoadTestShape, User, task

class Mine(User):
    @task
    def nothing(self): ...

class Shape(LoadTestShape):
    def tick(self): return None
"""
    async with locust(
        tmp_path, closed("http://127.0.0.1:9", requests=()), **{LOCUSTFILE_VARIABLE: text}
    ) as run:
        said = await run.said()
    assert run.process.returncode == 1
    assert "LoadTestShape cannot be used" in said.failed
    assert not said.result


async def test_services_are_reached_by_name_through_the_proxy(tmp_path: Path) -> None:
    async with served() as server:
        plan = opened("http://web.shop.svc:80", rate=5.0, duration=1.0)
        result = await result_of(tmp_path, plan, HTTP_PROXY=f"http://shop:mesh@127.0.0.1:{server.port}")
    assert result["requests"] == server.seen["http://web.shop.svc:80/", 200] == 5
    head = server.heads["http://web.shop.svc:80/"].lower()
    assert "proxy-authorization: basic c2hvcdptzxno" in head
    assert "host: web.shop.svc" in head


async def test_nothing_is_sent_before_the_common_start(tmp_path: Path) -> None:
    async with served() as server:
        start = float(int(time.time()) + 4)  # noqa: TID251 - real processes, real time
        result = await result_of(tmp_path, opened(server.url, start_at=start, duration=1.0))
    assert result["startedAt"] >= start
    assert result["requests"] == server.requests == 60


async def test_progress_and_a_timeline_are_told(tmp_path: Path) -> None:
    async with served() as server, locust(tmp_path, opened(server.url, duration=3.0)) as run:
        await run.until("progress")
        said = await run.said()
    assert said.progress["of"] == 3
    assert said.timeline["step"] == 1
    assert sum(row["rps"] for row in said.timeline["rows"]) == server.requests


async def test_a_master_and_its_workers_count_together_what_the_server_saw(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = str(probe.getsockname()[1])
    async with served() as server:
        plan = opened(server.url, workers=2, requests=(HOME, Request(name="flaky", path="/flaky")))
        bound = (
            "--master",
            "--master-bind-host",
            "127.0.0.1",
            "--master-bind-port",
            port,
            "--expect-workers",
            "2",
        )
        worker = ("--worker", "--master-host", "127.0.0.1", "--master-port", port)
        async with (
            locust(tmp_path, plan, *arguments(plan), *bound) as master,
            locust(tmp_path, plan, *worker) as one,
            locust(tmp_path, plan, *worker) as other,
        ):
            said = await master.said()
            await one.said()
            await other.said()
    assert said.result["requests"] == server.requests == 120
    assert said.result["failures"] == server.seen["/flaky", 500] > 0
    assert said.result["reached"] is True
    assert {one.process.returncode, other.process.returncode, master.process.returncode} == {0}


async def test_a_worker_that_is_killed_takes_the_result_with_it(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = str(probe.getsockname()[1])
    async with served() as server:
        plan = opened(server.url, workers=2, timeout=1.0, duration=3.0)
        bound = (
            "--master",
            "--master-bind-host",
            "127.0.0.1",
            "--master-bind-port",
            port,
            "--expect-workers",
            "2",
        )
        worker = ("--worker", "--master-host", "127.0.0.1", "--master-port", port)
        async with (
            locust(tmp_path, plan, *arguments(plan), *bound) as master,
            locust(tmp_path, plan, *worker) as one,
            locust(tmp_path, plan, *worker),
        ):
            await master.until("progress")
            os.killpg(one.process.pid, signal.SIGKILL)
            said = await master.said()
    assert not said.result
    assert "1 of 2 workers were lost" in said.failed


async def test_sigterm_ends_it_without_a_result_and_leaves_nothing(tmp_path: Path) -> None:
    async with (
        served() as server,
        locust(tmp_path, opened(server.url, duration=60.0), MARK=str(tmp_path)) as run,
    ):
        await run.until("progress")
        run.process.terminate()
        said = await run.said()
        assert not said.result
        assert processes_naming(str(tmp_path)) == []
