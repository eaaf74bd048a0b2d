"""What a workload controller decides: values that a test compares and the driver carries out.

A controller is a pure function from what it observed and `now` to a `Decision`. Nothing here reads a
clock or speaks to an API server; `run.py` does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import msgspec

from rollout.api.codec import merge_diff
from rollout.api.meta import Object, key_of, metadata
from rollout.api.resources import Resource

Suffix = Callable[[], str]
"""Draws the random part of a name: five characters of `SAFE_ALPHABET`."""

SAFE_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
"""The characters Kubernetes generates names from (no vowels, nothing easily misread)."""


class Note(msgspec.Struct, frozen=True):
    """An Event about the controller's own object."""

    reason: str
    message: str
    type: Literal["Normal", "Warning"] = "Normal"


class Create(msgspec.Struct, frozen=True):
    """Create `obj`; `note` is said when it worked, "Error creating: ..." with `failure` when not."""

    resource: Resource
    obj: Mapping[str, Any]
    note: Note | None = None
    failure: str = "FailedCreate"


class Delete(msgspec.Struct, frozen=True):
    """Delete the object with this uid; gone already counts as done."""

    resource: Resource
    namespace: str
    name: str
    uid: str
    note: Note | None = None
    failure: str = "FailedDelete"
    propagation: Literal["Background", "Foreground", "Orphan"] = "Background"


class Patch(msgspec.Struct, frozen=True):
    """A JSON merge patch. A resourceVersion inside is the precondition."""

    resource: Resource
    namespace: str
    name: str
    patch: Mapping[str, Any]
    subresource: Literal["", "status"] = ""
    note: Note | None = None


Action = Create | Delete | Patch | Note


class Decision(msgspec.Struct, frozen=True):
    """`actions` in order (the first that fails ends the pass), and when to look again, in seconds from now."""

    actions: tuple[Action, ...] = ()
    requeue: float | None = None


def status_patch(
    resource: Resource, obj: Object, status: Mapping[str, Any], *, exact: bool = False
) -> tuple[Patch, ...]:
    """The patch that makes `status` the status of `obj`; empty when it is so already.

    `exact`: only if the object is still the one observed, for a status that others write too.
    """
    changed = merge_diff(obj.get("status") or {}, status)
    if not changed:
        return ()
    key = key_of(obj)
    patch: dict[str, Any] = {"status": changed}
    if exact:
        patch["metadata"] = {"resourceVersion": metadata(obj).get("resourceVersion")}
    return (Patch(resource, key.namespace, key.name, patch, "status"),)


def controller_reference(owner: Object) -> dict[str, Any]:
    """The ownerReference that makes `owner` the controller of a child."""
    meta = metadata(owner)
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": meta["name"],
        "uid": meta["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def controller_of(obj: Object) -> Mapping[str, Any] | None:
    """The ownerReference with `controller: true`, or None."""
    references: Sequence[Mapping[str, Any]] = metadata(obj).get("ownerReferences") or ()
    return next((ref for ref in references if ref.get("controller")), None)


class Claim(msgspec.Struct, frozen=True):
    """The children that belong to an owner, and the patches that adopt or release some."""

    owned: tuple[Object, ...]
    patches: tuple[Patch, ...]


def claim(
    resource: Resource, owner: Object, children: Sequence[Object], matches: Callable[[Object], bool]
) -> Claim:
    """Which `children` the `owner` controls, as kube-controller-manager's ref managers decide it.

    A child controlled by the owner stays while it `matches`, and is released otherwise. An orphan that
    matches is adopted, unless owner or orphan is being deleted. Others' children are left alone.
    """
    uid = metadata(owner)["uid"]
    leaving = bool(metadata(owner).get("deletionTimestamp"))
    owned: list[Object] = []
    patches: list[Patch] = []
    for child in children:
        controller = controller_of(child)
        if controller is not None and controller.get("uid") != uid:
            continue
        if controller is not None:
            if matches(child):
                owned.append(child)
            elif not leaving:
                patches.append(_references(resource, child, _without(child, uid)))
        elif matches(child) and not leaving and not metadata(child).get("deletionTimestamp"):
            owned.append(child)
            references = [*_without(child, uid), controller_reference(owner)]
            patches.append(_references(resource, child, references))
    return Claim(tuple(owned), tuple(patches))


def _without(child: Object, uid: str) -> list[Mapping[str, Any]]:
    return [ref for ref in metadata(child).get("ownerReferences") or () if ref.get("uid") != uid]


def _references(resource: Resource, child: Object, references: list[Mapping[str, Any]]) -> Patch:
    meta = metadata(child)
    patch = {"metadata": {"resourceVersion": meta.get("resourceVersion"), "ownerReferences": references}}
    return Patch(resource, meta.get("namespace", ""), meta["name"], patch)


def soonest(*moments: float | None) -> float | None:
    """The smallest of the given waits in seconds; None when there is none."""
    return min((moment for moment in moments if moment is not None), default=None)
