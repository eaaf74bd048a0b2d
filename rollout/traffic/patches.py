"""What the routers' patches have in common. Lists in routes are atomic: every write tests what it was computed from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rollout.api.meta import Key, metadata
from rollout.api.resources import Resource
from rollout.api.rollout import MANAGED_BY
from rollout.core.actions import PatchRoute
from rollout.core.observed import Observed


def add(path: str, value: Any) -> dict[str, Any]:
    """JSON patch `add` also replaces what is there, so it serves both cases."""
    return {"op": "add", "path": path, "value": value}


def patch_route(
    seen: Observed,
    resource: Resource,
    key: Key,
    operations: list[dict[str, Any]],
    *,
    weight: int | None = None,
    binds: tuple[str, str] | None = None,
) -> PatchRoute:
    """The operations, for the version that was seen only, with the mark of who manages the object."""
    meta = metadata(seen.routes[resource, key])
    name = seen.rollout.metadata.name
    annotations = meta.get("annotations")
    marks: list[dict[str, Any]] = []
    if not annotations:
        marks = [add("/metadata/annotations", {MANAGED_BY: name})]
    elif annotations.get(MANAGED_BY) != name:
        marks = [add(f"/metadata/annotations/{MANAGED_BY.replace('~', '~0').replace('/', '~1')}", name)]
    test = {"op": "test", "path": "/metadata/resourceVersion", "value": meta.get("resourceVersion")}
    return PatchRoute(
        resource=resource,
        namespace=key.namespace,
        name=key.name,
        operations=(test, *marks, *operations),
        weight=weight,
        binds=binds,
    )


def listed(names: Sequence[str]) -> str:
    """Names as a message shows them."""
    return ", ".join(f'"{name}"' for name in names) or "none"
