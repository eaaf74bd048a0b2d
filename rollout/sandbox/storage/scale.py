"""The `scale` subresource: `autoscaling/v1 Scale` as a view of any kind that says where its replicas are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rollout.errors import BadRequest
from rollout.sandbox.schema import decoding
from rollout.sandbox.schema.fields import FieldError, invalid, invalid_object
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
    given_spec = _checked(scale).get("spec") or {}
    replicas = given_spec.get("replicas") or 0
    if replicas < 0 and served.builtin:
        error = invalid("spec.replicas", replicas, "must be greater than or equal to 0")
        raise invalid_object("Scale", "autoscaling", obj["metadata"]["name"], [error])
    given = scale.get("metadata") or {}
    meta = dict(obj["metadata"])
    for key in _PRECONDITIONS:
        if given.get(key):
            meta[key] = given[key]
    return _put({**obj, "metadata": meta}, _paths(served).spec_replicas.split("."), replicas)


def problem(served: Served, obj: Object) -> FieldError | None:
    """What is wrong with the replicas of a custom resource, or None."""
    path = _paths(served).spec_replicas
    replicas = _at(obj, path)
    if isinstance(replicas, int) and replicas < 0:
        return invalid(f".{path}", replicas, "should be a non-negative integer")
    return None


def appliable(served: Served, scale: Any, namespace: str, name: str) -> Object:
    """What an applied Scale says about the object itself: its replicas, and preconditions."""
    given = _checked(scale)
    meta = {
        key: text for key, text in (given.get("metadata") or {}).items() if key in _PRECONDITIONS and text
    }
    place = {"name": name, "namespace": namespace} if namespace else {"name": name}
    parent: Object = {**served.type_meta, "metadata": {**meta, **place}}
    replicas = (given.get("spec") or {}).get("replicas")
    return parent if replicas is None else _put(parent, _paths(served).spec_replicas.split("."), replicas)


_PRECONDITIONS = ("uid", "resourceVersion")


def _checked(scale: Any) -> Mapping[str, Any]:
    """`scale`, if it can be decoded as one; BadRequest when not."""
    if not isinstance(scale, Mapping) or scale.get("kind", "Scale") != "Scale":
        raise BadRequest("the object provided is unrecognized (must be of type Scale)")
    problem = decoding.metadata_problem(scale.get("metadata")) or decoding.problem(
        {key: value for key, value in scale.items() if key != "metadata"}, "autoscaling/v1", "Scale"
    )
    if problem:
        raise BadRequest(f'Scale in version "v1" cannot be handled as a Scale: {problem}')
    return scale


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
