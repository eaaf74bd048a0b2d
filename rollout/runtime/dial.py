"""The smallest clients there are, for health checks: one connection, one question, a deadline.

`http.fetch` is the client for everything else; a probe every second against every pod must cost next to
nothing, and must not keep a connection that would hide a dead listener.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

MAX_BODY = 10_240
_MAX_HEAD = 65_536


async def connect(host: str, port: int, seconds: float) -> None:
    """Opens and closes a TCP connection. OSError (also TimeoutError) if that does not work within `seconds`."""
    async with asyncio.timeout(seconds):
        _, writer = await asyncio.open_connection(host, port)
        writer.close()


async def http_get(
    host: str, port: int, path: str, *, headers: Sequence[tuple[str, str]] = (), seconds: float = 1.0
) -> tuple[int, bytes]:
    """Status code and up to MAX_BODY bytes of the answer to a GET, redirects not followed.

    OSError (also TimeoutError) if there is no answer within `seconds`, ValueError if it is not HTTP.
    """
    async with asyncio.timeout(seconds):
        reader, writer = await asyncio.open_connection(host, port, limit=_MAX_HEAD)
        try:
            given = {name.lower() for name, _ in headers}
            lines = [f"GET {path} HTTP/1.1"]
            if "host" not in given:
                lines.append(f"Host: {host}:{port}")
            lines += [f"{name}: {value}" for name, value in headers]
            writer.write("\r\n".join([*lines, "Connection: close", "", ""]).encode("latin-1"))
            head = await reader.readuntil(b"\r\n\r\n")
            words = head.split(b"\r\n", 1)[0].split(b" ", 2)
            if len(words) < 2 or not words[0].startswith(b"HTTP/") or not words[1].isdigit():
                raise ValueError(f"malformed HTTP response {head[:40]!r}")
            return int(words[1]), await _body(reader, head)
        except asyncio.IncompleteReadError as error:
            raise ConnectionResetError("EOF") from error
        except asyncio.LimitOverrunError as error:
            raise ValueError("malformed HTTP response: the header does not end") from error
        finally:
            writer.close()


async def _body(reader: asyncio.StreamReader, head: bytes) -> bytes:
    """What of the body comes, up to MAX_BODY; a Content-Length ends it where the server keeps the connection."""
    length = MAX_BODY
    for line in head.lower().split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name == b"content-length" and value.strip().isdigit():
            length = min(length, int(value))
    body = b""
    while len(body) < length and (chunk := await reader.read(length - len(body))):
        body += chunk
    return body
