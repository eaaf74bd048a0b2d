"""Runs the program of an archive without a cluster: unpacked, and started by runc under what "restricted" demands.

The root file system is read-only, the user is the image's, there are no capabilities, and nothing can be gained by
executing a file. Only the network is this machine's.
"""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from tools.images.base import SECONDS

PROGRAM = "runc"


def image_config(archive: Path, reference: str = "") -> dict[str, Any]:
    """The configuration of an image in an archive; of the first one if none is named. KeyError if it is not there."""
    with tarfile.open(archive) as tar:
        return _read(tar, _manifest(tar, reference)["config"]["digest"])


def unpack(archive: Path, target: Path, reference: str = "") -> None:
    """Lays the layers of an image upon each other, in a new folder. None of ours deletes what is in a lower one."""
    target.mkdir(mode=0o755, parents=True)
    with tarfile.open(archive) as tar:
        for layer in _manifest(tar, reference)["layers"]:
            with tarfile.open(fileobj=_open(tar, _blob(layer["digest"]))) as files:
                files.extractall(target, numeric_owner=True, filter="fully_trusted")


def _manifest(tar: tarfile.TarFile, reference: str) -> dict[str, Any]:
    index = _load(tar, "index.json")
    by_name = {one["annotations"]["io.containerd.image.name"]: one["digest"] for one in index["manifests"]}
    return _read(tar, by_name[reference or next(iter(by_name))])


def _read(tar: tarfile.TarFile, digest: str) -> dict[str, Any]:
    return _load(tar, _blob(digest))


def _blob(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"


def _load(tar: tarfile.TarFile, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.load(_open(tar, name))
    return found


def _open(tar: tarfile.TarFile, name: str) -> IO[bytes]:
    file = tar.extractfile(name)
    if file is None:
        raise KeyError(f"{name} is no file of the archive")
    return file


def specification(
    root: Path, config: Mapping[str, Any], arguments: Sequence[str], files: Mapping[str, Path] | None = None
) -> dict[str, Any]:
    """The bundle's config.json (OCI runtime specification): the image's entrypoint with these arguments.

    Without arguments it is started with its own. `files` of this machine are seen read-only under these paths.
    """
    user, _, group = config["User"].partition(":")
    tmpfs = {"type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "nodev", "mode=1777", "size=64m"]}
    mounts = [
        {"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"]},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
        {"destination": "/tmp", **tmpfs},
        *(
            {"destination": path, "type": "bind", "source": str(source), "options": ["bind", "ro"]}
            for path, source in (files or {}).items()
        ),
    ]
    return {
        "ociVersion": "1.0.2",
        "process": {
            "terminal": False,
            "user": {"uid": int(user), "gid": int(group or user)},
            "args": [*config.get("Entrypoint", []), *(arguments or config.get("Cmd", []))],
            "env": config["Env"],
            "cwd": config.get("WorkingDir", "/"),
            "capabilities": {},
            "noNewPrivileges": True,
        },
        "root": {"path": str(root), "readonly": True},
        "mounts": mounts,
        "linux": {"namespaces": [{"type": one} for one in ("pid", "ipc", "uts", "mount")]},
    }


class Container:
    """A container that runs. Its standard output and error go to the file `output`."""

    def __init__(self, bundle: Path, output: Path) -> None:
        self._name = f"surefoot-{uuid.uuid4().hex[:12]}"
        self._state = bundle / "state"
        self.output = output
        with output.open("wb") as file:
            self._process = subprocess.Popen(
                [PROGRAM, f"--root={self._state}", "run", f"--bundle={bundle}", self._name],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
            )

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def wait(self) -> tuple[int, str]:
        """Its exit code, and all that it said."""
        return self._process.wait(SECONDS), self.output.read_text(errors="replace")

    def signal(self, name: str) -> None:
        """Sends a signal to the program; RuntimeError if it runs no more."""
        argv = [PROGRAM, f"--root={self._state}", "kill", self._name, name]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"runc kill {name}: {done.stderr.strip()}")

    def processor_seconds(self) -> float:
        """What the program itself has used of processors so far. It says more than a clock where others work, too."""
        state = subprocess.run(
            [PROGRAM, f"--root={self._state}", "state", self._name],
            capture_output=True,
            text=True,
            check=True,
        )
        fields = Path(f"/proc/{json.loads(state.stdout)['pid']}/stat").read_text().rpartition(")")[2].split()
        user, system = fields[11:13]  # utime and stime of proc(5), in clock ticks
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def remove(self) -> None:
        """Ends it, and removes what runc made for it."""
        argv = [PROGRAM, f"--root={self._state}", "delete", "--force", self._name]
        subprocess.run(argv, capture_output=True, check=False)
        self._process.wait(SECONDS)


@contextmanager
def running(
    root: Path,
    config: Mapping[str, Any],
    arguments: Sequence[str],
    folder: Path,
    files: Mapping[str, Path] | None = None,
) -> Iterator[Container]:
    """A container of an unpacked image, until the end of the block. `folder` is an empty one for its bundle."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(specification(root, config, arguments, files)))
    container = Container(folder, folder / "output.log")
    try:
        yield container
    finally:
        container.remove()
