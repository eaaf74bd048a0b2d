"""What a client asks of pods/log, for whoever has the logs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime
from typing import Any

import msgspec
from starlette.datastructures import QueryParams

from rollout.api.meta import time_of
from rollout.errors import BadRequest, Invalid
from rollout.sandbox.http.options import boolean, integer


class LogQuery(msgspec.Struct, frozen=True):
    """One log request (PodLogOptions). `container` "" means the pod's only one."""

    namespace: str
    name: str
    container: str = ""
    follow: bool = False
    previous: bool = False
    timestamps: bool = False
    tail_lines: int | None = None
    since_seconds: int | None = None
    since_time: datetime | None = None
    limit_bytes: int | None = None


LogSource = Callable[[LogQuery], Awaitable[AsyncIterator[bytes]]]
"""Answers pods/log: awaiting it raises `ApiError` for what cannot be answered (no such container, not started
yet), its result yields the log's bytes, and with `follow` goes on until the container ends. The iterator is
closed (`aclose`) when the client goes away."""


def log_query(query: QueryParams, namespace: str, name: str) -> LogQuery:
    """BadRequest for values of the wrong type, Invalid for values out of range."""
    tail, since, limit = (integer(query, key) for key in ("tailLines", "sinceSeconds", "limitBytes"))
    since_time = _time(query.get("sinceTime"))
    for field, value, least in (("tailLines", tail, 0), ("sinceSeconds", since, 1), ("limitBytes", limit, 1)):
        if value is not None and value < least:
            raise _invalid(name, field, value, f"must be greater than or equal to {least}")
    if since is not None and since_time is not None:
        raise _invalid(
            name, "sinceSeconds", since, "at most one of `sinceTime` or `sinceSeconds` may be specified"
        )
    return LogQuery(
        namespace=namespace,
        name=name,
        container=query.get("container", ""),
        follow=boolean(query, "follow"),
        previous=boolean(query, "previous"),
        timestamps=boolean(query, "timestamps"),
        tail_lines=tail,
        since_seconds=since,
        since_time=since_time,
        limit_bytes=limit,
    )


def _time(text: str | None) -> datetime | None:
    try:
        return time_of(text)
    except ValueError as error:
        raise BadRequest(
            f"sinceTime: {text!r} is not a time; write for example 2026-01-31T12:00:00Z"
        ) from error


def _invalid(pod: str, field: str, value: int, why: str) -> Invalid:
    message = f"Invalid value: {value}: {why}"
    return Invalid(
        f'PodLogOptions "{pod}" is invalid: {field}: {message}',
        {
            "name": pod,
            "kind": "PodLogOptions",
            "causes": [{"reason": "FieldValueInvalid", "message": message, "field": field}],
        },
    )


def container_of(pod: dict[str, Any], asked: str) -> str:
    """The container whose log is meant: the one `asked` for, or the pod's only one. BadRequest otherwise."""
    name, spec = pod["metadata"]["name"], pod.get("spec") or {}
    ordinary = [one["name"] for one in spec.get("containers") or ()]
    initial = [one["name"] for one in spec.get("initContainers") or ()]
    ephemeral = [one["name"] for one in spec.get("ephemeralContainers") or ()]
    if not asked and len(ordinary) == 1:
        return str(ordinary[0])
    if not asked:
        choices = f"choose one of: [{' '.join(ordinary)}]"
        if initial:
            choices += f" or one of the init containers: [{' '.join(initial)}]"
        if ephemeral:
            choices += f" or one of the ephemeral containers: [{' '.join(ephemeral)}]"
        raise BadRequest(f"a container name must be specified for pod {name}, {choices}")
    if asked not in {*ordinary, *initial, *ephemeral}:
        raise BadRequest(f"container {asked} is not valid for pod {name}")
    return asked
