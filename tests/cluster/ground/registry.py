"""Which clusters there are on this machine, and whose keeper lives: by a lock that the kernel lets go with it."""

from __future__ import annotations

import fcntl
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from tests.cluster.ground.place import name_of

ATTEMPTS = 20
FOLDER = Path(tempfile.gettempdir()) / "surefoot-clusters"


@contextmanager
def turn() -> Iterator[None]:
    """One at a time begins or ends: networks are chosen and remains are removed under this lock."""
    FOLDER.mkdir(mode=0o700, exist_ok=True)
    with (FOLDER / "turn").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def claim(folder: Path) -> IO[str] | None:
    """For the keeper: holds that folder's lock as long as the file is open; None if somebody else holds it."""
    file = _lock(folder).open("a+")
    for _ in range(ATTEMPTS):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.1)  # it may be one who only looks, see `held`
            continue
        file.truncate(0)
        file.write(os.fspath(folder))
        file.flush()
        return file
    file.close()
    return None


def held(folder: Path) -> bool:
    """Whether a keeper of that folder lives."""
    try:
        with _lock(folder).open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    return False


def dead() -> list[Path]:
    """The folders whose keeper died without a word. Only in one's turn."""
    found = [Path(lock.read_text()) for lock in FOLDER.glob("*.lock")]
    return [folder for folder in found if folder.is_absolute() and not held(folder)]


def forget(folder: Path) -> None:
    """Only in one's turn."""
    _lock(folder).unlink(missing_ok=True)


def _lock(folder: Path) -> Path:
    return FOLDER / f"{name_of(folder)}.lock"
