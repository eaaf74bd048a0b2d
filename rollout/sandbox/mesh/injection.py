"""Faults of sidecars, with one Envoy that stands for them all. Pure.

In a mesh every pod has a proxy of its own, and an HTTP fault is one more filter in it. Here a pod under fault
gets one: a listener inside Envoy ("internal listener") with the fault filter, through which its requests go.

- Inbound: the address of each selected pod is replaced, in every cluster that it is in, by its listener, which
  leads to the pod. So the fault hits what lands there, also in a cluster that mixes versions, and the caller's
  retries and timeouts are outside of it. Several faults of a pod stand one behind the other.
- Outbound: calls of selected pods (told by their proxy URL) to hosts with a route to the faulty cluster are
  handed to a listener that routes them like the mesh itself, behind the fault filter: an abort is not retried,
  and a delay does not count against the route's timeout.

A listener never changes: its name has the digest of its content, and a changed fault is another listener. Those
that nothing leads to any more stay until their last request has gone (see `push`), so none is dropped. Its name
is the prefix of its statistics too; no two faults ever share counters.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from rollout.api.codec import encode
from rollout.api.meta import Key, metadata
from rollout.sandbox.mesh import telemetry
from rollout.sandbox.mesh.actions import UNREACHED, retry_policy
from rollout.sandbox.mesh.clusters import (
    CONNECT_TIMEOUT,
    IDLE_TIMEOUT,
    UNLIMITED,
    Cluster,
    explicit,
    protocol_options,
)
from rollout.sandbox.mesh.envoy_filter import Fault
from rollout.sandbox.mesh.model import Endpoint, Problem, ServicePort, World
from rollout.sandbox.mesh.names import caller_token
from rollout.sandbox.mesh.protobuf import (
    SET,
    Resource,
    extension,
    internal_address,
    socket_address,
    typed,
)

_FAULT = "envoy.filters.http.fault"
_PREFIX = "fault-"
_DIGITS = 16


class Sidecar(msgspec.Struct, frozen=True):
    """A listener with a fault, and the clusters that only it and its like lead to."""

    listener: Resource
    clusters: tuple[str, ...] = ()


class Placement(msgspec.Struct, frozen=True):
    """Where one EnvoyFilter's faults stand: its listeners, and how many pods they concern."""

    uid: str
    listeners: frozenset[str] = frozenset()
    pods: int = 0


def uid_of(listener: str) -> str:
    """The uid of the EnvoyFilter that a listener was made for."""
    return listener[len(_PREFIX) : -_DIGITS - 1]


class Injection:
    """Collects sidecars while clusters and routes are rendered."""

    def __init__(self, faults: Sequence[Fault], world: World) -> None:
        self.sidecars: dict[str, Sidecar] = {}
        self.clusters: dict[str, Cluster] = {}
        self.problems: list[Problem] = []
        self._faults, self._world = faults, world
        self._listeners: dict[Key, set[str]] = {}
        self._pods: dict[Key, set[Key]] = {}

    def placements(self) -> dict[Key, Placement]:
        """Where each fault stands, once everything is rendered."""
        return {
            fault.key: Placement(
                fault.uid,
                frozenset(self._listeners.get(fault.key, ())),
                len(self._pods.get(fault.key, ())),
            )
            for fault in self._faults
        }

    # --- inbound ----------------------------------------------------------------------------------

    def address(self, endpoint: Endpoint, port: ServicePort) -> Resource:
        """The endpoint's own address, or that of the outermost sidecar in front of it."""
        front = ""
        for fault in self._faults:
            filters = _inbound(fault, endpoint)
            if filters:
                behind = _to_listener(front) if front else _to_endpoint(endpoint, http2=port.http2)
                front = self._add(fault, filters, _everything(str(behind.resource["name"])), behind)
                self._pods.setdefault(fault.key, set()).add(Key(endpoint.namespace, endpoint.pod))
        return internal_address(front) if front else socket_address(endpoint.address, endpoint.port)

    # --- outbound ---------------------------------------------------------------------------------

    def redirect(self, hosts: list[Resource]) -> list[Resource]:
        """The mesh's virtual hosts, with the calls of pods under fault led through their sidecars."""
        ahead: dict[str, list[Resource]] = {}
        claimed: dict[str, dict[str, Fault]] = {}
        for fault in self._faults:
            if not fault.outbound:
                continue
            callers = self._callers(fault)
            self._pods.setdefault(fault.key, set()).update(callers)
            concerned = [host for host in hosts if _concerns(fault, host)]
            tokens = [caller_token(key.namespace, key.name) for key in sorted(callers)]
            if not tokens or not concerned:
                continue
            if why := self._obstacle(concerned, tokens, claimed):
                text = f"{why}; nothing of this object is served"
                self.problems.append(
                    Problem("EnvoyFilter", fault.key, "spec.configPatches", text, whole=True)
                )
                continue
            for host in concerned:
                claimed.setdefault(host["name"], {}).update(dict.fromkeys(tokens, fault))
            filters = [one.body for one in fault.outbound]
            name = self._add(fault, filters, _as_the_mesh(concerned), own_calls=True)
            cluster = _to_listener(name)
            self.clusters[str(cluster.resource["name"])] = cluster
            for host in concerned:
                ahead.setdefault(host["name"], []).append(_hand_over(fault, tokens, cluster))
        return [
            {**host, "routes": [*ahead[host["name"]], *host["routes"]]} if host["name"] in ahead else host
            for host in hosts
        ]

    def _callers(self, fault: Fault) -> set[Key]:
        return {
            key
            for key, pod in self._world.pods.items()
            if fault.selects(key.namespace, metadata(pod).get("labels") or {})
        }

    @staticmethod
    def _obstacle(
        hosts: Iterable[Resource], tokens: Sequence[str], claimed: dict[str, dict[str, Fault]]
    ) -> str:
        """Why these calls cannot have this fault too: two faults in one sidecar would share their counters."""
        for host in hosts:
            if any(_FAULT in (route.get("typed_per_filter_config") or {}) for route in host["routes"]):
                return f"a VirtualService has a fault of its own on a route of {host['name']}"
            taken = claimed.get(host["name"], {})
            if rival := next((taken[token] for token in tokens if token in taken), None):
                return f"EnvoyFilter {rival.key} is older and faults calls of the same pods to {host['name']}"
        return ""

    # --- both -------------------------------------------------------------------------------------

    def _add(
        self,
        fault: Fault,
        filters: Sequence[Resource],
        routes: Resource,
        behind: Cluster | None = None,
        *,
        own_calls: bool = False,
    ) -> str:
        """The name of a listener with `filters` before `routes`."""
        content = encode([filters, routes])
        name = f"{_PREFIX}{fault.uid}-{hashlib.sha256(content).hexdigest()[:_DIGITS]}"
        clusters: tuple[str, ...] = ()
        if behind is not None:
            clusters = (str(behind.resource["name"]),)
            self.clusters[clusters[0]] = behind
        manager = _manager(name, filters, routes, own_calls=own_calls)
        self.sidecars[name] = Sidecar(_listener(name, manager), clusters)
        self._listeners.setdefault(fault.key, set()).add(name)
        return name


def _inbound(fault: Fault, endpoint: Endpoint) -> list[Resource]:
    """The fault's filters for requests that land on this endpoint. What is no pod has no sidecar."""
    if not endpoint.workload or not fault.selects(endpoint.namespace, endpoint.labels):
        return []
    return [one.body for one in fault.inbound if one.port in {0, endpoint.container_port}]


def _concerns(fault: Fault, host: Resource) -> bool:
    """Whether a route of the virtual host leads to a cluster that the fault names."""
    found = {name for route in host["routes"] for name in _destinations(route)}
    return bool(found) and any(not one.cluster or one.cluster in found for one in fault.outbound)


def _destinations(route: Resource) -> list[str]:
    action = route.get("route") or {}
    single = [str(action["cluster"])] if "cluster" in action else []
    return single + [
        str(one["name"]) for one in (action.get("weighted_clusters") or {}).get("clusters") or ()
    ]


def _hand_over(fault: Fault, tokens: Iterable[str], cluster: Cluster) -> Resource:
    """The route of the fault's callers to their sidecar. Who calls is told there again, by another header, as
    leaving this route configuration removes the first."""
    regex = "|".join(re.escape(token) for token in tokens)
    caller = {"name": "proxy-authorization", "string_match": {"safe_regex": {"regex": f"(?:{regex})"}}}
    told = {"key": telemetry.CALLER, "value": "%REQ(proxy-authorization)%"}
    return {
        "name": f"fault:{fault.key}",
        "match": {"prefix": "/", "headers": [caller]},
        "route": {"cluster": cluster.resource["name"], "timeout": "0s"},
        "request_headers_to_add": [{"header": told, "append_action": SET}],
    }


def _everything(cluster: str) -> Resource:
    """What a pod's own sidecar does with a request: it is for this pod. Like Istio's it repeats one that the
    application closed the connection on without having read it."""
    route = {"cluster": cluster, "timeout": "0s", **retry_policy(2, "reset-before-request")}
    return {
        "name": "inbound",
        "validate_clusters": False,
        "virtual_hosts": [
            {"name": "pod", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": route}]}
        ],
    }


def _as_the_mesh(hosts: Sequence[Resource]) -> Resource:
    return {
        "name": "outbound",
        "validate_clusters": False,
        "virtual_hosts": list(hosts),
        **HEADERS,
        "max_direct_response_body_size_bytes": 65536,
    }


HEADERS: Resource = {
    "request_headers_to_remove": ["proxy-authorization"],
    "response_headers_to_remove": [UNREACHED],
}
"""What ends where a request leaves the caller, and an answer comes back to it."""


def router(*, counting: bool = True) -> Resource:
    """The last HTTP filter. `counting`: attempts are reported as those of a caller's sidecar."""
    fields: dict[str, Any] = (
        {"upstream_log": [telemetry.access_log("destination")]}
        if counting
        else {"suppress_envoy_headers": True}
    )
    return extension("envoy.filters.http.router", "extensions.filters.http.router.v3.Router", **fields)


def _manager(name: str, filters: Sequence[Resource], routes: Resource, *, own_calls: bool) -> Resource:
    """The sidecar's HTTP connection manager. It changes nothing of a message but what the fault does."""
    fields: dict[str, Any] = (
        {"early_header_mutation_extensions": [_CALLER_AGAIN], "access_log": [telemetry.access_log("source")]}
        if own_calls
        else {"local_reply_config": _TELL_UNREACHED}
    )
    return extension(
        "envoy.filters.network.http_connection_manager",
        "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix=name,
        route_config=routes,
        use_remote_address=False,
        skip_xff_append=True,
        preserve_external_request_id=True,
        server_header_transformation="PASS_THROUGH",
        stream_idle_timeout="0s",
        upgrade_configs=[{"upgrade_type": "websocket"}],
        http_filters=[
            *(
                [extension("envoy.filters.http.cors", "extensions.filters.http.cors.v3.Cors")]
                if own_calls
                else []
            ),
            *filters,
            router(counting=own_calls),
        ],
        **fields,
    )


_CALLER_AGAIN = extension(
    "envoy.http.early_header_mutation.header_mutation",
    "extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation",
    mutations=[
        {
            "append": {
                "header": {"key": "proxy-authorization", "value": f"%REQ({telemetry.CALLER})%"},
                "append_action": SET,
            }
        },
        {"remove": telemetry.CALLER},
    ],
)
_TELL_UNREACHED = {
    "mappers": [
        {
            "filter": {"response_flag_filter": {"flags": ["UF"]}},
            "headers_to_add": [{"header": {"key": UNREACHED, "value": "1"}}],
        }
    ]
}


def _listener(name: str, manager: Resource) -> Resource:
    return typed(
        "config.listener.v3.Listener",
        name=name,
        stat_prefix=name,
        internal_listener={},
        filter_chains=[{"filters": [manager]}],
    )


def _to_endpoint(endpoint: Endpoint, *, http2: bool) -> Cluster:
    """The pod itself, named as Istio names it, with its address as there are many pods behind one Envoy."""
    name = f"inbound|{endpoint.port}||{endpoint.address}" + ("|http2" if http2 else "")
    return _cluster(
        name,
        socket_address(endpoint.address, endpoint.port),
        explicit_http_config=explicit(http2=http2),
        common_http_protocol_options={"idle_timeout": IDLE_TIMEOUT},
    )


def _to_listener(listener: str) -> Cluster:
    both: Resource = {"http_protocol_options": {}, "http2_protocol_options": {}}
    return _cluster(
        f"sidecar|{listener}",
        internal_address(listener),
        use_downstream_protocol_config=both,
        common_http_protocol_options={"idle_timeout": IDLE_TIMEOUT},
    )


def _cluster(name: str, address: Resource, **protocol: Any) -> Cluster:
    names = ("max_connections", "max_pending_requests", "max_requests", "max_retries")
    limits = dict.fromkeys(names, UNLIMITED)
    resource = typed(
        "config.cluster.v3.Cluster",
        name=name,
        alt_stat_name="sidecar",
        type="STATIC",
        connect_timeout=CONNECT_TIMEOUT,
        typed_extension_protocol_options=protocol_options(**protocol),
        circuit_breakers={"thresholds": [limits]},
        load_assignment={
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
    )
    return Cluster(resource, 1)
