"""What a Kubernetes API request and answer look like in bytes. Pure: no sockets, no clocks.

Shared by `client.HttpKube` (asyncio) and `sync.SyncKube` (blocking), so that paths, query parameters,
media types and errors are written once. Contract: https://kubernetes.io/docs/reference/using-api/api-concepts/
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

import msgspec

from rollout.api.codec import decode, encode
from rollout.api.resources import PODS, Resource
from rollout.errors import ApiError, BadRequest, Throttled, TooLarge, Unavailable, api_error
from rollout.runtime.kube import PATCH_MEDIA_TYPES, ListPage, Object, PatchType, Propagation, WatchEvent

USER_AGENT = "surefoot"
FIELD_MANAGER = "surefoot"
JSON = "application/json"

MAX_REQUEST_BYTES = 3 * 1024 * 1024
"""kube-apiserver refuses larger bodies; we do before sending, so that the error is never a reset."""
MAX_ANSWER_BYTES = 256 * 1024 * 1024
MAX_LINE_BYTES = 32 * 1024 * 1024
_TEXT_BYTES = 300


class Request(msgspec.Struct, frozen=True):
    """One HTTP request. `verb` and `resource` are the API's words (RBAC, metrics), `target` path and query."""

    verb: str
    resource: str
    method: str
    target: str
    body: bytes | None = None
    content_type: str = JSON

    @property
    def repeatable(self) -> bool:
        """Whether sending it again can do no harm."""
        return self.method == "GET"

    def __str__(self) -> str:
        return f"{self.method} {self.target}"


def headers(
    *, user_agent: str = USER_AGENT, impersonate: str = "", groups: tuple[str, ...] = ()
) -> list[tuple[str, str]]:
    """The headers that every request of a client carries (Authorization changes and is not among them)."""
    fixed = [("Accept", JSON), ("Accept-Encoding", "identity"), ("User-Agent", user_agent)]
    if impersonate:
        fixed.append(("Impersonate-User", impersonate))
        fixed += [("Impersonate-Group", group) for group in groups]
    return fixed


# --- requests ---------------------------------------------------------------------------------------


def get(resource: Resource, namespace: str | None, name: str, *, subresource: str = "") -> Request:
    return Request("get", _label(resource, subresource), "GET", _path(resource, namespace, name, subresource))


def list_page(
    resource: Resource,
    namespace: str | None,
    *,
    labels: str = "",
    fields: str = "",
    limit: int = 0,
    continue_token: str = "",
    resource_version: str = "",
) -> Request:
    exact = resource_version and not continue_token
    query = _query(
        labelSelector=labels,
        fieldSelector=fields,
        limit=limit or "",
        **{"continue": continue_token},
        resourceVersion=resource_version if exact else "",
        # Without a match rule a limit turns a version into "exactly this one", which is never meant here.
        resourceVersionMatch="NotOlderThan" if exact and resource_version != "0" else "",
    )
    return Request("list", str(resource), "GET", _path(resource, namespace) + query)


def watch(
    resource: Resource,
    namespace: str | None,
    *,
    labels: str = "",
    fields: str = "",
    resource_version: str = "",
    send_initial_events: bool = False,
    timeout_seconds: int = 0,
) -> Request:
    query = _query(
        watch="1",
        allowWatchBookmarks="true",
        labelSelector=labels,
        fieldSelector=fields,
        resourceVersion=resource_version,
        sendInitialEvents="true" if send_initial_events else "",
        resourceVersionMatch="NotOlderThan" if send_initial_events else "",
        timeoutSeconds=timeout_seconds or "",
    )
    return Request("watch", str(resource), "GET", _path(resource, namespace) + query)


def create(
    resource: Resource,
    namespace: str | None,
    obj: Object,
    *,
    field_manager: str = FIELD_MANAGER,
    dry_run: bool = False,
) -> Request:
    query = _query(fieldManager=field_manager, dryRun="All" if dry_run else "")
    return Request("create", str(resource), "POST", _path(resource, namespace) + query, _body(resource, obj))


def replace(
    resource: Resource,
    namespace: str | None,
    name: str,
    obj: Object,
    *,
    subresource: str = "",
    field_manager: str = FIELD_MANAGER,
) -> Request:
    target = _path(resource, namespace, name, subresource) + _query(fieldManager=field_manager)
    return Request("update", _label(resource, subresource), "PUT", target, _body(resource, obj))


def patch(
    resource: Resource,
    namespace: str | None,
    name: str,
    change: Any,
    *,
    type: PatchType = "merge",
    subresource: str = "",
    force: bool = False,
    dry_run: bool = False,
    field_manager: str = FIELD_MANAGER,
) -> Request:
    query = _query(
        fieldManager=field_manager,
        force="true" if force and type == "apply" else "",
        dryRun="All" if dry_run else "",
    )
    return Request(
        "patch",
        _label(resource, subresource),
        "PATCH",
        _path(resource, namespace, name, subresource) + query,
        _body(resource, change),
        PATCH_MEDIA_TYPES[type],
    )


def delete(
    resource: Resource,
    namespace: str | None,
    name: str,
    *,
    uid: str = "",
    resource_version: str = "",
    propagation: Propagation = "Background",
    grace_seconds: int | None = None,
) -> Request:
    options = _delete_options(uid, resource_version, grace_seconds) | {"propagationPolicy": propagation}
    return Request(
        "delete", str(resource), "DELETE", _path(resource, namespace, name), _body(resource, options)
    )


def evict(namespace: str, name: str, *, uid: str = "", grace_seconds: int | None = None) -> Request:
    eviction = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": name, "namespace": namespace},
        "deleteOptions": _delete_options(uid, "", grace_seconds),
    }
    target = _path(PODS, namespace, name, "eviction")
    return Request("create", _label(PODS, "eviction"), "POST", target, _body(PODS, eviction))


def bind(namespace: str, name: str, node: str) -> Request:
    binding = {
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": {"name": name, "namespace": namespace},
        "target": {"apiVersion": "v1", "kind": "Node", "name": node},
    }
    target = _path(PODS, namespace, name, "binding")
    return Request("create", _label(PODS, "binding"), "POST", target, _body(PODS, binding))


def log(
    namespace: str, name: str, *, container: str = "", tail: int | None = None, limit: int | None = None
) -> Request:
    query = _query(
        container=container,
        tailLines="" if tail is None else tail,
        limitBytes="" if limit is None else limit,
    )
    return Request("get", _label(PODS, "log"), "GET", _path(PODS, namespace, name, "log") + query)


def _path(resource: Resource, namespace: str | None, name: str = "", subresource: str = "") -> str:
    for part in (namespace, name):
        if part in {".", ".."}:
            raise BadRequest(f"{part!r} is not a name of {resource}")
    return resource.path(quote(namespace, safe="") if namespace else None, quote(name, safe=""), subresource)


def _label(resource: Resource, subresource: str) -> str:
    return f"{resource}/{subresource}" if subresource else str(resource)


def _query(**parameters: object) -> str:
    given = {key: value for key, value in parameters.items() if value != ""}
    return "?" + urlencode(given) if given else ""


def _body(resource: Resource, value: Any) -> bytes:
    data = encode(value)
    if len(data) > MAX_REQUEST_BYTES:
        raise TooLarge(
            f"a {resource.kind} of {len(data)} bytes is above the API server's limit of {MAX_REQUEST_BYTES}"
        )
    return data


def _delete_options(uid: str, resource_version: str, grace_seconds: int | None) -> dict[str, Any]:
    options: dict[str, Any] = {"apiVersion": "v1", "kind": "DeleteOptions"}
    preconditions = {"uid": uid, "resourceVersion": resource_version}
    if given := {key: value for key, value in preconditions.items() if value}:
        options["preconditions"] = given
    if grace_seconds is not None:
        options["gracePeriodSeconds"] = grace_seconds
    return options


# --- answers ----------------------------------------------------------------------------------------


def failure(request: Request, code: int, retry_after: str, body: bytes) -> ApiError:
    """The error for an answer that is no success; never raises. `retry_after` is that header, or ""."""
    error = api_error(code, _status_of(request, code, body))
    if isinstance(error, Throttled) and (after := _seconds(retry_after)) is not None:
        error.after = after
    return error


def _status_of(request: Request, code: int, body: bytes) -> Mapping[str, Any]:
    """The Status object of a failed answer; what is not one (a proxy's page) becomes a sentence."""
    try:
        status = decode(body)
    except ValueError:
        status = None
    if isinstance(status, dict) and status.get("kind") == "Status":
        return status
    text = " ".join(body[:_TEXT_BYTES].decode("utf-8", "replace").split())
    said = f": {text}" if text else ""
    return {"message": f"{request} was answered with HTTP {code} and no Kubernetes Status{said}"}


def _seconds(retry_after: str) -> float | None:
    """Retry-After in seconds; the date form, which no API server sends, counts as absent."""
    text = retry_after.strip()
    return float(text) if text.isdecimal() and len(text) < 9 else None


def object_of(request: Request, resource: Resource, body: bytes) -> Object:
    """The object in a successful answer, with apiVersion and kind. Unavailable if it is cut short."""
    return _named(_json(request, body), resource)


def page_of(request: Request, resource: Resource, body: bytes) -> ListPage:
    """The page in a successful list answer; its items carry apiVersion and kind (servers leave them out)."""
    data = _json(request, body)
    meta = data.get("metadata") or {}
    items = [_named(item, resource) for item in data.get("items") or ()]
    return ListPage(items, meta.get("resourceVersion") or "", meta.get("continue") or "")


def event_of(request: Request, resource: Resource, line: bytes) -> WatchEvent:
    """The event in one line of a watch. An ERROR event is raised as the error it carries."""
    data = _json(request, line)
    obj = data.get("object")
    kind = data.get("type")
    if not isinstance(obj, dict) or kind not in {"ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR"}:
        raise Unavailable(f"{request}: not a watch event: {_excerpt(line)}")
    if kind == "ERROR":
        raise api_error(int(obj.get("code") or 500), obj)
    return WatchEvent(kind, _named(obj, resource))


def _named(obj: Object, resource: Resource) -> Object:
    if "kind" not in obj or "apiVersion" not in obj:
        return {"apiVersion": resource.api_version, "kind": resource.kind} | obj
    return obj


def _json(request: Request, body: bytes) -> dict[str, Any]:
    try:
        data = decode(body)
    except ValueError as error:
        raise Unavailable(f"{request}: the answer is cut short or not JSON: {_excerpt(body)}") from error
    if not isinstance(data, dict):
        raise Unavailable(f"{request}: the answer is not an object: {_excerpt(body)}")
    return data


def _excerpt(data: bytes) -> str:
    return repr(data[:80].decode("utf-8", "replace"))


class Lines:
    """Cuts a stream of chunks into lines of any length up to `limit`; linear in the bytes fed."""

    def __init__(self, limit: int = MAX_LINE_BYTES) -> None:
        self._parts: list[bytes] = []
        self._size = 0
        self._limit = limit

    def feed(self, chunk: bytes) -> list[bytes]:
        """The lines that `chunk` completes, without their ends; empty lines are left out."""
        first, *rest = chunk.split(b"\n")
        self._keep(first)
        if not rest:
            return []
        *whole, last = rest
        lines = [b"".join(self._parts), *whole]
        self._parts, self._size = [], 0
        self._keep(last)
        return [line for line in lines if line.strip()]

    def rest(self) -> bytes:
        """What came after the last line end."""
        return b"".join(self._parts)

    def _keep(self, part: bytes) -> None:
        self._size += len(part)
        if self._size > self._limit:
            raise Unavailable(f"a line of a watch is longer than {self._limit} bytes")
        if part:
            self._parts.append(part)
