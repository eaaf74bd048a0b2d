"""The same on kind, where Docker and kind are at hand (CLUSTER=kind).

The machines that build this project have no container engine: this is written from kind's documentation, and CI does
not run it.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.cluster.ground.api import Api
from tests.cluster.ground.commands import run
from tests.cluster.ground.needs import ROOT, built
from tests.cluster.ground.place import name_of

PROGRAMS = ("docker", "kind")
PATIENCE = 900.0


class KindCluster(Api):
    """A cluster of kind's, of `kind-config.yaml`."""

    def __init__(self, name: str, kubeconfig: Path) -> None:
        super().__init__(kubeconfig)
        self.name = name

    def import_image(self, archive: Path) -> None:
        """The images of a tar archive, on every node."""
        run("kind", "load", "image-archive", archive, "--name", self.name, timeout=PATIENCE)


def missing() -> list[str]:
    found = [f"CLUSTER=kind needs {one} on PATH" for one in PROGRAMS if shutil.which(one) is None]
    if built("get_kubernetes.sh") is None:
        found.append("kubectl has not been built: tools/get_kubernetes.sh")
    return found


@contextmanager
def running(folder: Path) -> Iterator[KindCluster]:
    """One for tests, deleted afterwards. The user's own kubeconfig is not touched."""
    name = f"surefoot-{name_of(folder)}"
    kubeconfig = folder / "kubeconfig"
    folder.mkdir(parents=True, exist_ok=True)
    config = ROOT / "kind-config.yaml"
    named = ("--name", name, "--kubeconfig", kubeconfig)
    try:
        run("kind", "create", "cluster", "--config", config, *named, "--wait", "5m", timeout=PATIENCE)
        yield KindCluster(name, kubeconfig)
    finally:
        run("kind", "delete", "cluster", *named, timeout=PATIENCE)
