"""VirtualService -> Envoy routes. https://istio.io/latest/docs/reference/config/networking/virtual-service/"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from rollout.api.meta import key_of
from rollout.sandbox.mesh import actions
from rollout.sandbox.mesh.actions import Backend
from rollout.sandbox.mesh.match import Unmatchable, applies, route_match, string_match
from rollout.sandbox.mesh.model import Object, Problems, World
from rollout.sandbox.mesh.protobuf import ADD, SET, Resource, header_values, percent, seconds, typed

MESH = "mesh"

_SPEC = {"hosts", "gateways", "http", "exportTo"}
_ROUTE = {
    "name",
    "match",
    "route",
    "redirect",
    "directResponse",
    "rewrite",
    "timeout",
    "retries",
    "fault",
    "mirror",
    "mirrors",
    "mirrorPercentage",
    "mirrorPercent",
    "mirror_percent",
    "corsPolicy",
    "headers",
}
# Fields without which a route would do something else than asked: the route answers 500 and says so.
_DECISIVE = {"delegate"}


class Place(msgspec.Struct, frozen=True):
    """Where routes are rendered for: the gateway names this listener stands for, and the Service port
    that was asked for (None for hosts that are not Services)."""

    gateways: frozenset[str]
    port: int | None = None


def gateways_of(vs: Object) -> frozenset[str]:
    """The gateway names a VirtualService is bound to; "mesh" when it names none."""
    return frozenset((vs.get("spec") or {}).get("gateways") or (MESH,))


def check(vs: Object, report: Problems) -> None:
    """Report fields of the VirtualService as a whole that this mesh does not serve."""
    report.unsupported(vs.get("spec") or {}, _SPEC, "spec", "only HTTP routes are served")


def routes(vs: Object, world: World, place: Place, report: Problems) -> list[Resource]:
    """The Envoy routes of a VirtualService in order of precedence, for one place."""
    found: list[Resource] = []
    for index, route in enumerate((vs.get("spec") or {}).get("http") or ()):
        path = f"spec.http[{index}]"
        name = str(route.get("name") or index)
        report.unsupported(route, _ROUTE | _DECISIVE, path, "the route works without it")
        body = _body(vs, route, world, place, report=report, path=path)
        for number, match in enumerate(route.get("match") or ({},)):
            if not applies(match, place.gateways, place.port):
                continue
            try:
                condition = route_match(match)
                what = _finish(body, condition, route)
            except Unmatchable as error:
                report.add(f"{path}.match[{number}]", f"{error}; this match is left out")
                continue
            label = f"{key_of(vs)}:{name}" + (f":{match.get('name') or number}" if number else "")
            found.append({"name": label, "match": condition, **what})
    return found


def _body(vs: Object, route: Object, world: World, place: Place, *, report: Problems, path: str) -> Resource:
    """Everything of a route but its match; a route that cannot be understood answers 500."""
    if _DECISIVE & set(route):
        message = "delegate: not supported by the sandbox's mesh; the route answers 500"
        report.add(f"{path}.delegate", message)
        return _broken(message)
    try:
        return _action(vs, route, world, place) | _headers(route.get("headers") or {}) | _filters(route)
    except (Unmatchable, ValueError, TypeError, KeyError, AttributeError) as error:
        message = f"{error}; the route answers 500"
        report.add(path, message)
        return _broken(message)


def _broken(message: str) -> Resource:
    return {"direct_response": {"status": 500, "body": {"inline_string": f"surefoot sandbox: {message}\n"}}}


def _action(vs: Object, route: Object, world: World, place: Place) -> Resource:
    if (redirect := route.get("redirect")) is not None:
        return {"redirect": _redirect(redirect)}
    if (direct := route.get("directResponse")) is not None:
        body = direct.get("body") or {}
        text = (
            {"inline_bytes": body["bytes"]} if "bytes" in body else {"inline_string": body.get("string", "")}
        )
        return {"direct_response": {"status": int(direct["status"]), "body": text}}
    namespace = key_of(vs).namespace
    targets = route.get("route") or ()
    if not targets:
        raise ValueError("a route needs one of route, redirect, directResponse")
    backends = [_backend(target, world, namespace, place) for target in targets]
    action: Resource = actions.split(backends)
    if not action.get("weighted_clusters", {"clusters": [1]})["clusters"]:
        return {"direct_response": {"status": 503, "body": {"inline_string": "all weights are 0\n"}}}
    action["timeout"] = seconds(route.get("timeout") or "0s")
    if not route.get("fault"):  # Istio: no retries while a fault is injected
        action |= _retries(route.get("retries"))
    if policy := [
        entry for target in targets for entry in actions.hashing(world, target["destination"], namespace)
    ]:
        action["hash_policy"] = policy[:1]
    action |= _rewrite(route.get("rewrite") or {})
    if authority := _host_header(route.get("headers") or {}):
        action["host_rewrite_literal"] = authority
    if mirrors := list(_mirrors(route, world, namespace, place)):
        action["request_mirror_policies"] = mirrors
    return {"route": action}


def _backend(target: Object, world: World, namespace: str, place: Place) -> Backend:
    name = actions.destination(world, target["destination"], namespace, place.port)
    headers = target.get("headers") or {}
    extra = _headers(headers)
    if authority := _host_header(headers):
        extra["host_rewrite_literal"] = authority
    return Backend(name, int(target.get("weight") or 0), extra)


def _mirrors(route: Object, world: World, namespace: str, place: Place) -> Iterator[Resource]:
    if spec := route.get("mirror"):
        share = route.get("mirrorPercentage") or {}
        old = route.get("mirrorPercent", route.get("mirror_percent"))
        value = share.get("value", 0.0) if share else (old if old is not None else 100.0)
        yield actions.mirror(actions.destination(world, spec, namespace, place.port), float(value))
    for entry in route.get("mirrors") or ():
        share = entry.get("percentage")
        value = share.get("value", 0.0) if share is not None else 100.0
        yield actions.mirror(
            actions.destination(world, entry["destination"], namespace, place.port), float(value)
        )


def _retries(spec: Object | None) -> Resource:
    """HTTPRetry. Names of status codes in `retryOn` become retriable status codes, as in Istio."""
    if spec is None:
        return actions.retry_policy()
    words = [word.strip() for word in str(spec.get("retryOn") or "").split(",") if word.strip()]
    codes = sorted({int(word) for word in words if word.isdigit()})
    names = [word for word in words if not word.isdigit()]
    if codes:
        names.append("retriable-status-codes")
    fields: Resource = {"retriable_status_codes": codes} if codes else {}
    if spec.get("perTryTimeout"):
        fields["per_try_timeout"] = seconds(spec["perTryTimeout"])
    if spec.get("backoff"):
        fields["retry_back_off"] = {"base_interval": seconds(spec["backoff"])}
    attempts = int(spec.get("attempts", actions.RETRY_ATTEMPTS))
    return actions.retry_policy(attempts, ",".join(names) or actions.RETRY_ON, **fields)


def _rewrite(spec: Object) -> Resource:
    out: Resource = {}
    if spec.get("authority"):
        out["host_rewrite_literal"] = spec["authority"]
    if pattern := spec.get("uriRegexRewrite"):
        out["regex_rewrite"] = {
            "pattern": {"regex": str(pattern["match"])},
            "substitution": str(pattern["rewrite"]),
        }
    elif spec.get("uri"):
        out["prefix_rewrite"] = spec["uri"]
    return out


def _finish(body: Resource, condition: Resource, route: Object) -> Resource:
    """`rewrite.uri` replaces the matched prefix or path; after a regular expression, the whole path."""
    action = body.get("route") or {}
    if "safe_regex" not in condition or "prefix_rewrite" not in action:
        return body
    whole = {"pattern": {"regex": "[^?]*"}, "substitution": route["rewrite"]["uri"]}
    changed = {name: value for name, value in action.items() if name != "prefix_rewrite"}
    return body | {"route": changed | {"regex_rewrite": whole}}


def _redirect(spec: Object) -> Resource:
    out: Resource = {"response_code": actions.redirect_code(int(spec.get("redirectCode") or 301))}
    if spec.get("uri"):
        uri = str(spec["uri"])
        prefix = "%PREFIX()%"
        out |= (
            {"prefix_rewrite": uri.removeprefix(prefix)} if uri.startswith(prefix) else {"path_redirect": uri}
        )
    if spec.get("authority"):
        out["host_redirect"] = spec["authority"]
    if spec.get("scheme"):
        out["scheme_redirect"] = spec["scheme"]
    if spec.get("port"):
        out["port_redirect"] = int(spec["port"])
    elif spec.get("derivePort") == "FROM_PROTOCOL_DEFAULT":
        out["port_redirect"] = 443 if spec.get("scheme") == "https" else 80
    return out


def _host_header(spec: Object) -> str:
    """Setting Host (or :authority) is a rewrite of the authority, not a header change."""
    for name, value in ((spec.get("request") or {}).get("set") or {}).items():
        if name.lower() in {"host", ":authority"}:
            return str(value)
    return ""


def _headers(spec: Object) -> Resource:
    out: Resource = {}
    for side in ("request", "response"):
        part = spec.get(side) or {}
        changes = {
            name: value
            for name, value in (part.get("set") or {}).items()
            if name.lower() not in {"host", ":authority"}
        }
        added = header_values(changes, SET) + header_values(part.get("add") or {}, ADD)
        if added:
            out[f"{side}_headers_to_add"] = added
        if part.get("remove"):
            out[f"{side}_headers_to_remove"] = list(part["remove"])
    return out


def _filters(route: Object) -> Resource:
    """Settings of filters for this route: faults and CORS."""
    configs: Resource = {}
    if fault := _fault(route.get("fault") or {}):
        configs["envoy.filters.http.fault"] = fault
    if cors := route.get("corsPolicy"):
        configs["envoy.filters.http.cors"] = _cors(cors)
    return {"typed_per_filter_config": configs} if configs else {}


def _fault(spec: Object) -> Resource:
    """HTTPFaultInjection. Without a percentage no request is touched, as the API's documentation says."""
    body: Resource = {}
    if delay := spec.get("delay"):
        body["delay"] = {"fixed_delay": seconds(delay["fixedDelay"]), "percentage": _share(delay)}
    if abort := spec.get("abort"):
        if "grpcStatus" in abort:
            raise ValueError("fault.abort.grpcStatus is not supported by the sandbox's mesh")
        body["abort"] = {"http_status": int(abort["httpStatus"]), "percentage": _share(abort)}
    return typed("extensions.filters.http.fault.v3.HTTPFault", **body) if body else {}


def _share(spec: Mapping[str, Any]) -> Resource:
    value = (spec.get("percentage") or {}).get("value", spec.get("percent", 0))
    return percent(float(value))


def _cors(spec: Object) -> Resource:
    body: Resource = {
        "allow_origin_string_match": [string_match(origin) for origin in spec.get("allowOrigins") or ()]
        + [{"exact": origin} if origin != "*" else {"prefix": ""} for origin in spec.get("allowOrigin") or ()]
    }
    for here, there in (
        ("allowMethods", "allow_methods"),
        ("allowHeaders", "allow_headers"),
        ("exposeHeaders", "expose_headers"),
    ):
        if spec.get(here):
            body[there] = ",".join(spec[here])
    if spec.get("maxAge"):
        body["max_age"] = str(int(float(seconds(spec["maxAge"])[:-1])))
    if spec.get("allowCredentials") is not None:
        body["allow_credentials"] = bool(spec["allowCredentials"])
    return typed("extensions.filters.http.cors.v3.CorsPolicy", **body)
