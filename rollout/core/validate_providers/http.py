"""The body of the provider `http`: one request, whose going is the answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rollout.core.checks import check_bool, check_fields, check_headers, check_url
from rollout.core.problem import Problem, invalid
from rollout.core.validate_providers.cmd import check_timeout
from rollout.core.validate_providers.web import check_text

MAX_TIMEOUT_SECONDS = 600.0
_FIELDS = frozenset({"url", "method", "headers", "body", "timeout", "insecure"})
_METHODS = ("GET", "HEAD", "POST")


def check_http(body: Mapping[str, Any], path: str) -> Iterator[Problem]:
    yield from check_fields(body, _FIELDS, path)
    yield from check_url(body.get("url"), f"{path}.url", "http://web.prod:8080/health", query=True)
    method = body.get("method") or "GET"
    if method not in _METHODS:
        yield invalid(f"{path}.method", method, f"must be one of {', '.join(_METHODS)}")
    elif body.get("body") and method != "POST":
        yield invalid(f"{path}.method", method, f"a {method} has no body", "use POST")
    yield from check_headers(body.get("headers"), f"{path}.headers")
    yield from check_text(body.get("body"), f"{path}.body")
    yield from check_timeout(body.get("timeout"), f"{path}.timeout", most=MAX_TIMEOUT_SECONDS)
    yield from check_bool(body.get("insecure"), f"{path}.insecure")
