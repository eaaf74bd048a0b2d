"""The process on the host that owns a cluster: `keeper FOLDER [--until-stdin-closes]`.

It ends the cluster and removes all of it when it is told to (SIGTERM, or its standard input closes). When it is killed
the cluster ends with it; the next `up` or `down` removes what is left.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from rollout.runtime.clock import SystemClock
from tests.cluster.control_plane import ENDS_WITH_PARENT
from tests.cluster.ground import cgroups, network, registry, remains
from tests.cluster.ground.commands import Failed
from tests.cluster.ground.needs import ROOT
from tests.cluster.ground.place import MARKER, Place

NAMESPACES = ("--net", "--mount", "--pid", "--ipc", "--fork", "--kill-child", "--mount-proc")
PATIENCE = 60.0
CLOCK = SystemClock()


@dataclass(frozen=True)
class Mark:
    """How a cluster stands, as its keeper wrote it down."""

    phase: str
    """Starting, Ready, Failed, or Stopping."""
    keeper: int
    network: str
    node: int = 0
    """The process id of the first process inside, as the machine counts."""
    seconds: float = 0.0
    """From nothing to a Ready node."""
    problem: str = ""

    def write(self, folder: Path) -> None:
        partial = folder / f"{MARKER}.partial"
        partial.write_text(json.dumps(self.__dict__))
        partial.replace(folder / MARKER)

    @classmethod
    def read(cls, folder: Path) -> Mark | None:
        """None where there is no cluster."""
        try:
            return cls(**json.loads((folder / MARKER).read_text()))
        except FileNotFoundError:
            return None


def main() -> None:
    folder = Path(sys.argv[1])
    for told in (signal.SIGTERM, signal.SIGINT):
        signal.signal(told, lambda *_: sys.exit(0))
    if "--until-stdin-closes" in sys.argv:
        threading.Thread(target=_end_with_input, daemon=True).start()
    claim, place, inside = begin(folder)
    began = CLOCK.monotonic()
    mark = Mark("Starting", os.getpid(), str(place.network), _child(inside))
    failed = False
    try:
        mark.write(folder)
        for line in _lines(inside):
            told_by_node: dict[str, Any] = json.loads(line)
            if problem := told_by_node.get("failed"):
                mark = Mark("Failed", mark.keeper, mark.network, problem=problem)
            else:
                mark = Mark(
                    "Ready", mark.keeper, mark.network, mark.node, round(CLOCK.monotonic() - began, 1)
                )
            mark.write(folder)
        failed = True
    finally:
        # Told a second time, it finishes all the same.
        for told in (signal.SIGTERM, signal.SIGINT):
            signal.signal(told, signal.SIG_IGN)
        if failed and mark.phase != "Failed":
            Mark("Failed", mark.keeper, mark.network, problem="the first process inside was killed").write(
                folder
            )
        inside.kill()
        inside.wait()
        with registry.turn():
            # The logs of what failed stay until `down`.
            remains.remove(folder, files=not failed)
            if not failed:
                registry.forget(folder)
        claim.close()
    sys.exit(1)


def begin(folder: Path) -> tuple[IO[str], Place, subprocess.Popen[str]]:
    """Claims the folder, removes what dead clusters left, and starts the node, with its cable."""
    with registry.turn():
        claim = registry.claim(folder)
        if claim is None:
            raise Failed(f"there is a cluster in {folder} already")
        sweep(folder)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        place = Place(folder, network.choose())
        Mark("Starting", os.getpid(), str(place.network)).write(folder)
        cgroups.make(place.cgroup)
        argv = [*ENDS_WITH_PARENT, "unshare", *NAMESPACES]
        argv += [sys.executable, "-m", "tests.cluster.ground.node", str(folder), str(place.network)]
        with (folder / "node.log").open("ab") as log:
            inside = subprocess.Popen(
                argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, cwd=ROOT
            )
        network.connect(place, _child(inside))
    assert inside.stdin is not None
    inside.stdin.write("go\n")
    inside.stdin.flush()
    return claim, place, inside


def sweep(mine: Path) -> None:
    """What clusters left whose keeper was killed, and what is in my own folder."""
    for folder in registry.dead():
        remains.remove(folder)
        registry.forget(folder)
    remains.remove(mine)


def _child(parent: subprocess.Popen[str]) -> int:
    """The one child of `unshare`, which is in the new namespaces from its first moment."""
    until = CLOCK.monotonic() + PATIENCE
    while parent.poll() is None and CLOCK.monotonic() < until:
        if children := Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split():
            return int(children[0])
        time.sleep(0.01)
    raise Failed(f"the first process inside did not start (exit code {parent.poll()})")


def _lines(inside: subprocess.Popen[str]) -> IO[str]:
    assert inside.stdout is not None
    return inside.stdout


def _end_with_input() -> None:
    sys.stdin.buffer.read()
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
