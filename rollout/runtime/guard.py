"""Keeps requests that users write into specs away from addresses that are none of their business.

Whoever may create a metric chooses its URL, and the controller asks from inside the cluster (study/reliability.md 6:
SSRF). So a host is resolved once, every address it has is checked, and the connection goes to the checked address:
a name that answers differently the second time gains nothing. Behind a proxy from the environment the proxy resolves
names, so only literal addresses can be checked here.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Collection, Mapping
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import msgspec

from rollout.errors import ProviderError
from rollout.runtime.http import MAX_BYTES, HttpClient, Request, Response

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_METADATA = frozenset(
    map(ipaddress.ip_address, ("169.254.169.254", "fd00:ec2::254", "100.100.100.200", "168.63.129.16"))
)
"""Where clouds answer with credentials: AWS, GCP and others, AWS over IPv6, Alibaba, Azure."""
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class GuardedFetch:
    """`fetch` as `HttpClient` has it, for URLs that users wrote.

    `loopback` allows 127.0.0.0/8 and ::1 (the sandbox, tests). `denied` are further hosts, by name or address: the
    API server's.
    """

    def __init__(
        self,
        client: HttpClient,
        *,
        loopback: bool = False,
        denied: Collection[str] = (),
    ) -> None:
        self._client = client
        self._loopback = loopback
        self._denied = frozenset(host.lower().rstrip(".") for host in denied)

    async def fetch(self, request: Request, *, deadline: float, max_bytes: int = MAX_BYTES) -> Response:
        """As `HttpClient.fetch`. ProviderError before anything is sent when the host is forbidden."""
        if request.follow_redirects:
            raise ProviderError("redirects of a guarded request cannot be followed")
        try:
            parts = urlsplit(request.url)
            host, port = (parts.hostname or "").rstrip("."), parts.port
        except ValueError:
            raise ProviderError("the address is a malformed URL") from None
        if not host:
            raise ProviderError("the address is a URL without a host")
        if host in self._denied:
            raise ProviderError(f"{host} may not be asked by metrics")
        if self._client.proxies and _proxied(parts.scheme, parts.netloc):
            if (literal := _literal(host)) is not None:
                self._check(host, literal)
            return await self._client.fetch(request, deadline=deadline, max_bytes=max_bytes)
        address = await self._resolve(host, port or (443 if parts.scheme == "https" else 80), deadline)
        pinned = msgspec.structs.replace(request, connect_to=str(address))
        return await self._client.fetch(pinned, deadline=deadline, max_bytes=max_bytes)

    async def _resolve(self, host: str, port: int, deadline: float) -> Address:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(deadline):
                found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except TimeoutError:
            raise ProviderError(f"{host}: the name was not resolved within {deadline:g} s") from None
        except (OSError, UnicodeError) as error:
            raise ProviderError(f"{host}: the name cannot be resolved: {error}") from None
        addresses = [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]
        for address in addresses:
            self._check(host, address)
        if not addresses:
            raise ProviderError(f"{host}: the name has no address")
        return addresses[0]

    def _check(self, host: str, address: Address) -> None:
        real = _inner(address)
        reason = ""
        if real in _METADATA or real.is_link_local:
            reason = "a link-local or metadata address"
        elif real.is_loopback:
            reason = "" if self._loopback else "a loopback address"
        elif real.is_multicast or real.is_unspecified or real == ipaddress.ip_address("255.255.255.255"):
            reason = "no address of a single host"
        elif str(real) in self._denied:
            reason = "the address of the API server"
        if reason:
            shown = host if host == str(address) else f"{host} ({address})"
            raise ProviderError(f"{shown} is {reason}, which metrics may not ask")


def _literal(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _inner(address: Address) -> Address:
    """The IPv4 address behind an IPv6 one that only stands for it."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address.sixtofour is not None:
            return address.sixtofour
        if address in _NAT64:
            return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def _proxied(scheme: str, netloc: str) -> bool:
    proxies: Mapping[str, str] = getproxies()
    wanted = proxies.get(scheme) or proxies.get("all")
    return bool(wanted) and not proxy_bypass(netloc.rpartition("@")[2])
