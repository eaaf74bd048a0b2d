"""The sandbox's child processes: started, watched, restarted with back-off, and never left behind."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from rollout.errors import SandboxError
from rollout.runtime.clock import Clock
from rollout.sandbox.node.process import Process, Processes, StartError

BACKOFF_BASE, BACKOFF_CAP = 0.2, 10.0
STABLE_SECONDS = 30.0
"""A child that ran this long starts its back-off and its count of quick deaths anew."""
STOP_SECONDS = 5.0
_LAST_LINES = 8


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


class LogFile:
    """Where a child's output goes: a file, and the last lines in memory. Standard output can be waited for."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.last: deque[str] = deque(maxlen=_LAST_LINES)
        self.first_line: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._file = path.open("wb", buffering=0)

    def write(self, stream: str, data: bytes, *, partial: bool = False) -> None:
        if stream == "stdout" and not self.first_line.done():
            self.first_line.set_result(data.decode(errors="replace"))
        self._file.write(data + (b"" if partial else b"\n"))
        if text := data.decode(errors="replace").strip():
            self.last.append(text)

    def close(self) -> None:
        self.first_line.cancel()
        self._file.close()


class Child:
    """One supervised process. `on_change` is called whenever `pid`, `restarts` or `message` changed."""

    def __init__(
        self,
        command: Command,
        processes: Processes,
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
        self.log = LogFile(log)
        self.before_restart: Callable[[], Awaitable[None]] | None = None
        self._processes, self._env, self._clock, self._on_change = processes, env, clock, on_change
        self._process: Process | None = None
        self._stopping = False

    async def start(self) -> None:
        """Start it for the first time. SandboxError if there is no such command."""
        try:
            self._process = await self._processes.start(
                self.command.argv, env={**self._env, **self.command.env}, cwd=Path("/"), output=self.log
            )
        except StartError as error:
            raise SandboxError(
                f"{self.command.name} cannot be started: {error}. {self.command.remedy}"
            ) from error
        self.pid = self._process.pid
        self._on_change(self)

    async def run(self) -> None:
        """Restart it when it dies; returns after `stop`. SandboxError when it dies more often than it may."""
        quick = 0
        while True:
            assert self._process is not None
            started = self._clock.monotonic()
            code = await self._process.wait()
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
            await self._clock.sleep(min(BACKOFF_BASE * 2 ** (quick - 1), BACKOFF_CAP))
            self.restarts += 1
            if self.before_restart is not None:
                await self.before_restart()
            await self.start()

    async def exited(self) -> int:
        """The exit code once it has ended (for waiting on readiness and death at the same time)."""
        assert self._process is not None
        return await self._process.wait()

    def obituary(self, code: int) -> str:
        """One line: what ended, how, what it said last, what to do."""
        how = f"was killed by signal {code - 128}" if code > 128 else f"ended with exit code {code}"
        said = (
            f'; it said: "{" | ".join(list(self.log.last)[-3:])}"' if self.log.last else "; it said nothing"
        )
        remedy = f" {self.command.remedy}" if self.command.remedy else ""
        return f"{self.command.name} {how}{said} (log: {self.log.path}).{remedy}"

    async def stop(self) -> None:
        """SIGTERM, and SIGKILL after a few seconds."""
        import signal

        self._stopping = True
        if self._process is None:
            return
        self._process.signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await self._process.wait()
        except TimeoutError:
            await self._process.kill()


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


def stop_all(children: Sequence[Child]) -> Awaitable[list[None]]:
    """Stop all at the same time."""
    return asyncio.gather(*(child.stop() for child in children))
