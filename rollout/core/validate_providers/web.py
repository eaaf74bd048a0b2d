"""The body of the provider `web`: study/argo-rollouts.md 1.7."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rollout.core import jsonpath
from rollout.core.checks import check_bool, check_fields, check_headers, check_seconds, check_url, templated
from rollout.core.problem import Problem, invalid, required, unsupported

MAX_BODY = 65_536
_FIELDS = frozenset(
    {
        "url",
        "method",
        "headers",
        "body",
        "jsonBody",
        "jsonPath",
        "timeoutSeconds",
        "insecure",
        "authentication",
    }
)
_METHODS = ("GET", "POST", "PUT")
_OAUTH_FIELDS = frozenset({"tokenUrl", "clientId", "clientSecret", "scopes"})


def check_web(body: Mapping[str, Any], path: str) -> Iterator[Problem]:
    yield from check_fields(body, _FIELDS, path)
    yield from check_url(body.get("url"), f"{path}.url", "https://example.com/health?full=1", query=True)
    method = body.get("method") or "GET"
    if method not in _METHODS:
        yield invalid(f"{path}.method", method, f"must be one of {', '.join(_METHODS)}")
    yield from check_headers(body.get("headers"), f"{path}.headers")
    yield from _content(body, method, path)
    yield from check_seconds(body.get("timeoutSeconds"), f"{path}.timeoutSeconds", most=600)
    yield from check_bool(body.get("insecure"), f"{path}.insecure")
    yield from _json_path(body.get("jsonPath"), f"{path}.jsonPath")
    yield from _authentication(body.get("authentication") or {}, f"{path}.authentication")


def _content(body: Mapping[str, Any], method: Any, path: str) -> Iterator[Problem]:
    text, document = body.get("body"), body.get("jsonBody")
    if (text or document is not None) and method == "GET":
        yield invalid(f"{path}.method", "GET", "a GET has no body", "use POST or PUT")
    if text and document is not None:
        yield invalid(f"{path}.body", text, "there is jsonBody too", "keep one of the two")
    yield from check_text(text, f"{path}.body")


def check_text(text: Any, path: str) -> Iterator[Problem]:
    """The body of a request; None is fine."""
    if text is None:
        return
    if not isinstance(text, str):
        yield invalid(path, text, "must be a text")
    elif len(text) > MAX_BODY:
        yield invalid(path, text, f"is longer than {MAX_BODY} characters")


def _json_path(value: Any, path: str) -> Iterator[Problem]:
    if value is None or templated(value):
        return
    try:
        jsonpath.compiled(value if isinstance(value, str) else "[")
    except ValueError as error:
        yield invalid(path, value, str(error), 'write for example "{$.data.ok}"')


def _authentication(value: Any, path: str) -> Iterator[Problem]:
    if not isinstance(value, Mapping):
        yield invalid(
            path, value, "must be an object, for example oauth2: {tokenUrl, clientId, clientSecret}"
        )
        return
    for name in sorted(set(value) - {"oauth2"}, key=str):
        if value[name]:
            fix = "use oauth2, or headers with the key Authorization and a secret argument"
            yield unsupported(f"{path}.{name}", f"authentication by {name}", fix)
    oauth = value.get("oauth2")
    if not oauth:
        return
    where = f"{path}.oauth2"
    if not isinstance(oauth, Mapping):
        yield invalid(where, oauth, "must be an object with tokenUrl, clientId and clientSecret")
        return
    yield from check_fields(oauth, _OAUTH_FIELDS, where)
    yield from check_url(
        oauth.get("tokenUrl"), f"{where}.tokenUrl", "https://login.example.com/token", query=True
    )
    for field in ("clientId", "clientSecret"):
        if not isinstance(oauth.get(field), str) or not oauth[field]:
            yield required(f"{where}.{field}", "a client needs an id and a secret")
    scopes = oauth.get("scopes") or []
    if not isinstance(scopes, list) or not all(isinstance(scope, str) for scope in scopes):
        yield invalid(f"{where}.scopes", scopes, "must be a list of texts")
