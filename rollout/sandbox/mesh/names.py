"""Names: what a host in a spec means, what clusters are called, how a caller tells its namespace.

A caller inside the mesh uses Envoy as an HTTP proxy. The user part of the proxy's URL is the caller's
namespace (`HTTP_PROXY=http://NAMESPACE:mesh@127.0.0.1:PORT`), which clients send as
`Proxy-Authorization: Basic ...`; it decides what a short name such as `http://web/` means, as the DNS
search path of a pod does. It is a name, not a secret: the listener is on loopback and grants nothing.
"""

from __future__ import annotations

import base64

import msgspec

CLUSTER_DOMAIN = "svc.cluster.local"
DEFAULT_NAMESPACE = "default"
PROXY_PASSWORD = "mesh"  # noqa: S105 - a constant that some clients need to send the user part at all


class Host(msgspec.Struct, frozen=True, order=True):
    """A Service's name. `fqdn` is what Istio calls it everywhere."""

    namespace: str
    name: str

    @property
    def fqdn(self) -> str:
        return f"{self.name}.{self.namespace}.{CLUSTER_DOMAIN}"

    @property
    def qualified(self) -> tuple[str, ...]:
        """All spellings that name this Service from any namespace."""
        base = f"{self.name}.{self.namespace}"
        return base, f"{base}.svc", f"{base}.{CLUSTER_DOMAIN}"


def service_host(text: str, namespace: str) -> Host | None:
    """The Service that `text` names when written in `namespace`; None if it cannot be a Service's name.

    `web`, `web.prod`, `web.prod.svc` and `web.prod.svc.cluster.local` are Service names; everything else
    (`shop.example.com`, `*.example.com`) is a host of its own.
    """
    parts = text.lower().rstrip(".").split(".")
    if "" in parts or "*" in parts:
        return None
    match parts:
        case [name]:
            return Host(namespace, name)
        case [name, ns] | [name, ns, "svc"] | [name, ns, "svc", "cluster", "local"]:
            return Host(ns, name)
        case _:
            return None


def cluster_name(host: str, port: int, subset: str = "") -> str:
    """The Envoy cluster of a Service's port and subset, in Istio's own spelling."""
    return f"outbound|{port}|{subset}|{host}"


def proxy_url(namespace: str, port: int, address: str = "127.0.0.1") -> str:
    """The value of HTTP_PROXY for a process that lives in `namespace`."""
    return f"http://{namespace}:{PROXY_PASSWORD}@{address}:{port}"


def caller_tokens(namespace: str) -> tuple[str, ...]:
    """The values of Proxy-Authorization that say "I am in `namespace`" (with and without password)."""
    users = (f"{namespace}:{PROXY_PASSWORD}", f"{namespace}:")
    return tuple("Basic " + base64.b64encode(user.encode()).decode() for user in users)
