"""Envoy's bootstrap: admin on a unix socket, three listeners, and where the dynamic configuration lies.

- `mesh`: the HTTP proxy that callers inside the sandbox use.
- `gateway`: the door from outside, by Host header.
- `metrics`: `/stats/prometheus` and nothing else of the admin interface.

These are fixed; routes, clusters and endpoints come from files, and so do the internal listeners that stand
for faulty sidecars (see `injection`). A port of 0 lets the kernel choose.
"""

from __future__ import annotations

from typing import Any

import msgspec

from rollout.sandbox.mesh import telemetry
from rollout.sandbox.mesh.injection import router
from rollout.sandbox.mesh.protobuf import Resource, extension, file_source, socket_address
from rollout.sandbox.mesh.render import GATEWAY_ROUTES, MESH_ROUTES

LISTENERS = ("mesh", "gateway", "metrics")
CLUSTERS_FILE = "clusters.json"
LISTENERS_FILE = "listeners.json"


class Ports(msgspec.Struct, frozen=True):
    """The listeners' TCP ports; 0 = any free one."""

    mesh: int = 0
    gateway: int = 0
    metrics: int = 0


def routes_file(name: str) -> str:
    return f"routes-{name}.json"


def bootstrap(ports: Ports, directory: str, admin_socket: str, address: str = "127.0.0.1") -> Resource:
    """The bootstrap for dynamic configuration in `directory`; listeners on `address` only."""
    admin = {"pipe": {"path": admin_socket, "mode": 0o600}}
    return {
        "node": {"id": "sandbox", "cluster": "surefoot"},
        "admin": {"address": admin, "ignore_global_conn_limit": True},
        "stats_flush_on_admin": True,
        "stats_config": telemetry.stats_config(),
        "bootstrap_extensions": [
            extension(
                "envoy.bootstrap.internal_listener",
                "extensions.bootstrap.internal_listener.v3.InternalListener",
            )
        ],
        "dynamic_resources": {
            "cds_config": file_source(f"{directory}/{CLUSTERS_FILE}"),
            "lds_config": file_source(f"{directory}/{LISTENERS_FILE}"),
        },
        "static_resources": {
            "clusters": [_admin_cluster(admin)],
            "listeners": [
                _listener(
                    "mesh", address, ports.mesh, _manager(MESH_ROUTES, directory, use_remote_address=False)
                ),
                _listener(
                    "gateway",
                    address,
                    ports.gateway,
                    _manager(GATEWAY_ROUTES, directory, use_remote_address=True),
                ),
                _listener("metrics", address, ports.metrics, _metrics()),
            ],
        },
        "layered_runtime": {
            "layers": [{"name": "fixed", "static_layer": _RUNTIME}, {"name": "admin", "admin_layer": {}}]
        },
    }


_RUNTIME = {"re2.max_program_size.error_level": 32_768}
"""As Istio sets it: with Envoy's own limit of 100 a list of a few callers would be refused."""


def _listener(name: str, address: str, port: int, manager: Resource) -> Resource:
    return {
        "name": name,
        "address": socket_address(address, port),
        "filter_chains": [{"filters": [manager]}],
        "ignore_global_conn_limit": name == "metrics",
    }


def _manager(routes: str, directory: str, *, use_remote_address: bool) -> Resource:
    """An HTTP connection manager. Filters that do nothing until a route asks for them are already there."""
    return extension(
        "envoy.filters.network.http_connection_manager",
        "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix=routes,
        rds={
            "route_config_name": routes,
            "config_source": file_source(f"{directory}/{routes_file(routes)}"),
        },
        use_remote_address=use_remote_address,
        normalize_path=True,
        stream_idle_timeout="0s",
        upgrade_configs=[{"upgrade_type": "websocket"}],
        access_log=[telemetry.access_log("source")],
        http_filters=[
            extension("envoy.filters.http.cors", "extensions.filters.http.cors.v3.Cors"),
            extension("envoy.filters.http.fault", "extensions.filters.http.fault.v3.HTTPFault"),
            router(),
        ],
    )


def _metrics() -> Resource:
    route: dict[str, Any] = {
        "match": {"path": "/stats/prometheus"},
        "route": {"cluster": "admin", "timeout": "10s"},
    }
    return extension(
        "envoy.filters.network.http_connection_manager",
        "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="metrics",
        route_config={
            "name": "metrics",
            "virtual_hosts": [{"name": "metrics", "domains": ["*"], "routes": [route]}],
        },
        http_filters=[extension("envoy.filters.http.router", "extensions.filters.http.router.v3.Router")],
    )


def _admin_cluster(address: Resource) -> Resource:
    return {
        "name": "admin",
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {
            "cluster_name": "admin",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
    }
