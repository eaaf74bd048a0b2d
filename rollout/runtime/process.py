"""Child processes that cannot be left behind.

Each child leads a process group of its own, and one guard per parent knows them all: a small shell that reads from a
pipe which only the parent holds open. When the parent ends, however it ends (kill -9 included), the pipe closes, and
the guard kills every group that is still registered. A child registers itself before its program starts, so there is no
moment at which it could be missed. Portable (POSIX); it does not reach a program that starts a session of its own.

    async with Supervisor() as children:
        server = await children.start(["prometheus", "--config.file=x"], log=folder / "prometheus.log")
        ...
        code = await server.stop(grace=5)
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from asyncio.subprocess import DEVNULL, STDOUT
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import structlog

from rollout.errors import SurefootError

log = structlog.get_logger()

GRACE_SECONDS = 10.0

# "+ PID" registers a group, "- PID" takes it off; the end of the input kills what is left. Signals that a terminal
# sends to everybody (Ctrl-C) must not end the guard before its parent.
_GUARD = """
trap '' INT TERM HUP
groups=' '
while read -r sign pid; do
  case $sign in
    +) groups="$groups$pid " ;;
    -) case $groups in *" $pid "*) groups="${groups%%" $pid "*} ${groups#*" $pid "}" ;; esac ;;
  esac
done
for pid in $groups; do kill -KILL "-$pid" 2>/dev/null; done
"""

# Registers over its standard input, which is the pipe, lets go of it, and becomes the program. Arguments are passed on
# as they are; nothing is interpreted.
_LAUNCH = """
echo "+ $$" >&0 || exit 127
exec "$@" </dev/null
"""


class ProcessError(SurefootError):
    """A program cannot be started. The message says which and why."""


class Process:
    """One running child. `returncode` is None while it runs; negative for a signal, as in `subprocess`."""

    def __init__(self, name: str, inner: asyncio.subprocess.Process, supervisor: Supervisor) -> None:
        self.name = name
        self._inner = inner
        self._supervisor = supervisor
        self._ended = asyncio.ensure_future(self._watch())

    @property
    def pid(self) -> int:
        """The process id, which is also the id of its group."""
        return self._inner.pid

    @property
    def returncode(self) -> int | None:
        return self._ended.result() if self._ended.done() and not self._ended.cancelled() else None

    async def wait(self) -> int:
        """Wait for its end; the exit code. Whatever it left running in its group is killed then."""
        return await asyncio.shield(self._ended)

    def signal(self, number: int) -> None:
        """Send a signal to the whole group; nothing happens if it has ended."""
        if self.returncode is None:
            _signal_group(self.pid, number)

    async def stop(self, grace: float = GRACE_SECONDS) -> int:
        """SIGTERM, up to `grace` seconds, SIGKILL; the exit code."""
        self.signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(grace):
                return await self.wait()
        except TimeoutError:
            self.signal(signal.SIGKILL)
            return await self.wait()

    async def _watch(self) -> int:
        code = await self._inner.wait()
        _signal_group(self.pid, signal.SIGKILL)
        self._supervisor._release(self)  # noqa: SLF001 - two halves of one thing
        return code


class Supervisor:
    """Starts children and ends them: at `close`, or by its guard when this process dies."""

    def __init__(self) -> None:
        self.children: set[Process] = set()
        self._guard: asyncio.subprocess.Process | None = None
        self._pipe = -1
        self._lock = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def start(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        log: Path | None = None,
        outputs: tuple[int, int] | None = None,
        name: str = "",
    ) -> Process:
        """Start a program. `env` is its whole environment (default: ours); `log` gets its output, appended.

        `outputs` are file descriptors for its stdout and stderr instead; they stay the caller's to close.

        ProcessError if it is not there or cannot be run.
        """
        program = _find(argv, os.environ if env is None else env, cwd)
        async with self._lock:
            if self._guard is None or self._guard.returncode is not None:
                await self._start_guard()
        output = log.open("ab") if log is not None else None
        stdout, stderr = outputs or (DEVNULL if output is None else output.fileno(), STDOUT)
        try:
            inner = await asyncio.create_subprocess_exec(
                "/bin/sh",
                "-c",
                _LAUNCH,
                "launch",
                program,
                *argv[1:],
                env=None if env is None else dict(env),
                cwd=cwd,
                stdin=self._pipe,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )
        except OSError as error:
            raise ProcessError(f"cannot start {argv[0]}: {error.strerror}") from error
        finally:
            if output is not None:
                output.close()
        process = Process(name or Path(argv[0]).name, inner, self)
        self.children.add(process)
        return process

    async def close(self, grace: float = GRACE_SECONDS) -> None:
        """Stop all children at once, then the guard."""
        await asyncio.gather(*(child.stop(grace) for child in list(self.children)))
        if self._guard is not None:
            guard, self._guard = self._guard, None
            os.close(self._pipe)
            self._pipe = -1
            await guard.wait()

    async def _start_guard(self) -> None:
        """Start the guard; or a new one, should somebody have killed it, that knows the running children."""
        if self._pipe >= 0:
            os.close(self._pipe)
        reads, self._pipe = os.pipe()
        try:
            self._guard = await asyncio.create_subprocess_exec(
                "/bin/sh",
                "-c",
                _GUARD,
                "surefoot-guard",
                stdin=reads,
                stdout=DEVNULL,
                stderr=DEVNULL,
                start_new_session=True,
            )
        finally:
            os.close(reads)
        for child in self.children:
            self._tell(f"+ {child.pid}")

    def _release(self, process: Process) -> None:
        self.children.discard(process)
        self._tell(f"- {process.pid}")

    def _tell(self, line: str) -> None:
        if self._pipe < 0:
            return
        try:
            os.write(self._pipe, f"{line}\n".encode())
        except BrokenPipeError:
            log.warning("the guard of the child processes is gone; the next start makes a new one")


def _signal_group(group: int, number: int) -> None:
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return  # all of it has ended (macOS says EPERM for a group of zombies)


def _find(argv: Sequence[str], env: Mapping[str, str], cwd: Path | None) -> str:
    """The program's path, looked up as the child would."""
    if not argv:
        raise ProcessError("there is no command to start")
    command = argv[0]
    if "/" in command:
        path = ((cwd or Path.cwd()) / command).absolute()
        if not path.exists():
            raise ProcessError(f"cannot start {command}: no such file")
        if not os.access(path, os.X_OK) or path.is_dir():
            raise ProcessError(f"cannot start {command}: it is not executable")
        return str(path)
    found = shutil.which(command, path=env.get("PATH", os.defpath))
    if found is None:
        raise ProcessError(f"cannot start {command}: no such command in PATH")
    return found
