"""What a real kube-apiserver answered: one digest for each case, so that our server is held to it where no other is.

python -m tests.conformance.answers      # asks a real one anew (tools/get_kubernetes.sh), writes answers.json
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterable
from pathlib import Path

import httpx

from tests.cluster.control_plane import control_plane
from tests.conformance.exchanges import applying, deleting, documents, reading, watching, writing
from tests.conformance.exchanges.furniture import furnish
from tests.conformance.exchanges.normal import transcript
from tests.conformance.exchanges.play import CASES, Play, connect, new_namespace

MODULES = (applying, deleting, documents, reading, watching, writing)
"""Each registers its cases."""
FILE = Path(__file__).with_suffix(".json")
CONTROLLERS = (
    "garbage-collector-controller",
    "namespace-controller",
    "root-ca-certificate-publisher-controller",
    "serviceaccount-controller",
)
MANAGER_FLAGS = (f"--controllers={','.join(CONTROLLERS)}", "--kube-api-qps=200", "--kube-api-burst=400")
"""The cases write the status of workloads themselves, and no pod of theirs starts: nobody else may touch them."""


def played(name: str, client: httpx.Client) -> list[str]:
    """The transcript of a case, in a namespace of its own."""
    play = Play(client, new_namespace(client))
    CASES[name](play)
    assert play.transcript, f"{name} asked nothing"
    return transcript(play.transcript, play.namespace)


def digest(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def recorded() -> dict[str, str]:
    """Digests by case."""
    found: dict[str, str] = json.loads(FILE.read_text())
    return found


def main() -> None:
    found = {}
    with (
        tempfile.TemporaryDirectory(prefix="surefoot-answers-") as folder,
        control_plane(Path(folder), manager_flags=MANAGER_FLAGS) as plane,
        connect(plane.kubeconfig()) as client,
    ):
        furnish(client)
        for name in CASES:
            found[name] = digest(played(name, client))
    FILE.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
