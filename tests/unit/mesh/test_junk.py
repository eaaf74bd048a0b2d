"""Whatever stands in a spec, rendering goes on: one broken object must not stop everybody's traffic."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from rollout.api.codec import encode
from rollout.sandbox.mesh.model import Snapshot
from rollout.sandbox.mesh.render import render
from tests.unit.mesh.objects import meta, service

FIELDS = [
    "hosts",
    "gateways",
    "http",
    "match",
    "route",
    "destination",
    "host",
    "subset",
    "port",
    "number",
    "weight",
    "uri",
    "exact",
    "prefix",
    "regex",
    "headers",
    "request",
    "set",
    "add",
    "remove",
    "timeout",
    "retries",
    "attempts",
    "fault",
    "delay",
    "fixedDelay",
    "abort",
    "httpStatus",
    "percentage",
    "value",
    "mirror",
    "mirrors",
    "redirect",
    "redirectCode",
    "rewrite",
    "corsPolicy",
    "allowOrigins",
    "subsets",
    "labels",
    "name",
    "trafficPolicy",
    "portLevelSettings",
    "loadBalancer",
    "simple",
    "consistentHash",
    "httpCookie",
    "ttl",
    "connectionPool",
    "tcp",
    "maxConnections",
    "connectTimeout",
    "outlierDetection",
    "interval",
    "parentRefs",
    "kind",
    "hostnames",
    "rules",
    "matches",
    "path",
    "type",
    "filters",
    "backendRefs",
    "timeouts",
    "requestMirror",
    "requestRedirect",
]
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-5, 70000)
    | st.sampled_from(["", "web", "1s", "(", "*", "Gateway", "x.y", "Exact"])
)
junk = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=4),
    max_leaves=12,
)
specs = st.dictionaries(st.sampled_from(FIELDS), junk, max_size=4)


def shaped(*path: str) -> Any:
    """Junk at the end of a path of fields that are as they should be."""
    strategy: Any = specs
    for name in reversed(path):
        inner = strategy
        strategy = st.builds(
            lambda rest, value, name=name: {
                **rest,
                name: [value] if name.endswith("s") or name in {"http", "match", "route"} else value,
            },
            specs,
            inner,
        )
    return strategy


VIRTUAL_SERVICES = (
    shaped() | shaped("http") | shaped("http", "match") | shaped("http", "route", "destination")
)
RULES = shaped() | shaped("subsets") | shaped("trafficPolicy") | shaped("trafficPolicy", "connectionPool")
HTTP_ROUTES = shaped() | shaped("rules") | shaped("rules", "matches") | shaped("rules", "backendRefs")


@settings(max_examples=100, deadline=None)
@given(VIRTUAL_SERVICES, RULES, HTTP_ROUTES)
def test_rendering_never_fails_and_keeps_serving_the_others(vs: Any, rule: Any, route: Any):
    good = service("good")
    result = render(
        Snapshot(
            services=(good, service("web")),
            virtual_services=({"metadata": meta("v"), "spec": {"hosts": ["web"], **vs}},),
            destination_rules=({"metadata": meta("d"), "spec": {"host": "web", **rule}},),
            http_routes=({"metadata": meta("h"), "spec": {"parentRefs": [{"name": "gw"}], **route}},),
        )
    )
    hosts = [host for host in result.routes["mesh"]["virtual_hosts"] if "good.shop" in host["domains"]]
    assert hosts[0]["routes"][0]["route"]["cluster"] == "outbound|80||good.shop.svc.cluster.local"
    encode([cluster.resource for cluster in result.clusters.values()])
    encode(result.routes)
