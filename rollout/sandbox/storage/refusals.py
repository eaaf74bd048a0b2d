"""kube-apiserver's refusals: its sentences, and the `details` that clients read instead of them.

The words of a single field's error are in `rollout.sandbox.schema.fields`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rollout.api.resources import Resource
from rollout.errors import (
    AlreadyExists,
    BadRequest,
    Conflict,
    Expired,
    Forbidden,
    Invalid,
    MethodNotAllowed,
    NotFound,
    Timeout,
)
from rollout.sandbox.schema import fields
from rollout.sandbox.schema.fields import FieldError, invalid_object

MODIFIED = "the object has been modified; please apply your changes to the latest version and try again"
LIST_EXPIRED = "The resourceVersion for the provided list is too old."
CONTINUE_EXPIRED = (
    "The provided continue parameter is too old to display a consistent list result. "
    "You can start a new list without the continue parameter."
)


def _details(resource: Resource, name: str, **more: Any) -> dict[str, Any]:
    details: dict[str, Any] = {"name": name} if name else {}
    if resource.group:
        details["group"] = resource.group
    return details | {"kind": resource.plural} | more


def not_found(resource: Resource, name: str) -> NotFound:
    return NotFound(f'{resource} "{name}" not found', _details(resource, name))


def not_served() -> NotFound:
    """No such resource at all: the answer that makes kubectl look at discovery again."""
    # kubectl reads the details without asking whether there are any
    return NotFound("the server could not find the requested resource", {})


def no_method() -> MethodNotAllowed:
    """The path is served, but not with this method."""
    return MethodNotAllowed("the server does not allow this method on the requested resource", {})


def already_exists(resource: Resource, name: str, *, generated: bool = False) -> AlreadyExists:
    tail = ", the server was not able to generate a unique name for the object" if generated else ""
    more = {"retryAfterSeconds": 1} if generated else {}
    return AlreadyExists(f'{resource} "{name}" already exists{tail}', _details(resource, name, **more))


def conflict(resource: Resource, name: str, why: str = MODIFIED) -> Conflict:
    return Conflict(f'Operation cannot be fulfilled on {resource} "{name}": {why}', _details(resource, name))


def uid_conflict(resource: Resource, namespace: str, name: str, wanted: str, found: str) -> Conflict:
    """The precondition that every update with a uid in its metadata carries."""
    key = "/".join(part for part in ("/registry", str(resource), namespace, name) if part)
    return conflict(
        resource,
        name,
        f"StorageError: invalid object, Code: 4, Key: {key}, ResourceVersion: 0, AdditionalErrorMsg: "
        f"Precondition failed: UID in precondition: {wanted}, UID in object meta: {found}",
    )


def delete_uid_conflict(resource: Resource, name: str, wanted: str, found: str) -> Conflict:
    return _delete_conflict(
        resource,
        name,
        f"the UID in the precondition ({wanted}) does not match the UID in record ({found}). "
        "The object might have been deleted and then recreated",
    )


def delete_version_conflict(resource: Resource, name: str, wanted: str, found: str) -> Conflict:
    return _delete_conflict(
        resource,
        name,
        f"the ResourceVersion in the precondition ({wanted}) does not match the ResourceVersion in record "
        f"({found}). The object might have been modified",
    )


def _delete_conflict(resource: Resource, name: str, why: str) -> Conflict:
    """This one refusal names the kind, not the resource."""
    group = {"group": resource.group} if resource.group else {}
    kind = f"{resource.kind}.{resource.group}" if resource.group else resource.kind
    message = f'Operation cannot be fulfilled on {kind} "{name}": {why}'
    return Conflict(message, {"name": name, **group, "kind": resource.kind})


def version_required(resource: Resource, name: str) -> Invalid:
    """A PUT without resourceVersion of a kind that wants one. It names the resource where others name the kind."""
    error = fields.invalid("metadata.resourceVersion", 0, "must be specified for an update")
    return invalid_object(resource.plural, resource.group, name, [error])


def invalid(resource: Resource, name: str, errors: Sequence[FieldError]) -> Invalid:
    """422: one sentence and one cause per field."""
    return invalid_object(resource.kind, resource.group, name, errors)


def forbidden(resource: Resource, name: str, why: str, **more: Any) -> Forbidden:
    return Forbidden(f'{resource} "{name}" is forbidden: {why}', _details(resource, name, **more))


def namespace_terminating(resource: Resource, name: str, namespace: str) -> Forbidden:
    cause = {
        "reason": "NamespaceTerminating",
        "message": f"namespace {namespace} is being terminated",
        "field": "metadata.namespace",
    }
    return forbidden(
        resource,
        name,
        f"unable to create new content in namespace {namespace} because it is being terminated",
        causes=[cause],
    )


def cannot_handle(resource: Resource, problem: str, *, kind: str = "", version: str = "") -> BadRequest:
    """A body that is no such object. `kind` and `version` are what it says that it is, if it does."""
    said = f'{kind or resource.kind} in version "{version or resource.version}"'
    return BadRequest(f"{said} cannot be handled as a {resource.kind}: {problem}")


def not_allowed(resource: Resource, verb: str) -> MethodNotAllowed:
    return MethodNotAllowed(
        f"{verb} is not supported on resources of kind {str(resource)!r}".replace("'", '"'),
        _details(resource, ""),
    )


def too_old(version: int, oldest: int) -> Expired:
    """A watch (or exact list) from before the history that is kept."""
    return Expired(f"too old resource version: {version} ({oldest})")


def too_new(version: int, current: int) -> Timeout:
    """A resourceVersion that does not exist yet; a cluster waits three seconds and then says this."""
    cause = {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
    return Timeout(
        f"Timeout: Too large resource version: {version}, current: {current}",
        {"causes": [cause], "retryAfterSeconds": 1},
    )


def invalid_version(text: str) -> BadRequest:
    return BadRequest(f"invalid resource version: {no_version(text)}")


def no_version(text: str) -> str:
    return f'resourceVersion: Invalid value: "{text}": strconv.ParseUint: parsing "{text}": invalid syntax'


def invalid_options(kind: str, errors: Sequence[FieldError]) -> Invalid:
    """422 for the query parameters of a request."""
    return invalid_object(kind, "meta.k8s.io", "", errors)
