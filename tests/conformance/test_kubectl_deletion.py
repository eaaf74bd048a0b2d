"""Deleting with kubectl: waiting, cascades, finalizers, preconditions, namespaces."""

import pytest

from tests.conformance.manifests import config_map, pod


def dependent(name, owner):
    manifest = config_map(name)
    manifest["metadata"]["ownerReferences"] = [
        {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner, "blockOwnerDeletion": True}
    ]
    return manifest


@pytest.fixture
def family(kubectl):
    """A ConfigMap `owner` that owns `child`."""
    kubectl("create", "-f", "-", stdin=config_map("owner"))
    kubectl("create", "-f", "-", stdin=dependent("child", kubectl.get("cm", "owner")["metadata"]["uid"]))
    return kubectl


def test_delete_reports_and_waits_until_the_object_is_gone(kubectl):
    kubectl("create", "-f", "-", stdin=config_map())
    deleted = 'configmap "settings" deleted'
    of_1_34 = f"{deleted} from {kubectl.namespace} namespace"
    assert kubectl("delete", "cm", "settings").out.removesuffix("\n") in {deleted, of_1_34}
    assert "NotFound" in kubectl("delete", "cm", "settings", code=1).err
    assert kubectl("delete", "cm", "settings", "--ignore-not-found").out == ""


def test_delete_of_all_that_match_a_label_leaves_the_rest(kubectl):
    kubectl("create", "-f", "-", stdin=[pod("one", tier="a"), pod("two", tier="a"), pod("three", tier="b")])
    kubectl("delete", "pods", "-l", "tier=a")
    assert kubectl("get", "pods", "-o", "name").out == "pod/three\n"


def test_a_background_delete_takes_the_dependents_too(family):
    family("delete", "cm", "owner", "--cascade=background")
    family("wait", "--for=delete", "cm/child", "--timeout=30s")


def test_a_foreground_delete_waits_for_the_dependents(family):
    family("delete", "cm", "owner", "--cascade=foreground")
    assert "NotFound" in family("get", "cm", "child", code=1).err


def test_an_orphaning_delete_leaves_the_dependents_without_owner(family):
    family("delete", "cm", "owner", "--cascade=orphan")
    assert "ownerReferences" not in family.get("cm", "child")["metadata"]


def test_a_finalizer_holds_the_object_until_it_is_removed(kubectl):
    manifest = config_map()
    manifest["metadata"]["finalizers"] = ["example.com/hold"]
    kubectl("create", "-f", "-", stdin=manifest)
    kubectl("delete", "cm", "settings", "--wait=false")
    assert kubectl.get("cm", "settings")["metadata"]["deletionTimestamp"]
    kubectl("patch", "cm", "settings", "--type=merge", "-p", '{"metadata":{"finalizers":null}}')
    assert "NotFound" in kubectl("get", "cm", "settings", code=1).err


def test_a_deleted_namespace_takes_its_contents_along(kubectl):
    name = f"{kubectl.namespace}-gone"
    kubectl("create", "-f", "-", stdin={"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    kubectl("create", "-n", name, "-f", "-", stdin=[config_map(), pod()])
    assert kubectl("delete", "namespace", name).out == f'namespace "{name}" deleted\n'
    assert "NotFound" in kubectl("get", "namespace", name, code=1).err
    assert kubectl("get", "pods,cm", "-n", name, "-o", "name").out == ""


def test_the_default_namespace_cannot_be_deleted(kubectl):
    refused = kubectl("delete", "namespace", "default", code=1)
    assert 'namespaces "default" is forbidden: this namespace may not be deleted' in refused.err
