"""Processes under measurement: our API server, and what a process has used (Linux: /proc)."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

END_SECONDS = 20


def cpu_seconds(pid: int) -> float:
    """CPU time (user and system) that a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_mib(pid: int) -> float:
    """Resident memory of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


class Server:
    """A running API server of the sandbox, and how to get in."""

    def __init__(self, ready: dict[str, Any], pid: int) -> None:
        self.pid = pid
        self.state = Path(ready["tokenFile"]).parent
        self.kubeconfig: str = ready["kubeconfig"]
        self.port = urlsplit(ready["address"]).port or 0
        self.tls = ssl.create_default_context(cafile=ready["certificateAuthority"])
        self.token = Path(ready["tokenFile"]).read_text().strip()

    def cpu_seconds(self) -> float:
        return cpu_seconds(self.pid)


@contextmanager
def api_server(*, durable: bool = False) -> Iterator[Server]:
    """An API server of its own on loopback, in memory or (`durable`) with --data; ended on leaving."""
    with tempfile.TemporaryDirectory(prefix="bench-") as state:
        command = [sys.executable, "-m", "rollout.sandbox.http", "--state", state]
        command += ["--data", f"{state}/data"] if durable else []
        with child(command) as process:
            assert process.stdout is not None
            ready = process.stdout.readline()
            if not ready:
                raise RuntimeError("the API server did not start; its own message is above")
            yield Server(json.loads(ready), process.pid)


@contextmanager
def child(command: list[str], *, env: dict[str, str] | None = None) -> Iterator[subprocess.Popen[str]]:
    """A process with pipes as standard input and output. It ends by its input closing, or by SIGTERM."""
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | (env or {})
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.communicate(timeout=END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
