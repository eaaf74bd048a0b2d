"""Answers: an object in the form the client asked for, an error as a Status, compressed when that pays."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from rollout.api import codec
from rollout.errors import ApiError, Throttled
from rollout.sandbox.http.negotiation import JSON

NO_CACHE = "no-cache, private"
# As kube-apiserver: below this, compressing costs more than sending. Level 1 for the same reason.
GZIP_BYTES = 128 * 1024


def json_response(
    data: bytes,
    *,
    status: int = 200,
    media_type: str = JSON,
    warnings: Sequence[str] = (),
    headers: dict[str, str] | None = None,
) -> Response:
    """A response of ready bytes, with one Warning header per warning."""
    response = Response(data, status, {"cache-control": NO_CACHE} | (headers or {}), media_type)
    for text in dict.fromkeys(warnings):
        response.raw_headers.append((b"warning", warning_header(text)))
    return response


def not_routed() -> Response:
    """What Kubernetes' router says to a path of which it knows nothing."""
    return PlainTextResponse("404 page not found\n", 404)


def error_response(error: ApiError) -> Response:
    headers = {}
    seconds = error.after if isinstance(error, Throttled) else (error.details or {}).get("retryAfterSeconds")
    if seconds is not None:
        headers["retry-after"] = str(max(1, round(seconds)))
    return json_response(codec.encode(error.status()), status=error.code, headers=headers)


def warning_header(text: str) -> bytes:
    """RFC 7234 5.5 as kube-apiserver writes it: code 299, no agent, a quoted string without control characters."""
    clean = "".join(char if char.isprintable() else " " for char in text)
    quoted = clean.replace("\\", "\\\\").replace('"', '\\"')
    return f'299 - "{quoted}"'.encode("utf-8", "replace")


async def compressed(request: Request, response: Response) -> Response:
    """`response`, gzipped when the client can read that and the body is large. Off the event loop."""
    body = response.body
    if len(body) < GZIP_BYTES or "gzip" not in request.headers.get("accept-encoding", ""):
        return response
    data = await asyncio.to_thread(_gzip, bytes(body))
    kept = [(name, value) for name, value in response.raw_headers if name != b"content-length"]
    response.raw_headers = [
        *kept,
        (b"content-encoding", b"gzip"),
        (b"vary", b"Accept-Encoding"),
        (b"content-length", str(len(data)).encode()),
    ]
    response.body = data
    return response


def _gzip(data: bytes) -> bytes:
    compressor = zlib.compressobj(level=1, wbits=31)
    return compressor.compress(data) + compressor.flush()


CREATED = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}
"""The Status of a subresource that takes an order and shows nothing: a binding, an eviction."""


def success(details: dict[str, Any]) -> dict[str, Any]:
    """The Status of something done that leaves no object to show."""
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}
