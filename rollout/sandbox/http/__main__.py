"""The API server as a process: `python -m rollout.sandbox.http --state DIR [--port N] [--data DIR]`.

Prints one line of JSON when it is ready: {"address", "kubeconfig", "certificateAuthority", "tokenFile", "pid"}.
Ends on SIGTERM, SIGINT, and when its standard input closes, so that it cannot outlive the process that
started it (`--detached`: standard input is not watched).
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
from pathlib import Path

from rollout.api import codec
from rollout.errors import SandboxError
from rollout.runtime.clock import SystemClock
from rollout.sandbox.http.server import ApiServer
from rollout.sandbox.node.logs import log_source
from rollout.sandbox.storage import Storage
from rollout.sandbox.storage.journal import SqliteJournal


def main() -> int:
    arguments = _parser().parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        asyncio.run(_serve(arguments))
    except SandboxError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m rollout.sandbox.http", description="The sandbox's API server."
    )
    parser.add_argument(
        "--state", type=Path, required=True, help="directory for certificates, token and kubeconfig"
    )
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1; 0 (default) takes a free one")
    parser.add_argument(
        "--data", type=Path, help="keep all objects in this directory; default: in memory only"
    )
    parser.add_argument(
        "--node-state", type=Path, help="the node agent's state directory: where `kubectl logs` finds them"
    )
    parser.add_argument("--detached", action="store_true", help="do not end when standard input closes")
    return parser


async def _serve(arguments: argparse.Namespace) -> None:
    clock = SystemClock()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if not arguments.detached:
        _watch_parent(stop)
    journal = SqliteJournal(arguments.data) if arguments.data is not None else None
    storage = Storage(clock, journal=journal)
    logs = log_source(arguments.node_state, clock) if arguments.node_state is not None else None
    server = ApiServer(storage, arguments.state, clock, port=arguments.port, logs=logs)
    await server.start()
    storage.trust(server.authority.decode())
    file = arguments.state / "kubeconfig"
    server.write_kubeconfig(file)
    _announce(server, file, arguments.state)
    await stop.wait()
    await server.stop()
    storage.close()


def _watch_parent(stop: asyncio.Event) -> None:
    """Sets `stop` when standard input closes: the parent holds its other end."""
    loop, parent = asyncio.get_running_loop(), sys.stdin.fileno()

    def readable() -> None:
        if not os.read(parent, 65536):
            loop.remove_reader(parent)
            stop.set()

    try:
        loop.add_reader(parent, readable)
    except PermissionError as error:  # a file or /dev/null: nothing that could close
        raise SandboxError(
            "standard input is no pipe or terminal, so nothing would ever end this server; say --detached if that is meant"
        ) from error


def _announce(server: ApiServer, kubeconfig: Path, state: Path) -> None:
    ready = {
        "address": server.address,
        "kubeconfig": str(kubeconfig.absolute()),
        "certificateAuthority": str(server.authority_file.absolute()),
        "tokenFile": str((state / "token").absolute()),
        "pid": os.getpid(),
    }
    sys.stdout.write(codec.encode(ready).decode() + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
