"""Whether the parents of an HTTPRoute (its Gateways, or Services in a mesh) serve it, and who they are.

https://gateway-api.sigs.k8s.io/reference/spec/ (RouteParentStatus).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from rollout.api.meta import metadata

GROUP = "gateway.networking.k8s.io"
Object = Mapping[str, Any]


class Parent(NamedTuple):
    """A parentRef with its defaults, so that those of spec and status can be compared."""

    group: str
    kind: str
    namespace: str
    name: str
    section: str
    port: int | None


def unserved(route: Object) -> str:
    """Why not every parent serves this generation of an HTTPRoute, in words; "" when all do.

    Only what the parents in the spec say counts: entries that others have left in the status do not.
    """
    generation, said = metadata(route).get("generation") or 1, told(route)
    if not parents(route):
        return "it has no parentRefs, so no Gateway takes it"
    for parent in parents(route):
        shown, entries = f'{parent.kind} "{parent.name}"', said.get(parent)
        if not entries:
            return f"{shown} says nothing of it; see that it exists and that its controller runs"
        for entry in entries:
            if why := _refused(entry, int(generation)):
                return f"{shown}: {why}"
    return ""


def _refused(entry: Object, generation: int) -> str:
    """Why one entry of `status.parents` does not say that this generation is served."""
    conditions = {one.get("type"): one for one in entry.get("conditions") or () if isinstance(one, Mapping)}
    for kind in ("Accepted", "ResolvedRefs"):
        condition = conditions.get(kind)
        if condition is None:
            return f"it has no condition {kind}"
        if int(condition.get("observedGeneration") or 0) < generation:
            return f"{kind} does not speak of generation {generation} yet"
        if condition.get("status") != "True":
            return f"not {kind}: {_words(condition)}"
    partial = conditions.get("PartiallyInvalid") or {}
    if partial.get("status") == "True":
        return f"PartiallyInvalid: {_words(partial)}"  # some rules are left out, or as they were before
    return ""


def _words(condition: Object) -> str:
    return ", ".join(str(condition[part]) for part in ("reason", "message") if condition.get(part))


def parent_of(ref: Object, namespace: str) -> Parent:
    """A parentRef of a route in this namespace."""
    group = ref.get("group")
    return Parent(
        GROUP if group is None else group,
        ref.get("kind") or "Gateway",
        ref.get("namespace") or namespace,
        str(ref.get("name")),
        ref.get("sectionName") or "",
        ref.get("port"),
    )


def parents(route: Object) -> tuple[Parent, ...]:
    """Those that the route's spec names."""
    refs = (route.get("spec") or {}).get("parentRefs") or ()
    return tuple(parent_of(one, _namespace(route)) for one in refs if isinstance(one, Mapping))


def told(route: Object) -> dict[Parent, list[Object]]:
    """What has been said of the route, by whom: the entries of `status.parents`."""
    said: dict[Parent, list[Object]] = {}
    for entry in (route.get("status") or {}).get("parents") or ():
        if isinstance(entry, Mapping) and isinstance(entry.get("parentRef"), Mapping):
            said.setdefault(parent_of(entry["parentRef"], _namespace(route)), []).append(entry)
    return said


def _namespace(route: Object) -> str:
    return str(metadata(route).get("namespace"))
