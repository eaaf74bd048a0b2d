"""The read-only documents of the API: discovery and OpenAPI, made once per change of what is served."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from rollout.api import codec
from rollout.sandbox.http import discovery, openapi, reviews
from rollout.sandbox.http.negotiation import Form, accepted
from rollout.sandbox.http.responses import json_response
from rollout.sandbox.storage.refusals import no_method
from rollout.sandbox.storage.registry import Served

_AGGREGATED = "application/json;g=apidiscovery.k8s.io;v={};as=APIGroupDiscoveryList"
_FOREVER = "public, immutable"


class Documents:
    """Answers GETs of everything that is no resource. `resources` gives what is served at the moment."""

    def __init__(self, resources: Callable[[], Sequence[Served]], address: str) -> None:
        self._resources = resources
        self._address = address
        self._served: tuple[Served, ...] = ()
        self._made: dict[str, bytes] = {}

    def respond(self, request: Request, path: str) -> Response | None:
        """The document at `path`; None when there is none. MethodNotAllowed for anything but a GET."""
        self._forget_when_changed()
        path = path.rstrip("/") or "/"
        response = (
            self._openapi(request, path) if path.startswith("/openapi") else self._discovery(request, path)
        )
        if response is not None and request.method != "GET":
            raise no_method()
        return response

    def _forget_when_changed(self) -> None:
        served = (*self._resources(), *reviews.SERVED)
        if len(served) != len(self._served) or any(
            a is not b for a, b in zip(served, self._served, strict=True)
        ):
            self._served = served
            self._made.clear()

    def _document(self, key: str, make: Callable[[], Any]) -> bytes | None:
        """The bytes of a document, made at its first use; None when `make` finds nothing."""
        if key not in self._made:
            value = make()
            if value is None:
                return None
            self._made[key] = codec.encode(value)
        return self._made[key]

    def _discovery(self, request: Request, path: str) -> Response | None:
        served = self._served
        data: bytes | None
        match path.split("/")[1:]:
            case [""]:
                data = self._document(path, self._root)
            case ["api" | "apis" as root]:
                return self._groups(request, root)
            case ["api", version]:
                data = self._document(path, lambda: discovery.resource_list(served, "", version))
            case ["apis", group]:
                data = self._document(path, lambda: discovery.group(served, group))
            case ["apis", group, version]:
                data = self._document(path, lambda: discovery.resource_list(served, group, version))
            case _:
                return None
        return json_response(data) if data is not None else None

    def _groups(self, request: Request, root: str) -> Response:
        form = accepted(request.headers.get("accept", ""))
        if form.form is not Form.DISCOVERY:
            make = (
                discovery.group_list if root == "apis" else (lambda _: discovery.core_versions(self._address))
            )
            data = self._document(root, lambda: make(self._served))
            assert data is not None
            return json_response(data, headers={"vary": "Accept"})
        version = form.version
        data = self._document(
            f"{root} {version}",
            lambda: discovery.aggregated(self._served, core=root == "api", version=version),
        )
        assert data is not None
        return _revalidated(request, data, {"vary": "Accept"}, _AGGREGATED.format(version))

    def _root(self) -> dict[str, Any]:
        versions = {member.resource.api_version for member in self._served if member.resource.group}
        groups = {member.resource.group for member in self._served if member.resource.group}
        found = [f"/apis/{name}" for name in groups | versions]
        rest = [
            "/api",
            "/api/v1",
            "/apis",
            "/healthz",
            "/livez",
            "/openapi/v3",
            "/readyz",
            "/version",
        ]
        return {"paths": sorted(found + rest)}

    def _openapi(self, request: Request, path: str) -> Response | None:
        if path == "/openapi/v3":
            data = self._document(path, self._openapi_index)
            assert data is not None
            return _revalidated(request, data, {})
        data = self._openapi_member(path)
        if data is None:
            return None
        wanted, found = request.query_params.get("hash"), _digest(data)
        if wanted is None:
            return _revalidated(request, data, {})
        if wanted != found:
            return RedirectResponse(f"{path}?hash={found}", 301)
        return _revalidated(request, data, {"cache-control": _FOREVER})

    def _openapi_member(self, path: str) -> bytes | None:
        match path.split("/")[3:]:
            case ["api", version]:
                group = ""
            case ["apis", group, version]:
                pass
            case _:
                return None
        return self._document(path, lambda: openapi.document(self._served, group, version))

    def _openapi_index(self) -> dict[str, Any]:
        index = {}
        for group, version in sorted({(m.resource.group, m.resource.version) for m in self._served}):
            name = f"apis/{group}/{version}" if group else f"api/{version}"
            data = self._openapi_member(f"/openapi/v3/{name}")
            assert data is not None
            index[name] = {"serverRelativeURL": f"/openapi/v3/{name}?hash={_digest(data)}"}
        return {"paths": index}


def _digest(data: bytes) -> str:
    return hashlib.sha512(data).hexdigest().upper()


def _revalidated(
    request: Request, data: bytes, headers: dict[str, str], media_type: str = "application/json"
) -> Response:
    """The document, or 304 when the client has it already."""
    tag = f'"{_digest(data)}"'
    headers = {"etag": tag} | headers
    if tag in (request.headers.get("if-none-match") or ""):
        return Response(status_code=304, headers=headers)
    return json_response(data, media_type=media_type, headers=headers)
