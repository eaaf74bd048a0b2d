"""HTTPRoute -> Envoy routes, and its status. https://gateway-api.sigs.k8s.io/reference/spec/"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from rollout.api.meta import key_of, metadata, timestamp
from rollout.sandbox.mesh import actions
from rollout.sandbox.mesh.actions import Backend
from rollout.sandbox.mesh.match import Unmatchable, check_regexes
from rollout.sandbox.mesh.model import Object, Problems, World
from rollout.sandbox.mesh.names import Host, cluster_name
from rollout.sandbox.mesh.protobuf import ADD, SET, Resource, header_values, percent, seconds

CONTROLLER = "surefoot.dev/sandbox-mesh"

Ranked = tuple[tuple[Any, ...], Resource]


def service_parents(route: Object) -> Iterator[tuple[Host, int | None]]:
    """The Services whose calls inside the mesh this route shapes (parentRefs of kind Service)."""
    for ref in _parents(route):
        if ref.get("kind") == "Service":
            yield Host(ref.get("namespace") or key_of(route).namespace, str(ref.get("name"))), ref.get("port")


def at_gateway(route: Object) -> bool:
    """Whether the route is attached to a Gateway. Which one does not matter: the sandbox has one door."""
    return any((ref.get("kind") or "Gateway") == "Gateway" for ref in _parents(route))


def _parents(route: Object) -> Iterable[Object]:
    return (route.get("spec") or {}).get("parentRefs") or ()


def hostnames(route: Object) -> tuple[str, ...]:
    return tuple((route.get("spec") or {}).get("hostnames") or ("*",))


def routes(route: Object, report: Problems) -> list[Ranked]:
    """The Envoy routes with the rank that the specification gives them; lower ranks match first."""
    spec = route.get("spec") or {}
    report.unsupported(spec, {"parentRefs", "hostnames", "rules"}, "spec", "the route works without it")
    found: list[Ranked] = []
    for index, rule in enumerate(spec.get("rules") or ()):
        path = f"spec.rules[{index}]"
        report.unsupported(
            rule, {"name", "matches", "filters", "backendRefs", "timeouts"}, path, "the rule works without it"
        )
        for number, match in enumerate(rule.get("matches") or ({},)):
            try:
                condition = _match(match)
            except (Unmatchable, ValueError, KeyError) as error:
                report.add(f"{path}.matches[{number}]", f"{error}; this match is left out")
                continue
            body = _body(route, rule, condition, report=report, path=path)
            name = f"{key_of(route)}:{rule.get('name') or index}" + (f":{number}" if number else "")
            rank = (
                *_rank(match),
                str(metadata(route).get("creationTimestamp") or ""),
                str(key_of(route)),
                index,
            )
            found.append((rank, {"name": name, "match": condition, **body}))
    return found


def _match(spec: Object) -> Resource:
    unknown = sorted(set(spec) - {"path", "headers", "queryParams", "method"})
    if unknown:
        raise Unmatchable(f"{', '.join(unknown)}: not supported by the sandbox's mesh")
    path = spec.get("path") or {}
    value = str(path.get("value") or "/")
    match path.get("type") or "PathPrefix":
        case "Exact":
            body: Resource = {"path": value}
        case "PathPrefix" if value == "/":
            body = {"prefix": "/"}
        case "PathPrefix":
            body = {"path_separated_prefix": value.rstrip("/")}
        case "RegularExpression":
            body = {"safe_regex": {"regex": value}}
        case other:
            raise Unmatchable(f"path type {other} is not supported by the sandbox's mesh")
    headers = [{"name": item["name"], "string_match": _string(item)} for item in spec.get("headers") or ()]
    if spec.get("method"):
        headers.append({"name": ":method", "string_match": {"exact": spec["method"]}})
    if headers:
        body["headers"] = headers
    if spec.get("queryParams"):
        body["query_parameters"] = [
            {"name": item["name"], "string_match": _string(item)} for item in spec["queryParams"]
        ]
    check_regexes(body)
    return body


def _string(item: Object) -> Resource:
    match item.get("type") or "Exact":
        case "Exact":
            return {"exact": str(item["value"])}
        case "RegularExpression":
            return {"safe_regex": {"regex": str(item["value"])}}
        case other:
            raise Unmatchable(f"type {other} is not supported by the sandbox's mesh")


def _rank(match: Object) -> tuple[int, int, int, int, int]:
    """HTTPRouteRule.matches: exact path, longest prefix, method, most headers, most query parameters."""
    path = match.get("path") or {}
    kind = {"Exact": 0, "RegularExpression": 1}.get(path.get("type") or "PathPrefix", 2)
    return (
        kind,
        -len(str(path.get("value") or "/")),
        0 if match.get("method") else 1,
        -len(match.get("headers") or ()),
        -len(match.get("queryParams") or ()),
    )


def _body(route: Object, rule: Object, condition: Resource, *, report: Problems, path: str) -> Resource:
    try:
        return _action(route, rule, condition)
    except (Unmatchable, ValueError, TypeError, KeyError, AttributeError) as error:
        message = f"{error}; the rule answers 500"
        report.add(path, message)
        return {
            "direct_response": {"status": 500, "body": {"inline_string": f"surefoot sandbox: {message}\n"}}
        }


def _action(route: Object, rule: Object, condition: Resource) -> Resource:
    namespace = key_of(route).namespace
    filters = rule.get("filters") or ()
    headers = _headers(filters)
    for item in filters:
        if item.get("type") == "RequestRedirect":
            return {"redirect": _redirect(item.get("requestRedirect") or {}, condition), **headers}
    backends = [
        Backend(
            _backend(ref, namespace),
            int(ref.get("weight", 1)),
            _headers(ref.get("filters") or (), backend=True),
        )
        for ref in rule.get("backendRefs") or ()
    ]
    if not any(backend.weight for backend in backends):
        # No backend, or weight 0 everywhere, answers 500: HTTPRouteRule.backendRefs.
        return {"direct_response": {"status": 500, "body": {"inline_string": "no backend has a weight\n"}}}
    action = actions.split(backends)
    action["cluster_not_found_response_code"] = "INTERNAL_SERVER_ERROR"
    timeouts = rule.get("timeouts") or {}
    action["timeout"] = seconds(timeouts.get("request") or timeouts.get("backendRequest") or "0s")
    each = timeouts.get("backendRequest")
    each_try: Resource = {"per_try_timeout": seconds(each)} if each else {}
    action |= actions.retry_policy(**each_try)
    mirrors = []
    for item in filters:
        if item.get("type") == "URLRewrite":
            action |= _rewrite(item.get("urlRewrite") or {}, condition)
        if item.get("type") == "RequestMirror":
            mirrors.append(_mirror(item["requestMirror"], namespace))
    if mirrors:
        action["request_mirror_policies"] = mirrors
    return {"route": action, **headers}


def _backend(ref: Object, namespace: str) -> str:
    """The backend's cluster; one that does not exist gets its name all the same and answers 500."""
    host = Host(ref.get("namespace") or namespace, str(ref.get("name")))
    return cluster_name(host.fqdn, int(ref.get("port") or 0))


def unresolved(route: Object, world: World) -> list[tuple[str, str]]:
    """(reason, message) for each backendRef that names nothing."""
    found = []
    for index, rule in enumerate((route.get("spec") or {}).get("rules") or ()):
        for number, ref in enumerate(rule.get("backendRefs") or ()):
            where = f"spec.rules[{index}].backendRefs[{number}]"
            if (ref.get("kind") or "Service") != "Service" or ref.get("group"):
                found.append(("InvalidKind", f"{where}: {ref.get('kind')} is not a Service"))
                continue
            host = Host(ref.get("namespace") or key_of(route).namespace, str(ref.get("name")))
            service = world.services.get(host)
            if service is None:
                found.append(
                    ("BackendNotFound", f"{where}: there is no Service {host.namespace}/{host.name}")
                )
            elif service.port(int(ref.get("port") or 0)) is None:
                found.append(
                    ("BackendNotFound", f"{where}: Service {host.name} has no port {ref.get('port')}")
                )
    return found


_FILTERS = {
    "RequestHeaderModifier",
    "ResponseHeaderModifier",
    "RequestRedirect",
    "URLRewrite",
    "RequestMirror",
}


def _headers(filters: Iterable[Object], *, backend: bool = False) -> Resource:
    known = {"RequestHeaderModifier", "ResponseHeaderModifier"} if backend else _FILTERS
    out: Resource = {}
    for item in filters:
        kind = item.get("type")
        if kind not in known:
            raise Unmatchable(f"filter {kind} is not supported by the sandbox's mesh")
        for side, field in (("request", "requestHeaderModifier"), ("response", "responseHeaderModifier")):
            part = item.get(field) if kind in {"RequestHeaderModifier", "ResponseHeaderModifier"} else None
            if not part:
                continue
            added = header_values(_pairs(part.get("set")), SET) + header_values(_pairs(part.get("add")), ADD)
            if added:
                out[f"{side}_headers_to_add"] = added
            if part.get("remove"):
                out[f"{side}_headers_to_remove"] = list(part["remove"])
    return out


def _pairs(items: Iterable[Object] | None) -> dict[str, str]:
    return {str(item["name"]): str(item["value"]) for item in items or ()}


def _redirect(spec: Object, condition: Resource) -> Resource:
    out: Resource = {"response_code": actions.redirect_code(int(spec.get("statusCode") or 302))}
    if spec.get("scheme"):
        out["scheme_redirect"] = spec["scheme"]
    if spec.get("hostname"):
        out["host_redirect"] = spec["hostname"]
    if spec.get("port"):
        out["port_redirect"] = int(spec["port"])
    path = spec.get("path") or {}
    if path.get("type") == "ReplaceFullPath":
        out["path_redirect"] = path["replaceFullPath"]
    elif path.get("type") == "ReplacePrefixMatch":
        out |= _replace_prefix(path["replacePrefixMatch"], condition)
    return out


def _rewrite(spec: Object, condition: Resource) -> Resource:
    out: Resource = {}
    if spec.get("hostname"):
        out["host_rewrite_literal"] = spec["hostname"]
    path = spec.get("path") or {}
    if path.get("type") == "ReplaceFullPath":
        out["regex_rewrite"] = {"pattern": {"regex": "[^?]*"}, "substitution": path["replaceFullPath"]}
    elif path.get("type") == "ReplacePrefixMatch":
        out |= _replace_prefix(path["replacePrefixMatch"], condition)
    return out


def _replace_prefix(new: str, condition: Resource) -> Resource:
    """Prefixes are replaced element by element: /foo -> / makes /foo/x into /x, not //x."""
    old = condition.get("path_separated_prefix")
    if old is None:
        return {"prefix_rewrite": new.rstrip("/") + "/"}
    if new.strip("/"):
        return {"prefix_rewrite": new.rstrip("/")}
    return {"regex_rewrite": {"pattern": {"regex": f"^{re.escape(old)}/*"}, "substitution": "/"}}


def _mirror(spec: Object, namespace: str) -> Resource:
    fraction = spec.get("fraction")
    share = 100.0 * fraction["numerator"] / (fraction.get("denominator") or 100) if fraction else None
    value = share if share is not None else float(spec.get("percent", 100))
    return {
        "cluster": _backend(spec["backendRef"], namespace),
        "runtime_fraction": {"default_value": percent(value)},
    }


def status(
    route: Object, missing: list[tuple[str, str]], problems: list[str], now: datetime
) -> dict[str, Any]:
    """The HTTPRoute's status with our entry for each parent; entries of other controllers are kept.

    `missing` comes from `unresolved`; `problems` are what the mesh could not do, as sentences.
    """
    old = {
        (str(dict(entry.get("parentRef") or {})), condition.get("type")): condition
        for entry in _status_parents(route)
        if entry.get("controllerName") == CONTROLLER
        for condition in entry.get("conditions") or ()
    }
    generation = metadata(route).get("generation") or 1
    accepted = (
        _condition("Accepted", "False", "UnsupportedValue", "; ".join(problems), generation)
        if problems
        else _condition("Accepted", "True", "Accepted", "the sandbox's mesh serves this route", generation)
    )
    resolved = (
        _condition("ResolvedRefs", "False", missing[0][0], "; ".join(text for _, text in missing), generation)
        if missing
        else _condition("ResolvedRefs", "True", "ResolvedRefs", "all references are resolved", generation)
    )
    ours = [
        {
            "parentRef": dict(ref),
            "controllerName": CONTROLLER,
            "conditions": [
                _since(condition, old.get((str(dict(ref)), condition["type"])), now)
                for condition in (accepted, resolved)
            ],
        }
        for ref in _parents(route)
    ]
    others = [dict(entry) for entry in _status_parents(route) if entry.get("controllerName") != CONTROLLER]
    return {"parents": others + ours}


def _status_parents(route: Object) -> Iterable[Object]:
    return (route.get("status") or {}).get("parents") or ()


def _condition(kind: str, value: str, reason: str, message: str, generation: int) -> dict[str, Any]:
    return {
        "type": kind,
        "status": value,
        "reason": reason,
        "message": message,
        "observedGeneration": generation,
    }


def _since(condition: dict[str, Any], old: Mapping[str, Any] | None, now: datetime) -> dict[str, Any]:
    """The condition with the time of its last change of status."""
    same = old is not None and old.get("status") == condition["status"]
    return condition | {"lastTransitionTime": old["lastTransitionTime"] if old and same else timestamp(now)}
