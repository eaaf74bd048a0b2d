"""Who am I and what may I do: the review resources. The sandbox has one user and no RBAC; `gaps` says so."""

from __future__ import annotations

from typing import Any

from rollout.api.resources import Resource
from rollout.sandbox.storage.registry import Served

Object = dict[str, Any]

USER = "surefoot-admin"
GROUPS = ("system:masters", "system:authenticated")

SELF_SUBJECT_REVIEWS = Resource(
    "authentication.k8s.io", "v1", "selfsubjectreviews", "SelfSubjectReview", namespaced=False
)
SELF_SUBJECT_ACCESS_REVIEWS = Resource(
    "authorization.k8s.io", "v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview", namespaced=False
)

SERVED = tuple(
    Served(
        resource=resource,
        singular=resource.kind.lower(),
        list_kind="",
        verbs=("create",),
        has_status=False,
        has_generation=False,
    )
    for resource in (SELF_SUBJECT_REVIEWS, SELF_SUBJECT_ACCESS_REVIEWS)
)


def answer(resource: Resource, asked: Object) -> Object:
    """A review's answer to the one `asked`: always the one user, always allowed."""
    if resource == SELF_SUBJECT_REVIEWS:
        status: Object = {"userInfo": {"username": USER, "groups": list(GROUPS)}}
    else:
        status = {
            "allowed": True,
            "reason": "the sandbox has no RBAC: whoever holds its token may do everything",
        }
    return {
        "kind": resource.kind,
        "apiVersion": resource.api_version,
        "metadata": {},
        "spec": asked.get("spec") or {},
        "status": status,
    }
