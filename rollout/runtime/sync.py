"""`SyncKube`: a small blocking Kubernetes client for the command line, where every import counts.

The same requests, answers, errors and credentials as `HttpKube` (both are thin shells over `wire`), on
http.client instead of aiohttp. One connection, one request at a time; not for controllers.
"""

from __future__ import annotations

import http.client
import socket
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from rollout.api.resources import Resource
from rollout.errors import ApiError, Throttled, Timeout, TooLarge, Unavailable
from rollout.runtime import wire
from rollout.runtime.config import Connection
from rollout.runtime.credentials import Identity, plugin_identity, static_identity, tls_context
from rollout.runtime.kube import ListPage, Object, PatchType, Propagation, WatchEvent

DEADLINE = 30.0
WATCH_SILENCE = 180.0
READ_ATTEMPTS = 4
MAX_THROTTLE_WAIT = 10.0


class SyncKube:
    """A Kubernetes API, blocking. Methods mirror `rollout.runtime.kube.Kube` and raise the same errors."""

    def __init__(
        self,
        connection: Connection,
        *,
        deadline: float = DEADLINE,
        watch_silence: float = WATCH_SILENCE,
        field_manager: str = wire.FIELD_MANAGER,
        user_agent: str = wire.USER_AGENT,
    ) -> None:
        self.connection = connection
        self._deadline = deadline
        self._watch_silence = watch_silence
        self._manager = field_manager
        self._headers = wire.headers(
            user_agent=user_agent, impersonate=connection.impersonate, groups=connection.impersonate_groups
        )
        self._identity: Identity | None = None
        self._http: http.client.HTTPConnection | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        if self._http is not None:
            self._http.close()
            self._http = None

    # --- the verbs --------------------------------------------------------------------------------

    def get(self, resource: Resource, namespace: str | None, name: str, *, subresource: str = "") -> Object:
        return self._object(resource, wire.get(resource, namespace, name, subresource=subresource))

    def list(
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
        return wire.page_of(request, resource, self._exchange(request))

    def watch(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        labels: str = "",
        fields: str = "",
        resource_version: str = "",
        timeout_seconds: int = 0,
    ) -> Iterator[WatchEvent]:
        """Events until the server ends the watch, on a connection of its own."""
        request = wire.watch(
            resource,
            namespace,
            labels=labels,
            fields=fields,
            resource_version=resource_version,
            timeout_seconds=timeout_seconds,
        )
        for line in self._watch_lines(request):
            yield wire.event_of(request, resource, line)

    def create(
        self, resource: Resource, namespace: str | None, obj: Object, *, dry_run: bool = False
    ) -> Object:
        request = wire.create(resource, namespace, obj, field_manager=self._manager, dry_run=dry_run)
        return self._object(resource, request)

    def replace(
        self, resource: Resource, namespace: str | None, name: str, obj: Object, *, subresource: str = ""
    ) -> Object:
        request = wire.replace(
            resource, namespace, name, obj, subresource=subresource, field_manager=self._manager
        )
        return self._object(resource, request)

    def patch(
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
        return self._object(resource, request)

    def delete(
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
        self._exchange(
            wire.delete(
                resource,
                namespace,
                name,
                uid=uid,
                resource_version=resource_version,
                propagation=propagation,
                grace_seconds=grace_seconds,
            )
        )

    def log(self, namespace: str, name: str, *, container: str = "", tail: int | None = None) -> str:
        return self._exchange(wire.log(namespace, name, container=container, tail=tail)).decode(
            "utf-8", "replace"
        )

    # --- one exchange -----------------------------------------------------------------------------

    def _object(self, resource: Resource, request: wire.Request) -> Object:
        return wire.object_of(request, resource, self._exchange(request))

    def _exchange(self, request: wire.Request) -> bytes:
        """The body of the successful answer; reads are repeated after a 429, writes never."""
        for attempt in range(1, READ_ATTEMPTS + 1):
            code, retry_after, body = self._send(request)
            if code < 300:
                return body
            if code == 401 and attempt == 1 and (self.connection.plugin or self.connection.token_file):
                self._identity = None
                continue
            error = wire.failure(request, code, retry_after, body)
            if not (isinstance(error, Throttled) and request.repeatable and attempt < READ_ATTEMPTS):
                raise error
            time.sleep(1.0 if error.after is None else min(error.after, MAX_THROTTLE_WAIT))
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _send(self, request: wire.Request) -> tuple[int, str, bytes]:
        if self._http is not None and _closed_by_server(self._http):
            self.close()
        http_connection = self._http or self._connect(self._deadline)
        self._http = http_connection
        try:
            response = self._open(http_connection, request)
            body = response.read(wire.MAX_ANSWER_BYTES + 1)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise _no_answer(request, error, self._deadline, sent=_connected(error)) from error
        if len(body) > wire.MAX_ANSWER_BYTES:
            self.close()
            raise TooLarge(f"{request}: the answer is above {wire.MAX_ANSWER_BYTES} bytes; use pages")
        return response.status, response.headers.get("Retry-After", ""), body

    def _connect(self, timeout: float) -> http.client.HTTPConnection:
        url = urlsplit(self.connection.server)
        host, port = url.hostname or "", url.port
        tls = tls_context(self.connection, self._who())
        if tls is None:
            return http.client.HTTPConnection(host, port or 80, timeout=timeout)
        if name := self.connection.tls_server_name:
            return _NamedHTTPSConnection(host, port or 443, timeout=timeout, context=tls, server_name=name)
        return http.client.HTTPSConnection(host, port or 443, timeout=timeout, context=tls)

    def _open(
        self, http_connection: http.client.HTTPConnection, request: wire.Request
    ) -> http.client.HTTPResponse:
        if http_connection.sock is None:
            try:
                http_connection.connect()
            except OSError as error:
                raise _NotConnected(error) from error
        target = urlsplit(self.connection.server).path.rstrip("/") + request.target
        http_connection.putrequest(request.method, target, skip_accept_encoding=True)
        for name, value in self._headers:
            http_connection.putheader(name, value)
        if authorization := self._who().authorization:
            http_connection.putheader("Authorization", authorization)
        if request.body is not None:
            http_connection.putheader("Content-Type", request.content_type)
            http_connection.putheader("Content-Length", str(len(request.body)))
        http_connection.endheaders(request.body)
        return http_connection.getresponse()

    def _who(self) -> Identity:
        if self._identity is None:
            if self.connection.plugin:
                import asyncio

                self._identity = asyncio.run(plugin_identity(self.connection))
            else:
                self._identity = static_identity(self.connection)
        return self._identity

    # --- watches ----------------------------------------------------------------------------------

    def _watch_lines(self, request: wire.Request) -> Iterator[bytes]:
        http_connection = self._connect(self._watch_silence)
        lines = wire.Lines()
        try:
            response = self._open(http_connection, request)
            if response.status != 200:
                body = response.read(wire.MAX_ANSWER_BYTES)
                retry_after = response.headers.get("Retry-After", "")
                raise wire.failure(request, response.status, retry_after, body)
            while chunk := response.read1(65536):
                yield from lines.feed(chunk)
        except (OSError, http.client.HTTPException) as error:
            raise _no_answer(request, error, self._watch_silence, sent=True) from error
        finally:
            http_connection.close()
        if lines.rest().strip():
            yield lines.rest()


class _NotConnected(OSError):
    """The connection was never made, so the request cannot have had an effect."""


class _NamedHTTPSConnection(http.client.HTTPSConnection):
    """HTTPS that expects another name in the server's certificate (kubeconfig's tls-server-name)."""

    def __init__(self, host: str, port: int, *, timeout: float, context: Any, server_name: str) -> None:
        super().__init__(host, port, timeout=timeout, context=context)
        self._tls = context
        self._server_name = server_name

    def connect(self) -> None:
        raw = socket.create_connection((self.host, self.port), self.timeout)
        self.sock = self._tls.wrap_socket(raw, server_hostname=self._server_name)


def _closed_by_server(http_connection: http.client.HTTPConnection) -> bool:
    """Whether a kept-alive connection has an end of file waiting: nothing else can be readable between requests."""
    import select

    sock = http_connection.sock
    return sock is None or bool(select.select([sock], [], [], 0)[0])


def _connected(error: Exception) -> bool:
    return not isinstance(error, _NotConnected)


def _no_answer(request: wire.Request, error: Exception, deadline: float, *, sent: bool) -> ApiError:
    cause = error.args[0] if isinstance(error, _NotConnected) else error
    if isinstance(cause, TimeoutError):
        return Timeout(f"{request}: no answer within {deadline:g} s", sent=sent)
    what = "the connection broke" if sent else "cannot connect"
    return Unavailable(f"{request}: {what}: {cause or type(cause).__name__}", sent=sent)
