"""What a real kube-apiserver answered: one digest for each case, so that our server is held to it where no other is.

python -m tests.conformance.answers      # asks a real one anew (tools/get_kubernetes.sh), writes answers.json
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import uuid
from collections.abc import Iterable
from pathlib import Path

import httpx

from tests.cluster.control_plane import control_plane
from tests.conformance.exchanges import applying, deleting, documents, reading, watching, writing
from tests.conformance.exchanges.furniture import furnish
from tests.conformance.exchanges.normal import transcript
from tests.conformance.exchanges.play import CASES, NotHere, Play, connect

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
    """The transcript of a case, in a namespace of its own. NotHere when this server cannot be asked."""
    namespace = f"case-{uuid.uuid4().hex[:8]}"
    client.post("/api/v1/namespaces", json={"metadata": {"name": namespace}}).raise_for_status()
    play = Play(client, namespace)
    account = "/api/v1/namespaces/{ns}/serviceaccounts/default"
    play.until(lambda: play.get(account, kept=False).status == 200)  # no pod is admitted before
    try:
        CASES[name](play)
    finally:
        client.delete(f"/api/v1/namespaces/{namespace}")
    assert play.transcript, f"{name} asked nothing"
    return transcript(play.transcript, namespace)


def digest(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def recorded() -> dict[str, str]:
    """Digests by case. Cases that the server at hand could not be asked are absent."""
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
            try:
                found[name] = digest(played(name, client))
            except NotHere:
                continue
    FILE.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
