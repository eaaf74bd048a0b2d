"""Responses that go on: watches and followed logs. A stream ends when its client goes away, when its time is
over, or when the server stops; whatever it holds (a watcher, a log reader) is freed then."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Protocol

from starlette.types import Receive, Scope, Send

from rollout.errors import ApiError
from rollout.runtime.kube import WatchEvent

Headers = list[tuple[bytes, bytes]]
EncodeEvent = Callable[[str, dict[str, Any]], bytes]
"""Bytes of one watch line, newline included, of an event's type and object."""

_CHUNK = 256 * 1024
BOOKMARK_SECONDS = 30.0
# After a chunk, the next one waits this long and takes along what came meanwhile: in a burst of writes, system
# calls are what watches cost. An event after a pause goes out at once.
GATHER_SECONDS = 0.005


class Lifeline:
    """Tells one stream that something happened (`signal`) and whether it is `over`."""

    def __init__(self) -> None:
        self.signal = asyncio.Event()
        self.over = False

    def end(self) -> None:
        self.over = True
        self.signal.set()

    async def ended(self) -> None:
        while not self.over:
            self.signal.clear()
            await self.signal.wait()


class Streams:
    """All open streams of one server."""

    def __init__(self) -> None:
        self._open: set[Lifeline] = set()
        self._stopping = False

    def __len__(self) -> int:
        return len(self._open)

    def stop(self) -> None:
        """Ends all streams, and those that start from now on."""
        self._stopping = True
        for lifeline in self._open:
            lifeline.end()

    @asynccontextmanager
    async def open(self, receive: Receive, seconds: float | None = None) -> AsyncIterator[Lifeline]:
        """The lifeline of a stream that lasts at most `seconds`."""
        lifeline = Lifeline()
        self._open.add(lifeline)
        if self._stopping:
            lifeline.end()
        listener = asyncio.create_task(_end_on_disconnect(receive, lifeline))
        timer = asyncio.get_running_loop().call_later(seconds, lifeline.end) if seconds is not None else None
        try:
            yield lifeline
        finally:
            self._open.discard(lifeline)
            listener.cancel()
            if timer is not None:
                timer.cancel()


async def _end_on_disconnect(receive: Receive, lifeline: Lifeline) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    lifeline.end()


class Watching(Protocol):
    """What a watch stream asks of storage's `Watcher`."""

    def poll(self) -> WatchEvent | None: ...
    def bookmark(self) -> WatchEvent: ...
    def close(self) -> None: ...
    def on_wake(self, wake: Callable[[], None] | None) -> None: ...


class Refused:
    """A watcher that has nothing to tell but why there is none."""

    def __init__(self, error: ApiError) -> None:
        self._error = error

    def poll(self) -> WatchEvent | None:
        raise self._error

    def bookmark(self) -> WatchEvent:
        raise self._error

    def close(self) -> None:
        pass

    def on_wake(self, wake: Callable[[], None] | None) -> None:
        pass


class WatchResponse:
    """An ASGI response: one JSON line per event, many lines per chunk when many are ready.

    An ApiError of the watcher (its version is forgotten) becomes an ERROR line, after which the stream ends.
    """

    def __init__(
        self,
        streams: Streams,
        watcher: Watching,
        encode: EncodeEvent,
        *,
        headers: Headers,
        seconds: float,
        bookmarks: bool,
    ) -> None:
        self._streams = streams
        self._watcher = watcher
        self._encode = encode
        self._headers = headers
        self._seconds = seconds
        self._bookmarks = bookmarks

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async with self._streams.open(receive, self._seconds) as lifeline:
                self._watcher.on_wake(lifeline.signal.set)
                await send({"type": "http.response.start", "status": 200, "headers": self._headers})
                await self._pump(self._watcher, lifeline, send)
                await _send(send, b"", more=False)
        finally:
            self._watcher.close()

    async def _pump(self, watcher: Watching, lifeline: Lifeline, send: Send) -> None:
        ticker = _Ticker(BOOKMARK_SECONDS if self._bookmarks else None, lifeline.signal)
        failed = False
        try:
            while not failed and not lifeline.over:
                lifeline.signal.clear()
                chunk, failed = self._ready(watcher)
                if not chunk and ticker.take():
                    chunk = self._line(watcher.bookmark())
                if chunk:
                    await _send(send, chunk, more=True)
                    await asyncio.sleep(GATHER_SECONDS)
                else:
                    await lifeline.signal.wait()
            if self._bookmarks and not failed:
                await _send(send, self._line(watcher.bookmark()), more=True)
        finally:
            ticker.stop()

    def _ready(self, watcher: Watching) -> tuple[bytes, bool]:
        """The lines that can be sent now, up to a chunk's size, and whether the watch failed after them."""
        lines: list[bytes] = []
        size = 0
        try:
            while size < _CHUNK and (event := watcher.poll()) is not None:
                lines.append(self._line(event))
                size += len(lines[-1])
        except ApiError as error:
            lines.append(self._encode("ERROR", error.status()))
            return b"".join(lines), True
        return b"".join(lines), False

    def _line(self, event: WatchEvent) -> bytes:
        return self._encode(event.type, event.object)


class _Ticker:
    """Says every `seconds` (None: never) that it is time, and signals it."""

    def __init__(self, seconds: float | None, signal: asyncio.Event) -> None:
        self._seconds = seconds
        self._signal = signal
        self._due = False
        self._handle = self._again()

    def take(self) -> bool:
        due, self._due = self._due, False
        return due

    def stop(self) -> None:
        if self._handle is not None:
            self._handle.cancel()

    def _again(self) -> asyncio.TimerHandle | None:
        if self._seconds is None:
            return None
        return asyncio.get_running_loop().call_later(self._seconds, self._tick)

    def _tick(self) -> None:
        self._due = True
        self._signal.set()
        self._handle = self._again()


class LogResponse:
    """An ASGI response that passes on the chunks of a log until they end or the stream does."""

    def __init__(self, streams: Streams, chunks: AsyncIterator[bytes], limit_bytes: int | None) -> None:
        self._streams = streams
        self._chunks = chunks
        self._limit = limit_bytes

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-type", b"text/plain"), (b"cache-control", b"no-cache, private")]
        async with self._streams.open(receive) as lifeline:
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            copying = asyncio.create_task(self._copy(send))
            ending = asyncio.create_task(lifeline.ended())
            try:
                await asyncio.wait({copying, ending}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                copying.cancel()
                ending.cancel()
                results = await asyncio.gather(copying, ending, return_exceptions=True)
            if isinstance(failure := results[0], Exception):
                raise failure
            await _send(send, b"", more=False)

    async def _copy(self, send: Send) -> None:
        left = self._limit
        try:
            async for chunk in self._chunks:
                if left is not None:
                    chunk, left = chunk[:left], left - len(chunk)
                await _send(send, chunk, more=True)
                if left is not None and left <= 0:
                    return
        finally:
            if isinstance(self._chunks, AsyncGenerator):
                await self._chunks.aclose()


async def _send(send: Send, body: bytes, *, more: bool) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": more})
