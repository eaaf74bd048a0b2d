"""HTTPRoutes as values."""

from __future__ import annotations

from typing import Any

from rollout.sandbox.mesh.model import Snapshot
from rollout.sandbox.mesh.render import Rendered, render
from tests.unit.mesh.objects import Object, meta, service

WEB = "web.shop.svc.cluster.local"


def route(*rules: Object, name: str = "r", **spec: Any) -> Object:
    spec.setdefault("parentRefs", [{"name": "gw"}])
    return {"metadata": meta(name), "spec": {"rules": list(rules), **spec}}


def backend(name: str = "web", weight: int = 1, **fields: Any) -> Object:
    return {"name": name, "port": 80, "weight": weight, **fields}


def rendered(*routes: Object) -> Rendered:
    return render(Snapshot(services=(service("web"), service("canary")), http_routes=routes))


def routes_of(result: Rendered, domain: str = "*", config: str = "gateway") -> list[Object]:
    return next(
        host["routes"] for host in result.routes[config]["virtual_hosts"] if domain in host["domains"]
    )


def test_weighted_backends_split_and_a_missing_one_answers_500():
    (found,) = routes_of(rendered(route({"backendRefs": [backend(weight=9), backend("canary", 1)]})))
    assert found["route"]["weighted_clusters"]["clusters"] == [
        {"name": f"outbound|80||{WEB}", "weight": 9},
        {"name": "outbound|80||canary.shop.svc.cluster.local", "weight": 1},
    ]
    assert found["route"]["cluster_not_found_response_code"] == "INTERNAL_SERVER_ERROR"
    assert (
        routes_of(rendered(route({"backendRefs": [backend(weight=0)]})))[0]["direct_response"]["status"]
        == 500
    )


def test_the_most_specific_match_comes_first_whatever_the_order_of_rules():
    paths: list[Object] = [
        {"path": {"type": "PathPrefix", "value": "/"}},
        {"path": {"type": "PathPrefix", "value": "/api"}},
        {"path": {"type": "PathPrefix", "value": "/api"}, "method": "GET"},
        {"path": {"type": "Exact", "value": "/a"}},
        {"path": {"type": "PathPrefix", "value": "/api"}, "headers": [{"name": "x", "value": "1"}]},
    ]
    found = routes_of(rendered(route(*({"matches": [path], "backendRefs": [backend()]} for path in paths))))
    keys = [
        (
            item["match"].get("path") or item["match"].get("path_separated_prefix") or "/",
            len(item["match"].get("headers", ())),
        )
        for item in found
    ]
    assert keys == [("/a", 0), ("/api", 1), ("/api", 1), ("/api", 0), ("/", 0)]
    assert found[1]["match"]["headers"][0]["name"] == ":method"


def test_a_route_with_a_service_as_parent_shapes_calls_inside_the_mesh_only():
    result = rendered(
        route(
            {"backendRefs": [backend("canary")]}, parentRefs=[{"kind": "Service", "group": "", "name": "web"}]
        )
    )
    (inside,) = routes_of(result, "web.shop", "mesh")
    assert inside["route"]["cluster"] == "outbound|80||canary.shop.svc.cluster.local"
    assert routes_of(result)[0]["direct_response"]["status"] == 404


def test_hostnames_decide_where_a_gateways_route_is():
    result = rendered(route({"backendRefs": [backend()]}, hostnames=["a.example.com", "*.example.org"]))
    assert routes_of(result, "a.example.com")[0]["route"]["cluster"] == f"outbound|80||{WEB}"
    assert routes_of(result, "*.example.org")[0]["name"] == "shop/r:0"


def test_filters_and_timeouts():
    rule = {
        "matches": [{"path": {"type": "PathPrefix", "value": "/old"}}],
        "filters": [
            {
                "type": "RequestHeaderModifier",
                "requestHeaderModifier": {"set": [{"name": "x", "value": "1"}]},
            },
            {"type": "RequestMirror", "requestMirror": {"backendRef": backend("canary"), "percent": 50}},
            {
                "type": "URLRewrite",
                "urlRewrite": {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"}},
            },
        ],
        "timeouts": {"request": "10s", "backendRequest": "2s"},
        "backendRefs": [backend()],
    }
    (found,) = routes_of(rendered(route(rule)))
    action = found["route"]
    assert found["request_headers_to_add"][0]["header"] == {"key": "x", "value": "1"}
    assert action["timeout"] == "10s"
    assert action["retry_policy"]["per_try_timeout"] == "2s"
    assert action["regex_rewrite"]["pattern"]["regex"] == "^/old/*"
    assert action["request_mirror_policies"][0]["runtime_fraction"]["default_value"]["numerator"] == 500_000


def test_a_redirect_needs_no_backend():
    rule = {
        "filters": [{"type": "RequestRedirect", "requestRedirect": {"scheme": "https", "statusCode": 301}}]
    }
    (found,) = routes_of(rendered(route(rule)))
    assert found["redirect"] == {"response_code": "MOVED_PERMANENTLY", "scheme_redirect": "https"}


def test_an_unknown_filter_answers_500_as_the_specification_asks():
    (found,) = routes_of(rendered(route({"filters": [{"type": "ExtensionRef"}], "backendRefs": [backend()]})))
    assert found["direct_response"]["status"] == 500
    result = rendered(route({"filters": [{"type": "ExtensionRef"}], "backendRefs": [backend()]}))
    assert "ExtensionRef" in result.problems[0].message


def test_references_to_nothing_are_told():
    (missing,) = rendered(route({"backendRefs": [backend("nobody"), backend(port=81)]})).unresolved.values()
    assert [reason for reason, _ in missing] == ["BackendNotFound", "BackendNotFound"]
    assert "no port 81" in missing[1][1]
