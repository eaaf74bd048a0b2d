"""The sandbox's child processes: started, watched, restarted with back-off, and never left behind."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path

import msgspec

from rollout.errors import SandboxError
from rollout.runtime.clock import Clock
from rollout.runtime.process import Process, ProcessError, Supervisor

BACKOFF_BASE, BACKOFF_CAP = 0.2, 10.0
STABLE_SECONDS = 30.0
"""A child that ran this long starts its back-off and its count of quick deaths anew."""
STOP_SECONDS = 5.0
_LAST_LINES = 3
_LAST_BYTES = 4096


class Command(msgspec.Struct, frozen=True):
    """A process to run: `argv`, `env` added to the supervisor's own, and what to do when it ends.

    `deaths`: how many quick deaths in a row end the whole sandbox (0: restarted for ever; 1: never restarted).
    `remedy`: what a person can do about it, said when it dies.
    """

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str] = {}
    deaths: int = 0
    remedy: str = ""


class Child:
    """One supervised process. `on_change` is called whenever `pid`, `restarts` or `message` changed."""

    def __init__(
        self,
        command: Command,
        processes: Supervisor,
        *,
        log: Path,
        env: Mapping[str, str],
        clock: Clock,
        on_change: Callable[[Child], None],
    ) -> None:
        self.command = command
        self.pid = 0
        self.restarts = 0
        self.message = ""
        self.log = log
        self.before_restart: Callable[[], None] | None = None
        self._processes, self._env, self._clock, self._on_change = processes, env, clock, on_change
        self._process: Process | None = None
        self._stopping = False

    async def start(self) -> None:
        """Start it for the first time, with an empty log. SandboxError if there is no such command."""
        self.log.write_bytes(b"")
        await self._start()

    async def run(self) -> None:
        """Restart it when it dies; returns after `stop`. SandboxError when it dies more often than it may."""
        quick = 0
        while True:
            started = self._clock.monotonic()
            code = await self.exited()
            if self._stopping:
                return
            if self._clock.monotonic() - started > STABLE_SECONDS:
                quick = 0
            quick += 1
            self.pid = 0
            self.message = self.obituary(code)
            self._on_change(self)
            if self.command.deaths and quick >= self.command.deaths:
                raise SandboxError(self.message)
            await self._clock.sleep(min(BACKOFF_BASE * 2 ** min(quick - 1, 10), BACKOFF_CAP))
            self.restarts += 1
            if self.before_restart is not None:
                self.before_restart()
            await self._start()

    async def exited(self) -> int:
        """Wait for its end; the exit code, negative for a signal."""
        assert self._process is not None
        return await self._process.wait()

    async def announcement(self) -> str:
        """The first line of JSON that it writes (warnings may come before)."""
        while True:
            for line in self.log.read_text(errors="replace").splitlines(keepends=True):
                if line.startswith("{") and line.endswith("\n"):
                    return line
            await self._clock.sleep(0.01)

    def obituary(self, code: int) -> str:
        """One line: what ended, how, what it said last, what to do."""
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        last = [
            line.strip() for line in self._tail().splitlines() if line.strip() and not line.startswith("{")
        ]
        said = f'it said last: "{" | ".join(last[-_LAST_LINES:])}"' if last else "it said nothing"
        remedy = f" {self.command.remedy}" if self.command.remedy else ""
        return f"{self.command.name} {how}; {said} (log: {self.log}).{remedy}"

    async def stop(self) -> None:
        """SIGTERM, and SIGKILL after a few seconds."""
        self._stopping = True
        if self._process is not None:
            await self._process.stop(STOP_SECONDS)

    async def _start(self) -> None:
        try:
            self._process = await self._processes.start(
                self.command.argv,
                env={**self._env, **self.command.env},
                cwd=Path("/"),
                log=self.log,
                name=self.command.name,
            )
        except ProcessError as error:
            raise SandboxError(f"{self.command.name}: {error}. {self.command.remedy}".strip()) from error
        self.pid = self._process.pid
        self._on_change(self)

    def _tail(self) -> str:
        with self.log.open("rb") as log:
            log.seek(max(0, log.seek(0, 2) - _LAST_BYTES))
            return log.read().decode(errors="replace")


async def first_of(child: Child, ready: Awaitable[None]) -> None:
    """Wait for `ready`; SandboxError with the child's last words if it ends before."""
    waiting = asyncio.ensure_future(ready)
    ending = asyncio.ensure_future(child.exited())
    try:
        await asyncio.wait({waiting, ending}, return_when=asyncio.FIRST_COMPLETED)
        if waiting.done():
            await waiting
            return
        raise SandboxError(child.obituary(ending.result()))
    finally:
        waiting.cancel()
        ending.cancel()


async def stop_all(children: Iterable[Child]) -> None:
    """Stop all at the same time."""
    await asyncio.gather(*(child.stop() for child in children))
