"""Files that only their owner may read."""

from __future__ import annotations

import os
from pathlib import Path

from rollout.errors import SandboxError


def private_directory(path: Path) -> Path:
    """`path` as a directory of mode 0700, made when absent. SandboxError when it cannot be ours alone."""
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.chmod(0o700)
    except OSError as error:
        raise SandboxError(
            f"the state directory {path} cannot be used: {error.strerror}; choose another one with --state"
        ) from error
    return path


def write_private(path: Path, data: bytes) -> None:
    """Puts `data` at `path`, atomically and with mode 0600 from the first byte on."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
    draft.replace(path)
