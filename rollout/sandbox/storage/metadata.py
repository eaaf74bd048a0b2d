"""What the server itself keeps in metadata, before a create and before an update.

Source of the rules: https://kubernetes.io/docs/reference/using-api/api-concepts/ and the API conventions,
"Metadata"; each function returns a new object and never changes its arguments.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from rollout.api.meta import timestamp
from rollout.errors import BadRequest
from rollout.runtime.clock import Clock
from rollout.sandbox.schema.fields import FieldError, forbidden, invalid
from rollout.sandbox.storage.refusals import conflict, uid_conflict
from rollout.sandbox.storage.registry import Served

Object = dict[str, Any]

_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
DEPLOYMENT = ("apps", "deployments")
_LONGEST_PREFIX = 58
_SYSTEM = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink")


def generated_name(prefix: str, clock: Clock) -> str:
    """`prefix` cut to fit, and five characters that make no words."""
    return prefix[:_LONGEST_PREFIX] + "".join(clock.random.choices(_ALPHABET, k=5))


def place(served: Served, obj: Object, namespace: str | None, name: str = "") -> tuple[str, str]:
    """(namespace, name) where `obj` belongs; BadRequest when URL and object disagree. `name` "" means a create."""
    meta = obj.get("metadata") or {}
    space = ""
    if served.resource.namespaced:
        space = namespace or meta.get("namespace") or ""
        if not space:
            raise BadRequest("an empty namespace may not be set during creation")
        if meta.get("namespace") and meta["namespace"] != space:
            raise BadRequest(
                "the namespace of the provided object does not match the namespace sent on the request"
            )
    if name and meta.get("name") != name:
        if not meta.get("name"):
            raise BadRequest("name must be provided")
        raise BadRequest(
            f"the name of the object ({meta['name']}) does not match the name on the URL ({name})"
        )
    return space, meta.get("name") or ""


def for_create(served: Served, obj: Object, namespace: str, name: str, *, uid: str, now: datetime) -> Object:
    """`obj` with fresh system metadata."""
    meta = {key: value for key, value in (obj.get("metadata") or {}).items() if key not in _SYSTEM}
    meta.pop("resourceVersion", None)
    if served.has_generation:
        meta["generation"] = 1
    meta["name"] = name
    if namespace:
        meta["namespace"] = namespace
    else:
        meta.pop("namespace", None)
    meta["uid"] = uid
    meta["creationTimestamp"] = timestamp(now)
    return _ordered(served, obj, meta)


def for_update(served: Served, obj: Object, old: Object) -> Object:
    """`obj` with the system metadata of `old`; raises Conflict when its preconditions do not hold."""
    meta, before = obj.get("metadata") or {}, old["metadata"]
    name, space = before["name"], before.get("namespace", "")
    if meta.get("uid") and meta["uid"] != before["uid"]:
        raise uid_conflict(served.resource, space, name, meta["uid"], before["uid"])
    if meta.get("resourceVersion") and meta["resourceVersion"] != before["resourceVersion"]:
        raise conflict(served.resource, name)
    if space and meta.get("namespace") and meta["namespace"] != space:
        raise BadRequest(
            "the namespace of the provided object does not match the namespace sent on the request"
        )
    kept = {key: value for key, value in meta.items() if key not in _SYSTEM}
    for key in (*_SYSTEM, "namespace", "resourceVersion", "generation"):
        if key in before:
            kept[key] = before[key]
        else:
            kept.pop(key, None)
    return _ordered(served, obj, kept)


def _ordered(served: Served, obj: Object, meta: Object) -> Object:
    """apiVersion, kind and metadata first, as readers expect; empty maps and lists of metadata left out."""
    api_version, kind = served.resource.gvk
    for key in ("labels", "annotations", "ownerReferences", "finalizers", "managedFields"):
        if key in meta and not meta[key]:
            del meta[key]
    rest = {key: value for key, value in obj.items() if key not in {"apiVersion", "kind", "metadata"}}
    return {"apiVersion": api_version, "kind": kind, "metadata": meta, **rest}


def update_errors(new: Object, old: Object) -> list[FieldError]:
    """What may not change in metadata."""
    meta, before = new["metadata"], old["metadata"]
    errors = []
    if meta.get("name") != before["name"]:
        errors.append(invalid("metadata.name", meta.get("name", ""), "field is immutable"))
    if before.get("deletionTimestamp"):
        had = before.get("finalizers") or ()
        added = [name for name in meta.get("finalizers") or () if name not in had]
        if added:
            listed = ", ".join(f'"{name}"' for name in added)
            errors.append(
                forbidden(
                    "metadata.finalizers",
                    "no new finalizers can be added if the object is being deleted, "
                    f"found new finalizers []string{{{listed}}}",
                )
            )
    return errors


def bump_generation(served: Served, new: Object, old: Object) -> Object:
    """`new` with the next generation when anything but metadata (and status, where that is separate) changed.
    A Deployment's annotations count, too.

    What is equal must be shared between the two (see `sharing`).
    """
    if not served.has_generation:
        return new
    apart = {"metadata", "apiVersion", "kind"} | ({"status"} if served.has_status else set())
    changed = any(new.get(key) is not old.get(key) for key in (new.keys() | old.keys()) - apart)
    if served.bucket == DEPLOYMENT:  # its controller copies annotations to ReplicaSets
        changed = changed or new["metadata"].get("annotations") != old["metadata"].get("annotations")
    generation = old["metadata"].get("generation", 1) + (1 if changed else 0)
    return with_meta(new, generation=generation)


def with_meta(obj: Object, **fields: Any) -> Object:
    """A copy with these metadata fields set, or removed where None."""
    meta = dict(obj["metadata"])
    for key, value in fields.items():
        if value is None:
            meta.pop(key, None)
        else:
            meta[key] = value
    return {**obj, "metadata": meta}


def sharing(new: Object, old: Object) -> Object:
    """`new`, with every top-level field that equals `old`'s replaced by the same object."""
    same = {
        key: old[key]
        for key, value in new.items()
        if key in old and value is not old[key] and value == old[key] and _identical(value, old[key])
    }
    return {**new, **same} if same else new


def unchanged(new: Object, old: Object) -> bool:
    """Whether writing `new` over `old` would change nothing (times of managed fields apart).

    What is equal must be shared between the two (see `sharing`).
    """
    if new.keys() != old.keys() or any(new[key] is not old[key] for key in new if key != "metadata"):
        return False
    return _identical(_comparable(new["metadata"]), _comparable(old["metadata"]))


def _identical(a: Any, b: Any) -> bool:
    """Equality of JSON: unlike ==, true is not 1 and 1 is not 1.0."""
    if a is b:
        return True
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_identical(value, b[key]) for key, value in a.items())
    if isinstance(a, list):
        return len(a) == len(b) and all(map(_identical, a, b))
    return bool(a == b)


def _comparable(meta: Object) -> Object:
    plain = {key: value for key, value in meta.items() if key != "resourceVersion"}
    if fields := plain.get("managedFields"):
        plain["managedFields"] = [
            {key: value for key, value in entry.items() if key != "time"} for entry in fields
        ]
    return plain
