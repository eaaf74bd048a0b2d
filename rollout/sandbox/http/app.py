"""The ASGI application: who may come in, which part answers, and errors as Status objects."""

from __future__ import annotations

import logging
import secrets

from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from rollout.api import codec
from rollout.errors import ApiError, BadRequest, Unauthorized
from rollout.runtime.clock import Clock
from rollout.sandbox.http import paths
from rollout.sandbox.http.documents import Documents
from rollout.sandbox.http.logs import LogSource
from rollout.sandbox.http.resources import ResourceApi
from rollout.sandbox.http.responses import compressed, error_response, json_response, not_routed
from rollout.sandbox.http.streams import Streams
from rollout.sandbox.http.version import version_info
from rollout.sandbox.storage.storage import Storage

log = logging.getLogger(__name__)


class ApiApp:
    """A Kubernetes API over `storage`. One bearer token opens everything; probes and /version need none."""

    def __init__(
        self, storage: Storage, *, token: str, address: str, clock: Clock, logs: LogSource | None = None
    ) -> None:
        self.streams = Streams()
        self._authorization = f"Bearer {token}".encode()
        self._documents = Documents(storage.resources, address)
        self._resources = ResourceApi(storage, self.streams, clock, logs)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError(f"the API server speaks HTTP, not {scope['type']}")
        request = Request(scope, receive)
        response: ASGIApp
        try:
            response = await self._respond(request)
        except ClientDisconnect:
            return
        except ApiError as error:
            response = error_response(error)
        except RecursionError:
            response = error_response(BadRequest("the body of the request is nested too deeply"))
        except Exception as error:
            log.exception("%s %s failed", request.method, scope["path"])
            response = error_response(ApiError(f"Internal error occurred: {type(error).__name__}: {error}"))
        if isinstance(response, Response):
            response = await compressed(request, response)
        await response(scope, receive, send)

    async def _respond(self, request: Request) -> ASGIApp:
        path: str = request.scope["path"]
        if path in {"/healthz", "/livez", "/readyz"}:
            return PlainTextResponse("ok")
        if path == "/version":
            return json_response(codec.encode(version_info()))
        self._authorize(request)
        if (target := paths.parse(path)) is not None:
            return await self._resources.respond(request, target)
        if (document := self._documents.respond(request, path)) is not None:
            return document
        return not_routed()

    def _authorize(self, request: Request) -> None:
        given = request.headers.get("authorization", "").encode("utf-8", "replace")
        if not secrets.compare_digest(given, self._authorization):
            raise Unauthorized("Unauthorized")
