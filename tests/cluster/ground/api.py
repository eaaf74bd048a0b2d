"""Any cluster as the tests use it: an API with the administrator's kubeconfig, and images from files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Protocol

import yaml

from tests.cluster.ground.commands import run
from tests.cluster.ground.needs import required


class Api:
    """A cluster reached by a kubeconfig."""

    def __init__(self, kubeconfig: Path) -> None:
        self.kubeconfig = kubeconfig
        """The administrator's (system:masters)."""

    def kubectl(self, *args: str, stdin: Any = None, timeout: float = 300) -> str:
        """kubectl as the administrator; its output. `stdin` may be an object or a list of them. Raises Failed."""
        text = stdin if stdin is None or isinstance(stdin, str) else manifest(stdin)
        return run(kubectl_path(), f"--kubeconfig={self.kubeconfig}", *args, stdin=text, timeout=timeout)

    def get(self, *args: str) -> Any:
        """What `kubectl get` finds, as JSON."""
        return json.loads(self.kubectl("get", *args, "-o", "json"))


class AnyCluster(Protocol):
    """What our own cluster and kind's have in common."""

    kubeconfig: Path

    def kubectl(self, *args: str, stdin: Any = None, timeout: float = 300) -> str: ...

    def get(self, *args: str) -> Any: ...

    def import_image(self, archive: Path) -> None:
        """The images of a tar archive (docker save, or OCI layout), for pods with imagePullPolicy Never or IfNotPresent."""


def manifest(objects: Any) -> str:
    return yaml.safe_dump_all(objects if isinstance(objects, list) else [objects])


def kubectl_path() -> Path:
    return required("get_kubernetes.sh") / "kubectl"
