"""The `scale` subresource: `autoscaling/v1 Scale` as a view of any kind that says where its replicas are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rollout.errors import BadRequest
from rollout.sandbox.schema.fields import invalid
from rollout.sandbox.storage import refusals
from rollout.sandbox.storage.registry import ScalePaths, Served
from rollout.sandbox.storage.selectors import selector_text

Object = dict[str, Any]


def scale_of(served: Served, obj: Object) -> Object:
    """The Scale of `obj`. The served version must have the subresource."""
    paths, meta = _paths(served), obj["metadata"]
    shown = {
        key: meta[key]
        for key in ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
        if key in meta
    }
    status: Object = {"replicas": _at(obj, paths.status_replicas) or 0}
    if paths.selector:
        selector = _at(obj, paths.selector)
        text = selector if isinstance(selector, str) else selector_text(selector)
        if text:
            status["selector"] = text
    spec = {"replicas": replicas} if (replicas := _at(obj, paths.spec_replicas)) else {}
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": shown,
        "spec": spec,
        "status": status,
    }


def scaled(served: Served, obj: Object, scale: Any) -> Object:
    """`obj` with the replicas of `scale`, and its uid and resourceVersion as preconditions."""
    if not isinstance(scale, Mapping) or scale.get("kind", "Scale") != "Scale":
        raise BadRequest("the object provided is unrecognized (must be of type Scale)")
    replicas = (scale.get("spec") or {}).get("replicas", 0)
    if not isinstance(replicas, int) or isinstance(replicas, bool):
        raise BadRequest(
            'Scale in version "v1" cannot be handled as a Scale: json: cannot unmarshal '
            "into Go struct field ScaleSpec.spec.replicas of type int32"
        )
    if replicas < 0:
        error = invalid("spec.replicas", replicas, "must be greater than or equal to 0")
        raise refusals.invalid(served.resource, obj["metadata"]["name"], [error])
    given = scale.get("metadata") or {}
    meta = dict(obj["metadata"])
    for key in ("uid", "resourceVersion"):
        if given.get(key):
            meta[key] = given[key]
    return _put({**obj, "metadata": meta}, _paths(served).spec_replicas.split("."), replicas)


def _paths(served: Served) -> ScalePaths:
    if served.scale is None:
        raise refusals.not_served()
    return served.scale


def _at(obj: Any, path: str) -> Any:
    for part in path.split("."):
        if not isinstance(obj, Mapping):
            return None
        obj = obj.get(part)
    return obj


def _put(obj: Object, path: list[str], value: Any) -> Object:
    head, *rest = path
    return {**obj, head: _put(obj.get(head) or {}, rest, value) if rest else value}
