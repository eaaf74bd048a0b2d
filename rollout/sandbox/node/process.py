"""Container processes: supervised children whose output goes line by line to a log."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol, Self

from rollout.runtime import process

StartError = process.ProcessError
"""A command that cannot be run at all."""

_CHUNK = 16 * 1024
_LEFTOVER_SECONDS = 1.0
"""How long output is awaited after the end: a process that left the group may hold the pipe for ever."""


class Output(Protocol):
    """Where a process's lines go."""

    def write(self, stream: str, data: bytes, *, partial: bool = False) -> None: ...


class Process:
    """A running command and all it has started. Made by `Processes.start`."""

    def __init__(self, inner: process.Process, pumps: Sequence[asyncio.Task[None]]) -> None:
        self._inner = inner
        self._pumps = pumps
        self._ended = asyncio.create_task(self._watch(), name=f"process {inner.pid}")

    @property
    def pid(self) -> int:
        """The process (and process group) id of the command itself."""
        return self._inner.pid

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal to the whole group; nothing happens if it has ended."""
        self._inner.signal(number)

    async def wait(self) -> int:
        """The exit code, 128 + number for a signal. Afterwards nothing of the group is left.

        Cancelling a wait leaves the process alone.
        """
        return await asyncio.shield(self._ended)

    async def kill(self) -> int:
        """SIGKILL to the group; the exit code."""
        self.signal(signal.SIGKILL)
        return await self.wait()

    async def _watch(self) -> int:
        code = await self._inner.wait()
        _, late = await asyncio.wait(self._pumps, timeout=_LEFTOVER_SECONDS)
        for pump in late:
            pump.cancel()
        return code if code >= 0 else 128 - code


class Processes:
    """Starts processes that cannot outlive this one. Use as an async context manager."""

    def __init__(self) -> None:
        self._children = process.Supervisor()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._children.close(grace=0)

    async def start(
        self, argv: Sequence[str], *, env: Mapping[str, str], cwd: Path, output: Output
    ) -> Process:
        """Runs `argv`. StartError if there is no such command."""
        reads: list[int] = []
        writes: list[int] = []
        try:
            for _ in range(2):
                read, write = os.pipe()
                reads.append(read)
                writes.append(write)
            inner = await self._children.start(argv, env=env, cwd=cwd, outputs=(writes[0], writes[1]))
        except BaseException:
            for fd in reads:
                os.close(fd)
            raise
        finally:
            for fd in writes:
                os.close(fd)
        pumps = [
            asyncio.create_task(_pump(fd, name, output))
            for fd, name in zip(reads, ("stdout", "stderr"), strict=True)
        ]
        return Process(inner, pumps)


async def _pump(fd: int, stream: str, output: Output) -> None:
    """Hands every line to `output`, long ones in parts, until the stream ends."""
    reader = asyncio.StreamReader(limit=_CHUNK)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(fd, "rb", 0)
    )
    try:
        while True:
            try:
                line = await reader.readuntil(b"\n")
            except asyncio.LimitOverrunError as error:
                output.write(stream, await reader.readexactly(error.consumed), partial=True)
                continue
            except asyncio.IncompleteReadError as error:
                if error.partial:
                    output.write(stream, error.partial)
                return
            output.write(stream, line[:-1])
    finally:
        transport.close()


class Tail:
    """An Output that keeps the first `limit` bytes: what an exec probe said."""

    def __init__(self, limit: int = 10_240) -> None:
        self._limit, self._data = limit, b""

    def write(self, stream: str, data: bytes, *, partial: bool = False) -> None:
        del stream
        self._data = (self._data + data + (b"" if partial else b"\n"))[: self._limit]

    def text(self) -> str:
        return self._data.decode("utf-8", "replace").rstrip("\n")
