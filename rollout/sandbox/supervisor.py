"""`rollout sandbox up | down | status` as functions. Light on imports; the work is in `serve`."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import msgspec

from rollout.errors import SandboxError
from rollout.sandbox.config import ExtraCommand, SandboxConfig
from rollout.sandbox.state import (
    MARKER,
    Lock,
    Part,
    Record,
    StateDirectory,
    is_held,
    processes_of,
    send,
    state_directory,
)

UP_SECONDS = 90.0
DOWN_SECONDS = 20.0

Progress = Callable[[str], None]


class Sandbox(msgspec.Struct, frozen=True):
    """A sandbox that is up. `already`: it was before `up` was called."""

    name: str
    state: str
    pid: int
    kubeconfig: str
    api: str
    mesh_proxy: str
    gateway: str
    prometheus: str
    already: bool = False

    @property
    def export_line(self) -> str:
        """What a shell needs so that kubectl and rollout speak to this sandbox."""
        return f"export KUBECONFIG={shlex.quote(self.kubeconfig)}"


class SandboxStatus(msgspec.Struct, frozen=True):
    """`running`: a supervisor lives; `ready`: all parts have been up. `ended`: why it stopped by itself."""

    name: str
    state: str
    running: bool
    ready: bool
    pid: int = 0
    started: str = ""
    kubeconfig: str = ""
    mesh_proxy: str = ""
    gateway: str = ""
    prometheus: str = ""
    parts: tuple[Part, ...] = ()
    ended: str = ""


class Down(msgspec.Struct, frozen=True):
    """`was_running`: there was something to stop. `killed`: processes that had to be killed."""

    was_running: bool
    killed: tuple[int, ...] = ()


def up(config: SandboxConfig, progress: Progress) -> Sandbox:
    """Start a sandbox in the background and return once it is ready; or say that it already is.

    `progress` gets one line at a time. Raises SandboxError with what is wrong and what to do; nothing is
    left running then.
    """
    state = config.directory()
    state.create()
    lock = Lock(state)
    if not lock.acquire():
        lock.release()
        return _wait_for_other(config, state)
    state.record.unlink(missing_ok=True)
    config = config.absolute()
    _fetch(lock, progress)
    reading, writing = os.pipe()
    argv = [sys.executable, "-m", "rollout.sandbox.serve", "--config", msgspec.json.encode(config).decode()]
    with state.log.open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 - ourselves
            [*argv, "--report-fd", str(writing), "--lock-fd", str(lock.descriptor)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(writing, lock.descriptor),
            start_new_session=True,
            env={**os.environ, MARKER: str(state.root)},
        )
    os.close(writing)
    lock.release()
    try:
        _follow(reading, process, state, progress)
    except BaseException:
        _end(process, state)
        raise
    record = state.read()
    if record is None:
        raise SandboxError(f"{state.record} cannot be read although the sandbox is up; see {state.log}")
    return _sandbox(record, state, already=False)


def run_foreground(config: SandboxConfig, progress: Progress, ready: Callable[[Sandbox], None]) -> None:
    """Run a sandbox in this process until SIGINT or SIGTERM. SandboxError as for `up`, and when it dies."""
    import asyncio

    from rollout.sandbox.serve import serve

    config = config.absolute()
    state = config.directory()
    state.create()
    lock = Lock(state)
    if not lock.acquire():
        lock.release()
        raise SandboxError(f"a supervisor runs on {state.root} already; see `rollout sandbox status`")
    _fetch(lock, progress)

    def is_ready() -> None:
        record = state.read()
        if record is not None:
            ready(_sandbox(record, state, already=False))

    async def run() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        await serve(config, lock, progress, is_ready, stop)

    asyncio.run(run())


def down(state: StateDirectory) -> Down:
    """Stop the sandbox and make sure that none of its processes is left. SandboxError if one cannot be ended."""
    was_running = is_held(state)
    record = state.read()
    if was_running and record is not None:
        send(record.pid, signal.SIGTERM)
        if not _until(lambda: not is_held(state), DOWN_SECONDS):
            send(record.pid, signal.SIGKILL)
    # The helpers that clean up after a killed supervisor need a moment.
    _until(lambda: not processes_of(state), 2.0)
    killed = processes_of(state)
    for pid in killed:
        send(pid, signal.SIGKILL)
    if not _until(lambda: not processes_of(state) and not is_held(state), 5.0):
        left = ", ".join(map(str, processes_of(state)))
        raise SandboxError(
            f"processes of the sandbox in {state.root} cannot be ended: {left or 'its lock is held'}"
        )
    if record is not None:
        _reap(record.pid)
    return Down(was_running or bool(killed), tuple(killed))


def status(state: StateDirectory) -> SandboxStatus:
    """What is up. Never fails for a sandbox that is not."""
    record = state.read() if state.root.exists() else None
    running = record is not None and is_held(state)
    if record is None:
        return SandboxStatus(state.root.name, str(state.root), running=False, ready=False)
    if not running:
        ended = record.ended or ("it was killed" if record.ready else "")
        return SandboxStatus(record.name, str(state.root), running=False, ready=False, ended=ended)
    found = _sandbox(record, state, already=True)
    return SandboxStatus(
        name=record.name,
        state=found.state,
        running=True,
        ready=record.ready,
        pid=record.pid,
        started=record.started,
        kubeconfig=found.kubeconfig,
        mesh_proxy=found.mesh_proxy,
        gateway=found.gateway,
        prometheus=found.prometheus,
        parts=record.parts,
    )


# --- inside -----------------------------------------------------------------------------------------


def _fetch(lock: Lock, progress: Progress) -> None:
    """Get Prometheus if it is missing. Here, where somebody sees the progress, and before anything starts."""
    from rollout.sandbox.prometheus.install import ensure_prometheus

    try:
        ensure_prometheus(progress)
    except BaseException:
        lock.release()
        raise


def _sandbox(record: Record, state: StateDirectory, *, already: bool) -> Sandbox:
    from rollout.sandbox.mesh.names import DEFAULT_NAMESPACE, proxy_url

    return Sandbox(
        name=record.name,
        state=str(state.root),
        pid=record.pid,
        kubeconfig=record.kubeconfig,
        api=record.api,
        mesh_proxy=proxy_url(DEFAULT_NAMESPACE, record.mesh_port),
        gateway=f"http://127.0.0.1:{record.gateway_port}",
        prometheus=f"http://127.0.0.1:{record.prometheus_port}",
        already=already,
    )


def _follow(
    reading: int, process: subprocess.Popen[bytes], state: StateDirectory, progress: Progress
) -> None:
    """Pass on progress until the supervisor is ready; SandboxError with its reason if it ends before."""
    for line in _lines(reading):
        said = msgspec.json.decode(line, type=dict[str, str])
        if "ready" in said:
            return
        if "error" in said:
            process.wait(DOWN_SECONDS)
            raise SandboxError(said["error"])
        progress(said.get("progress", ""))
    code = process.wait(DOWN_SECONDS)
    last = state.log.read_text(errors="replace").strip().splitlines()[-1:] or ["it said nothing"]
    raise SandboxError(f"the sandbox's supervisor ended with exit code {code}: {last[0]} (log: {state.log})")


def _lines(descriptor: int) -> Iterator[bytes]:
    with os.fdopen(descriptor, "rb") as pipe:
        yield from pipe


def _end(process: subprocess.Popen[bytes], state: StateDirectory) -> None:
    """Whatever went wrong while starting: nothing of it stays."""
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(DOWN_SECONDS)
    if process.poll() is None:
        process.kill()
        process.wait()
    down(state)


def _wait_for_other(config: SandboxConfig, state: StateDirectory) -> Sandbox:
    """Another `up` is or was at work here: wait until its sandbox is ready."""

    def settled() -> bool:
        record = state.read()
        return not is_held(state) or (record is not None and record.ready)

    if not _until(settled, UP_SECONDS):
        raise SandboxError(
            f"another `up` has been starting {state.root} for {UP_SECONDS:g} s; see {state.log}"
        )
    record = state.read()
    if record is None or not record.ready:
        why = record.ended if record else ""
        raise SandboxError(f"another `up` of sandbox {config.name} failed: {why or f'see {state.log}'}")
    return _sandbox(record, state, already=True)


def _reap(pid: int) -> None:
    """Where `up` was called by this very process, the supervisor is its child and must not stay a zombie."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def _until(condition: Callable[[], bool], seconds: float) -> bool:
    from rollout.runtime.clock import SystemClock

    clock = SystemClock()
    deadline = clock.monotonic() + seconds
    while not condition():
        if clock.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


__all__ = [
    "Down",
    "ExtraCommand",
    "Lock",
    "Part",
    "Sandbox",
    "SandboxConfig",
    "SandboxStatus",
    "down",
    "run_foreground",
    "state_directory",
    "status",
    "up",
]
