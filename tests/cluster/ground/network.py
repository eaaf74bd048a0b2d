"""The network of a cluster: a cable from the machine to the node, and addresses that nobody here uses."""

from __future__ import annotations

import json
from collections.abc import Iterable
from ipaddress import IPv4Network
from pathlib import Path

from tests.cluster.ground.commands import Failed, run
from tests.cluster.ground.place import Place

CANDIDATES = [IPv4Network(f"10.{number}.0.0/16") for number in range(240, 255)]
SERVICES_DEVICE = "services"


def choose() -> IPv4Network:
    """A network that no address or route of this machine touches. Raises Failed when there is none."""
    return free_one(CANDIDATES, _used())


def free_one(candidates: Iterable[IPv4Network], used: Iterable[IPv4Network]) -> IPv4Network:
    taken = [network for network in used if network.prefixlen > 0]
    for candidate in candidates:
        if not any(candidate.overlaps(other) for other in taken):
            return candidate
    raise Failed("every network between 10.240.0.0/16 and 10.254.0.0/16 is in use on this machine")


def _used() -> list[IPv4Network]:
    routes = json.loads(run("ip", "-4", "-j", "route", "show", "table", "all"))
    devices = json.loads(run("ip", "-4", "-j", "address"))
    found = [one["dst"] for one in routes if one["dst"] != "default"]
    found += [
        f"{one['local']}/{one['prefixlen']}" for device in devices for one in device.get("addr_info", ())
    ]
    return [IPv4Network(text, strict=False) for text in found]


def connect(place: Place, pid: int) -> None:
    """On the machine: the cable into the network namespace of that process, and the way to pods and Services."""
    mine, theirs = place.cable
    run("ip", "link", "add", mine, "type", "veth", "peer", "name", theirs, "netns", str(pid))
    run("ip", "address", "add", f"{place.host_address}/24", "dev", mine)
    run("ip", "link", "set", mine, "up")
    for network in (place.pods, place.services):
        run("ip", "route", "add", str(network), "via", place.node_address, "dev", mine)


def set_up_node(place: Place) -> None:
    """Inside: the node's end of the cable. There is no default route, so nothing gets out.

    A connection from the node itself to a Service's address needs a route before kube-proxy's rules turn it to a
    pod; a bridge without ports is the way that leads nowhere else.
    """
    _, theirs = place.cable
    run("ip", "link", "set", "lo", "up")
    run("ip", "link", "set", theirs, "name", "eth0")
    run("ip", "address", "add", f"{place.node_address}/24", "dev", "eth0")
    run("ip", "link", "set", "eth0", "up")
    run("ip", "link", "add", SERVICES_DEVICE, "type", "bridge")
    run("ip", "link", "set", SERVICES_DEVICE, "up")
    services = str(place.services)
    run("ip", "route", "add", services, "dev", SERVICES_DEVICE, "src", place.node_address)
    for setting in ("ipv4/ip_forward", "bridge/bridge-nf-call-iptables"):
        Path("/proc/sys/net", setting).write_text("1")


def cables(name: str) -> list[str]:
    """The devices on this machine that carry the cluster's name."""
    return [one["ifname"] for one in json.loads(run("ip", "-j", "link")) if one["ifname"].startswith(name)]


def disconnect(name: str) -> None:
    for device in cables(name):
        run("ip", "link", "delete", device)
