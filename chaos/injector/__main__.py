"""`python -m chaos.injector netem|revert|kill|reach`: the entrypoint of the injector's image."""

from __future__ import annotations

import argparse
import socket
import subprocess
import sys
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from chaos.injector import guardian, kill, reach, tc, words

SIGNALS = ("TERM", "KILL", "INT", "HUP", "QUIT", "ABRT")


class _Exact(argparse.ArgumentParser):
    """Options are read as they are written, never by their beginnings."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings, allow_abbrev=False)


def parser() -> argparse.ArgumentParser:
    made = _Exact(prog="injector", description=__doc__)
    made.add_argument("--termination-log", default=words.PLACE)
    kinds = made.add_subparsers(dest="command", required=True, parser_class=_Exact)

    netem = kinds.add_parser("netem", help="impair what this network namespace sends, until a deadline")
    netem.add_argument("--deadline", type=float, required=True, help="seconds since 1970-01-01 UTC")
    netem.add_argument("--interface", default="eth0")
    netem.add_argument("--qdisc", choices=("netem", "tbf"), default="netem")
    for name, unit in (("delay", "ms"), ("jitter", "ms"), ("loss", "%%"), ("correlation", "%%")):
        netem.add_argument(f"--{name}", type=float, default=0.0, help=unit)
    netem.add_argument("--limit", type=int, default=1000, help="packets that may wait")
    netem.add_argument("--host", action="append", default=[], help="impair only packets to it; resolved once")
    netem.add_argument(
        "--port", action="append", default=[], type=int, help="impair only packets to or from it"
    )
    netem.add_argument("--exempt", action="append", default=[], help="never impair packets to this address")
    netem.add_argument(
        "--lease-url", default="", help="undo when it does not answer for three periods, or with 410"
    )
    netem.add_argument("--lease-period", type=float, default=5.0, help="seconds")

    revert = kinds.add_parser("revert", help="only undo what another injector has left")
    revert.add_argument("--interface", default="eth0")

    killing = kinds.add_parser("kill", help=f"a signal to process 1, or ${kill.TARGET}")
    killing.add_argument("--signal", choices=SIGNALS, default="TERM")

    reaching = kinds.add_parser("reach", help="wait until an address is open or blocked")
    reaching.add_argument("--address", required=True, help="HOST:PORT")
    reaching.add_argument("--expect", choices=("open", "blocked"), required=True)
    reaching.add_argument("--deadline", type=float, required=True)
    return made


def main(argv: Sequence[str]) -> int:
    given = parser().parse_args(argv)
    place: str = given.termination_log
    try:
        match given.command:
            case "kill":
                return kill.run(given.signal, place)
            case "reach":
                return reach.run(given.address, given.expect, given.deadline, place)
            case "revert":
                return guardian.revert(given.interface, place)
            case _:
                return guardian.run(_order(given))
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        return words.finish(words.FAILED, "failed", f"{type(error).__name__}: {error}", place=place)


def _order(given: argparse.Namespace) -> guardian.Order:
    """Names are resolved here, once and before anything is impaired; the lease's server stays reachable."""
    server = urlsplit(given.lease_url).hostname if given.lease_url else None
    if given.lease_url and (urlsplit(given.lease_url).scheme not in {"http", "https"} or not server):
        raise ValueError("--lease-url must be an http or https URL")
    what = tc.Impairment(
        interface=given.interface,
        qdisc=given.qdisc,
        delay=given.delay,
        jitter=given.jitter,
        loss=given.loss,
        correlation=given.correlation,
        limit=given.limit,
        hosts=_addresses(given.host),
        ports=tuple(given.port),
        exempt=_addresses([*given.exempt, *([server] if server else [])]),
    )
    return guardian.Order(what, given.deadline, given.lease_url, given.lease_period, given.termination_log)


def _addresses(names: Sequence[str]) -> tuple[str, ...]:
    """All addresses of these hosts. OSError when one has none: a fault on nobody is not what was asked for."""
    found = [
        str(entry[4][0])
        for name in names
        for entry in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    ]
    return tuple(dict.fromkeys(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
