"""Query parameters of requests, read and checked as kube-apiserver does."""

from __future__ import annotations

from typing import Any, cast, get_args

import msgspec
from starlette.datastructures import QueryParams
from starlette.requests import Request

from rollout.errors import BadRequest, Invalid, Unclassified
from rollout.runtime.kube import PatchType, Propagation
from rollout.sandbox.schema.decoding import shown
from rollout.sandbox.schema.fields import FieldError, compact, forbidden, invalid_object, not_supported
from rollout.sandbox.storage import DeleteOptions, Options
from rollout.sandbox.storage.admission import Warn

_FIELD_VALIDATIONS = ("", "Ignore", "Strict", "Warn")
_KINDS = {"POST": "CreateOptions", "PUT": "UpdateOptions", "PATCH": "PatchOptions", "DELETE": "DeleteOptions"}
_LONGEST_MANAGER = 128
_POLICIES = ("Foreground", "Background", "Orphan", "nil")


class ListOptions(msgspec.Struct, frozen=True):
    """Options of list, watch and deletecollection."""

    labels: str = ""
    fields: str = ""
    limit: int = 0
    continue_token: str = ""
    resource_version: str = ""
    resource_version_match: str = ""
    watch: bool = False
    bookmarks: bool = False
    initial_events: bool = False
    timeout_seconds: int = 0


def write_options(request: Request, warn: Warn, patch: PatchType | None = None) -> Options:
    """Options of create, update, or a patch of type `patch`. Invalid for values that kube-apiserver refuses."""
    query = request.query_params
    kind = _KINDS[request.method]
    validation = query.get("fieldValidation") or "Warn"
    if validation not in _FIELD_VALIDATIONS:
        raise _unsupported("fieldValidation", validation, _FIELD_VALIDATIONS, kind=kind)
    _check_manager(query.get("fieldManager", ""), kind)
    force = boolean(query, "force")
    if patch == "apply" and not query.get("fieldManager"):
        message = "Required value: is required for apply patch"
        raise _refused("PatchOptions", "fieldManager", "FieldValueRequired", message)
    if force and patch != "apply":
        message = "Forbidden: may not be specified for non-apply patch"
        raise _refused("PatchOptions", "force", "FieldValueForbidden", message)
    return Options(
        manager=query.get("fieldManager") or default_manager(request.headers.get("user-agent", "")),
        dry_run=_dry_run(query.getlist("dryRun"), kind),
        force=force,
        field_validation=validation,
        warn=warn,
    )


def default_manager(user_agent: str) -> str:
    """The field manager of a client that names none: its user agent up to the first slash."""
    return user_agent.partition("/")[0][:128] or "unknown"


def list_options(query: QueryParams) -> ListOptions:
    """BadRequest for numbers and booleans that are none, Invalid for a watch whose options contradict each other."""
    _check_watch(query)
    return ListOptions(
        labels=query.get("labelSelector", ""),
        fields=query.get("fieldSelector", ""),
        limit=integer(query, "limit") or 0,
        continue_token=query.get("continue", ""),
        resource_version=query.get("resourceVersion", ""),
        resource_version_match=query.get("resourceVersionMatch", ""),
        watch=boolean(query, "watch"),
        bookmarks=boolean(query, "allowWatchBookmarks"),
        initial_events=boolean(query, "sendInitialEvents"),
        timeout_seconds=max(0, integer(query, "timeoutSeconds") or 0),
    )


def _check_watch(query: QueryParams) -> None:
    """What a watch may say of its first events. (Of lists `storage.lists` speaks.)"""
    initial, match = query.get("sendInitialEvents"), query.get("resourceVersionMatch", "")
    path = "resourceVersionMatch"
    errors: list[FieldError] = []
    if not boolean(query, "watch"):
        if initial:
            errors.append(forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list"))
    elif match and not initial:
        errors.append(forbidden(path, f"{path} is forbidden for watch unless sendInitialEvents is provided"))
    elif initial and match != "NotOlderThan":
        errors.append(forbidden(path, f"sendInitialEvents requires setting {path} to NotOlderThan"))
        if match:
            errors.append(not_supported(path, match, ["NotOlderThan"]))
    if errors:
        raise invalid_object("ListOptions", "meta.k8s.io", "", errors)


def delete_options(query: QueryParams, body: dict[str, Any]) -> DeleteOptions:
    """What a delete asks for, from its body and its query (the body wins).

    BadRequest for values of the wrong type, Invalid for unknown policies.
    """
    preconditions = body.get("preconditions") or {}
    grace = body.get("gracePeriodSeconds", integer(query, "gracePeriodSeconds"))
    propagation = body.get("propagationPolicy") or query.get("propagationPolicy") or None
    orphan = body.get(
        "orphanDependents", boolean(query, "orphanDependents") if "orphanDependents" in query else None
    )
    if propagation is not None and orphan is not None:
        message = (
            f'Invalid value: "{propagation}": orphanDependents and deletionPropagation cannot be both set'
        )
        raise _refused("DeleteOptions", "propagationPolicy", "FieldValueInvalid", message)
    if orphan is not None:
        propagation = "Orphan" if orphan else "Background"
    if propagation is not None and propagation not in get_args(Propagation):
        raise _unsupported("propagationPolicy", propagation, _POLICIES, kind="DeleteOptions")
    if grace is not None and (not isinstance(grace, int) or isinstance(grace, bool)):
        where = "Go struct field DeleteOptions.gracePeriodSeconds of type int64"
        raise Unclassified(f"json: cannot unmarshal {shown(grace)} into {where}")
    return DeleteOptions(
        dry_run=_dry_run([*query.getlist("dryRun"), *(body.get("dryRun") or ())], "DeleteOptions"),
        grace_seconds=grace,
        propagation=cast("Propagation | None", propagation),
        uid=str(preconditions.get("uid") or ""),
        resource_version=str(preconditions.get("resourceVersion") or ""),
    )


def integer(query: QueryParams, name: str) -> int | None:
    """An integer parameter; None when absent or empty. BadRequest when it is not a number."""
    text = query.get(name)
    if not text:
        return None
    try:
        return int(text)
    except ValueError as error:
        raise BadRequest(f'strconv.ParseInt: parsing "{text}": invalid syntax') from error


def boolean(query: QueryParams, name: str) -> bool:
    """A boolean parameter. Present counts as true unless it says "0" or "false" (as kube-apiserver reads it)."""
    text = query.get(name)
    return text is not None and text.lower() not in {"0", "false"}


def _check_manager(manager: str, kind: str) -> None:
    if len(manager.encode()) > _LONGEST_MANAGER:
        message = f"Too long: may not be more than {_LONGEST_MANAGER} bytes"
        raise _refused(kind, "fieldManager", "FieldValueTooLong", message)
    odd = next((at for at, one in enumerate(manager) if not one.isprintable()), None)
    if odd is not None:
        what = f"invalid character U+{ord(manager[odd]):04X} (at position {odd})"
        message = f"Invalid value: {compact(manager)}: {what}"
        raise _refused(kind, "fieldManager", "FieldValueInvalid", message)


def _dry_run(values: list[str], kind: str) -> bool:
    if any(value not in {"", "All"} for value in values):
        raise _unsupported("dryRun", values, ("All",), kind=kind)
    return any(values)


def _unsupported(field: str, value: str | list[str], supported: tuple[str, ...], *, kind: str) -> Invalid:
    said = ", ".join(f'"{one}"' for one in supported)
    message = f"Unsupported value: {compact(value)}: supported values: {said}"
    return _refused(kind, field, "FieldValueNotSupported", message)


def _refused(kind: str, field: str, reason: str, message: str) -> Invalid:
    cause = {"reason": reason, "message": message, "field": field}
    return Invalid(
        f'{kind}.meta.k8s.io "" is invalid: {field}: {message}',
        {"group": "meta.k8s.io", "kind": kind, "causes": [cause]},
    )
