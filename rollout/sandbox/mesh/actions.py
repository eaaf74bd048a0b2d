"""What routes of both APIs do with a request, as Envoy says it: split, mirror, redirect, retry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from rollout.sandbox.mesh.clusters import hash_policy
from rollout.sandbox.mesh.model import World
from rollout.sandbox.mesh.names import cluster_name, service_host
from rollout.sandbox.mesh.protobuf import Resource, percent

# Istio's defaults: two retries, of the caller's sidecar on connect-failure, refused-stream, unavailable
# and cancelled, and of the server's sidecar on reset-before-request (since 1.24). This one Envoy stands
# for both sidecars. None of them repeats a request that the application may have seen.
RETRY_ON = "connect-failure,refused-stream,unavailable,cancelled,reset-before-request"
RETRY_ATTEMPTS = 2

_REDIRECTS = {
    301: "MOVED_PERMANENTLY",
    302: "FOUND",
    303: "SEE_OTHER",
    307: "TEMPORARY_REDIRECT",
    308: "PERMANENT_REDIRECT",
}

UNREACHED = "x-surefoot-unreached"
"""Header of an answer that a fault's inner side gives when the pod behind it cannot be connected to."""


class Backend(msgspec.Struct, frozen=True):
    """A destination of a split: an Envoy cluster and its share. `headers` are Envoy's fields."""

    cluster: str
    weight: int
    headers: Resource = {}


def retry_policy(attempts: int = RETRY_ATTEMPTS, retry_on: str = RETRY_ON, **fields: Any) -> Resource:
    """A retry policy that prefers hosts not tried before, as Istio's does. {} for no attempts.

    With a fault in front of a pod the connection to it is made on the fault's other side (see `injection`): a
    failure to connect comes back as an answer that says so, and is repeated like one.
    """
    if attempts <= 0:
        return {}
    if "connect-failure" in retry_on.split(","):
        retry_on += ",retriable-headers"
        fields = {**fields, "retriable_headers": [{"name": UNREACHED, "present_match": True}]}
    return {
        "retry_policy": {
            "retry_on": retry_on,
            "num_retries": attempts,
            "retry_host_predicate": [
                {
                    "name": "envoy.retry_host_predicates.previous_hosts",
                    "typed_config": {
                        "@type": "type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
                    },
                }
            ],
            "host_selection_retry_max_attempts": 5,
            **fields,
        }
    }


def split(backends: Sequence[Backend]) -> Resource:
    """The cluster, or the weighted clusters, of a route action.

    Shares are relative to their sum. Destinations of share 0 get nothing and are left out; a lone
    destination gets everything whatever its weight says. All zero answers 503, as nothing is chosen.
    """
    if len(backends) == 1 and not backends[0].headers:
        return {"cluster": backends[0].cluster}
    chosen = [backend for backend in backends if backend.weight > 0] or list(backends[: len(backends) == 1])
    return {
        "weighted_clusters": {
            "clusters": [
                {"name": backend.cluster, "weight": backend.weight or 1, **backend.headers}
                for backend in chosen
            ]
        }
    }


def destination(world: World, spec: Mapping[str, Any], namespace: str, port: int | None) -> str:
    """The cluster of Istio's Destination, written in `namespace`, for a request that came to `port`.

    Without a port in the destination, a Service's only port, else the port of the request. What does not
    exist gets the name it would have: Envoy then answers 503 (no cluster), as in Istio.
    """
    text = str(spec.get("host") or "")
    host = service_host(text, namespace)
    service = world.services.get(host) if host else None
    number = (spec.get("port") or {}).get("number")
    if number is None and service is not None:
        if len(service.ports) == 1:
            number = service.ports[0].number
        else:
            number = port if port and service.port(port) else service.bare_port
    return cluster_name(host.fqdn if host else text, int(number or port or 80), str(spec.get("subset") or ""))


def hashing(world: World, spec: Mapping[str, Any], namespace: str) -> list[Resource]:
    """The hash policy that the destination's rule asks for."""
    host = service_host(str(spec.get("host") or ""), namespace)
    return hash_policy(world, host.fqdn) if host else []


def mirror(cluster: str, share: float = 100.0) -> Resource:
    """A request mirror policy: `share` percent of the requests are sent a second time, answers ignored."""
    return {"cluster": cluster, "runtime_fraction": {"default_value": percent(share)}}


def redirect_code(code: int) -> str:
    """Envoy's word for an HTTP redirect status. ValueError for others."""
    if code not in _REDIRECTS:
        raise ValueError(f"{code} is not a redirect status that Envoy sends (301, 302, 303, 307, 308)")
    return _REDIRECTS[code]
