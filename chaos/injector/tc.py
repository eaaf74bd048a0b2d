"""The arguments of `tc`, and what it answers. Pure.

Without a choice of packets the impairing qdisc is the root. With hosts, ports or exempt addresses the root is `prio`
with a fourth band that nothing reaches by itself, the impairing qdisc is in that band, and filters send packets there:
first those that keep the exempt ones out, then those that choose. ARP is never touched.
tc(8), tc-netem(8), tc-prio(8), tc-u32(8).
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

ROOT = "5f00:"
"""The handle of our root qdisc, by which it is known and alone is ever deleted."""
BAND = "5f01:"
"""The handle of the impairing qdisc when it is not the root itself."""
PASS, IMPAIR = f"{ROOT}1", f"{ROOT}4"
_PRIOMAP = ["1", "2", "2", "2", "1", "2", "0", "0", "1", "1", "1", "1", "1", "1", "1", "1"]
"""The kernel's own: which of the first three bands each priority takes."""

Argv = list[str]


@dataclass(frozen=True, kw_only=True)
class Impairment:
    """What is to be done. Milliseconds and percent; `hosts` and `exempt` are addresses.

    `qdisc` tbf (a rate of 1 Mbit/s) stands in netem's place where a kernel has no netem, and htb in that of prio: with
    them the whole machinery can be tried for real.
    """

    interface: str
    qdisc: Literal["netem", "tbf"] = "netem"
    delay: float = 0.0
    jitter: float = 0.0
    loss: float = 0.0
    correlation: float = 0.0
    limit: int = 1000
    hosts: tuple[str, ...] = ()
    ports: tuple[int, ...] = ()
    exempt: tuple[str, ...] = ()

    @property
    def chooses(self) -> bool:
        return bool(self.hosts or self.ports or self.exempt)


@dataclass(frozen=True)
class Statistics:
    """Counters of the impairing qdisc: packets that went through it, and that it dropped."""

    packets: int = 0
    dropped: int = 0


def adding(what: Impairment) -> list[Argv]:
    """The commands that impair, in order. Before the last one no packet is impaired."""
    if not what.chooses:
        return [[*_qdisc("add", what), "root", "handle", ROOT, *_impairing(what)]]
    return [
        *_classes(what),
        [*_qdisc("add", what), "parent", IMPAIR, "handle", BAND, *_impairing(what)],
        *(_filter(what, [address], PASS, 10) for address in what.exempt),
        *_choosing(what),
    ]


def removing(interface: str) -> Argv:
    """Deletes our root qdisc and all below it. The kernel refuses when the root is not ours."""
    return ["tc", "qdisc", "del", "dev", interface, "root", "handle", ROOT]


def showing(interface: str) -> Argv:
    return ["tc", "-s", "-j", "qdisc", "show", "dev", interface]


def parsed(output: str) -> list[dict[str, Any]]:
    """The qdiscs that `showing` lists. ValueError when that is not what it printed."""
    entries = json.loads(output or "[]")
    if not isinstance(entries, list) or not all(isinstance(one, dict) for one in entries):
        raise ValueError("tc printed no list of qdiscs")
    return entries


def foreign(entries: Sequence[dict[str, Any]]) -> str:
    """A root qdisc that somebody has set, ours of an earlier time included; "" when there is only the default.

    The kernel's own default has the handle 0: and comes back by itself when ours is deleted; any other would not.
    """
    roots = (one for one in entries if one.get("root") and one.get("handle") != "0:")
    return next((f"{one.get('kind')} {one.get('handle')}" for one in roots), "")


def present(entries: Sequence[dict[str, Any]]) -> bool:
    """Whether anything of ours is there."""
    return any(one.get("handle") in {ROOT, BAND} for one in entries)


def statistics(entries: Sequence[dict[str, Any]]) -> Statistics:
    """Of the impairing qdisc: the one in the band, or else our root."""
    for handle in (BAND, ROOT):
        for one in entries:
            if one.get("handle") == handle:
                return Statistics(int(one.get("packets", 0)), int(one.get("drops", 0)))
    return Statistics()


def _qdisc(verb: str, what: Impairment) -> Argv:
    return ["tc", "qdisc", verb, "dev", what.interface]


def _impairing(what: Impairment) -> Argv:
    if what.qdisc == "tbf":
        return ["tbf", "rate", "1mbit", "burst", "32kbit", "latency", "400ms"]
    args = ["netem", "limit", str(what.limit)]
    if what.delay:
        args += ["delay", _ms(what.delay)]
        if what.jitter:
            args += [_ms(what.jitter)] + ([_percent(what.correlation)] if what.correlation else [])
    if what.loss:
        args += ["loss", _percent(what.loss)]
        if what.correlation:
            args.append(_percent(what.correlation))
    return args


def _classes(what: Impairment) -> list[Argv]:
    root = [*_qdisc("add", what), "root", "handle", ROOT]
    if what.qdisc == "netem":
        return [[*root, "prio", "bands", "4", "priomap", *_PRIOMAP]]
    add = ["tc", "class", "add", "dev", what.interface, "parent", ROOT, "classid"]
    return [
        [*root, "htb", "default", "1"],
        *([*add, name, "htb", "rate", "10gbit"] for name in (PASS, IMPAIR)),
    ]


def _choosing(what: Impairment) -> list[Argv]:
    """Filters for every host and port; a port may be the peer's or the pod's own."""
    if not what.hosts:
        chosen = [
            (address, match) for address in ("0.0.0.0/0", "::/0") for match in _port_matches(what, address)
        ]
    else:
        chosen = [(address, match) for address in what.hosts for match in _port_matches(what, address)]
    return [_filter(what, [address, *match], IMPAIR, 20) for address, match in chosen]


def _port_matches(what: Impairment, address: str) -> list[Argv]:
    word = _word(address)
    if not what.ports:
        return [[]]
    sides = ("dport", "sport")
    return [["match", word, side, str(port), "0xffff"] for port in what.ports for side in sides]


def _filter(what: Impairment, match: Sequence[str], flow: str, preference: int) -> Argv:
    """One u32 filter. `match` is an address and more matches; a preference belongs to one protocol alone."""
    address, *more = match
    network = ipaddress.ip_network(address)
    protocol, offset = ("ip", 0) if network.version == 4 else ("ipv6", 1)
    base = ["tc", "filter", "add", "dev", what.interface, "parent", ROOT, "protocol", protocol]
    chosen = (
        ["match", "u32", "0", "0"]
        if network.prefixlen == 0
        else ["match", _word(address), "dst", str(network)]
    )
    if network.prefixlen == 0 and more:
        chosen = []
    return [*base, "pref", str(preference + offset), "u32", *chosen, *more, "flowid", flow]


def _word(address: str) -> str:
    return "ip" if ipaddress.ip_network(address).version == 4 else "ip6"


def _ms(value: float) -> str:
    return f"{value:g}ms" if value >= 1 else f"{value * 1000:g}us"


def _percent(value: float) -> str:
    return f"{value:g}%"
