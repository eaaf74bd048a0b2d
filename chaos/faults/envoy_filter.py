"""The EnvoyFilter of a mesh fault, as values: Envoy's HTTP fault filter before the router of the victims' proxies.

Formats: https://istio.io/latest/docs/reference/config/networking/envoy-filter/ and
https://www.envoyproxy.io/docs/envoy/latest/api-v3/extensions/filters/http/fault/v3/fault.proto
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from rollout.api.meta import Object, View

HTTP_FAULT = "type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault"
CONNECTION_MANAGER = "envoy.filters.network.http_connection_manager"
ROUTER = "envoy.filters.http.router"


class Filter(View, frozen=True):
    """One mesh fault, complete: it is a receipt's undo data, and any state of its EnvoyFilter follows from it.

    `port` 0 = every port; `clusters` are the upstreams that are meant (none = all); `delay` in seconds and `status`
    of an abort exclude each other; `percent` of the requests are struck.
    """

    name: str
    id: str
    selector: dict[str, str]
    direction: Literal["SIDECAR_INBOUND", "SIDECAR_OUTBOUND"]
    percent: int
    delay: float = 0.0
    status: int = 0
    port: int = 0
    clusters: tuple[str, ...] = ()


def spec(fault: Filter) -> dict[str, Any]:
    """The EnvoyFilter's spec while the fault is active; with `percent=0` while it is being undone."""
    return {
        "workloadSelector": {"labels": dict(fault.selector)},
        "configPatches": [_patch(fault, cluster, at) for at, cluster in enumerate(fault.clusters or ("",))],
    }


def silent(obj: Object) -> bool:
    """Whether no filter in the object strikes any request: all its percentages are 0."""
    patches = (obj.get("spec") or {}).get("configPatches") or ()
    return all(_percent(patch) == 0 for patch in patches)


def _patch(fault: Filter, cluster: str, at: int) -> dict[str, Any]:
    listener: dict[str, Any] = {
        "filterChain": {"filter": {"name": CONNECTION_MANAGER, "subFilter": {"name": ROUTER}}},
    }
    if fault.port and fault.direction == "SIDECAR_INBOUND":
        listener["portNumber"] = fault.port
    name = f"surefoot.fault.{fault.id}" + (f".{at}" if at else "")
    return {
        "applyTo": "HTTP_FILTER",
        "match": {"context": fault.direction, "listener": listener},
        "patch": {
            "operation": "INSERT_BEFORE",
            "value": {"name": name, "typed_config": _typed_config(fault, cluster)},
        },
    }


def _typed_config(fault: Filter, cluster: str) -> dict[str, Any]:
    share = {"numerator": fault.percent, "denominator": "HUNDRED"}
    config: dict[str, Any] = {"@type": HTTP_FAULT}
    if fault.delay:
        config["delay"] = {"fixed_delay": f"{fault.delay:.3f}s", "percentage": share}
    else:
        config["abort"] = {"http_status": fault.status, "percentage": share}
    if cluster:
        config["upstream_cluster"] = cluster
    return config


def _percent(patch: Mapping[str, Any]) -> int:
    value = (patch.get("patch") or {}).get("value") or {}
    config = value.get("typed_config") or {}
    shares = [(config.get(part) or {}).get("percentage") or {} for part in ("delay", "abort")]
    return max(share.get("numerator") or 0 for share in shares)
