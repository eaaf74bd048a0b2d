"""Container processes: each in a group of its own, none of which outlives the agent.

A helper process, the janitor, holds the reading end of a pipe whose writing end only the agent has. The
agent tells it every group it starts and every group that has ended; when the pipe closes, because the
agent ended in whatever way (also `kill -9`), the janitor kills the groups that are left. A container's
command starts only after its group has been told: until then it is a shell that waits for a word.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol, Self

from rollout.errors import SandboxError, SurefootError

_JANITOR = """
import os, signal
signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
groups = set()
for line in open(0, buffering=1):
    word, group = line.split()
    (groups.add if word == "+" else groups.discard)(int(group))
for group in groups:
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        continue
"""

_GATE = 'read -r go || exit 1; [ "$go" = go ] || exit 1; exec "$@" </dev/null'
"""What a container is before its command: it goes on only when the agent says so."""

_CHUNK = 16 * 1024


class StartError(SurefootError):
    """A command that cannot be run at all."""


class Output(Protocol):
    """Where a process's lines go."""

    def write(self, stream: str, data: bytes, *, partial: bool = False) -> None: ...


class Process:
    """A running command and all it has started. Made by `Processes.start`."""

    def __init__(self, owner: Processes, inner: asyncio.subprocess.Process, output: Output) -> None:
        self._owner, self._inner = owner, inner
        self._pumps = [
            asyncio.create_task(_pump(reader, name, output))
            for reader, name in ((inner.stdout, "stdout"), (inner.stderr, "stderr"))
            if reader is not None
        ]
        self._ended = asyncio.create_task(self._watch())

    @property
    def pid(self) -> int:
        """Also the id of the process group."""
        return self._inner.pid

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal to the whole group; nothing happens if it has ended."""
        if self._inner.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, number)

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
        # As a container ends with its first process, what that one left behind ends now.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        await asyncio.gather(*self._pumps)
        self._owner.forget(self.pid)
        return code if code >= 0 else 128 - code


class Processes:
    """Starts processes that cannot outlive this one. Use as an async context manager."""

    def __init__(self) -> None:
        self._janitor: asyncio.subprocess.Process | None = None
        self._running: dict[int, Process] = {}

    async def __aenter__(self) -> Self:
        self._janitor = await asyncio.create_subprocess_exec(
            sys.executable, "-I", "-S", "-c", _JANITOR, stdin=asyncio.subprocess.PIPE, start_new_session=True
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.gather(*(process.kill() for process in list(self._running.values())))
        if self._janitor is not None and self._janitor.stdin is not None:
            self._janitor.stdin.close()
            await self._janitor.wait()

    async def start(
        self, argv: Sequence[str], *, env: Mapping[str, str], cwd: Path, output: Output
    ) -> Process:
        """Runs `argv`. StartError if there is no such command."""
        command = resolve(argv, env, cwd)
        inner = await asyncio.create_subprocess_exec(
            "/bin/sh",
            "-c",
            _GATE,
            "sh",
            command,
            *argv[1:],
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=dict(env),
            cwd=cwd,
            start_new_session=True,
            limit=_CHUNK,
        )
        process = Process(self, inner, output)
        self._running[inner.pid] = process
        self._tell("+", inner.pid)
        assert inner.stdin is not None
        inner.stdin.write(b"go\n")
        inner.stdin.close()
        return process

    def forget(self, group: int) -> None:
        """A group has ended: the janitor need not know it any more."""
        if self._running.pop(group, None) is not None:
            self._tell("-", group)

    def _tell(self, word: str, group: int) -> None:
        assert self._janitor is not None
        assert self._janitor.stdin is not None
        if self._janitor.returncode is not None:
            raise SandboxError(
                "the helper process that cleans up after the node agent was killed; restart the sandbox"
            )
        # Written at once: a write that stayed in a buffer would be lost with us.
        self._janitor.stdin.write(f"{word} {group}\n".encode())


def resolve(argv: Sequence[str], env: Mapping[str, str], cwd: Path) -> str:
    """The path of the executable that `argv[0]` means. StartError in the words of a container runtime."""
    if not argv:
        raise StartError("no command specified")
    name = argv[0]
    if "/" in name:
        path = cwd / name
        if not path.exists():
            raise StartError(f'exec: "{name}": stat {name}: no such file or directory')
        if not os.access(path, os.X_OK) or path.is_dir():
            raise StartError(f'exec: "{name}": permission denied')
        return str(path)
    found = shutil.which(name, path=env.get("PATH", os.defpath))
    if found is None:
        raise StartError(f'exec: "{name}": executable file not found in $PATH')
    return found


async def _pump(reader: asyncio.StreamReader, stream: str, output: Output) -> None:
    """Hands every line to `output`, long ones in parts, until the stream ends."""
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


class Tail:
    """An Output that keeps the first `limit` bytes: what an exec probe said."""

    def __init__(self, limit: int = 10_240) -> None:
        self._limit, self._data = limit, b""

    def write(self, stream: str, data: bytes, *, partial: bool = False) -> None:
        del stream
        self._data = (self._data + data + (b"" if partial else b"\n"))[: self._limit]

    def text(self) -> str:
        return self._data.decode("utf-8", "replace").rstrip("\n")
