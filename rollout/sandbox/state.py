"""A sandbox's state directory: where things are, who holds it, and what its supervisor last said of itself.

Light on imports: `rollout sandbox status` needs nothing else.
"""

from __future__ import annotations

import fcntl
import os
import re
import signal
from pathlib import Path

import msgspec

from rollout.errors import SandboxError

DEFAULT_NAME = "default"
MARKER = "SUREFOOT_SANDBOX"
"""In the environment of every process of a sandbox: its state directory. How leftovers are found."""

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?")


class Part(msgspec.Struct, frozen=True):
    """One part of a running sandbox. `pid` is 0 for parts that live in the supervisor itself."""

    name: str
    state: str = "starting"
    pid: int = 0
    address: str = ""
    version: str = ""
    restarts: int = 0
    since: str = ""
    message: str = ""


class Record(msgspec.Struct, frozen=True):
    """What the supervisor writes about itself whenever it changes. Ports are on 127.0.0.1; times RFC 3339."""

    name: str
    pid: int
    started: str
    ready: bool = False
    kubeconfig: str = ""
    api: str = ""
    mesh_port: int = 0
    gateway_port: int = 0
    metrics_port: int = 0
    prometheus_port: int = 0
    parts: tuple[Part, ...] = ()
    ended: str = ""
    """Why it ended, when it did not end on request."""


class StateDirectory:
    """Paths below one sandbox's state directory."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()

    @property
    def lock(self) -> Path:
        return self.root / "lock"

    @property
    def record(self) -> Path:
        return self.root / "sandbox.json"

    @property
    def log(self) -> Path:
        return self.root / "supervisor.log"

    @property
    def api(self) -> Path:
        return self.root / "api"

    @property
    def kubeconfig(self) -> Path:
        return self.api / "kubeconfig"

    @property
    def mesh(self) -> Path:
        return self.root / "mesh"

    @property
    def prometheus(self) -> Path:
        return self.root / "prometheus"

    @property
    def node(self) -> Path:
        return self.root / "node"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    def create(self) -> None:
        """Make the directory with mode 0700. SandboxError when it is somebody else's or cannot be made."""
        try:
            self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
            if self.root.stat().st_uid != os.getuid():
                raise SandboxError(f"{self.root} belongs to another user; choose another place with --state")
            self.root.chmod(0o700)
            self.logs.mkdir(exist_ok=True)
        except OSError as error:
            raise SandboxError(
                f"cannot use {self.root}: {error.strerror}; choose another place with --state"
            ) from error

    def read(self) -> Record | None:
        """What the supervisor last wrote; None when there is nothing (or nothing readable)."""
        try:
            return msgspec.json.decode(self.record.read_bytes(), type=Record)
        except (FileNotFoundError, NotADirectoryError, msgspec.DecodeError):
            return None

    def write(self, record: Record) -> None:
        fresh = self.record.with_name(".sandbox.json.new")
        fresh.write_bytes(msgspec.json.format(msgspec.json.encode(record)) + b"\n")
        fresh.replace(self.record)


def state_directory(name: str = DEFAULT_NAME, root: Path | None = None) -> StateDirectory:
    """The state of sandbox `name`: `root` if given, else $XDG_STATE_HOME/surefoot/NAME (~/.local/state)."""
    if not _NAME.fullmatch(name):
        raise SandboxError(f"{name!r} cannot be a sandbox's name: use up to 40 of a-z, 0-9 and '-'")
    if root is not None:
        return StateDirectory(root)
    base = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    return StateDirectory(base / "surefoot" / name)


class Lock:
    """One supervisor per state directory. The kernel releases it when the last holder ends in whatever way.

    It belongs to the open file, so a child that inherits `descriptor` holds it too.
    """

    def __init__(self, state: StateDirectory, descriptor: int | None = None) -> None:
        """`descriptor`: the one of a lock that this process inherited."""
        self._file = state.lock.open("a+b") if descriptor is None else os.fdopen(descriptor, "a+b")
        os.set_inheritable(self.descriptor, False)

    @property
    def descriptor(self) -> int:
        return self._file.fileno()

    def acquire(self) -> bool:
        """Take it without waiting; False when somebody else holds it."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def release(self) -> None:
        self._file.close()


def is_held(state: StateDirectory) -> bool:
    """Whether a supervisor lives on this state directory."""
    if not state.lock.exists():
        return False
    lock = Lock(state)
    try:
        return not lock.acquire()
    finally:
        lock.release()


def processes_of(state: StateDirectory) -> list[int]:
    """The processes that carry this sandbox's marker, our own excluded.

    Linux reads it from /proc; elsewhere the pids that the supervisor recorded are asked after.
    """
    proc = Path("/proc")
    if not (proc / "self" / "environ").exists():
        record = state.read()
        parts = record.parts if record else ()
        return [part.pid for part in parts if part.pid and is_alive(part.pid)]
    wanted = f"{MARKER}={state.root}".encode()
    found = []
    for entry in proc.iterdir():
        if not entry.name.isdecimal() or int(entry.name) == os.getpid():
            continue
        try:
            environ = (entry / "environ").read_bytes()
        except OSError:
            continue  # ended meanwhile, or somebody else's
        if wanted in environ.split(b"\0"):
            found.append(int(entry.name))
    return sorted(found)


def is_alive(pid: int) -> bool:
    """Whether the process runs. One that has ended and was not collected by its parent yet (a zombie) does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return not _is_zombie(pid)


def _is_zombie(pid: int) -> bool:
    """Linux: the state after the program's name in /proc/PID/stat (proc_pid_stat(5)). Elsewhere nobody can say."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[:1] == ["Z"]


def send(pid: int, number: signal.Signals) -> None:
    """A signal to a process that may have ended already."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
