"""`rollout demo` as a process: ended in the middle, killed, kept. Nothing of it may stay."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.sandbox.release_support import ROOT, command, processes_naming, until

pytestmark = [pytest.mark.sandbox, pytest.mark.usefixtures("prometheus")]
PLAY_SECONDS = 150.0


class Demo:
    """A running demo whose temporary folder is below `folder`, and what it said so far."""

    def __init__(self, process: subprocess.Popen[bytes], folder: Path, output: Path) -> None:
        self.process, self.folder, self._output = process, folder, output

    @property
    def said(self) -> str:
        return self._output.read_text(errors="replace")

    @property
    def folders(self) -> list[Path]:
        return list(self.folder.iterdir())

    async def says(self, text: str, seconds: float = 60.0) -> None:
        def there() -> bool:
            assert self.process.poll() is None or text in self.said, self.said
            return text in self.said

        await until(there, f"the demo says {text!r}", seconds)

    async def ended(self) -> int:
        await until(lambda: self.process.poll() is not None, "the demo ends", 30)
        return int(self.process.returncode)


@asynccontextmanager
async def demo(tmp_path: Path, *options: str) -> AsyncIterator[Demo]:
    """A demo; every process of it is found by its folder for temporary files (short, as they usually are)."""
    folder, output = Path(tempfile.mkdtemp(prefix="demo-")), tmp_path / "output"
    argv = [sys.executable, "-m", "rollout.cli.main", "demo", *options]
    with output.open("wb") as file:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            cwd=ROOT,
            env={**os.environ, "TMPDIR": str(folder)},
        )
    try:
        yield Demo(process, folder, output)
    finally:
        process.kill()
        process.wait()
        await until(lambda: processes_naming(str(folder)) == [], "no process of the demo is left", 30)
        shutil.rmtree(folder)


async def under_load(running: Demo) -> None:
    """Wait until everything that a demo starts is there: sandbox, controller, pods, locust."""
    await running.says("locust sends load to it")
    await running.says("weights 10, 20")
    assert len(processes_naming(str(running.folder))) > 12


async def test_ctrl_c_while_it_starts_leaves_no_process_and_no_folder(tmp_path: Path):
    async with demo(tmp_path) as running:
        await running.says("starting a sandbox")
        await until(lambda: len(processes_naming(str(running.folder))) > 2, "it has started something")
        running.process.send_signal(signal.SIGINT)
        assert await running.ended() == 130
        assert processes_naming(str(running.folder)) == []
        assert running.folders == []
        assert "Traceback" not in running.said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_told_to_stop_in_the_middle_it_leaves_no_process_and_no_folder(
    tmp_path: Path, number: signal.Signals
):
    async with demo(tmp_path) as running:
        await under_load(running)
        running.process.send_signal(number)
        assert await running.ended() == 130
        assert processes_naming(str(running.folder)) == []
        assert running.folders == []
        assert running.said.splitlines()[-1] == "Stopped; nothing is left running."
        assert "Traceback" not in running.said


async def test_killed_in_the_middle_it_leaves_no_process(tmp_path: Path):
    async with demo(tmp_path) as running:
        await under_load(running)
        running.process.kill()
        running.process.wait()
        await until(lambda: processes_naming(str(running.folder)) == [], "all its processes are gone", 15)


async def test_a_load_generator_that_dies_ends_it_with_one_line(tmp_path: Path):
    async with demo(tmp_path) as running:
        await under_load(running)
        (locust,) = [pid for pid in processes_naming(str(running.folder)) if b"locustfile.py" in cmdline(pid)]
        os.kill(locust, signal.SIGKILL)
        assert await running.ended() == 1
        assert running.said.splitlines()[-1].startswith("error: the load generator ended with -9")
        assert "Traceback" not in running.said
        assert processes_naming(str(running.folder)) == []
        assert running.folders == []


def cmdline(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


@pytest.mark.slow
async def test_kept_it_shows_three_releases_and_serves_until_ctrl_c(tmp_path: Path):
    async with demo(tmp_path, "--keep") as running:
        await running.says("Ctrl-C here stops everything.", PLAY_SECONDS)
        said = running.said
        assert said.count("as expected: ") == 3
        assert "NOT AS EXPECTED" not in said
        assert "Dropped by shifting traffic: none." in said
        queries = [line.split(maxsplit=1) for line in said.splitlines() if line.startswith("      query")]
        assert len(queries) == 6
        assert all("istio_request" in query[1] for query in queries)
        (line,) = [line.strip() for line in said.splitlines() if "export KUBECONFIG=" in line]
        kubeconfig = line.removeprefix("export KUBECONFIG=")
        await asyncio.to_thread(running.process.poll)
        seen = await command("get", "rollouts", "-A", program=("kubectl",), KUBECONFIG=kubeconfig)
        assert seen.code == 0
        assert seen.out.count("web-frontend") == 2
        running.process.send_signal(signal.SIGINT)
        assert await running.ended() == 130
        assert running.folders == []
        assert processes_naming(str(running.folder)) == []
