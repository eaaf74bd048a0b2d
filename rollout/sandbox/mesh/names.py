"""Names: what a host in a spec means, what clusters are called, how a caller tells its namespace.

A caller inside the mesh uses Envoy as an HTTP proxy. The user part of the proxy's URL is the caller's
namespace (`HTTP_PROXY=http://NAMESPACE:mesh@127.0.0.1:PORT`), which clients send as
`Proxy-Authorization: Basic ...`; it decides what a short name such as `http://web/` means, as the DNS
search path of a pod does. Pods say who they are in the password (`pod.NAME` instead of `mesh`), so that what
concerns their own calls can be told from others'. These are names, not secrets: the listener is on loopback and
grants nothing.
"""

from __future__ import annotations

import base64
import re
import string

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


def proxy_url(namespace: str, port: int, address: str = "127.0.0.1", *, pod: str = "") -> str:
    """The value of HTTP_PROXY for a process that lives in `namespace`; `pod` for one that is a pod's."""
    return f"http://{namespace}:{_password(pod)}@{address}:{port}"


def caller_token(namespace: str, pod: str = "") -> str:
    """The value of Proxy-Authorization that says "I am in `namespace`", and which pod I am."""
    return _BASIC + base64.b64encode(f"{namespace}:{_password(pod)}".encode()).decode()


def callers_regex(namespace: str) -> str:
    """Matches the whole Proxy-Authorization of every caller in `namespace`, whatever its password.

    base64 spells three bytes in four letters: where the user part and its colon end inside such a group, the
    letter that they share with the password is one of those that begin with the same bits.
    """
    prefix = f"{namespace}:".encode()
    whole = len(prefix) // 3 * 3
    fixed = base64.b64encode(prefix[:whole]).decode()
    return re.escape(_BASIC + fixed) + _shared(prefix[whole:]) + "[A-Za-z0-9+/=]*"


_BASIC = "Basic "
_LETTERS = string.ascii_uppercase + string.ascii_lowercase + string.digits + "+/"


def _shared(rest: bytes) -> str:
    """The letters of a group that begins with `rest` (fewer than three bytes)."""
    if not rest:
        return ""
    bits = "".join(f"{byte:08b}" for byte in rest)
    known = [bits[at : at + 6] for at in range(0, len(bits), 6)]
    letters = "".join(_LETTERS[int(group, 2)] for group in known[:-1])
    last = [letter for place, letter in enumerate(_LETTERS) if f"{place:06b}".startswith(known[-1])]
    return f"{re.escape(letters)}[{''.join(last)}]"


def _password(pod: str) -> str:
    return f"pod.{pod}" if pod else PROXY_PASSWORD
