"""Services and DestinationRules -> Envoy clusters and their endpoints.

One cluster for each port of each Service, and one more for each subset of its DestinationRule, named as
Istio names them. Endpoints carry their workload's identity as metadata: the telemetry reads its labels
from there, so a cluster may mix versions and each can still be asked about alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import msgspec

from rollout.sandbox.mesh.model import Endpoint, Object, Problems, Service, ServicePort, World, template_hash
from rollout.sandbox.mesh.names import cluster_name
from rollout.sandbox.mesh.protobuf import Resource, seconds, socket_address, typed

METADATA = "istio"
UNLIMITED = 4_294_967_295

# Many servers close idle connections after 5 s (uvicorn, node); a request that Envoy sends in the moment
# of closing is lost and must not be repeated. Closing first, on our side, makes that moment rare.
# Istio's default is an hour; `connectionPool.http.idleTimeout` sets it.
IDLE_TIMEOUT = "4s"
CONNECT_TIMEOUT = "10s"  # Istio's default


class Cluster(msgspec.Struct, frozen=True):
    """An Envoy cluster with its endpoints in it, and how many they are.

    Endpoints are not a discovery resource of their own (EDS): Envoy spends one inotify instance on each
    file that it follows, of which a user has 128 by default. When endpoints change, Envoy replaces the
    cluster; requests under way finish on the connections of the old one.
    """

    resource: Resource
    size: int


_LB = {
    "UNSPECIFIED": "LEAST_REQUEST",
    "LEAST_CONN": "LEAST_REQUEST",
    "LEAST_REQUEST": "LEAST_REQUEST",
    "ROUND_ROBIN": "ROUND_ROBIN",
    "RANDOM": "RANDOM",
}
_POLICY_FIELDS = {"loadBalancer", "connectionPool", "outlierDetection", "portLevelSettings"}


def stat_name(name: str) -> str:
    """The cluster's name in stats: without dots, so that it is one label and not a part of the metric's name."""
    return name.replace(".", "_")


Address = Callable[[Endpoint, ServicePort], Resource]
"""Where Envoy sends what is for an endpoint: to itself, or to something that stands in front of it."""


def itself(endpoint: Endpoint, _: ServicePort) -> Resource:
    return socket_address(endpoint.address, endpoint.port)


def clusters(world: World, address: Address = itself) -> tuple[dict[str, Cluster], list[Problems]]:
    """All clusters by name."""
    found: dict[str, Cluster] = {}
    problems: list[Problems] = []
    for service in world.services.values():
        rule = world.rules.get(service.host.fqdn, {})
        report = Problems("DestinationRule", rule)
        problems.append(report)
        spec = rule.get("spec") or {}
        report.unsupported(
            spec,
            {"host", "subsets", "trafficPolicy", "exportTo"},
            "spec",
            "the rest of the rule is used",
        )
        for port in service.ports:
            pods = world.endpoints(service.host, port)
            for subset, labels, policy in _subsets(spec, port, report):
                name = cluster_name(service.host.fqdn, port.number, subset)
                chosen = [pod for pod in pods if labels.items() <= pod.labels.items()]
                resource = _cluster(name, service, subset, port=port, policy=policy)
                resource["load_assignment"] = _load_assignment(name, chosen, port, address)
                found[name] = Cluster(resource, len(chosen))
    return found, problems


def _subsets(
    spec: Object, port: ServicePort, report: Problems
) -> Iterator[tuple[str, Mapping[str, str], Resource]]:
    """("" for the whole Service, then each subset): name, labels, and the policy in Envoy's fields."""
    base = _effective(spec.get("trafficPolicy") or {}, port)
    yield "", {}, _policy(base, report, "spec.trafficPolicy")
    for index, subset in enumerate(spec.get("subsets") or ()):
        path = f"spec.subsets[{index}]"
        report.unsupported(
            subset, {"name", "labels", "trafficPolicy"}, path, "the subset is served without it"
        )
        own = _effective(subset.get("trafficPolicy") or {}, port)
        yield (
            str(subset.get("name") or ""),
            subset.get("labels") or {},
            _policy({**base, **own}, report, f"{path}.trafficPolicy" if own else "spec.trafficPolicy"),
        )


def _effective(policy: Object, port: ServicePort) -> dict[str, Any]:
    """The policy for one port: port-level settings replace the policy's (they do not merge, as in Istio)."""
    for entry in policy.get("portLevelSettings") or ():
        if (entry.get("port") or {}).get("number") == port.number:
            return {name: value for name, value in entry.items() if name != "port"}
    return {name: value for name, value in policy.items() if name != "portLevelSettings"}


def _policy(policy: Object, report: Problems, path: str) -> Resource:
    report.unsupported(policy, _POLICY_FIELDS, path, "traffic goes on without it")
    out: Resource = {}
    try:
        out |= _load_balancer(policy.get("loadBalancer") or {}, report, f"{path}.loadBalancer")
        out |= _connection_pool(policy.get("connectionPool") or {}, report, f"{path}.connectionPool")
        if (detection := policy.get("outlierDetection")) is not None:
            out |= _outlier_detection(detection, report, f"{path}.outlierDetection")
    except (ValueError, TypeError, AttributeError) as error:
        report.add(path, f"{error}; traffic goes on without this policy")
        return {}
    return out


def _load_balancer(spec: Object, report: Problems, path: str) -> Resource:
    report.unsupported(spec, {"simple", "consistentHash"}, path, "balancing goes on without it")
    hashing = spec.get("consistentHash")
    if hashing:
        if ring := hashing.get("ringHash") or ("minimumRingSize" in hashing and hashing):
            size = int(ring.get("minimumRingSize") or 1024)
            return {"lb_policy": "RING_HASH", "ring_hash_lb_config": {"minimum_ring_size": size}}
        if hashing.get("maglev") is not None:
            size = int(hashing["maglev"].get("tableSize") or 65537)
            return {"lb_policy": "MAGLEV", "maglev_lb_config": {"table_size": size}}
        return {"lb_policy": "RING_HASH", "ring_hash_lb_config": {"minimum_ring_size": 1024}}
    simple = str(spec.get("simple") or "UNSPECIFIED")
    if simple not in _LB:
        report.add(
            f"{path}.simple", f"{simple} is not supported by the sandbox's mesh; LEAST_REQUEST is used"
        )
    return {"lb_policy": _LB.get(simple, "LEAST_REQUEST")}


def _connection_pool(spec: Object, report: Problems, path: str) -> Resource:
    tcp, http = spec.get("tcp") or {}, spec.get("http") or {}
    report.unsupported(spec, {"tcp", "http"}, path, "the pool goes without it")
    report.unsupported(
        tcp,
        {"maxConnections", "connectTimeout", "tcpKeepalive", "idleTimeout", "maxConnectionDuration"},
        f"{path}.tcp",
        "the pool goes without it",
    )
    report.unsupported(
        http,
        {
            "http1MaxPendingRequests",
            "http2MaxRequests",
            "maxRequestsPerConnection",
            "maxRetries",
            "idleTimeout",
        },
        f"{path}.http",
        "the pool goes without it",
    )
    limits = {
        "max_connections": tcp.get("maxConnections"),
        "max_pending_requests": http.get("http1MaxPendingRequests"),
        "max_requests": http.get("http2MaxRequests"),
        "max_retries": http.get("maxRetries"),
    }
    common: Resource = {
        "idle_timeout": seconds(http.get("idleTimeout") or tcp.get("idleTimeout") or IDLE_TIMEOUT)
    }
    if limit := http.get("maxRequestsPerConnection"):
        common["max_requests_per_connection"] = int(limit)
    if life := tcp.get("maxConnectionDuration"):
        common["max_connection_duration"] = seconds(life)
    out: Resource = {
        "connect_timeout": seconds(tcp.get("connectTimeout") or CONNECT_TIMEOUT),
        "circuit_breakers": {
            "thresholds": [{name: int(value or UNLIMITED) for name, value in limits.items()}]
        },
        "common": common,
    }
    if keepalive := tcp.get("tcpKeepalive"):
        names = {"probes": "keepalive_probes", "time": "keepalive_time", "interval": "keepalive_interval"}
        out["upstream_connection_options"] = {
            "tcp_keepalive": {
                there: int(keepalive[here]) if here == "probes" else int(float(seconds(keepalive[here])[:-1]))
                for here, there in names.items()
                if here in keepalive
            }
        }
    return out


def _outlier_detection(spec: Object, report: Problems, path: str) -> Resource:
    """https://istio.io/latest/docs/reference/config/networking/destination-rule/#OutlierDetection:
    defaults are 5 consecutive 5xx, 10 s interval, 30 s ejection, at most 10 % ejected, panic at 0 %."""
    report.unsupported(
        spec,
        {
            "consecutiveErrors",
            "consecutive5xxErrors",
            "consecutiveGatewayErrors",
            "consecutiveLocalOriginFailures",
            "splitExternalLocalOriginErrors",
            "interval",
            "baseEjectionTime",
            "maxEjectionPercent",
            "minHealthPercent",
        },
        path,
        "ejection goes on without it",
    )
    out: Resource = {"enforcing_success_rate": 0}
    if "interval" in spec:
        out["interval"] = seconds(spec["interval"])
    if "baseEjectionTime" in spec:
        out["base_ejection_time"] = seconds(spec["baseEjectionTime"])
    if "maxEjectionPercent" in spec:
        out["max_ejection_percent"] = int(spec["maxEjectionPercent"])
    if (gateway := spec.get("consecutiveGatewayErrors", spec.get("consecutiveErrors"))) is not None:
        out["consecutive_gateway_failure"] = int(gateway) or UNLIMITED
        out["enforcing_consecutive_gateway_failure"] = 100 if gateway else 0
    if (errors := spec.get("consecutive5xxErrors")) is not None:
        out["consecutive_5xx"] = int(errors) or UNLIMITED
        out["enforcing_consecutive_5xx"] = 100 if errors else 0
    if spec.get("splitExternalLocalOriginErrors"):
        out["split_external_local_origin_errors"] = True
        if (local := spec.get("consecutiveLocalOriginFailures")) is not None:
            out["consecutive_local_origin_failure"] = int(local)
            out["enforcing_consecutive_local_origin_failure"] = 100 if local else 0
    panic = float(spec.get("minHealthPercent") or 0)
    return {"outlier_detection": out, "common_lb_config": {"healthy_panic_threshold": {"value": panic}}}


def _cluster(name: str, service: Service, subset: str, *, port: ServicePort, policy: Resource) -> Resource:
    pool = _connection_pool({}, Problems("", {}), "") | policy if "common" not in policy else dict(policy)
    return typed(
        "config.cluster.v3.Cluster",
        name=name,
        alt_stat_name=stat_name(name),
        type="STATIC",
        typed_extension_protocol_options=protocol_options(
            explicit_http_config=explicit(http2=port.http2),
            common_http_protocol_options=pool.pop("common"),
        ),
        metadata={"filter_metadata": {METADATA: _service_labels(service, subset)}},
        **{"lb_policy": "LEAST_REQUEST", "common_lb_config": {"healthy_panic_threshold": {"value": 0}}}
        | pool,
    )


def protocol_options(**fields: Any) -> Resource:
    """How a cluster speaks HTTP to its endpoints."""
    name = "extensions.upstreams.http.v3.HttpProtocolOptions"
    return {f"envoy.{name}": typed(name, **fields)}


def explicit(*, http2: bool) -> Resource:
    return {"http2_protocol_options" if http2 else "http_protocol_options": {}}


def _service_labels(service: Service, subset: str) -> dict[str, str]:
    return {
        "service": service.host.fqdn,
        "service_name": service.host.name,
        "service_namespace": service.host.namespace,
        "subset": subset,
    }


def _load_assignment(
    name: str, endpoints: Iterable[Endpoint], port: ServicePort, address: Address
) -> Resource:
    found = [_lb_endpoint(endpoint, address(endpoint, port)) for endpoint in endpoints]
    return {"cluster_name": name, "endpoints": [{"lb_endpoints": found}]}


def _lb_endpoint(endpoint: Endpoint, address: Resource) -> Resource:
    return {
        "endpoint": {"address": address},
        "metadata": {"filter_metadata": {METADATA: _workload_labels(endpoint)}},
    }


def _workload_labels(endpoint: Endpoint) -> dict[str, str]:
    """Istio's identity of a workload: https://istio.io/latest/docs/reference/config/metrics/."""
    labels = endpoint.labels
    app = labels.get("app") or labels.get("app.kubernetes.io/name") or ""
    version = labels.get("version") or labels.get("app.kubernetes.io/version") or ""
    return {
        "workload": endpoint.workload,
        "workload_namespace": endpoint.namespace,
        "app": app,
        "version": version,
        "canonical_service": labels.get("service.istio.io/canonical-name") or app or endpoint.workload,
        "canonical_revision": labels.get("service.istio.io/canonical-revision") or version or "latest",
        "pod_template_hash": template_hash(labels),
    }


def hash_policy(world: World, fqdn: str) -> list[Resource]:
    """The route's hash policy for a destination whose rule asks for consistent hashing; [] otherwise."""
    rule = world.rules.get(fqdn) or {}
    spec = ((rule.get("spec") or {}).get("trafficPolicy") or {}).get("loadBalancer") or {}
    hashing = spec.get("consistentHash") or {}
    if header := hashing.get("httpHeaderName"):
        return [{"header": {"header_name": header}}]
    if cookie := hashing.get("httpCookie"):
        body = {"name": cookie.get("name") or ""}
        if cookie.get("ttl") is not None:
            body["ttl"] = seconds(cookie["ttl"])
        if cookie.get("path"):
            body["path"] = cookie["path"]
        return [{"cookie": body}]
    if hashing.get("useSourceIp"):
        return [{"connection_properties": {"source_ip": True}}]
    if parameter := hashing.get("httpQueryParameterName"):
        return [{"query_parameter": {"name": parameter}}]
    return []
