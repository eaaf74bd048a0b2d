"""A network namespace of one's own, and injectors in it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from rollout.runtime.clock import SystemClock

PATIENCE = 30.0
ENV = {"PATH": os.environ["PATH"], "PYTHONUNBUFFERED": "1"}


class Namespace:
    """Lives as long as its first process, which ends when our end of its pipe closes."""

    def __init__(self, words: Path) -> None:
        self.words_file = words
        words.touch()
        self._holder = subprocess.Popen(
            ["unshare", "-n", "sh", "-c", "ip link set lo up && echo ready && exec cat"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._holder.stdout is not None
        self.usable = self._holder.stdout.readline() == "ready\n"
        self._started: list[subprocess.Popen[str]] = []

    def argv(self, *argv: str) -> list[str]:
        return ["nsenter", f"--target={self._holder.pid}", "--net", *argv]

    def run(self, *argv: str) -> str:
        done = subprocess.run(self.argv(*argv), capture_output=True, text=True, check=True, timeout=PATIENCE)
        return done.stdout

    def start(self, *argv: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            self.argv(*argv), stdout=subprocess.PIPE, text=True, env=ENV, cwd=Path.cwd()
        )
        self._started.append(process)
        return process

    def injector(self, *args: str) -> Injector:
        return Injector(
            self.start(sys.executable, "-m", "chaos.injector", f"--termination-log={self.words_file}", *args)
        )

    def impair(self, *args: str, seconds: float = 60.0) -> Injector:
        """An injector that has impaired `lo`, with tbf in netem's place."""
        made = self.injector("netem", deadline(seconds), "--interface=lo", "--qdisc=tbf", *args)
        made.wait_for("impaired")
        return made

    def python(self, code: str) -> subprocess.Popen[str]:
        return self.start(sys.executable, "-c", code)

    def handles(self) -> set[str]:
        return {one["handle"] for one in json.loads(self.run("tc", "-j", "qdisc", "show", "dev", "lo"))}

    def clean(self) -> bool:
        return self.handles() == {"0:"}

    def words(self) -> dict[str, Any]:
        return json.loads(self.words_file.read_text())

    def close(self) -> None:
        for process in self._started:
            if process.poll() is None:
                os.kill(process.pid, signal.SIGCONT)
                process.kill()
            process.communicate()
        self._holder.communicate()


def deadline(seconds: float) -> str:
    return f"--deadline={(SystemClock().now() + timedelta(seconds=seconds)).timestamp():.3f}"


class Injector:
    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def wait_for(self, event: str) -> dict[str, Any]:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            said = json.loads(line)
            if said.get("event") == event:
                return said
        raise AssertionError(f"the injector ended without saying {event!r}")

    def guardian(self) -> int:
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for child in map(int, children):
            if b"chaos.injector" in Path(f"/proc/{child}/cmdline").read_bytes():
                return child
        raise AssertionError("no guardian")

    def ended(self) -> int:
        return self.process.wait(PATIENCE)


def eventually(holds: Callable[[], bool]) -> None:
    """Look again until it holds; fails after PATIENCE."""
    for _ in range(int(PATIENCE / 0.05)):
        if holds():
            return
        time.sleep(0.05)
    raise AssertionError("did not become true")
