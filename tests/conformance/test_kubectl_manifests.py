"""What users have today applies with kubectl, once the definitions are there."""

import pytest

from tests.conformance.examples import EXAMPLES, documents, manifests

FILES = manifests(EXAMPLES)


def test_there_are_examples():
    assert FILES


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_an_example_applies_and_then_is_unchanged(defined, file):
    placed = {}
    for one in documents(file):
        placed.setdefault(one["metadata"].get("namespace", defined.namespace), []).append(one)
    for namespace, objects in placed.items():
        if namespace != defined.namespace:
            manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
            defined("apply", "-f", "-", stdin=manifest)
        defined("apply", "-n", namespace, "-f", "-", stdin=objects)
        again = defined("apply", "-n", namespace, "-f", "-", stdin=objects).out.splitlines()
        assert len(again) == len(objects)
        assert [line for line in again if not line.endswith(" unchanged")] == []
