"""Which HTTP proxy leads to a target. locust's fast client reads no environment, so we do; see HTTP_PROXY in curl(1).

In the sandbox the proxy is the mesh, through which Services are reached by name.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

import msgspec


class Proxy(msgspec.Struct, frozen=True):
    host: str
    port: int
    user: str | None = None
    password: str | None = None


def proxy_for(target: str, environment: Mapping[str, str]) -> Proxy | None:
    """The proxy for a base URL; None for the direct way. NO_PROXY knows suffixes, "*", addresses and networks."""
    parts = urlsplit(target)
    name = f"{parts.scheme}_proxy"
    url = environment.get(name) or environment.get(name.upper())
    refused = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
    host = parts.hostname or ""
    if not url or any(_refused(host, one.strip()) for one in refused.split(",")):
        return None
    proxy = urlsplit(url if "//" in url else f"//{url}")
    if not proxy.hostname:
        return None
    return Proxy(
        proxy.hostname,
        proxy.port or (443 if proxy.scheme == "https" else 80),
        unquote(proxy.username) if proxy.username else None,
        unquote(proxy.password) if proxy.password else None,
    )


def _refused(host: str, entry: str) -> bool:
    """Whether an entry of NO_PROXY means a host: "*", the name or one above it, the address or its network."""
    if entry == "*":
        return True
    name = entry.lstrip(".").lower()
    if not name:
        return False
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(entry, strict=False)
    except ValueError:  # one of them is a name
        return host == name or host.endswith(f".{name}")
