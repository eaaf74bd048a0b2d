"""uvicorn's HTTP/1.1 protocol with fewer system calls, and connections that end when they are told to."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from uvicorn.protocols.http.h11_impl import H11Protocol

_LINGER_SECONDS = 1.0


class ApiProtocol(H11Protocol):
    """Sends an answer's head and body as one TLS record instead of two. For `uvicorn.Config(http=...)`."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(cast("asyncio.Transport", _Gathering(transport, self.loop)))

    def shutdown(self) -> None:
        """Ends the connection after the answer in progress; at once when there is none."""
        if self.cycle is None or self.cycle.response_complete:
            self.transport.abort()
        else:
            super().shutdown()


class _Gathering:
    """A transport that gathers what one turn of the event loop writes, and writes it at its end."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._gathered: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if not data:
            return
        if not self._gathered:
            self._loop.call_soon(self._flush)
        self._gathered.append(data)

    def close(self) -> None:
        """Closes after what was written. A client that does not answer TLS' goodbye is not waited for."""
        self._flush()
        self._transport.close()
        self._loop.call_later(_LINGER_SECONDS, self._transport.abort)

    def _flush(self) -> None:
        if self._gathered:
            data, self._gathered = b"".join(self._gathered), []
            self._transport.write(data)
