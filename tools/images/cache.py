"""Where built layers and archives are kept: a folder below the user's cache, everything under the checksum of its inputs."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rollout.runtime.clock import SystemClock

KEPT = 3
"""Archives of one image that are kept: the newest ones. Who loads an archive has its path from just now."""


ABANDONED = 86_400.0
"""Seconds: no build takes that long."""


def folder() -> Path:
    """$XDG_CACHE_HOME/surefoot/images, by default below ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "surefoot" / "images"


def key(*parts: str | bytes) -> str:
    """A short name for these inputs: equal only if all of them are equal, in this order."""
    whole = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        whole.update(b"%d:" % len(data) + data)
    return whole.hexdigest()[:16]


def checksum(path: Path) -> str:
    """The file's SHA-256 in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sources(root: Path, names: Iterable[str]) -> str:
    """A key of the files of these names, and of all below where one is a folder. Compiled files do not count."""
    files = [
        path
        for name in sorted(names)
        for path in ([root / name] if (root / name).is_file() else sorted((root / name).rglob("*")))
        if path.is_file() and path.suffix != ".pyc"
    ]
    return key(*(f"{path.relative_to(root)} {checksum(path)}" for path in files))


def made(name: str, make: Callable[[Path], None]) -> Path:
    """The path of `name` in the cache. If it is missing, `make` writes it under another name first, a file or a folder.

    So nobody sees it half-made. Who wants what another process is making waits for that.
    """
    path = folder() / name
    folder().mkdir(parents=True, exist_ok=True)
    with _turn(path.name):
        if not path.exists():
            with tempfile.TemporaryDirectory(dir=folder(), prefix="partial-") as scratch:
                partial = Path(scratch) / path.name
                make(partial)
                partial.rename(path)
    return path


@contextmanager
def _turn(name: str) -> Iterator[None]:
    """One process at a time. The lock ends with its process; its empty file stays."""
    with (folder() / f".{name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def prune(name: str, suffix: str) -> None:
    """Deletes all but the newest `KEPT` entries `<name>-<key><suffix>`."""
    found = [path for path in folder().glob(f"{name}-{'[0-9a-f]' * 16}{suffix}") if path.exists()]
    for old in sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)[KEPT:]:
        if old.is_dir():
            shutil.rmtree(old, ignore_errors=True)
        else:
            old.unlink(missing_ok=True)
        (folder() / f".{old.name}.lock").unlink(missing_ok=True)


def sweep() -> None:
    """Deletes what killed builders left half-made more than `ABANDONED` seconds ago."""
    now = SystemClock().now().timestamp()
    for path in (*folder().glob("partial-*"), *folder().glob("work-*")):
        if now - path.stat().st_mtime > ABANDONED:
            shutil.rmtree(path, ignore_errors=True)


def say(line: str) -> None:
    """Progress, for whoever waits."""
    print(line, file=sys.stderr, flush=True)
