"""Deletes, finalizers, grace periods, owners, namespaces: what goes, what stays, and when."""

from typing import Any

import pytest

from rollout.api.resources import CONFIG_MAPS, JOBS, NAMESPACES, PODS, SECRETS
from rollout.errors import Conflict, Forbidden, Invalid, NotFound
from rollout.sandbox.storage import DeleteOptions, Storage

POD_SPEC = {"containers": [{"name": "c", "image": "i"}]}


def config(
    storage: Storage, name: str, *owners: dict[str, Any], blocks: bool = False, **meta: Any
) -> dict[str, Any]:
    references = [
        {
            "apiVersion": "v1",
            "kind": owner["kind"],
            "name": owner["metadata"]["name"],
            "uid": owner["metadata"]["uid"],
            "blockOwnerDeletion": blocks,
        }
        for owner in owners
    ]
    return storage.create(
        CONFIG_MAPS, "default", {"metadata": {"name": name, "ownerReferences": references, **meta}}
    )


def names(storage: Storage) -> list[str]:
    return [obj["metadata"]["name"] for obj in storage.list(CONFIG_MAPS, "default").items]


def running_pod(storage: Storage, **spec: Any) -> dict[str, Any]:
    storage.create(PODS, "default", {"metadata": {"name": "p"}, "spec": {**POD_SPEC, **spec}})
    storage.bind("default", "p", "n1")
    return storage.patch(PODS, "default", "p", {"status": {"phase": "Running"}}, subresource="status")


def test_a_delete_is_final_at_once_without_finalizers(storage: Storage) -> None:
    config(storage, "a")
    assert storage.delete(CONFIG_MAPS, "default", "a").gone
    with pytest.raises(NotFound) as caught:
        storage.delete(CONFIG_MAPS, "default", "a")
    assert caught.value.message == 'configmaps "a" not found'


def test_preconditions_protect_from_deleting_another_object(storage: Storage) -> None:
    made = config(storage, "a")
    with pytest.raises(Conflict) as caught:
        storage.delete(CONFIG_MAPS, "default", "a", options=DeleteOptions(uid="other"))
    assert caught.value.message == (
        'Operation cannot be fulfilled on ConfigMap "a": the UID in the precondition (other) does not match the UID '
        f"in record ({made['metadata']['uid']}). The object might have been deleted and then recreated"
    )
    with pytest.raises(Conflict, match="The object might have been modified"):
        storage.delete(CONFIG_MAPS, "default", "a", options=DeleteOptions(resource_version="1"))
    assert names(storage) == ["a"]


def test_finalizers_hold_an_object_until_the_last_is_removed(storage: Storage) -> None:
    config(storage, "a", finalizers=["x.io/one", "x.io/two"])
    deleted = storage.delete(CONFIG_MAPS, "default", "a")
    assert not deleted.gone
    assert deleted.object["metadata"]["deletionTimestamp"] == "2026-11-21T12:00:00Z"
    assert not storage.delete(CONFIG_MAPS, "default", "a").gone
    with pytest.raises(Invalid, match="no new finalizers can be added if the object is being deleted"):
        storage.patch(CONFIG_MAPS, "default", "a", {"metadata": {"finalizers": ["x.io/one", "x.io/three"]}})
    storage.patch(CONFIG_MAPS, "default", "a", {"metadata": {"finalizers": ["x.io/two"]}})
    assert names(storage) == ["a"]
    storage.patch(CONFIG_MAPS, "default", "a", {"metadata": {"finalizers": None}})
    assert names(storage) == []


def test_deleting_twice_changes_nothing(storage: Storage) -> None:
    config(storage, "a", finalizers=["x.io/one"])
    storage.delete(CONFIG_MAPS, "default", "a")
    before = storage.resource_version
    storage.delete(CONFIG_MAPS, "default", "a")
    assert storage.resource_version == before


def test_a_dry_run_deletes_nothing(storage: Storage) -> None:
    config(storage, "a")
    assert storage.delete(CONFIG_MAPS, "default", "a", options=DeleteOptions(dry_run=True)).gone
    assert names(storage) == ["a"]


def test_a_pod_without_a_node_goes_at_once(storage: Storage) -> None:
    storage.create(PODS, "default", {"metadata": {"name": "p"}, "spec": POD_SPEC})
    assert storage.delete(PODS, "default", "p").gone


def test_a_running_pod_stays_for_its_grace_period(storage: Storage) -> None:
    running_pod(storage, terminationGracePeriodSeconds=20)
    deleted = storage.delete(PODS, "default", "p")
    meta = deleted.object["metadata"]
    assert not deleted.gone
    assert meta["deletionTimestamp"] == "2026-11-21T12:00:20Z"
    assert meta["deletionGracePeriodSeconds"] == 20
    shorter = storage.delete(PODS, "default", "p", options=DeleteOptions(grace_seconds=5)).object["metadata"]
    assert shorter["deletionTimestamp"] == "2026-11-21T12:00:05Z"
    longer = storage.delete(PODS, "default", "p", options=DeleteOptions(grace_seconds=60)).object["metadata"]
    assert longer["deletionGracePeriodSeconds"] == 5
    assert storage.delete(PODS, "default", "p", options=DeleteOptions(grace_seconds=0)).gone
    assert not storage.exists(PODS, "default", "p")


def test_a_finished_pod_goes_at_once(storage: Storage) -> None:
    running_pod(storage)
    storage.patch(PODS, "default", "p", {"status": {"phase": "Succeeded"}}, subresource="status")
    assert storage.delete(PODS, "default", "p").gone


def test_a_terminating_pod_with_a_finalizer_goes_when_both_have_ended(storage: Storage) -> None:
    running_pod(storage)
    storage.patch(PODS, "default", "p", {"metadata": {"finalizers": ["x.io/f"]}})
    storage.delete(PODS, "default", "p")
    storage.delete(PODS, "default", "p", options=DeleteOptions(grace_seconds=0))
    assert storage.exists(PODS, "default", "p")
    storage.patch(PODS, "default", "p", {"metadata": {"finalizers": None}})
    assert not storage.exists(PODS, "default", "p")


def test_removing_the_finalizer_first_does_not_end_the_grace_period(storage: Storage) -> None:
    running_pod(storage)
    storage.patch(PODS, "default", "p", {"metadata": {"finalizers": ["x.io/f"]}})
    storage.delete(PODS, "default", "p")
    storage.patch(PODS, "default", "p", {"metadata": {"finalizers": None}})
    assert storage.exists(PODS, "default", "p")


def test_delete_collection_takes_what_matches(storage: Storage) -> None:
    config(storage, "a", labels={"x": "1"})
    config(storage, "b", labels={"x": "2"})
    taken = storage.delete_collection(CONFIG_MAPS, "default", labels="x=1")
    assert [obj["metadata"]["name"] for obj in taken] == ["a"]
    assert names(storage) == ["b"]


# Owners


def test_dependents_follow_in_the_background(storage: Storage) -> None:
    owner = config(storage, "owner")
    child = config(storage, "child", owner)
    config(storage, "grandchild", child)
    storage.collect_garbage()
    assert not storage.has_garbage
    storage.delete(CONFIG_MAPS, "default", "owner")
    assert names(storage) == ["child", "grandchild"]
    assert storage.has_garbage
    storage.collect_garbage()
    assert names(storage) == []
    assert not storage.has_garbage


def test_steps_can_be_taken_one_at_a_time(storage: Storage) -> None:
    owner = config(storage, "owner")
    config(storage, "one", owner)
    config(storage, "two", owner)
    storage.collect_garbage()
    storage.delete(CONFIG_MAPS, "default", "owner")
    assert storage.collect_garbage(1) == 1
    assert len(names(storage)) == 1
    assert storage.has_garbage


def test_a_dependent_with_an_owner_left_loses_only_the_reference(storage: Storage) -> None:
    first, second = config(storage, "first"), config(storage, "second")
    config(storage, "child", first, second)
    storage.delete(CONFIG_MAPS, "default", "first")
    storage.collect_garbage()
    child = storage.get(CONFIG_MAPS, "default", "child")
    assert [ref["name"] for ref in child["metadata"]["ownerReferences"]] == ["second"]


def test_an_owner_that_never_was_is_an_owner_that_is_gone(storage: Storage) -> None:
    ghost = {"kind": "ConfigMap", "metadata": {"name": "ghost", "uid": "none"}}
    config(storage, "child", ghost)
    storage.collect_garbage()
    assert names(storage) == []


@pytest.mark.parametrize("change", [{"name": "other"}, {"kind": "Secret"}])
def test_a_reference_that_disagrees_with_its_uid_counts_for_nothing(
    storage: Storage, change: dict[str, str]
) -> None:
    owner = config(storage, "owner")
    wrong = {"kind": "ConfigMap", "metadata": {"name": "owner", "uid": owner["metadata"]["uid"]}}
    if "name" in change:
        wrong["metadata"]["name"] = change["name"]  # type: ignore[index]
    else:
        wrong["kind"] = change["kind"]
    config(storage, "child", wrong)
    storage.collect_garbage()
    assert names(storage) == ["owner"]


def test_an_owner_in_another_namespace_counts_for_nothing(storage: Storage) -> None:
    owner = storage.create(CONFIG_MAPS, "kube-system", {"metadata": {"name": "owner"}})
    config(storage, "child", owner)
    storage.collect_garbage()
    assert names(storage) == []


def test_foreground_deletes_the_dependents_that_block_first(storage: Storage) -> None:
    owner = config(storage, "owner")
    config(storage, "held", owner, blocks=True, finalizers=["x.io/f"])
    config(storage, "free", owner)
    deleted = storage.delete(CONFIG_MAPS, "default", "owner", options=DeleteOptions(propagation="Foreground"))
    assert not deleted.gone
    assert deleted.object["metadata"]["finalizers"] == ["foregroundDeletion"]
    storage.collect_garbage()
    assert names(storage) == ["held", "owner"]
    storage.patch(CONFIG_MAPS, "default", "held", {"metadata": {"finalizers": None}})
    storage.collect_garbage()
    assert names(storage) == []


def test_foreground_does_not_wait_for_what_does_not_block(storage: Storage) -> None:
    owner = config(storage, "owner")
    config(storage, "child", owner, finalizers=["x.io/f"])
    storage.delete(CONFIG_MAPS, "default", "owner", options=DeleteOptions(propagation="Foreground"))
    storage.collect_garbage()
    assert names(storage) == ["child"]
    assert "deletionTimestamp" in storage.get(CONFIG_MAPS, "default", "child")["metadata"]


def test_foreground_reaches_grandchildren_first(storage: Storage) -> None:
    owner = config(storage, "owner")
    child = config(storage, "child", owner, blocks=True)
    config(storage, "grandchild", child, blocks=True, finalizers=["x.io/f"])
    storage.delete(CONFIG_MAPS, "default", "owner", options=DeleteOptions(propagation="Foreground"))
    storage.collect_garbage()
    assert names(storage) == ["child", "grandchild", "owner"]
    storage.patch(CONFIG_MAPS, "default", "grandchild", {"metadata": {"finalizers": None}})
    storage.collect_garbage()
    assert names(storage) == []


def test_orphans_stay_without_their_owner(storage: Storage) -> None:
    owner = config(storage, "owner")
    config(storage, "child", owner)
    storage.delete(CONFIG_MAPS, "default", "owner", options=DeleteOptions(propagation="Orphan"))
    storage.collect_garbage()
    assert names(storage) == ["child"]
    assert "ownerReferences" not in storage.get(CONFIG_MAPS, "default", "child")["metadata"]


def test_owned_pods_get_their_grace_period(storage: Storage) -> None:
    owner = config(storage, "owner")
    running_pod(storage)
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"]}
    storage.patch(PODS, "default", "p", {"metadata": {"ownerReferences": [reference]}})
    storage.delete(CONFIG_MAPS, "default", "owner")
    storage.collect_garbage()
    assert storage.get(PODS, "default", "p")["metadata"]["deletionGracePeriodSeconds"] == 30


# Namespaces


def test_a_namespace_goes_after_its_contents(storage: Storage) -> None:
    storage.create(NAMESPACES, None, {"metadata": {"name": "team"}})
    storage.create(SECRETS, "team", {"metadata": {"name": "s"}})
    storage.create(CONFIG_MAPS, "team", {"metadata": {"name": "held", "finalizers": ["x.io/f"]}})
    deleted = storage.delete(NAMESPACES, None, "team")
    assert not deleted.gone
    assert deleted.object["status"]["phase"] == "Terminating"
    with pytest.raises(Forbidden) as caught:
        storage.create(CONFIG_MAPS, "team", {"metadata": {"name": "late"}})
    assert caught.value.message == (
        'configmaps "late" is forbidden: unable to create new content in namespace team because it is being '
        "terminated"
    )
    assert caught.value.details is not None
    assert caught.value.details["causes"][0]["reason"] == "NamespaceTerminating"
    storage.collect_garbage()
    assert not storage.list(SECRETS, "team").items
    assert storage.exists(NAMESPACES, None, "team")
    storage.patch(CONFIG_MAPS, "team", "held", {"metadata": {"finalizers": None}})
    storage.collect_garbage()
    assert not storage.exists(NAMESPACES, None, "team")


def test_an_empty_namespace_goes_with_the_next_collection(storage: Storage) -> None:
    storage.create(NAMESPACES, None, {"metadata": {"name": "team"}})
    storage.delete(NAMESPACES, None, "team")
    storage.collect_garbage()
    assert not storage.exists(NAMESPACES, None, "team")


def test_a_namespace_waits_for_its_running_pods(storage: Storage) -> None:
    storage.create(NAMESPACES, None, {"metadata": {"name": "team"}})
    storage.create(PODS, "team", {"metadata": {"name": "p"}, "spec": POD_SPEC})
    storage.bind("team", "p", "n1")
    storage.delete(NAMESPACES, None, "team")
    storage.collect_garbage()
    assert storage.exists(NAMESPACES, None, "team")
    storage.delete(PODS, "team", "p", options=DeleteOptions(grace_seconds=0))
    storage.collect_garbage()
    assert not storage.exists(NAMESPACES, None, "team")


def test_the_systems_own_namespaces_cannot_be_deleted(storage: Storage) -> None:
    with pytest.raises(Forbidden) as caught:
        storage.delete(NAMESPACES, None, "default")
    assert caught.value.message == 'namespaces "default" is forbidden: this namespace may not be deleted'


def test_jobs_know_their_pods_by_uid(storage: Storage) -> None:
    template = {"spec": {**POD_SPEC, "restartPolicy": "Never"}}
    job = storage.create(JOBS, "default", {"metadata": {"name": "j"}, "spec": {"template": template}})
    labels = job["spec"]["template"]["metadata"]["labels"]
    assert job["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert labels["batch.kubernetes.io/job-name"] == "j"


def test_what_the_collector_takes_away_belongs_to_nobody(storage: Storage) -> None:
    owner = config(storage, "owner")
    config(storage, "child", owner)
    storage.delete(CONFIG_MAPS, "default", "owner", options=DeleteOptions(propagation="Orphan"))
    storage.collect_garbage()
    meta = storage.get(CONFIG_MAPS, "default", "child")["metadata"]
    assert "ownerReferences" not in meta
    assert [entry for entry in meta.get("managedFields", ()) if "f:metadata" in entry["fieldsV1"]] == []
