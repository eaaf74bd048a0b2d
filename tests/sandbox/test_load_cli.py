"""`rollout load run` with real locust: what it says, how it ends, and that nothing of it is left."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import pytest

from tests.sandbox.load_support import PATIENCE, served
from tests.sandbox.release_support import ROOT, command, processes_naming, until

pytestmark = pytest.mark.sandbox
DIRECT = {"HTTP_PROXY": "", "http_proxy": ""}


async def test_the_result_is_what_the_server_saw_and_a_condition_decides_the_exit_code() -> None:
    async with served() as server:
        url = f"{server.url}/flaky"
        fail = ("--fail-if", "result.failRatio > 0.1", "--fail-if", "result.p95 > 100000")
        said = await command(
            "load", "run", "--target", url, "--rps", "40", "--duration", "2s", *fail, "-o", "json", **DIRECT
        )
    assert said.code == 3, said
    found = json.loads(said.out)
    assert found["result"]["requests"] == server.requests == 80
    assert found["result"]["failures"] == server.seen["/flaky", 500] == 20
    assert [one["holds"] for one in found["conditions"]] == [True, False]
    assert "failed: result.failRatio > 0.1" in said.err


async def test_a_plan_with_workers_is_carried_out_by_several_processes(tmp_path: Path) -> None:
    plan = tmp_path / "plan.yaml"
    plan.write_text("{target: {role: canary}, requestsPerSecond: 40, duration: 2s, workers: 2}")
    async with served() as server:
        said = await command("load", "run", "-f", str(plan), "--target", server.url, **DIRECT)
    assert said.code == 0, said
    assert server.requests == 80
    assert "80 requests in 2 s, 40/s (wanted 40), 0 % failed" in said.out


async def test_a_load_that_was_not_reached_is_no_success() -> None:
    async with served() as server:
        said = await command("load", "run", "-f", "/dev/stdin", "--target", server.url, **DIRECT)
        assert said.code == 2
        url = f"{server.url}/slow"
        said = await command("load", "run", "--target", url, "--rps", "20000", "--duration", "1s", **DIRECT)
    assert said.code == 3, said
    assert "inconclusive: the load was not reached" in said.err


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -9)])
async def test_however_it_ends_no_process_is_left(number: signal.Signals, code: int) -> None:
    async with served() as server:
        mark = f"LOAD_MARK_{server.port}_{number}"
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "rollout.cli.main", "load", "run", "--target", server.url),
            *("--rps", "20", "--duration", "10m"),
            env={**os.environ, **DIRECT, mark: "1"},
            cwd=ROOT,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            await until(lambda: server.requests > 10, "the load goes on")
            assert processes_naming(mark) != []
            process.send_signal(number)
            async with asyncio.timeout(PATIENCE):
                assert await process.wait() == code
        finally:
            if process.returncode is None:
                process.kill()
        await until(lambda: processes_naming(mark) == [], "nothing is left")
