"""The body of the provider `kubernetes`: which objects are looked for, and what is asked of them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from rollout.core.checks import check_condition, check_fields, templated, whole
from rollout.core.problem import Problem, invalid, required

OPERATIONS = ("present", "absent", "condition")
_FIELDS = frozenset(
    {
        "op",
        "group",
        "version",
        "kind",
        "plural",
        "name",
        "labelSelector",
        "minCount",
        "condition",
        "expression",
    }
)
_STATUSES = ("True", "False", "Unknown")
_READY_OF_THEMSELVES = frozenset({("", "Pod"), ("apps", "Deployment"), ("argoproj.io", "Rollout")})
"""Kinds (group, kind) of which we know what ready means."""


def check_kubernetes(body: Mapping[str, Any], path: str) -> Iterator[Problem]:
    yield from check_fields(body, _FIELDS, path)
    op = body.get("op")
    if op not in OPERATIONS:
        yield invalid(f"{path}.op", op, f"must be one of {', '.join(OPERATIONS)}")
    for field in ("group", "version", "plural", "name", "labelSelector"):
        if not isinstance(body.get(field) or "", str):
            yield invalid(f"{path}.{field}", body[field], "must be a text")
    kind = body.get("kind")
    if not isinstance(kind, str) or not (templated(kind) or re.fullmatch(r"[A-Za-z][A-Za-z0-9]{0,62}", kind)):
        yield required(f"{path}.kind", "the kind of the objects", 'write for example "Pod"')
    elif (body.get("group") or "", kind) == ("", "Secret"):
        yield invalid(f"{path}.kind", kind, "metrics may not look at Secrets")
    if body.get("name") and body.get("labelSelector"):
        yield invalid(
            f"{path}.labelSelector", body["labelSelector"], "there is a name too", "keep one of the two"
        )
    count = body.get("minCount")
    if count is not None and not templated(count) and not 0 < (whole(count) or 0) <= 500:
        yield invalid(f"{path}.minCount", count, "must be a whole number, 1 to 500")
    if count is not None and op == "absent":
        yield invalid(f"{path}.minCount", count, "has no meaning when nothing is to be there", "remove it")
    yield from _holds(body, path)


def _holds(body: Mapping[str, Any], path: str) -> Iterator[Problem]:
    condition, expression = body.get("condition"), body.get("expression")
    if condition is not None and expression is not None:
        yield invalid(f"{path}.expression", expression, "there is a condition too", "keep one of the two")
    if condition is not None:
        yield from _condition(condition, f"{path}.condition")
    if expression is not None:
        if isinstance(expression, str):
            yield from check_condition(expression, f"{path}.expression", ("object",))
        else:
            yield invalid(f"{path}.expression", expression, "must be a text")
    known = (str(body.get("group") or ""), str(body.get("kind"))) in _READY_OF_THEMSELVES
    if body.get("op") == "condition" and condition is None and expression is None and not known:
        fix = "write condition: {type: Ready}, or expression: object.status.phase == 'Active'"
        yield required(f"{path}.condition", "this kind has no readiness that we know", fix)


def _condition(value: Any, path: str) -> Iterator[Problem]:
    if not isinstance(value, Mapping):
        yield invalid(path, value, "must be an object with type and status")
        return
    yield from check_fields(value, {"type", "status"}, path)
    if not isinstance(value.get("type"), str) or not value["type"]:
        yield required(f"{path}.type", "the condition's type", 'write for example "Ready"')
    if value.get("status", "True") not in _STATUSES:
        yield invalid(f"{path}.status", value["status"], f"must be one of {', '.join(_STATUSES)}, as texts")
