"""The load generator of the demo: locust as a child process, and what it has counted so far."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec

from rollout.errors import SandboxError
from rollout.runtime.process import Process, Supervisor

USERS = 36
START_SECONDS = 60.0
WARM_UP_REQUESTS = 200
RATE = 4.0


class Count(msgspec.Struct, frozen=True):
    """What one version has answered at one host. `milliseconds` maps a latency to how many answers had it."""

    requests: int = 0
    errors: int = 0
    milliseconds: dict[str, int] = {}

    def percentile(self, share: float) -> int:
        """The latency (ms) that `share` (0..1) of the answers did not exceed."""
        ordered = sorted((int(ms), n) for ms, n in self.milliseconds.items())
        left = share * sum(n for _, n in ordered)
        for ms, n in ordered:
            left -= n
            if left <= 0:
                return ms
        return ordered[-1][0] if ordered else 0


class Tally(msgspec.Struct, frozen=True):
    """All counts. Keys of `versions` are "HOST VERSION", of `dropped` "HOST REASON"; `unlucky` counts users."""

    users: int = 0
    versions: Mapping[str, Count] = {}
    dropped: Mapping[str, int] = {}
    unlucky: Mapping[str, int] = {}

    def at(self, host: str) -> dict[str, Count]:
        """Version -> count, for one host."""
        found = {}
        for key, count in self.versions.items():
            where, _, version = key.partition(" ")
            if where == host:
                found[version] = count
        return dict(sorted(found.items()))

    @property
    def requests(self) -> int:
        return sum(count.requests for count in self.versions.values()) + self.lost

    @property
    def lost(self) -> int:
        """Requests that no version answered."""
        return sum(self.dropped.values())


class Load:
    """Locust at a constant rate against the gateway, until `stop`. `hosts`: which, and their shares of the users."""

    def __init__(
        self, children: Supervisor, gateway: str, folder: Path, hosts: Mapping[str, int], users: int = USERS
    ) -> None:
        self._hosts, self._users = hosts, users
        self._children = children
        self._gateway = gateway
        self._stats = folder / "load.json"
        self._log = folder / "locust.log"
        self._process: Process | None = None

    async def start(self) -> None:
        argv = [
            sys.executable, "-m", "locust", "-f", str(Path(__file__).with_name("locustfile.py")),
            "--headless", "--host", self._gateway, "-u", str(self._users), "-r", str(self._users),
            "--reset-stats", "--stop-timeout", "2", "--loglevel", "WARNING",
        ]  # fmt: skip
        env = {
            **os.environ,
            "DEMO_STATS": str(self._stats),
            "DEMO_HOSTS": msgspec.json.encode(self._hosts).decode(),
            "DEMO_RATE": str(RATE),
            "HTTP_PROXY": "",
            "http_proxy": "",
        }
        self._process = await self._children.start(argv, name="locust", env=env, log=self._log)

    def tally(self) -> Tally:
        """The counts as of the last half second. SandboxError when locust has died."""
        if self._process is not None and self._process.returncode is not None:
            last = self._log.read_text(errors="replace").strip().splitlines()[-3:]
            raise SandboxError(
                f"the load generator ended with {self._process.returncode}: {' | '.join(last)}"
            )
        try:
            return msgspec.json.decode(self._stats.read_bytes(), type=Tally)
        except FileNotFoundError:
            return Tally()

    async def warm(self) -> None:
        """Wait until requests flow, so that the first question to Prometheus has an answer."""
        async with asyncio.timeout(START_SECONDS):
            while self.tally().requests < WARM_UP_REQUESTS:  # noqa: ASYNC110 - locust is another process
                await asyncio.sleep(0.2)

    async def stop(self) -> Tally:
        """End the load; the final counts."""
        if self._process is not None:
            process, self._process = self._process, None
            await process.stop(grace=5)
        return self.tally()
