"""Istio's match conditions -> Envoy's route match."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from rollout.sandbox.mesh.model import Object
from rollout.sandbox.mesh.names import callers_regex
from rollout.sandbox.mesh.protobuf import Resource

_FIELDS = {
    "name",
    "uri",
    "scheme",
    "method",
    "authority",
    "headers",
    "port",
    "queryParams",
    "ignoreUriCase",
    "withoutHeaders",
    "sourceNamespace",
    "gateways",
    "statPrefix",
}


class Unmatchable(Exception):
    """A condition that cannot be checked here: the match is left out rather than made wider."""


def string_match(spec: Object, *, ignore_case: bool = False) -> Resource:
    """Envoy's StringMatcher of Istio's StringMatch (one of exact, prefix, regex)."""
    match dict(spec):
        case {"exact": value}:
            matcher: Resource = {"exact": str(value)}
        case {"prefix": value}:
            matcher = {"prefix": str(value)}
        case {"regex": value}:
            # Envoy takes RE2 and ignores ignore_case for it, as Istio's documentation says.
            return {"safe_regex": {"regex": str(value)}}
        case _:
            raise Unmatchable(f"one of exact, prefix, regex is needed, not {dict(spec)!r}")
    return matcher | ({"ignore_case": True} if ignore_case else {})


def header_match(name: str, spec: Object | None, *, invert: bool = False) -> Resource:
    """A header condition; an empty one asks only for presence."""
    body: Resource = {"name": name}
    body |= {"string_match": string_match(spec)} if spec else {"present_match": True}
    if invert:
        body |= {"invert_match": True}
        if spec:
            body["treat_missing_header_as_empty"] = True
    return body


def path_match(uri: Object | None, *, ignore_case: bool = False) -> Resource:
    """Envoy's path specifier. No condition is the prefix "/"."""
    case = {"case_sensitive": False} if ignore_case else {}
    match dict(uri or {}):
        case {"exact": value}:
            return {"path": str(value)} | case
        case {"prefix": value}:
            return {"prefix": str(value)} | case
        case {"regex": value}:
            return {"safe_regex": {"regex": str(value)}}
        case {}:
            return {"prefix": "/"}
        case _:
            raise Unmatchable(f"one of exact, prefix, regex is needed, not {dict(uri or {})!r}")


def route_match(spec: Object) -> Resource:
    """One HTTPMatchRequest. Raises Unmatchable for conditions that this mesh cannot check.

    `port` and `gateways` decide where the route is put, not what it matches: see `applies`.
    """
    unknown = sorted(set(spec) - _FIELDS)
    if unknown:
        raise Unmatchable(f"{', '.join(unknown)}: not supported by the sandbox's mesh")
    body = path_match(spec.get("uri"), ignore_case=bool(spec.get("ignoreUriCase")))
    headers: list[Resource] = []
    for field, pseudo in (("scheme", ":scheme"), ("method", ":method"), ("authority", ":authority")):
        if spec.get(field):
            headers.append(header_match(pseudo, spec[field]))
    headers += [header_match(name, value) for name, value in sorted((spec.get("headers") or {}).items())]
    headers += [
        header_match(name, value, invert=True)
        for name, value in sorted((spec.get("withoutHeaders") or {}).items())
    ]
    if namespace := spec.get("sourceNamespace"):
        headers.append(from_namespace(str(namespace)))
    if headers:
        body["headers"] = headers
    if spec.get("queryParams"):
        body["query_parameters"] = [
            _query_match(name, value) for name, value in sorted(spec["queryParams"].items())
        ]
    check_regexes(body)
    return body


def _query_match(name: str, spec: Object | None) -> Resource:
    if not spec:
        return {"name": name, "present_match": True}
    return {"name": name, "string_match": string_match(spec)}


def from_namespace(*namespaces: str, or_unknown: bool = False) -> Resource:
    """True for callers in one of `namespaces`; `or_unknown` also for callers that do not say where they are."""
    tokens = "|".join(callers_regex(name) for name in namespaces)
    body: Resource = {
        "name": "proxy-authorization",
        "string_match": {"safe_regex": {"regex": f"(?:{tokens})?" if or_unknown else f"(?:{tokens})"}},
    }
    if or_unknown:
        body["treat_missing_header_as_empty"] = True
    return body


def applies(match: Object, gateways: frozenset[str], port: int | None) -> bool:
    """Whether a match belongs on a listener: `gateways` are the names it stands for, `port` the Service's
    port (None where there is none to compare)."""
    named = match.get("gateways")
    if named and not gateways.intersection(named):
        return False
    wanted = match.get("port")
    return not wanted or port is None or int(wanted) == port


def check_regexes(body: Resource) -> None:
    """Unmatchable if an expression is malformed.

    Envoy refuses a whole configuration for one malformed expression, so it is found here first.

    Python's syntax is a superset of RE2's but for rare escapes; what still slips through is refused by
    Envoy and handled by the driver.
    """
    for text in _regexes(body):
        try:
            re.compile(text)
        except re.error as error:
            raise Unmatchable(f"{text!r} is not a regular expression: {error}") from error


def _regexes(value: Any) -> list[str]:
    if isinstance(value, Mapping):
        own = [str(value["regex"])] if isinstance(value.get("regex"), str) else []
        return own + [text for inner in value.values() for text in _regexes(inner)]
    if isinstance(value, list):
        return [text for inner in value for text in _regexes(inner)]
    return []
