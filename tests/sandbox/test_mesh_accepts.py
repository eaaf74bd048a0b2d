"""Envoy itself accepts what is rendered from every field that we say we serve."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from rollout.sandbox.mesh.model import Snapshot
from tests.sandbox.mesh_support import Server, running_mesh
from tests.unit.mesh.objects import (
    Object,
    destination_rule,
    endpoint_slice,
    meta,
    pod,
    service,
    to,
    virtual_service,
)

pytestmark = pytest.mark.sandbox

MANIFEST = """
apiVersion: networking.istio.io/v1beta1
kind: VirtualService
metadata: {name: myapp-vs, namespace: production}
spec:
  hosts: [myapp.example.com]
  gateways: [myapp-gateway]
  http:
  - match: [{uri: {prefix: /api/users}}]
    route:
    - destination: {host: user-service, port: {number: 8080}}
      weight: 90
    - destination: {host: user-service-v2, port: {number: 8080}}
      weight: 10
    fault: {delay: {percentage: {value: 0.1}, fixedDelay: 5s}}
    retries: {attempts: 3, perTryTimeout: 2s}
  - match: [{uri: {prefix: /api/payments}}]
    route: [{destination: {host: payment-service, port: {number: 8080}}}]
    headers: {request: {add: {x-payment-source: api-gateway}}}
    timeout: 10s
---
apiVersion: networking.istio.io/v1beta1
kind: DestinationRule
metadata: {name: user-service-dr, namespace: production}
spec:
  host: user-service
  trafficPolicy:
    loadBalancer: {simple: LEAST_CONN}
    connectionPool: {tcp: {maxConnections: 100}, http: {http1MaxPendingRequests: 50, maxRequestsPerConnection: 2}}
    circuitBreaker: {consecutiveGatewayErrors: 5, interval: 30s}
  subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]
"""

ROUTES: list[Object] = [
    {
        "match": [
            {
                "uri": {"regex": "/a/[0-9]+"},
                "ignoreUriCase": True,
                "scheme": {"exact": "http"},
                "method": {"exact": "GET"},
                "authority": {"prefix": "web"},
                "headers": {"x-a": {"exact": "1"}, "x-b": {"prefix": "2"}, "x-c": {"regex": ".*"}, "x-d": {}},
                "withoutHeaders": {"x-e": {"exact": "1"}, "x-f": {}},
                "queryParams": {"q": {"exact": "1"}, "r": {"prefix": "x"}, "s": {"regex": "y+"}},
                "sourceNamespace": "shop",
                "port": 80,
            }
        ],
        "route": [
            to("web", 1, "v1"),
            {**to("web", 2, "v2"), "headers": {"request": {"set": {"Host": "inner"}}}},
        ],
        "rewrite": {"uri": "/b"},
        "corsPolicy": {
            "allowOrigins": [{"exact": "http://a"}, {"regex": "http://.*"}],
            "allowMethods": ["GET"],
            "allowHeaders": ["x"],
            "exposeHeaders": ["y"],
            "maxAge": "24h",
            "allowCredentials": True,
        },
    },
    {
        "match": [{"uri": {"exact": "/regex"}}],
        "route": [to("web")],
        "rewrite": {"uriRegexRewrite": {"match": "^/(.*)$", "rewrite": "/x/\\1"}, "authority": "other"},
        "mirrors": [{"destination": {"host": "web", "subset": "v2"}, "percentage": {"value": 1.5}}],
        "retries": {"attempts": 3, "perTryTimeout": "20ms", "retryOn": "5xx,503", "backoff": "30ms"},
    },
    {
        "match": [{"uri": {"prefix": "/fault"}}],
        "route": [to("web")],
        "fault": {
            "delay": {"fixedDelay": "1ms", "percentage": {"value": 50}},
            "abort": {"httpStatus": 503, "percent": 5},
        },
    },
    {
        "match": [{"uri": {"prefix": "/redirect"}}],
        "redirect": {
            "uri": "%PREFIX()%/y",
            "authority": "else",
            "scheme": "https",
            "port": 8443,
            "redirectCode": 307,
        },
    },
    {"directResponse": {"status": 418, "body": {"bytes": "aGk="}}},
]

HTTP_ROUTE: Object = {
    "metadata": meta("r", generation=1),
    "spec": {
        "parentRefs": [{"name": "gw"}, {"kind": "Service", "name": "api"}],
        "hostnames": ["a.example.com", "*.example.org"],
        "rules": [
            {
                "matches": [
                    {
                        "path": {"type": "Exact", "value": "/x"},
                        "method": "POST",
                        "headers": [{"name": "h", "value": "v.*", "type": "RegularExpression"}],
                        "queryParams": [{"name": "q", "value": "1"}],
                    },
                    {"path": {"type": "RegularExpression", "value": "/r+"}},
                ],
                "filters": [
                    {
                        "type": "ResponseHeaderModifier",
                        "responseHeaderModifier": {"add": [{"name": "a", "value": "b"}], "remove": ["c"]},
                    },
                    {
                        "type": "RequestMirror",
                        "requestMirror": {
                            "backendRef": {"name": "web", "port": 80},
                            "fraction": {"numerator": 1, "denominator": 3},
                        },
                    },
                    {
                        "type": "URLRewrite",
                        "urlRewrite": {
                            "hostname": "h",
                            "path": {"type": "ReplaceFullPath", "replaceFullPath": "/full"},
                        },
                    },
                ],
                "backendRefs": [
                    {
                        "name": "web",
                        "port": 80,
                        "weight": 3,
                        "filters": [
                            {
                                "type": "RequestHeaderModifier",
                                "requestHeaderModifier": {"set": [{"name": "a", "value": "1"}]},
                            }
                        ],
                    },
                    {"name": "gone", "port": 80},
                ],
                "timeouts": {"request": "2s", "backendRequest": "1s"},
            },
            {
                "matches": [{"path": {"value": "/p"}}],
                "filters": [
                    {
                        "type": "RequestRedirect",
                        "requestRedirect": {
                            "hostname": "x",
                            "port": 81,
                            "path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/q"},
                        },
                    }
                ],
            },
        ],
    },
}

POLICIES: list[Object] = [
    {"loadBalancer": {"consistentHash": {"httpHeaderName": "x-user"}}},
    {
        "loadBalancer": {
            "consistentHash": {"httpCookie": {"name": "c", "ttl": "0s", "path": "/"}, "maglev": {}}
        }
    },
    {"loadBalancer": {"consistentHash": {"useSourceIp": True, "minimumRingSize": 64}}},
    {"loadBalancer": {"consistentHash": {"httpQueryParameterName": "q", "ringHash": {"minimumRingSize": 8}}}},
    {
        "loadBalancer": {"simple": "RANDOM"},
        "connectionPool": {
            "tcp": {
                "maxConnections": 1,
                "connectTimeout": "30ms",
                "idleTimeout": "2s",
                "maxConnectionDuration": "1m",
                "tcpKeepalive": {"probes": 3, "time": "7200s", "interval": "75s"},
            },
            "http": {
                "http1MaxPendingRequests": 1,
                "http2MaxRequests": 2,
                "maxRequestsPerConnection": 3,
                "maxRetries": 4,
                "idleTimeout": "9s",
            },
        },
        "outlierDetection": {
            "consecutive5xxErrors": 1,
            "consecutiveGatewayErrors": 0,
            "interval": "1s",
            "baseEjectionTime": "2s",
            "maxEjectionPercent": 100,
            "minHealthPercent": 30,
            "splitExternalLocalOriginErrors": True,
            "consecutiveLocalOriginFailures": 2,
        },
    },
]


async def test_every_field_that_is_served_is_accepted(tmp_path: Path):
    manifests = list(yaml.safe_load_all(MANIFEST))
    rules = [destination_rule(f"s{index}", ("v1", {}), **policy) for index, policy in enumerate(POLICIES)]
    names = [f"s{index}" for index in range(len(POLICIES))]
    balanced = [{"match": [{"uri": {"prefix": f"/{name}"}}], "route": [to(name)]} for name in names]
    server = await Server("web").start()
    snapshot = Snapshot(
        services=(
            service("web"),
            service("api"),
            service(
                "grpc",
                ports=[{"port": 90, "name": "grpc-api"}, {"port": 91, "appProtocol": "kubernetes.io/h2c"}],
            ),
            service("user-service", 8080, namespace="production"),
            *map(service, names),
        ),
        pods=(pod("web-1", version="v1"),),
        endpoint_slices=tuple(endpoint_slice("s4", {"web-1": server.address})),
        virtual_services=(
            manifests[0],
            virtual_service(*ROUTES, gateways=["mesh", "edge"]),
            virtual_service(
                *balanced, name="balanced", hosts=("*.balanced.example.com",), gateways=["mesh", "edge"]
            ),
        ),
        destination_rules=(
            destination_rule("web", ("v1", {"version": "v1"}), ("v2", {"version": "v2"})),
            manifests[1],
            *rules,
        ),
        http_routes=(HTTP_ROUTE,),
    )
    async with running_mesh(tmp_path, Snapshot()) as mesh:
        assert await mesh.push(snapshot)
        stats = await mesh.pusher.stats()
        assert not any(stats.rejected.values())
        assert await mesh.gateway("x.balanced.example.com", "/s4") == (200, "web")
        assert (await mesh.gateway("web.shop", "/"))[0] == 418
    problems = [str(problem) for problem in mesh.rendered(snapshot).problems]
    assert len(problems) == 1
    assert "circuitBreaker" in problems[0]
    await server.stop()


async def test_hundreds_of_services_fit(tmp_path: Path):
    """One file per cluster would cost one of a user's 128 inotify instances each."""
    names = [f"s{index}" for index in range(150)]
    async with running_mesh(tmp_path, Snapshot()) as mesh:
        await mesh.push(Snapshot(services=tuple(map(service, names))))
        assert (await mesh.get("http://s149/"))[0] == 503
        assert (await mesh.get("http://s150/"))[0] == 502
