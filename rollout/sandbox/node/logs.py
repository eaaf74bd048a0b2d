"""Container logs as files, and how they are read.

Each run of a container has a file `STATE/pods/NAMESPACE_POD_UID/CONTAINER/RESTARTS.log`, one line per line
of output in the CRI's format: `TIME stdout|stderr F|P text`. Anything that can read the state directory
can answer pods/log; it needs no connection to the agent.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from rollout.api.meta import time_of
from rollout.errors import BadRequest, NotFound
from rollout.runtime.clock import Clock

if TYPE_CHECKING:  # the agent does not load a web framework for two names
    from rollout.sandbox.http.logs import LogQuery, LogSource

MAX_BYTES = 10 * 1024 * 1024
"""A file that reaches this size is moved to `.1` (the one there is lost), as the kubelet rotates."""

MAX_LINE = 16 * 1024
"""Longer lines are written in parts (tag P), the last with tag F."""

_POLL = 0.2
_ENDED = ".ended"


def pod_directory(state: Path, namespace: str, name: str, uid: str) -> Path:
    return state / "pods" / f"{namespace}_{name}_{uid}"


class LogFile:
    """The log of one run of a container. Not for use by two tasks at once."""

    def __init__(self, path: Path, clock: Clock, *, limit: int = MAX_BYTES) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path, self._clock, self._limit = path, clock, limit
        self._file: BinaryIO = path.open("ab")
        self._size = self._file.tell()

    def write(self, stream: str, data: bytes, *, partial: bool = False) -> None:
        """One line (without its line break), or a `partial` beginning of a long one."""
        stamp = self._clock.now().strftime("%Y-%m-%dT%H:%M:%S.%f000Z")
        line = b"%s %s %s %s\n" % (stamp.encode(), stream.encode(), b"P" if partial else b"F", data)
        if self._size + len(line) > self._limit:
            self._rotate()
        self._file.write(line)
        self._file.flush()
        self._size += len(line)

    def tail(self) -> str:
        """Its end, as the kubelet takes it for a termination message: 80 lines, 2048 bytes, whichever is less."""
        texts = [text for _, _, text in _lines(self._path)][-80:]
        return b"".join(texts)[-2048:].decode(errors="replace")

    def close(self) -> None:
        """Ends the log: whoever follows it stops."""
        self._file.close()
        self._path.with_suffix(_ENDED).touch()

    def _rotate(self) -> None:
        self._file.close()
        self._path.replace(self._path.with_suffix(".log.1"))
        self._file = self._path.open("ab")
        self._size = 0


def log_source(state: Path, clock: Clock) -> LogSource:
    """What the API server asks for pods/log: the files below `state`."""

    async def source(query: LogQuery) -> AsyncIterator[bytes]:
        return read_log(state, query, clock)

    return source


def read_log(state: Path, request: LogQuery, clock: Clock) -> AsyncIterator[bytes]:
    """The log's bytes; with `follow` they go on until the container ends.

    Raises NotFound for a pod this node never ran, BadRequest for a container without such a log. Closing
    the iterator ends the following.
    """
    path = _find(state, request)
    since = request.since_time
    if request.since_seconds is not None:
        since = clock.now() - timedelta(seconds=request.since_seconds)
    lines = (item for item in _lines(path) if since is None or item[0] >= since)
    return _stream(path, list(lines), request, clock)


async def _stream(
    path: Path, lines: list[tuple[datetime, bytes, bytes]], request: LogQuery, clock: Clock
) -> AsyncIterator[bytes]:
    if request.tail_lines is not None:
        lines = lines[len(lines) - request.tail_lines :] if request.tail_lines < len(lines) else lines
        lines = lines if request.tail_lines else []
    left = request.limit_bytes
    for _, stamp, text in lines:
        chunk = b"%s %s" % (stamp, text) if request.timestamps else text
        if left is not None:
            chunk = chunk[:left]
            left -= len(chunk)
        if chunk:
            yield chunk
        if left == 0:
            return
    if request.follow:
        async for chunk in _follow(path, clock, timestamps=request.timestamps):
            if left is not None:
                chunk = chunk[:left]
                left -= len(chunk)
            yield chunk
            if left == 0:
                return


async def _follow(path: Path, clock: Clock, *, timestamps: bool) -> AsyncIterator[bytes]:
    """What is appended to `path` from now on, through rotations, until the run is over."""
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(path.open("rb"))
        file.seek(0, 2)
        rest = b""
        while True:
            over = path.with_suffix(_ENDED).exists() or not path.parent.exists()
            data = file.read()
            if data:
                *whole, rest = (rest + data).split(b"\n")
                for line in whole:
                    _, stamp, text = _parse(line)
                    yield b"%s %s" % (stamp, text) if timestamps else text
            elif over:
                return
            elif _replaced(path, file):
                file = stack.enter_context(path.open("rb"))
            else:
                await clock.sleep(_POLL)


def _replaced(path: Path, file: BinaryIO) -> bool:
    try:
        return path.stat().st_size < file.tell()
    except FileNotFoundError:
        return False


def _lines(path: Path) -> Iterator[tuple[datetime, bytes, bytes]]:
    for part in (path.with_suffix(".log.1"), path):
        if part.exists():
            with part.open("rb") as file:
                for line in file:
                    yield _parse(line.rstrip(b"\n"))


def _parse(line: bytes) -> tuple[datetime, bytes, bytes]:
    """(time, its text, output with its line break unless it is a part) of one line of a file."""
    stamp, _, rest = line.partition(b" ")
    _, _, rest = rest.partition(b" ")
    tag, _, text = rest.partition(b" ")
    moment = time_of(stamp[:26].decode() + "Z")
    assert moment is not None
    return moment, stamp, text if tag == b"P" else text + b"\n"


def _find(state: Path, request: LogQuery) -> Path:
    pods = sorted(
        (state / "pods").glob(f"{request.namespace}_{request.name}_*"), key=lambda path: path.stat().st_mtime
    )
    if not pods:
        raise NotFound(f'pods "{request.name}" has no logs on this node')
    containers = sorted(path for path in pods[-1].iterdir() if path.is_dir())
    name = request.container or (containers[0].name if len(containers) == 1 else "")
    if not name:
        names = " ".join(path.name for path in containers)
        raise BadRequest(
            f"a container name must be specified for pod {request.name}, choose one of: [{names}]"
        )
    runs = sorted((pods[-1] / name).glob("*.log"), key=lambda path: int(path.stem))
    if request.previous:
        runs = runs[:-1]
        if not runs:
            raise BadRequest(f'previous terminated container "{name}" in pod "{request.name}" not found')
    if not runs:
        raise BadRequest(f'container "{name}" in pod "{request.name}" is waiting to start: ContainerCreating')
    return runs[-1]
