"""One HTTP client for all that is not Kubernetes: bounded in time and size, and calm about failures.

Used by metric providers and probes. A failed fetch is a ProviderError with a sentence for people: it becomes a
measurement of phase Error. Any answer, whatever its status, is a Response: what it means is the caller's to say.
Redirects are not followed by default (a metric URL must not lead elsewhere), proxies of the environment are used.
Messages leave out user names, passwords and queries of URLs, which may hold secrets.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import httpx
import msgspec

from rollout.errors import NoAnswer, ProviderError
from rollout.runtime.clock import Clock, SystemClock

DEADLINE = 30.0
MAX_BYTES = 1024 * 1024
MAX_CONNECTIONS = 64
USER_AGENT = "surefoot"


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What to fetch. `params` are added to the URL's query; `verify` False accepts any certificate.

    `connect_to` is an address that stands for the URL's host (already resolved and checked); the Host header and
    the name in TLS stay the URL's.
    """

    url: str
    method: str = "GET"
    headers: Mapping[str, str] = {}
    params: Mapping[str, str] = {}
    body: bytes | None = None
    verify: bool = True
    follow_redirects: bool = False
    connect_to: str = ""

    def __str__(self) -> str:
        return f"{self.method} {_plain(self.url)}"


class Response(msgspec.Struct, frozen=True, kw_only=True):
    """A whole answer. Header names are lower case; `elapsed_seconds` runs from the sending to the last byte."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    elapsed_seconds: float

    def text(self) -> str:
        """The body as UTF-8, bytes that are none replaced."""
        return self.body.decode("utf-8", "replace")


class HttpClient:
    """Fetches. `proxies` False ignores HTTP_PROXY and the like; `transport` replaces the network in tests."""

    def __init__(
        self,
        *,
        clock: Clock | None = None,
        proxies: bool = True,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._clock = clock or SystemClock()
        self.proxies = proxies
        self._transport = transport
        self._clients: dict[bool, httpx.AsyncClient] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        for client in self._clients.values():
            await client.aclose()
        self._clients.clear()

    async def fetch(
        self, request: Request, *, deadline: float = DEADLINE, max_bytes: int = MAX_BYTES
    ) -> Response:
        """The answer to `request`, whatever its status.

        NoAnswer if there is none within `deadline` seconds or the connection is refused or breaks; another
        ProviderError for a malformed URL, and for an answer of more than `max_bytes` (decompressed).
        """
        started = self._clock.monotonic()
        try:
            async with asyncio.timeout(deadline):
                return await self._fetch(request, max_bytes, started)
        except (TimeoutError, httpx.TimeoutException) as error:
            raise NoAnswer(f"{request}: no answer within {deadline:g} s") from error
        except httpx.TooManyRedirects as error:
            raise ProviderError(f"{request}: too many redirects") from error
        except (httpx.ConnectError, httpx.ProxyError) as error:
            raise NoAnswer(f"{request}: cannot connect: {_reason(error)}") from error
        except (httpx.NetworkError, httpx.RemoteProtocolError) as error:
            raise NoAnswer(f"{request}: {_reason(error)}") from error
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
            raise ProviderError(f"{request}: {_reason(error)}") from error

    async def _fetch(self, request: Request, max_bytes: int, started: float) -> Response:
        client = self._client(verify=request.verify)
        url = httpx.URL(request.url)
        if url.scheme not in {"http", "https"} or not url.host or not 0 <= (url.port or 0) <= 65535:
            raise ProviderError(f"{request}: {_plain(request.url)!r} is not an http(s) URL")
        if request.params:
            url = url.copy_merge_params(dict(request.params))
        headers, extensions = dict(request.headers), {}
        if request.connect_to:
            headers["host"], extensions["sni_hostname"] = url.netloc.decode("ascii"), url.host
            url = url.copy_with(host=request.connect_to)
        async with client.stream(
            request.method,
            url,
            headers=headers,
            content=request.body,
            follow_redirects=request.follow_redirects,
            extensions=extensions,
        ) as answer:
            parts, size = [], 0
            async for part in answer.aiter_bytes():
                parts.append(part)
                size += len(part)
                if size > max_bytes:
                    raise ProviderError(f"{request}: the answer is longer than {max_bytes} bytes")
            return Response(
                status=answer.status_code,
                headers={name.lower(): value for name, value in answer.headers.items()},
                body=b"".join(parts),
                elapsed_seconds=self._clock.monotonic() - started,
            )

    def _client(self, *, verify: bool) -> httpx.AsyncClient:
        """TLS verification is a property of a client, so there are up to two; made when first needed."""
        client = self._clients.get(verify)
        if client is None:
            client = self._clients[verify] = httpx.AsyncClient(
                verify=verify,
                timeout=None,  # noqa: S113 - `fetch` has one deadline for the whole exchange
                trust_env=self.proxies,
                transport=self._transport,
                headers={"User-Agent": USER_AGENT},
                limits=httpx.Limits(max_connections=MAX_CONNECTIONS, max_keepalive_connections=16),
            )
        return client


def _plain(url: str) -> str:
    """A URL for messages: without user, password, query and fragment."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "a malformed URL"
    host = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{host}{port}{parts.path}"


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__
