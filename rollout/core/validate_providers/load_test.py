"""The body of the provider `loadTest`: docs/load.md."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from rollout.api.meta import duration
from rollout.core.checks import (
    check_bool,
    check_duration,
    check_fields,
    check_headers,
    check_url,
    templated,
    whole,
)
from rollout.core.problem import Problem, invalid, required

MAX_USERS = 10_000
MAX_RATE = 50_000
MAX_SECONDS = 6 * 3600
MAX_WORKERS = 50
MAX_REQUESTS = 50
MAX_TIMEOUT_SECONDS = 120
MAX_BYTES = 64 * 1024
"""Of the body as JSON. It travels in a ConfigMap and in an environment variable (at most 128 KiB on Linux)."""
ROLES = ("canary", "stable", "preview")
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_ALWAYS = frozenset({"target", "users", "spawnRate", "duration", "timeout", "workers", "image", "resources"})
_DECLARED = frozenset({"requestsPerSecond", "maxUsers", "thinkTime", "headers", "insecure", "requests"})
_FIELDS = _ALWAYS | _DECLARED | {"locustfile"}
_REQUEST_FIELDS = frozenset({"name", "method", "path", "weight", "headers", "body", "jsonBody", "checks"})
_CHECK_FIELDS = frozenset({"status", "maxLatency", "bodyContains"})
_STATUS = re.compile(r"[1-5](?:[0-9]{2}|xx)")
_PATH = re.compile(r"/[^\s#\x00-\x1f]{0,2047}")


def check_load_test(body: Mapping[str, Any], path: str) -> Iterator[Problem]:
    yield from check_fields(body, _FIELDS, path)
    if (size := _size(body)) > MAX_BYTES:
        yield invalid(
            path, f"{size} bytes", f"is larger than {MAX_BYTES} bytes", "put less into one load test"
        )
    yield from _target(body.get("target"), f"{path}.target")
    yield from _amount(body, path)
    yield from _span(body.get("duration"), f"{path}.duration", MAX_SECONDS, needed=True)
    yield from _span(body.get("timeout"), f"{path}.timeout", MAX_TIMEOUT_SECONDS)
    yield from _count(body.get("workers"), f"{path}.workers", MAX_WORKERS)
    if "locustfile" in body:
        yield from _locustfile(body["locustfile"], f"{path}.locustfile")
        for name in sorted(_DECLARED & set(body)):
            fix = f"say it in the locustfile, or remove {path}.locustfile"
            yield invalid(f"{path}.{name}", body[name], "has no effect on a locustfile of your own", fix)
    else:
        yield from check_duration(body.get("thinkTime"), f"{path}.thinkTime", positive=False)
        yield from check_headers(body.get("headers"), f"{path}.headers")
        yield from check_bool(body.get("insecure"), f"{path}.insecure")
        yield from _requests(body.get("requests"), f"{path}.requests")
    image = body.get("image")
    if image is not None and not (isinstance(image, str) and re.fullmatch(r"\S{1,512}", image)):
        yield invalid(
            f"{path}.image", image, "must be an image reference", 'write for example "surefoot/load:0.1.0"'
        )
    yield from _resources(body.get("resources"), f"{path}.resources")


def _size(body: Mapping[str, Any]) -> int:
    """Bytes of the body as JSON; data that is sent counts as the text that it becomes."""
    requests = body.get("requests")
    sent = (
        [one.get("jsonBody") for one in requests if isinstance(one, Mapping)]
        if isinstance(requests, list)
        else []
    )
    texts = [json.dumps(one, default=str) for one in sent]
    return len(json.dumps([body, texts], default=str))


def number(value: Any) -> float | None:
    """A number, or the text of one (it may have been templated); None for anything else."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, str) and not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", value.strip(), re.ASCII):
        return None
    try:
        found = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def _target(value: Any, path: str) -> Iterator[Problem]:
    example = "write url: http://web.shop, or role: canary"
    if not isinstance(value, Mapping):
        yield required(path, "what is tested", example)
        return
    yield from check_fields(value, {"url", "role", "port"}, path)
    if ("url" in value) == ("role" in value):
        yield invalid(path, sorted(value), "must have either url or role", example)
        return
    if "url" in value:
        yield from check_url(value["url"], f"{path}.url", "http://web.shop:8080")
        if "port" in value:
            yield invalid(f"{path}.port", value["port"], "belongs to a role", "put the port into the url")
        return
    if value["role"] not in ROLES and not templated(value["role"]):
        yield invalid(f"{path}.role", value["role"], "is no role", f"use one of: {', '.join(ROLES)}")
    port = value.get("port")
    named = isinstance(port, str) and re.fullmatch(r"[a-z0-9-]{1,15}", port)
    if port is not None and not (named or templated(port) or 0 < (whole(port) or 0) < 65536):
        yield invalid(f"{path}.port", port, "must be the number or the name of a port of the Service")


def _amount(body: Mapping[str, Any], path: str) -> Iterator[Problem]:
    """How much load: closed (users) or open (requestsPerSecond), never both."""
    closed, opened = "users" in body, "requestsPerSecond" in body
    if closed == opened:
        fix = "write requestsPerSecond: 200 (arrivals at that rate), or users: 20 (each waits for its answer)"
        if closed:
            yield invalid(f"{path}.users", body["users"], "cannot stand beside requestsPerSecond", fix)
        else:
            yield required(f"{path}.requestsPerSecond", "how much load", fix)
        return
    if opened:
        yield from _rate(body["requestsPerSecond"], f"{path}.requestsPerSecond", MAX_RATE)
        yield from _count(body.get("maxUsers"), f"{path}.maxUsers", MAX_USERS)
        for name in ("spawnRate", "thinkTime"):
            if name in body:
                yield invalid(
                    f"{path}.{name}", body[name], "belongs to users, not to requestsPerSecond", "remove it"
                )
        return
    yield from _count(body["users"], f"{path}.users", MAX_USERS, needed=True)
    yield from _rate(body.get("spawnRate", 1), f"{path}.spawnRate", MAX_USERS)
    if "maxUsers" in body:
        yield invalid(f"{path}.maxUsers", body["maxUsers"], "belongs to requestsPerSecond", "remove it")
    users, workers = whole(body["users"]), whole(body.get("workers"))
    if users and workers and workers > users:
        yield invalid(
            f"{path}.workers", workers, f"is more than the {users} users", "every worker needs a user"
        )


def _rate(value: Any, path: str, most: int) -> Iterator[Problem]:
    if not templated(value) and not 0 < (number(value) or 0) <= most:
        yield invalid(path, value, f"must be a number per second, more than 0 and at most {most}")


def _count(value: Any, path: str, most: int, *, needed: bool = False) -> Iterator[Problem]:
    if (value is None and not needed) or templated(value):
        return
    if not 0 < (whole(value) or 0) <= most:
        yield invalid(path, value, f"must be a whole number, 1 to {most}")


def _span(value: Any, path: str, most: int, *, needed: bool = False) -> Iterator[Problem]:
    """A duration of at most `most` seconds."""
    if value in (None, ""):
        if needed:
            yield required(path, "how long", 'write for example "1m"')
        return
    found = list(check_duration(value, path, positive=True))
    yield from found
    if not found and not templated(value) and duration(value) > most:
        yield invalid(path, value, f"is longer than {most} s")


def _locustfile(value: Any, path: str) -> Iterator[Problem]:
    fix = "write inline: |, or configMapRef: {name: ..., key: ...}"
    if not isinstance(value, Mapping) or len(value) != 1 or not set(value) <= {"inline", "configMapRef"}:
        yield invalid(path, value, "must have either inline or configMapRef", fix)
        return
    if "inline" in value:
        if not isinstance(value["inline"], str) or not value["inline"].strip():
            yield required(f"{path}.inline", "the text of a locustfile")
        return
    ref = value["configMapRef"]
    if not isinstance(ref, Mapping) or not all(isinstance(one, str) and one for one in ref.values()):
        yield invalid(f"{path}.configMapRef", ref, "must have name, and may have key")
        return
    yield from check_fields(ref, {"name", "key"}, f"{path}.configMapRef")
    if "name" not in ref:
        yield required(f"{path}.configMapRef.name", "the ConfigMap that holds the locustfile")


def _requests(value: Any, path: str) -> Iterator[Problem]:
    if value is None:
        return
    if not isinstance(value, list) or not 0 < len(value) <= MAX_REQUESTS:
        yield invalid(path, value, f"must be a list of 1 to {MAX_REQUESTS} requests")
        return
    seen: set[str] = set()
    for index, item in enumerate(value):
        where = f"{path}[{index}]"
        if not isinstance(item, Mapping):
            yield invalid(where, item, "must be an object, for example {name: home, path: /}")
            continue
        yield from _request(item, where)
        name = request_name(item)
        if name in seen:
            yield invalid(f"{where}.name", name, "two requests have this name", "rename one of the two")
        seen.add(name)


def request_name(item: Mapping[str, Any]) -> str:
    """The name under which a request is counted: its own, or its method and path."""
    return str(item.get("name") or f"{item.get('method', 'GET')} {item.get('path', '/')}"[:100])


def _request(item: Mapping[str, Any], path: str) -> Iterator[Problem]:
    yield from check_fields(item, _REQUEST_FIELDS, path)
    name = item.get("name")
    if name is not None and not (isinstance(name, str) and re.fullmatch(r"[^\x00-\x1f]{1,100}", name)):
        yield invalid(f"{path}.name", name, "must be 1 to 100 characters, under which it is counted")
    method = item.get("method", "GET")
    if method not in METHODS and not templated(method):
        yield invalid(f"{path}.method", method, "is no method", f"use one of: {', '.join(METHODS)}")
    target = item.get("path", "/")
    if not isinstance(target, str) or not (templated(target) or _PATH.fullmatch(target)):
        yield invalid(
            f"{path}.path", target, "must begin with / and have no blanks", "encode what needs it: %20"
        )
    yield from _count(item.get("weight"), f"{path}.weight", 1_000_000)
    yield from check_headers(item.get("headers"), f"{path}.headers")
    if "body" in item and "jsonBody" in item:
        yield invalid(f"{path}.body", item["body"], "cannot stand beside jsonBody", "keep one of the two")
    if not isinstance(item.get("body", ""), str):
        yield invalid(f"{path}.body", item["body"], "must be a text", "write jsonBody for data")
    yield from _checks(item.get("checks"), f"{path}.checks")


def _checks(value: Any, path: str) -> Iterator[Problem]:
    if value is None:
        return
    if not isinstance(value, Mapping):
        yield invalid(path, value, "must be an object, for example {status: [200], maxLatency: 500ms}")
        return
    yield from check_fields(value, _CHECK_FIELDS, path)
    status = value.get("status", ["2xx"])
    if not isinstance(status, list) or not status or not all(_STATUS.fullmatch(str(one)) for one in status):
        yield invalid(
            f"{path}.status", status, "must be a list of statuses", 'write for example [200, "3xx"]'
        )
    yield from _span(value.get("maxLatency"), f"{path}.maxLatency", MAX_TIMEOUT_SECONDS)
    text = value.get("bodyContains", "")
    if not isinstance(text, str):
        yield invalid(f"{path}.bodyContains", text, "must be a text")


def _resources(value: Any, path: str) -> Iterator[Problem]:
    if value is None:
        return
    fix = 'write for example {requests: {cpu: "1", memory: 256Mi}}'
    if not isinstance(value, Mapping) or not all(isinstance(one, Mapping) for one in value.values()):
        yield invalid(path, value, "must be an object with requests and limits", fix)
        return
    yield from check_fields(value, {"requests", "limits"}, path)
