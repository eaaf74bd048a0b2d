"""What commands and tests call: a cluster, and its beginning and end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Network
from pathlib import Path
from typing import IO

from rollout.runtime.clock import SystemClock
from tests.cluster.ground import cgroups, registry, remains
from tests.cluster.ground.api import Api
from tests.cluster.ground.commands import Failed
from tests.cluster.ground.images import import_archive, tag_image
from tests.cluster.ground.keeper import Mark
from tests.cluster.ground.needs import ROOT
from tests.cluster.ground.node import HIDDEN
from tests.cluster.ground.place import MARKER, Place

PATIENCE = 300.0
"""Until a node is Ready, or all is gone, in seconds."""
CLOCK = SystemClock()


class Cluster(Api):
    """A cluster that runs here. Its API, its pods' addresses and its Services' are reached from this machine."""

    def __init__(self, folder: Path, mark: Mark) -> None:
        self.place = Place(folder, IPv4Network(mark.network))
        super().__init__(self.place.kubeconfig)
        self.mark = mark

    @property
    def audit(self) -> Path:
        """The audit log, level Metadata, a JSON object in each line."""
        return self.place.audit

    @property
    def seconds(self) -> float:
        """How long it took from nothing to a Ready node."""
        return self.mark.seconds

    def import_image(self, archive: Path) -> None:
        """The images of a tar archive (docker save, or OCI layout), for pods with imagePullPolicy Never or IfNotPresent."""
        import_archive(archive.resolve(), self.inside("--mount"))

    def tag_image(self, image: str, name: str) -> None:
        """Another name for an image that is there."""
        tag_image(image, name, self.inside("--mount"))

    def inside(self, *namespaces: str) -> list[str]:
        """The beginning of a command line that runs in these namespaces of the node (nsenter's words for them)."""
        return ["nsenter", f"--target={self.mark.node}", *namespaces, "--"]

    def processes(self, container: str) -> set[int]:
        """The processes of a container (its id as in the pod's status), as this machine counts them."""
        id = container.removeprefix("containerd://")
        return cgroups.processes(self.place.cgroup, lambda group: group.name == id)


def checked(folder: Path) -> Path:
    """The folder's whole path. Raises Failed for one that cannot be a cluster's."""
    whole = folder.resolve()
    if any(whole.is_relative_to(path) for path in HIDDEN):
        raise Failed(f"{whole} cannot be a cluster's folder: inside, {', '.join(HIDDEN)} are hidden")
    if whole.exists() and any(whole.iterdir()) and not (whole / MARKER).exists():
        raise Failed(f"{whole} is not empty and not a cluster's; name another folder")
    return whole


def up(folder: Path) -> Cluster:
    """Starts one that runs until `down`; returns when its node is Ready. The remains of dead ones go first."""
    whole = checked(folder)
    if registry.held(whole):
        raise Failed(f"there is a cluster in {whole} already; end it with: down")
    with tempfile.TemporaryFile("w+") as said:
        keeper = _keeper(whole, stdin=subprocess.DEVNULL, said=said)
        return _awaited(whole, keeper, said)


def down(folder: Path) -> None:
    """Ends it, if it runs, and removes all of it; also the remains of one that was killed."""
    whole = checked(folder)
    until = CLOCK.monotonic() + PATIENCE
    mark = Mark.read(whole)
    if mark is not None and registry.held(whole):
        os.kill(mark.keeper, signal.SIGTERM)
    while registry.held(whole):
        if CLOCK.monotonic() > until:
            raise Failed(f"the keeper of {whole} does not end")
        time.sleep(0.05)
    with registry.turn():
        if not registry.held(whole):
            remains.remove(whole)
            registry.forget(whole)


def find(folder: Path) -> Cluster | None:
    """The one that runs there, if it is Ready."""
    whole = checked(folder)
    mark = Mark.read(whole)
    return Cluster(whole, mark) if mark and mark.phase == "Ready" and registry.held(whole) else None


def phase(folder: Path) -> str:
    """Absent, Starting, Ready, Failed (with why), or Dead: its keeper was killed."""
    whole = checked(folder)
    mark = Mark.read(whole)
    if mark is None:
        return "Absent"
    if mark.phase != "Failed" and not registry.held(whole):
        return "Dead"
    return f"{mark.phase} {mark.problem}".strip()


@contextmanager
def running(folder: Path) -> Iterator[Cluster]:
    """One for tests: it ends with this process, however that ends."""
    whole = checked(folder)
    with tempfile.TemporaryFile("w+") as said:
        keeper = _keeper(whole, "--until-stdin-closes", stdin=subprocess.PIPE, said=said)
        try:
            yield _awaited(whole, keeper, said)
        finally:
            keeper.communicate(timeout=PATIENCE)
            down(whole)


def _keeper(folder: Path, *args: str, stdin: int, said: IO[str]) -> subprocess.Popen[bytes]:
    argv = [sys.executable, "-m", "tests.cluster.ground.keeper", str(folder), *args]
    return subprocess.Popen(
        argv, stdin=stdin, stdout=said, stderr=subprocess.STDOUT, cwd=ROOT, start_new_session=True
    )


def _awaited(folder: Path, keeper: subprocess.Popen[bytes], said: IO[str]) -> Cluster:
    until = CLOCK.monotonic() + PATIENCE
    while keeper.poll() is None:
        mark = Mark.read(folder)
        if mark is not None and mark.keeper == keeper.pid and mark.phase == "Ready":
            return Cluster(folder, mark)
        if CLOCK.monotonic() > until:
            raise Failed(f"the cluster in {folder} was not ready within {PATIENCE:.0f} s; its logs are there")
        time.sleep(0.1)
    said.seek(0)
    mark = Mark.read(folder)
    raise Failed(f"the cluster in {folder} did not start: {mark.problem if mark else ''}\n{said.read()}")
