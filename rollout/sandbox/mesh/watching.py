"""Which changes of objects concern the mesh. Pure.

Pods change their status many times in their life; only what rendering reads may wake the mesh.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rollout.api.meta import Object, metadata
from rollout.api.resources import (
    DESTINATION_RULES,
    ENDPOINT_SLICES,
    ENVOY_FILTERS,
    HTTP_ROUTES,
    PODS,
    SERVICES,
    VIRTUAL_SERVICES,
    Resource,
)

Read = Callable[[Object], Any]


def _spec(obj: Object) -> Any:
    return obj.get("spec")


def _slice(obj: Object) -> Any:
    return metadata(obj).get("labels"), obj.get("ports"), obj.get("endpoints")


def _pod(obj: Object) -> Any:
    meta = metadata(obj)
    return meta.get("labels"), meta.get("ownerReferences"), meta.get("annotations")


def _fault(obj: Object) -> Any:
    return obj.get("spec"), metadata(obj).get("annotations")


READS: Mapping[Resource, Read] = {
    SERVICES: _spec,
    ENDPOINT_SLICES: _slice,
    PODS: _pod,
    VIRTUAL_SERVICES: _spec,
    DESTINATION_RULES: _spec,
    HTTP_ROUTES: _spec,
    ENVOY_FILTERS: _fault,
}


def concerns(resource: Resource, old: Object | None, new: Object | None) -> bool:
    """Whether the change from `old` to `new` (None: absent) can change what is rendered."""
    if old is None or new is None:
        return True
    read = READS[resource]
    return bool(read(old) != read(new))
