"""The files that `-f` names: their texts, and the objects in them."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from rollout.cli.exits import USAGE, Failure
from rollout.cli.manifests import Document, Unreadable, read

_SUFFIXES = {".yaml", ".yml", ".json"}


def documents(files: Iterable[str]) -> Iterator[Document]:
    """The objects of all files. Failure at the first place that is not valid YAML."""
    for name, text in texts(files):
        for one in read(name, text):
            if isinstance(one, Unreadable):
                raise Failure(USAGE, f"{one.file}:{one.line}: {one.message}")
            yield one


def texts(files: Iterable[str]) -> Iterator[tuple[str, str]]:
    """(name, text) of every file; of a directory all YAML and JSON below it, in order."""
    for name in files:
        if name == "-":
            yield "<stdin>", _decoded("<stdin>", sys.stdin.buffer.read())
            continue
        path = Path(name)
        if path.is_dir():
            below = sorted(one for one in path.rglob("*") if one.suffix in _SUFFIXES and one.is_file())
            if not below:
                raise Failure(USAGE, f"{name}: no YAML or JSON files in this directory")
        else:
            below = [path]
        for one in below:
            yield str(one), _decoded(str(one), _bytes(one))


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise Failure(USAGE, f"cannot read {path}: {error.strerror}") from error


def _decoded(name: str, data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise Failure(USAGE, f"{name} is not text in UTF-8 ({error.reason} at byte {error.start})") from error
