"""The body of the provider `prometheus`: study/argo-rollouts.md 1.7."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rollout.core.checks import (
    check_bool,
    check_condition,
    check_duration,
    check_fields,
    check_headers,
    check_seconds,
    check_url,
)
from rollout.core.problem import Problem, invalid, required, unsupported

MAX_QUERY = 16_384
_FIELDS = frozenset(
    {"address", "query", "timeout", "insecure", "headers", "authentication", "rangeQuery", "caCert"}
)
_RANGE_FIELDS = frozenset({"start", "end", "step"})


def check_prometheus(body: Mapping[str, Any], path: str) -> Iterator[Problem]:
    yield from check_fields(body, _FIELDS, path)
    query = body.get("query")
    if not isinstance(query, str) or not query.strip():
        yield required(f"{path}.query", "a PromQL query")
    elif len(query) > MAX_QUERY:
        yield invalid(f"{path}.query", query, f"is longer than {MAX_QUERY} characters")
    if body.get("address"):
        yield from check_url(body["address"], f"{path}.address", "http://prometheus.monitoring:9090")
    yield from check_seconds(body.get("timeout"), f"{path}.timeout", most=600)
    yield from check_bool(body.get("insecure"), f"{path}.insecure")
    yield from check_headers(body.get("headers"), f"{path}.headers")
    yield from _authentication(body.get("authentication") or {}, f"{path}.authentication")
    if body.get("caCert"):
        fix = "mount the CA into the controller's trust store"
        yield unsupported(f"{path}.caCert", "a CA of one metric's own", fix)
    yield from _range(body.get("rangeQuery"), f"{path}.rangeQuery")


def _authentication(value: Any, path: str) -> Iterator[Problem]:
    if not isinstance(value, Mapping):
        yield invalid(path, value, "must be an object, for example basicAuth: {username: ..., password: ...}")
        return
    for name in sorted(set(value) - {"basicAuth"}):
        if value[name]:
            fix = "use basicAuth, or headers with the key Authorization and a secret argument"
            yield unsupported(f"{path}.{name}", f"authentication by {name}", fix)
    basic = value.get("basicAuth")
    if basic and (
        not isinstance(basic, Mapping)
        or set(basic) != {"username", "password"}
        or not all(isinstance(text, str) for text in basic.values())
    ):
        yield invalid(f"{path}.basicAuth", sorted(basic), "must have username and password, both texts")


def _range(value: Any, path: str) -> Iterator[Problem]:
    if value is None:
        return
    if not isinstance(value, Mapping):
        yield invalid(path, value, "must be an object with start, end and step")
        return
    yield from check_fields(value, _RANGE_FIELDS, path)
    for field in ("start", "end", "step"):
        text = value.get(field) or ""
        if not isinstance(text, str) or not text:
            yield required(f"{path}.{field}", "a range query needs start, end and step")
        elif field == "step":
            yield from check_duration(text, f"{path}.step", positive=True)
        else:
            yield from check_condition(text, f"{path}.{field}", ())
