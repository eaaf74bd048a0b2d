"""The host of a dependency: a Service of the cluster, an address, or a host outside.

Names are read as a pod's DNS search path would: `payments` is a Service of the pod's own namespace, `payments.shop` and
its longer forms one of `shop`.
"""

from __future__ import annotations

import ipaddress
import re

import msgspec

from chaos.observed import World
from rollout.api.meta import Object, key_of, metadata
from rollout.api.resources import DESTINATION_RULES, ENDPOINT_SLICES, SERVICES

DOMAIN = "svc.cluster.local"
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")


class Host(msgspec.Struct, frozen=True):
    """A host as the mesh names it (`fqdn`), and the Service behind it, if it is one."""

    fqdn: str
    service: Object | None = None


def host_of(text: str, namespace: str, world: World) -> Host:
    """The host that pods of `namespace` mean by this text. ValueError when it is no host name."""
    if not _HOST.fullmatch(text):
        raise ValueError(f"{text!r} is not a host name")
    parts = text.lower().split(".")
    home = parts[1] if len(parts) > 1 else namespace
    if ".".join(parts[2:]) in {"", "svc", DOMAIN} and (service := world.get(SERVICES, home, parts[0])):
        return Host(f"{parts[0]}.{home}.{DOMAIN}", service)
    return Host(text.lower())


def port_of(host: Host, port: int) -> int:
    """The port that is meant. ValueError when none is said and the host does not have exactly one."""
    if port:
        return port
    ports = [one["port"] for one in ((host.service or {}).get("spec") or {}).get("ports") or ()]
    if len(ports) != 1:
        raise ValueError(f"say which port of {host.fqdn} is meant: it has {len(ports) or 'no known'} ports")
    return int(ports[0])


def clusters(host: Host, port: int, world: World) -> tuple[str, ...]:
    """Envoy's names of the host's clusters in Istio: the plain one, and one for each subset."""
    rules = [rule for rule in world.of(DESTINATION_RULES) if _rules(rule, host)]
    subsets = {one.get("name", "") for rule in rules for one in (rule.get("spec") or {}).get("subsets") or ()}
    return tuple(f"outbound|{port}|{subset}|{host.fqdn}" for subset in ("", *sorted(subsets - {""})))


def addresses(host: Host, world: World) -> tuple[str, ...]:
    """All IP addresses that the host has as far as the API knows: the Service's, and its endpoints'. () = unknown."""
    if (literal := _address(host.fqdn)) is not None:
        return (literal,)
    if host.service is None:
        return ()
    spec = host.service.get("spec") or {}
    own = [one for one in (*(spec.get("clusterIPs") or ()), spec.get("clusterIP") or "") if _address(one)]
    key = key_of(host.service)
    slices = (
        one
        for one in world.of(ENDPOINT_SLICES, key.namespace)
        if (metadata(one).get("labels") or {}).get("kubernetes.io/service-name") == key.name
    )
    behind = {a for one in slices for end in one.get("endpoints") or () for a in end.get("addresses") or ()}
    return tuple(dict.fromkeys((*own, *sorted(behind))))


def _rules(rule: Object, host: Host) -> bool:
    home = key_of(rule).namespace
    said = str((rule.get("spec") or {}).get("host") or "")
    return said in {host.fqdn, host.fqdn.removesuffix(f".{DOMAIN}")} or f"{said}.{home}.{DOMAIN}" == host.fqdn


def _address(text: str) -> str | None:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return None
