"""What has been built, for tests that look into it. Nothing is built or downloaded by a test."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@cache
def built(image: str) -> dict[str, Any]:
    """Where the image's archive and SBOM are. Skips the test when they are not there."""
    argv = [sys.executable, "-m", "tools.images", "--if-there", image]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode == 3:
        pytest.skip(
            f"needs an image: python -m tools.images {image} (as root, with mmdebstrap); {done.stderr.strip()}"
        )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)[image]
    return found


def index(archive: Path) -> dict[str, Any]:
    """The archive's index.json."""
    with tarfile.open(archive) as tar:
        return read(tar, "index.json")


def read(tar: tarfile.TarFile, name: str) -> Any:
    file = tar.extractfile(name)
    assert file is not None
    return json.load(file)


def blob(digest: str) -> str:
    """The name of a blob in an archive."""
    return f"blobs/{digest.replace(':', '/')}"
