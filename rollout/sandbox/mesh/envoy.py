"""The Envoy process: where the binary is, how it is started, and what its admin interface says."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from pathlib import Path

import msgspec

from rollout.api.codec import decode, encode
from rollout.errors import SandboxError, Unavailable
from rollout.runtime.clock import Clock
from rollout.runtime.unix_http import UnixHttp
from rollout.sandbox.mesh.binary import envoy_path
from rollout.sandbox.mesh.bootstrap import LISTENERS, Ports, bootstrap

READY_SECONDS = 15.0
_SOCKET_PATH_LIMIT = 100  # sun_path holds 108 bytes on Linux, 104 on macOS


class EnvoyFiles(msgspec.Struct, frozen=True):
    """Where one Envoy's files are. `config` holds the dynamic configuration."""

    root: Path
    admin_socket: Path

    @property
    def config(self) -> Path:
        return self.root / "config"

    @property
    def bootstrap(self) -> Path:
        return self.root / "bootstrap.json"

    @property
    def log(self) -> Path:
        return self.root / "envoy.log"


def files_in(root: Path) -> EnvoyFiles:
    """The files of an Envoy in `root`, made with mode 0700. Unix sockets need short paths: where `root` is
    too long for one, the socket goes into a private directory below the temporary one."""
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    (root / "config").mkdir(exist_ok=True)
    socket = root / "admin.sock"
    if _too_long(socket):
        socket = _short_directory(root) / "admin.sock"
    return EnvoyFiles(root, socket)


def _short_directory(root: Path) -> Path:
    """A private directory for the socket of `root`, the same each time. A long TMPDIR gives way to /tmp."""
    name = f"surefoot-{hashlib.sha256(os.fsencode(root)).hexdigest()[:16]}"
    places = (Path(tempfile.gettempdir()), Path("/tmp"))  # noqa: S108 - made with mode 0700, owner checked
    for short in (place / name for place in places if not _too_long(place / name / "admin.sock")):
        try:
            short.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise SandboxError(
                f"cannot make {short}: {error.strerror}; choose a shorter directory with --state"
            ) from error
        if short.stat().st_uid != os.getuid() or short.is_symlink():
            raise SandboxError(f"{short} is not ours; remove it, or choose a shorter directory with --state")
        return short
    raise SandboxError(
        f"{root} is too long a path for a unix socket; choose a shorter directory with --state"
    )


def _too_long(socket: Path) -> bool:
    return len(os.fsencode(socket)) > _SOCKET_PATH_LIMIT


def remove_socket(files: EnvoyFiles) -> None:
    """After Envoy's end: its socket, and the directory made for it, leave nothing behind."""
    files.admin_socket.unlink(missing_ok=True)
    if files.admin_socket.parent != files.root:
        with contextlib.suppress(OSError):  # gone already, or somebody keeps something in it
            files.admin_socket.parent.rmdir()


def write_bootstrap(files: EnvoyFiles, ports: Ports) -> None:
    """The bootstrap for `ports` (0 = any). Written again with the real ports once they are known, so that
    an Envoy started anew listens where everybody expects it."""
    files.bootstrap.write_bytes(encode(bootstrap(ports, str(files.config), str(files.admin_socket))))


def command(files: EnvoyFiles, *, path: str | None = None, workers: int = 1) -> list[str]:
    """The argv; standard error belongs into `files.log`, where the reasons of refusals are read. One worker carries well over 10,000 requests/s and takes each change of weights at one
    moment; `--use-dynamic-base-id` lets several Envoys live side by side."""
    return [
        path or envoy_path(),
        "--config-path",
        str(files.bootstrap),
        "--concurrency",
        str(workers),
        "--use-dynamic-base-id",
        "--log-level",
        "warning",
        "--component-log-level",
        "main:error",
        "--drain-time-s",
        "1",
        "--parent-shutdown-time-s",
        "2",
    ]


async def is_ready(admin: UnixHttp) -> bool:
    """Whether Envoy answers and has its first configuration."""
    try:
        return (await admin.get("/ready")).strip() == b"LIVE"
    except Unavailable:
        return False


async def wait_ready(admin: UnixHttp, clock: Clock) -> None:
    """Return once Envoy is live. Raises SandboxError after 15 s (the caller knows whether it has died)."""
    deadline = clock.monotonic() + READY_SECONDS
    while not await is_ready(admin):
        if clock.monotonic() > deadline:
            raise SandboxError(f"Envoy was not ready within {READY_SECONDS:g} s")
        await clock.sleep(0.02)


async def listening(admin: UnixHttp) -> Ports:
    """The ports that Envoy really listens on."""
    answer = decode(await admin.get("/listeners?format=json"))
    found = {
        str(entry["name"]): int(entry["local_address"]["socket_address"]["port_value"])
        for entry in answer.get("listener_statuses") or ()
        if entry["name"] in LISTENERS
    }
    missing = [name for name in LISTENERS if not found.get(name)]
    if missing:
        raise SandboxError(f"Envoy does not listen for {', '.join(missing)}: is a port taken? See its log")
    return Ports(**{name: found[name] for name in LISTENERS})
