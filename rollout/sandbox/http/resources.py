"""Requests on resources: from method, path and query to one call of storage, and its result back to the client."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, cast

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from rollout.api import codec
from rollout.api.resources import PODS, Resource
from rollout.errors import BadRequest, Expired, Unavailable, Unclassified, UnsupportedMediaType
from rollout.runtime.clock import Clock
from rollout.runtime.kube import PATCH_MEDIA_TYPES, PatchType
from rollout.sandbox.http import body, reviews
from rollout.sandbox.http.logs import LogSource, container_of, log_query
from rollout.sandbox.http.negotiation import JSON, YAML, Accepted, Form, accepted, media_type_of
from rollout.sandbox.http.options import (
    ListOptions,
    delete_options,
    list_options,
    write_options,
)
from rollout.sandbox.http.paths import Target
from rollout.sandbox.http.rendering import Encoder, in_media_type, metadata_only
from rollout.sandbox.http.responses import CREATED, NO_CACHE, json_response, not_routed, success
from rollout.sandbox.http.streams import EncodeEvent, LogResponse, Refused, Streams, Watching, WatchResponse
from rollout.sandbox.http.tables import Include, Tables
from rollout.sandbox.schema.fields import invalid, invalid_object
from rollout.sandbox.storage import Options
from rollout.sandbox.storage.lists import is_version
from rollout.sandbox.storage.refusals import cannot_handle, no_method, no_version, not_served
from rollout.sandbox.storage.registry import Served
from rollout.sandbox.storage.storage import Storage

Object = dict[str, Any]

# As kube-apiserver's --min-request-timeout: a watch without timeoutSeconds lasts this long to twice as long.
_WATCH_SECONDS = 1800.0
_SHOWN_WHEN_DELETED = {("", "pods")}
_PATCH_TYPES: dict[str, PatchType] = {media: name for name, media in PATCH_MEDIA_TYPES.items()}
_REVIEWS = {(r.resource.group, r.resource.version, r.resource.plural): r.resource for r in reviews.SERVED}


class Call(msgspec.Struct):
    """One request with everything that its handlers need to know of it."""

    request: Request
    target: Target
    served: Served
    form: Accepted
    warnings: list[str]

    @property
    def namespace(self) -> str | None:
        return self.target.namespace


Handler = Callable[[Call], Awaitable[ASGIApp]]


class ResourceApi:
    """Answers every request whose path is a resource path."""

    def __init__(self, storage: Storage, streams: Streams, clock: Clock, logs: LogSource | None) -> None:
        self._storage = storage
        self._streams = streams
        self._clock = clock
        self._logs = logs
        self._encoder = Encoder()
        self._items = Encoder(left_out=("apiVersion", "kind"))
        self._on_collection: dict[str, Handler] = {
            "GET": self._list_or_watch,
            "POST": self._create,
            "DELETE": self._delete_collection,
        }
        self._on_object: dict[str, Handler] = {
            "GET": self._get,
            "PUT": self._replace,
            "PATCH": self._patch,
            "DELETE": self._delete,
        }
        read_write: dict[str, Handler] = {"GET": self._get, "PUT": self._replace, "PATCH": self._patch}
        self._on_subresource: dict[str, dict[str, Handler]] = {
            "status": read_write,
            "scale": read_write,
            "ephemeralcontainers": read_write,
            "finalize": {"PUT": self._replace},
            "binding": {"POST": self._bind},
            "eviction": {"POST": self._evict},
            "log": {"GET": self._log},
        }

    async def respond(self, request: Request, target: Target) -> ASGIApp:
        """The response to `request`. Raises ApiError for everything that is refused."""
        form = accepted(request.headers.get("accept", ""))
        if (review := _REVIEWS.get((target.group, target.version, target.plural))) is not None:
            return await _review(request, review)
        served = self._storage.served(target.group, target.version, target.plural)
        if served is None and not self._serves(target):
            return not_routed()
        if served is None or (target.namespace is not None and not served.resource.namespaced):
            raise not_served()
        call = Call(request, target, served, form, [served.deprecated] if served.deprecated else [])
        return await self._handler(call)(call)

    def _serves(self, target: Target) -> bool:
        """Whether there is such a group at all; where not, Kubernetes' router answers, as text."""
        return any(one.resource.group == target.group for one in self._storage.resources())

    def _handler(self, call: Call) -> Handler:
        target, method = call.target, call.request.method
        if target.subresource:
            if target.subresource not in call.served.subresources:
                raise not_served()
            handlers: Mapping[str, Handler] = self._on_subresource[target.subresource]
        else:
            handlers = self._on_object if target.name else self._on_collection
        placed = target.namespace is not None or not call.served.resource.namespaced
        if target.name and not placed:
            raise not_served()
        if method not in handlers or (method != "GET" and not placed):
            raise no_method()
        if method == "DELETE" and not target.name and "deletecollection" not in call.served.verbs:
            raise no_method()
        return handlers[method]

    # Reading

    async def _get(self, call: Call) -> Response:
        target = call.target
        _check_version(call.request.query_params.get("resourceVersion", ""))
        obj = self._storage.get(
            call.served.resource, target.namespace, target.name, subresource=target.subresource
        )
        return self._object(call, obj)

    async def _list_or_watch(self, call: Call) -> ASGIApp:
        options = list_options(call.request.query_params)
        if options.watch:
            _check_version(options.resource_version)
            return self._watch(call, options)
        page = self._storage.list(
            call.served.resource,
            call.namespace,
            labels=options.labels,
            fields=options.fields,
            limit=options.limit,
            continue_token=options.continue_token,
            resource_version=options.resource_version,
            resource_version_match=options.resource_version_match,
        )
        meta: Object = {"resourceVersion": page.resource_version}
        if page.continue_token or not (call.served.builtin or call.form.form is Form.TABLE):
            meta["continue"] = page.continue_token
            if page.remaining is not None:
                meta["remainingItemCount"] = page.remaining
        return self._collection(call, meta, page.items)

    def _watch(self, call: Call, options: ListOptions) -> ASGIApp:
        seconds = float(options.timeout_seconds) or _WATCH_SECONDS * (1 + self._clock.random.random())
        encode = self._event_encoder(call)
        return WatchResponse(
            self._streams,
            self._watcher(call, options),
            encode,
            headers=[(b"content-type", b"application/json"), (b"cache-control", NO_CACHE.encode())],
            seconds=seconds,
            bookmarks=options.bookmarks,
        )

    def _watcher(self, call: Call, options: ListOptions) -> Watching:
        """Storage's watcher. As kube-apiserver has it, a version too old is told inside the stream."""
        try:
            return self._storage.watch(
                call.served.resource,
                call.namespace,
                labels=options.labels,
                fields=options.fields,
                resource_version=options.resource_version,
                send_initial_events=options.initial_events,
            )
        except Expired as error:
            return Refused(error)

    async def _log(self, call: Call) -> ASGIApp:
        target = call.target
        assert target.namespace is not None
        query = log_query(call.request.query_params, target.namespace, target.name)
        pod = self._storage.get(PODS, target.namespace, target.name)
        query = msgspec.structs.replace(query, container=container_of(pod, query.container))
        if not (pod.get("spec") or {}).get("nodeName"):
            return Response(status_code=204)
        if self._logs is None:
            raise Unavailable("no node agent is connected to this API server, so there are no logs to show")
        return LogResponse(self._streams, await self._logs(query), query.limit_bytes)

    # Writing

    async def _create(self, call: Call) -> Response:
        options = write_options(call.request, call.warnings.append)
        obj = await self._object_body(call, options)
        created = self._storage.create(call.served.resource, call.namespace, obj, options=options)
        return self._object(call, created, status=201)

    async def _replace(self, call: Call) -> Response:
        target = call.target
        options = write_options(call.request, call.warnings.append)
        obj = await self._object_body(call, options)
        existed = self._storage.exists(call.served.resource, target.namespace, target.name)
        stored = self._storage.replace(
            call.served.resource,
            target.namespace,
            target.name,
            obj,
            subresource=target.subresource,
            options=options,
        )
        return self._object(call, stored, status=200 if existed else 201)

    async def _patch(self, call: Call) -> Response:
        target, request = call.target, call.request
        media_type = media_type_of(request.headers.get("content-type", ""))
        if media_type not in _PATCH_TYPES:
            raise UnsupportedMediaType("415: Unsupported Media Type", {})
        kind = _PATCH_TYPES[media_type]
        patch = body.decode_patch(await body.read(request), kind)
        options = write_options(request, call.warnings.append, kind)
        existed = kind != "apply" or self._storage.exists(call.served.resource, target.namespace, target.name)
        stored = self._storage.patch(
            call.served.resource,
            target.namespace,
            target.name,
            patch,
            type=kind,
            subresource=target.subresource,
            options=options,
        )
        return self._object(call, stored, status=200 if existed else 201)

    async def _delete(self, call: Call) -> Response:
        target = call.target
        options = delete_options(call.request.query_params, await self._optional_body(call, "DeleteOptions"))
        done = self._storage.delete(call.served.resource, target.namespace, target.name, options=options)
        if not done.gone or call.served.bucket in _SHOWN_WHEN_DELETED:
            return self._object(call, done.object)
        resource = call.served.resource
        details = {"name": target.name, "kind": resource.plural, "uid": done.object["metadata"]["uid"]}
        return json_response(
            codec.encode(success(details | ({"group": resource.group} if resource.group else {})))
        )

    async def _delete_collection(self, call: Call) -> Response:
        query = call.request.query_params
        options = delete_options(query, await self._optional_body(call, "DeleteOptions"))
        selected = list_options(query)
        deleted = self._storage.delete_collection(
            call.served.resource,
            call.namespace,
            labels=selected.labels,
            fields=selected.fields,
            options=options,
        )
        meta = {"resourceVersion": self._storage.resource_version}
        return self._collection(call, meta if call.served.builtin else {"continue": "", **meta}, deleted)

    async def _bind(self, call: Call) -> Response:
        binding = await self._body(call, "Binding")
        assert call.namespace is not None
        node = str((binding.get("target") or {}).get("name") or "")
        self._storage.bind(call.namespace, call.target.name, node)
        return json_response(codec.encode(CREATED), status=201)

    async def _evict(self, call: Call) -> Response:
        eviction = await self._body(call, "Eviction")
        assert call.namespace is not None
        options = delete_options(call.request.query_params, eviction.get("deleteOptions") or {})
        self._storage.evict(call.namespace, call.target.name, options=options)
        return json_response(codec.encode(CREATED), status=201)

    async def _object_body(self, call: Call, options: Options) -> Object:
        """The object of a create or update, its doubled fields refused or warned about."""
        data = await body.read(call.request)
        content_type = call.request.headers.get("content-type", "")
        obj = body.decode_object(data, content_type, call.served.resource.kind)
        if not call.served.builtin:
            _check_named(call, obj, data)
        if "fieldValidation" in call.request.query_params and media_type_of(content_type) in {"", JSON}:
            _check_doubles(call, data, options)
        return obj

    async def _body(self, call: Call, kind: str) -> Object:
        content_type = call.request.headers.get("content-type", "")
        return body.decode_object(await body.read(call.request), content_type, kind)

    async def _optional_body(self, call: Call, kind: str) -> Object:
        data = await body.read(call.request)
        content_type = call.request.headers.get("content-type", "")
        return body.decode_object(data, content_type, kind) if data.strip() else {}

    # Answering

    def _object(self, call: Call, obj: Object, *, status: int = 200) -> Response:
        match call.form.form:
            case Form.TABLE:
                version = obj["metadata"].get("resourceVersion")
                data = codec.encode(
                    self._tables(call).of([obj], {"resourceVersion": version} if version else {})
                )
            case Form.METADATA:
                data = codec.encode(metadata_only(obj))
            case _ if call.target.subresource == "scale" or "dryRun" in call.request.query_params:
                data = codec.encode(obj)  # made for this answer alone
            case _:
                data = self._encoder.shared(obj)
        return _finish(call, data, status=status)

    def _collection(self, call: Call, meta: Object, items: Sequence[Object]) -> Response:
        served = call.served
        match call.form.form:
            case Form.TABLE:
                data = codec.encode(self._tables(call).of(items, meta))
            case Form.METADATA_LIST | Form.METADATA:
                head = {"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": meta}
                data = codec.encode(head | {"items": [metadata_only(item) for item in items] or None})
            case _:
                head = {"kind": served.list_kind, "apiVersion": served.resource.api_version, "metadata": meta}
                encoder = self._items if served.builtin else self._encoder
                data = encoder.list_of(head, items)
        return _finish(call, data)

    def _tables(self, call: Call) -> Tables:
        return Tables(call.served, call.form.version, _include(call), self._clock.now)

    def _event_encoder(self, call: Call) -> EncodeEvent:
        """How this watch's lines are written."""
        match call.form.form:
            case Form.TABLE:
                tables = self._tables(call)
                return lambda kind, obj: _line(kind, codec.encode(tables.of_event(kind, obj)))
            case Form.METADATA | Form.METADATA_LIST:
                return lambda kind, obj: _line(kind, codec.encode(_metadata_event(kind, obj)))
            case _:
                return lambda kind, obj: _line(kind, self._encoder.shared(obj))


def _check_named(call: Call, obj: Object, data: bytes) -> None:
    """A custom resource says what it is: nothing but its own words tells which it is."""
    resource = call.served.resource
    if not obj.get("kind"):
        text = data.decode(errors="replace")
        raise BadRequest(
            f"the object provided is unrecognized (must be of type {resource.kind}): "
            f"Object 'Kind' is missing in '{text}' ({body.glimpse(data)})"
        )
    if not obj.get("apiVersion"):
        raise BadRequest(
            f"the API version in the data () does not match the expected API version ({resource.api_version})"
        )
    if obj["kind"] != resource.kind and not call.target.subresource:
        error = invalid("kind", obj["kind"], f"must be {resource.kind}")
        name = str((obj.get("metadata") or {}).get("name") or "")
        raise invalid_object(str(obj["kind"]), resource.group, name, [error])


def _check_version(text: str) -> None:
    """Unclassified (500), as in kube-apiserver, when a get or a watch names a version that is no number."""
    if text and not is_version(text):
        raise Unclassified(no_version(text))


def _line(kind: str, data: bytes) -> bytes:
    return b'{"type":"%s","object":%s}\n' % (kind.encode(), data)


def _metadata_event(kind: str, obj: Object) -> Object:
    return obj if kind == "ERROR" else metadata_only(obj)


def _check_doubles(call: Call, data: bytes, options: Options) -> None:
    """Fields named twice: a JSON parser keeps the last, so only a second look at the text finds them.

    Only for clients that ask for field validation by name, as kubectl does: it costs as much as the parsing.
    """
    if options.field_validation == "Ignore":
        return
    found = [f'duplicate field "{path}"' for path in body.duplicate_fields(data)]
    if found and options.field_validation == "Strict":
        raise cannot_handle(call.served.resource, f"strict decoding error: {', '.join(found)}")
    call.warnings.extend(found)


def _include(call: Call) -> Include:
    include = call.request.query_params.get("includeObject") or "Metadata"
    if include not in {"None", "Metadata", "Object"}:
        raise BadRequest(
            f'Unable to convert to Table as requested: includeObject: Invalid value: "{include}": '
            "must be 'Metadata', 'Object', 'None', or empty"
        )
    return cast("Include", include)


def _finish(call: Call, data: bytes, *, status: int = 200) -> Response:
    media_type = call.form.media_type
    pretty = call.request.query_params.get("pretty") in {"true", "1"}
    if media_type == YAML or pretty:
        data = in_media_type(data, media_type, pretty=pretty)
    return json_response(data, status=status, media_type=media_type, warnings=call.warnings)


async def _review(request: Request, resource: Resource) -> Response:
    if request.method != "POST":
        raise no_method()
    data, media_type = await body.read(request), media_type_of(request.headers.get("content-type", ""))
    # What it asks makes no difference to the answer, so we need not read every format.
    asked = body.decode_object(data, media_type, resource.kind) if media_type in {"", JSON, YAML} else {}
    return json_response(codec.encode(reviews.answer(resource, asked)), status=201)
