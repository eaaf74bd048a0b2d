"""The grammar of Kubernetes resource paths.

https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-uris
"""

from __future__ import annotations

import msgspec

# Subresources of a namespace itself; anything else below a namespace is a resource in it.
_NAMESPACE_SUBRESOURCES = frozenset({"status", "finalize"})


class Target(msgspec.Struct, frozen=True):
    """What a resource path points at. `name` is "" for a collection, `namespace` None for cluster or all."""

    group: str
    version: str
    plural: str
    namespace: str | None
    name: str
    subresource: str


def parse(path: str) -> Target | None:
    """The target of `/api/V/...` or `/apis/G/V/...`; None when the path is not a resource path."""
    parts = path.strip("/").split("/")
    if "" in parts:
        return None
    match parts:
        case ["api", version, _, *_]:
            group, rest = "", parts[2:]
        case ["apis", group, version, _, *_]:
            rest = parts[3:]
        case _:
            return None
    namespace: str | None = None
    match rest:
        case ["namespaces", namespace, *below] if below and below[0] not in _NAMESPACE_SUBRESOURCES:
            rest = below
        case _:
            namespace = None
    if len(rest) > 3:
        return None
    plural, name, subresource = (*rest, "", "")[:3]
    return Target(group, version, plural, namespace, name, subresource)
