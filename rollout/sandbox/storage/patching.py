"""The three patches that are a function of object and patch alone (server-side apply is `schema.apply`)."""

from __future__ import annotations

from typing import Any

from rollout.errors import BadRequest, UnsupportedMediaType
from rollout.runtime.kube import PATCH_MEDIA_TYPES, PatchType
from rollout.sandbox.schema import patches
from rollout.sandbox.schema.decoding import shown
from rollout.sandbox.schema.fields import invalid, invalid_object
from rollout.sandbox.storage import refusals
from rollout.sandbox.storage.admission import check_kind, decoding_problem, schema_of
from rollout.sandbox.storage.pods import EPHEMERAL, with_ephemeral
from rollout.sandbox.storage.registry import Served

Object = dict[str, Any]


def patched(served: Served, live: Object, patch: Any, type: PatchType) -> Object:
    """`live` after `patch`. BadRequest or Invalid when the patch itself is wrong, UnsupportedMediaType when
    this kind does not take patches of this type."""
    match type:
        case "json":
            result = patches.json_patch(live, patch)
        case "merge":
            if patch is None:
                raise BadRequest("Invalid JSON Patch")
            if not isinstance(patch, dict):
                into = "Go value of type map[string]interface {}"
                raise BadRequest(f"error decoding patch: json: cannot unmarshal {shown(patch)} into {into}")
            result = patches.merge_patch(live, patch)
        case "strategic":
            if not served.builtin:
                raise _unsupported(["json", "merge", "apply"])
            result = patches.strategic_merge(live, patch, schema_of(served) or {})
        case _:
            raise _unsupported(["json", "merge", "strategic", "apply"])
    if not isinstance(result, dict):
        raise BadRequest(f"the patch makes {served.resource.kind} something that is not an object")
    return result


def fitting(served: Served, live: Object, patch: Any, result: Object) -> Object:
    """`result` of a patch of `live`, if it can be decoded as this kind; Invalid when it cannot."""
    _check_identity(served, live, result)
    check_kind(served, result)
    if problem := decoding_problem(served, result, live):
        # kube-apiserver names neither kind nor object here
        raise invalid_object("", "", "", [invalid("patch", patch, problem)])
    return result


def _check_identity(served: Served, live: Object, result: Object) -> None:
    """A patch may say of which object it speaks; to say another one is a mistake, not a conflict."""
    meta, before = result.get("metadata"), live["metadata"]
    if not isinstance(meta, dict):
        return
    name, uid = meta.get("name", before["name"]), meta.get("uid", before["uid"])
    if name != before["name"]:
        raise BadRequest(
            f"the name of the object ({name}) does not match the name on the URL ({before['name']})"
        )
    if uid != before["uid"]:
        if meta.get("resourceVersion") != before["resourceVersion"]:
            raise refusals.conflict(served.resource, name)
        raise refusals.invalid(
            served.resource, name, [invalid("metadata.uid", uid, "field is immutable")] * 2
        )


def appliable(served: Served, applied: Object, subresource: str) -> Object:
    """What of an applied configuration this (sub)resource takes: nobody comes to own what he could not write."""
    if subresource == "status":
        meta = applied.get("metadata") or {}
        named = {key: meta[key] for key in ("name", "namespace", "uid", "resourceVersion") if key in meta}
        status = {"status": applied["status"]} if "status" in applied else {}
        return {**served.type_meta, "metadata": named, **status}
    if subresource == EPHEMERAL:
        meta = applied.get("metadata") or {}
        named = {key: meta[key] for key in ("name", "namespace", "uid", "resourceVersion") if key in meta}
        return with_ephemeral({**served.type_meta, "metadata": named}, applied)
    without = {key: value for key, value in applied.items() if key != "status"}
    return {**(without if served.has_status else applied), **served.type_meta}


def _unsupported(types: list[PatchType]) -> UnsupportedMediaType:
    accepted = ", ".join(PATCH_MEDIA_TYPES[name] for name in types)
    return UnsupportedMediaType(
        f"the body of the request was in an unknown format - accepted media types include: {accepted}"
    )
