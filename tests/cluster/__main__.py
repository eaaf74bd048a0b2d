"""python -m tests.cluster up|down|status|env|import|measure: a whole real cluster on this machine."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rollout.runtime.clock import SystemClock
from tests.cluster.ground.api import kubectl_path
from tests.cluster.ground.cluster import Cluster, down, find, phase, up
from tests.cluster.ground.commands import Failed
from tests.cluster.ground.examples import read, web
from tests.cluster.ground.images import busybox
from tests.cluster.ground.needs import missing
from tests.cluster.ground.place import default_folder
from tests.cluster.ground.waiting import until


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.cluster", description=__doc__)
    parser.add_argument(
        "--state", type=Path, default=default_folder(), help="its folder (default: %(default)s)"
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("up", help="start it, and return when its node is Ready; it runs until `down`")
    commands.add_parser("down", help="end it and remove all of it, also what is left of a killed one")
    commands.add_parser("status", help="how it stands; exit code 0 if it is Ready")
    commands.add_parser("env", help="what a shell needs to use it: eval $(python -m tests.cluster env)")
    commands.add_parser("measure", help="from nothing to three Ready pods behind a Service, and down again")
    importing = commands.add_parser("import", help="make the images of a tar archive known to its node")
    importing.add_argument("archive", type=Path, nargs="+")
    args = parser.parse_args()
    try:
        return act(args)
    except Failed as problem:
        sys.stderr.write(f"{problem}\n")
        return 1


def act(args: argparse.Namespace) -> int:
    match args.command:
        case "up":
            check()
            cluster = up(args.state)
            say(
                f"the node is Ready after {cluster.seconds} s; eval $(python -m tests.cluster env), then kubectl"
            )
        case "measure":
            measure(args.state)
        case "down":
            down(args.state)
        case "status":
            found = phase(args.state)
            say(found)
            return 0 if found == "Ready" else 1
        case "env":
            folder = kubectl_path().parent
            say(f"export KUBECONFIG={there(args.state).kubeconfig}; export PATH={folder}:$PATH")
        case "import":
            for archive in args.archive:
                there(args.state).import_image(archive)
    return 0


def check() -> None:
    if lacks := missing():
        raise Failed("\n".join(lacks))


def measure(folder: Path) -> None:
    check()
    clock = SystemClock()
    began = clock.monotonic()
    cluster = up(folder)
    try:
        node = clock.monotonic() - began
        cluster.import_image(busybox(folder / "busybox.tar"))
        cluster.kubectl("apply", "-f", "-", stdin=web())
        cluster.kubectl("rollout", "status", "deployment/web", "--timeout=240s")
        address = cluster.get("service", "web")["spec"]["clusterIP"]
        until("a pod answers behind the Service", lambda: read(f"http://{address}/"))
        pods = clock.monotonic() - began
    finally:
        ended = clock.monotonic()
        down(folder)
    say(
        f"node Ready after {node:.1f} s, three Ready pods behind a Service after {pods:.1f} s, "
        f"all gone in {clock.monotonic() - ended:.1f} s"
    )


def there(folder: Path) -> Cluster:
    found = find(folder)
    if found is None:
        raise Failed(f"no cluster is Ready in {folder}; start one with: python -m tests.cluster up")
    return found


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    sys.exit(main())
