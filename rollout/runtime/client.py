"""`HttpKube`: the `Kube` protocol against a real API server, on aiohttp and raw bytes.

What it promises beyond the protocol:
- every request has a deadline, waiting for a free place included; watches are watched for silence instead;
- at most `in_flight` requests at a time; watches do not count;
- reads are repeated after a 429, a bounded number of times; writes are never repeated: Throttled, Unavailable
  and Timeout reach the caller, and `sent` says whether the write may have had an effect. The exception is a
  401 with credentials that can change: the server refused before acting, so one more try with fresh ones.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from types import SimpleNamespace
from typing import Any

import aiohttp
from yarl import URL

from rollout.api.resources import Resource
from rollout.errors import ApiError, Throttled, Timeout, TooLarge, Unavailable
from rollout.runtime import wire
from rollout.runtime.clock import Clock, SystemClock
from rollout.runtime.config import Connection
from rollout.runtime.credentials import Credentials, Identity, tls_context
from rollout.runtime.kube import ListPage, Object, PatchType, Propagation, WatchEvent

DEADLINE = 30.0
LIST_DEADLINE = 60.0
CONNECT_SECONDS = 10.0
IN_FLIGHT = 64
WATCH_SILENCE = 180.0
"""Seconds without a byte after which a watch counts as stalled. Servers send a bookmark about once a minute;
for one that does not, a needless reconnection every three minutes costs nothing."""
READ_ATTEMPTS = 4
MAX_THROTTLE_WAIT = 10.0
THROTTLE_JITTER = 0.25


class HttpKube:
    """A Kubernetes API over HTTP. Make it inside a running event loop; close it there."""

    def __init__(
        self,
        connection: Connection,
        *,
        clock: Clock | None = None,
        deadline: float = DEADLINE,
        list_deadline: float = LIST_DEADLINE,
        in_flight: int = IN_FLIGHT,
        watch_silence: float = WATCH_SILENCE,
        field_manager: str = wire.FIELD_MANAGER,
        user_agent: str = wire.USER_AGENT,
    ) -> None:
        self.connection = connection
        self.requests: Counter[tuple[str, str, str]] = Counter()
        """Requests made by (verb, resource, code); code "error" when there was no answer. For metrics."""
        self._clock = clock or SystemClock()
        self._deadline = deadline
        self._list_deadline = list_deadline
        self._watch_silence = watch_silence
        self._manager = field_manager
        self._places = asyncio.Semaphore(in_flight)
        self._looking_up = asyncio.Lock()
        self._credentials = Credentials(connection, self._clock)
        self._tls: tuple[Identity, ssl.SSLContext | bool] | None = None
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ttl_dns_cache=60),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
            headers=wire.headers(
                user_agent=user_agent,
                impersonate=connection.impersonate,
                groups=connection.impersonate_groups,
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            trace_configs=[_sent_trace()],
            auto_decompress=False,
        )
        # aiohttp would send PUT and DELETE a second time when a kept-alive connection turns out to be closed.
        # Whether that is safe is the caller's to decide; there is no public switch.
        self._session._retry_connection = False  # noqa: SLF001

    # --- the protocol -----------------------------------------------------------------------------

    async def get(
        self, resource: Resource, namespace: str | None, name: str, *, subresource: str = ""
    ) -> Object:
        return await self._object(resource, wire.get(resource, namespace, name, subresource=subresource))

    async def list(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        labels: str = "",
        fields: str = "",
        limit: int = 0,
        continue_token: str = "",
        resource_version: str = "",
    ) -> ListPage:
        request = wire.list_page(
            resource,
            namespace,
            labels=labels,
            fields=fields,
            limit=limit,
            continue_token=continue_token,
            resource_version=resource_version,
        )
        return wire.page_of(request, resource, await self._exchange(request, self._list_deadline))

    async def watch(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        labels: str = "",
        fields: str = "",
        resource_version: str = "",
        send_initial_events: bool = False,
        timeout_seconds: int = 0,
    ) -> AsyncIterator[WatchEvent]:
        request = wire.watch(
            resource,
            namespace,
            labels=labels,
            fields=fields,
            resource_version=resource_version,
            send_initial_events=send_initial_events,
            timeout_seconds=timeout_seconds,
        )
        async with aclosing(self._watch_lines(request)) as lines:
            async for line in lines:
                yield wire.event_of(request, resource, line)

    async def create(
        self, resource: Resource, namespace: str | None, obj: Object, *, dry_run: bool = False
    ) -> Object:
        request = wire.create(resource, namespace, obj, field_manager=self._manager, dry_run=dry_run)
        return await self._object(resource, request)

    async def replace(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        obj: Object,
        *,
        subresource: str = "",
    ) -> Object:
        request = wire.replace(
            resource, namespace, name, obj, subresource=subresource, field_manager=self._manager
        )
        return await self._object(resource, request)

    async def patch(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        patch: Any,
        *,
        type: PatchType = "merge",
        subresource: str = "",
        force: bool = False,
        dry_run: bool = False,
    ) -> Object:
        request = wire.patch(
            resource,
            namespace,
            name,
            patch,
            type=type,
            subresource=subresource,
            force=force,
            dry_run=dry_run,
            field_manager=self._manager,
        )
        return await self._object(resource, request)

    async def delete(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        *,
        uid: str = "",
        resource_version: str = "",
        propagation: Propagation = "Background",
        grace_seconds: int | None = None,
    ) -> None:
        request = wire.delete(
            resource,
            namespace,
            name,
            uid=uid,
            resource_version=resource_version,
            propagation=propagation,
            grace_seconds=grace_seconds,
        )
        await self._exchange(request, self._deadline)

    async def evict(
        self, namespace: str, name: str, *, uid: str = "", grace_seconds: int | None = None
    ) -> None:
        await self._exchange(
            wire.evict(namespace, name, uid=uid, grace_seconds=grace_seconds), self._deadline
        )

    async def bind(self, namespace: str, name: str, node: str) -> None:
        await self._exchange(wire.bind(namespace, name, node), self._deadline)

    async def log(
        self,
        namespace: str,
        name: str,
        *,
        container: str = "",
        tail: int | None = None,
        limit: int | None = None,
    ) -> str:
        request = wire.log(namespace, name, container=container, tail=tail, limit=limit)
        return (await self._exchange(request, self._list_deadline)).decode("utf-8", "replace")

    async def close(self) -> None:
        await self._session.close()

    # --- one exchange -----------------------------------------------------------------------------

    async def _object(self, resource: Resource, request: wire.Request) -> Object:
        return wire.object_of(request, resource, await self._exchange(request, self._deadline))

    async def _exchange(self, request: wire.Request, deadline: float) -> bytes:
        """The body of the successful answer to `request`, with the retries that are safe."""
        for attempt in range(1, READ_ATTEMPTS + 1):
            code, retry_after, body = await self._send(request, deadline)
            if code < 300:
                return body
            if code == 401 and attempt == 1 and self._credentials.can_change:
                self._credentials.forget()
                continue
            error = wire.failure(request, code, retry_after, body)
            if not (isinstance(error, Throttled) and request.repeatable and attempt < READ_ATTEMPTS):
                raise error
            wait = 1.0 if error.after is None else min(error.after, MAX_THROTTLE_WAIT)
            await self._clock.sleep(wait * (1 + THROTTLE_JITTER * self._clock.random.random()))
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def _send(self, request: wire.Request, deadline: float) -> tuple[int, str, bytes]:
        progress = SimpleNamespace(sent=False)
        code = "error"
        try:
            async with asyncio.timeout(deadline):
                identity = await self._who()
                async with self._places, self._open(request, identity, progress) as response:
                    body = await _bounded_body(request, response)
                    code = str(response.status)
                    return response.status, response.headers.get("Retry-After", ""), body
        except aiohttp.ServerTimeoutError as error:
            raise Timeout(f"{request}: cannot connect within {CONNECT_SECONDS:g} s", sent=False) from error
        except TimeoutError as error:
            raise Timeout(f"{request}: no answer within {deadline:g} s", sent=progress.sent) from error
        except (aiohttp.ClientError, OSError) as error:
            raise _no_answer(request, error, sent=progress.sent) from error
        finally:
            self.requests[request.verb, request.resource, code] += 1

    def _open(
        self, request: wire.Request, identity: Identity, progress: SimpleNamespace
    ) -> aiohttp.client._RequestContextManager:
        headers = {}
        if identity.authorization:
            headers["Authorization"] = identity.authorization
        if request.body is not None:
            headers["Content-Type"] = request.content_type
        return self._session.request(
            request.method,
            URL(self.connection.server + request.target, encoded=True),
            data=request.body,
            headers=headers,
            ssl=self._tls_for(identity),
            server_hostname=self.connection.tls_server_name or None,
            allow_redirects=False,
            trace_request_ctx=progress,
        )

    async def _who(self) -> Identity:
        """The identity to use now; a plugin is run once, however many requests wait for it."""
        identity = self._credentials.known()
        if identity is None:
            async with self._looking_up:
                identity = await self._credentials.current()
        return identity

    def _tls_for(self, identity: Identity) -> ssl.SSLContext | bool:
        """One TLS context per client certificate, so that connections are shared; plugins may change it."""
        if self._tls is None or (self._tls[0].certificate, self._tls[0].key) != (
            identity.certificate,
            identity.key,
        ):
            self._tls = identity, tls_context(self.connection, identity) or True
        return self._tls[1]

    # --- watches ----------------------------------------------------------------------------------

    async def _watch_lines(self, request: wire.Request) -> AsyncGenerator[bytes, None]:
        """The lines of a watch until the server ends it. Unavailable when it breaks or falls silent."""
        code = "error"
        lines = wire.Lines()
        response: aiohttp.ClientResponse | None = None
        try:
            async with asyncio.timeout(self._deadline):
                identity = await self._who()
                response = await self._open(request, identity, SimpleNamespace(sent=False))
                code = str(response.status)
                if response.status != 200:
                    if response.status == 401:
                        self._credentials.forget()
                    body = await _bounded_body(request, response)
                    retry_after = response.headers.get("Retry-After", "")
                    raise wire.failure(request, response.status, retry_after, body)
            while True:
                async with asyncio.timeout(self._watch_silence):
                    chunk = await response.content.readany()
                if not chunk:
                    break
                for line in lines.feed(chunk):
                    yield line
        except TimeoutError as error:
            raise Timeout(f"{request}: the watch fell silent") from error
        except (aiohttp.ClientError, OSError) as error:
            raise _no_answer(request, error, sent=True) from error
        finally:
            if response is not None:
                response.close()
            self.requests[request.verb, request.resource, code] += 1
        if lines.rest().strip():
            # Whole if the server only left out the line end; otherwise event_of says that it was cut.
            yield lines.rest()


def _sent_trace() -> aiohttp.TraceConfig:
    """Notes on the request's `progress` that its first bytes have left: from then on it may have an effect."""

    async def sent(_session: object, context: SimpleNamespace, _parameters: object) -> None:
        if context.trace_request_ctx is not None:
            context.trace_request_ctx.sent = True

    trace = aiohttp.TraceConfig()
    trace.on_request_headers_sent.append(sent)
    return trace


async def _bounded_body(request: wire.Request, response: aiohttp.ClientResponse) -> bytes:
    limit = wire.MAX_ANSWER_BYTES
    if (response.content_length or 0) > limit:
        response.close()
        raise TooLarge(
            f"{request}: the answer of {response.content_length} bytes is above {limit}; use pages"
        )
    parts, size = [], 0
    async for chunk in response.content.iter_any():
        parts.append(chunk)
        size += len(chunk)
        if size > limit:
            response.close()
            raise TooLarge(f"{request}: the answer is above {limit} bytes; use pages")
    return b"".join(parts)


def _no_answer(request: wire.Request, error: Exception, *, sent: bool) -> ApiError:
    what = "the connection broke" if sent else "cannot connect"
    return Unavailable(f"{request}: {what}: {error or type(error).__name__}", sent=sent)
