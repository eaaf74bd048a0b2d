"""What users have today applies with kubectl, once the definitions are there."""

from pathlib import Path

import pytest

from rollout.api.crds import crds
from tests.conformance.examples import EXAMPLES, documents, manifests

ROOT = Path(__file__).parents[2]
FILES = manifests(EXAMPLES)
MESH = [ROOT / "rollout/sandbox/crds/istio.yaml", ROOT / "rollout/sandbox/crds/gateway.yaml"]


@pytest.fixture
def defined(kubectl):
    """All definitions, ours and the mesh's. They stay: other tests may be using them."""
    for file in MESH:
        kubectl("apply", "--server-side", "-f", str(file))
    kubectl("apply", "--server-side", "-f", "-", stdin=crds())
    kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
    return kubectl


def test_there_are_examples():
    assert FILES


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_an_example_applies_and_then_is_unchanged(defined, file):
    placed = {}
    for one in documents(file):
        placed.setdefault(one["metadata"].get("namespace", defined.namespace), []).append(one)
    for namespace, objects in placed.items():
        manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
        defined("apply", "-f", "-", stdin=manifest)
        defined("apply", "-n", namespace, "-f", "-", stdin=objects)
        again = defined("apply", "-n", namespace, "-f", "-", stdin=objects).out.splitlines()
        assert len(again) == len(objects)
        assert [line for line in again if not line.endswith(" unchanged")] == []
