"""Eviction under disruption budgets, binding, and what of a pod may change."""

from typing import Any

import pytest

from rollout.api.resources import PDBS, PODS
from rollout.errors import ApiError, Conflict, Invalid, NotFound, Throttled
from rollout.sandbox.storage import DeleteOptions, Storage

READY = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}


def pod(storage: Storage, name: str, status: dict[str, Any] | None = None) -> dict[str, Any]:
    body = {
        "metadata": {"name": name, "labels": {"app": "web"}},
        "spec": {"containers": [{"name": "c", "image": "web:v1"}]},
    }
    storage.create(PODS, "default", body)
    storage.bind("default", name, "n1")
    return storage.patch(PODS, "default", name, {"status": status or READY}, subresource="status")


def budget(storage: Storage, name: str = "web", **status: Any) -> None:
    spec = {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}}
    storage.create(PDBS, "default", {"metadata": {"name": name}, "spec": spec})
    status = {
        "observedGeneration": 1,
        "currentHealthy": 2,
        "desiredHealthy": 1,
        "disruptionsAllowed": 1,
    } | status
    storage.patch(PDBS, "default", name, {"status": status}, subresource="status")


def test_an_eviction_is_counted_and_ends_the_pod_gracefully(storage: Storage) -> None:
    pod(storage, "a")
    budget(storage)
    assert not storage.evict("default", "a").gone
    evicted = storage.get(PODS, "default", "a")
    assert evicted["metadata"]["deletionGracePeriodSeconds"] == 30
    condition = evicted["status"]["conditions"][-1]
    assert (condition["type"], condition["reason"]) == ("DisruptionTarget", "EvictionByEvictionAPI")
    status = storage.get(PDBS, "default", "web")["status"]
    assert status["disruptionsAllowed"] == 0
    assert status["disruptedPods"] == {"a": "2026-11-21T12:00:00Z"}


def test_a_budget_that_is_used_up_refuses(storage: Storage) -> None:
    pod(storage, "a")
    pod(storage, "b")
    budget(storage)
    storage.evict("default", "a")
    with pytest.raises(Throttled) as caught:
        storage.evict("default", "b")
    error = caught.value
    assert error.message == "Cannot evict pod as it would violate the pod's disruption budget."
    assert error.details == {
        "causes": [
            {
                "reason": "DisruptionBudget",
                "message": "The disruption budget web needs 1 healthy pods and has 2 currently",
            }
        ]
    }
    assert "deletionTimestamp" not in storage.get(PODS, "default", "b")["metadata"]


def test_a_budget_not_yet_looked_at_asks_to_come_back(storage: Storage) -> None:
    pod(storage, "a")
    budget(storage, observedGeneration=0)
    with pytest.raises(Throttled) as caught:
        storage.evict("default", "a")
    assert caught.value.after == 10
    assert caught.value.details is not None
    assert caught.value.details["retryAfterSeconds"] == 10


def test_two_budgets_for_one_pod_are_an_error(storage: Storage) -> None:
    pod(storage, "a")
    budget(storage, "one")
    budget(storage, "two")
    with pytest.raises(ApiError, match="more than one PodDisruptionBudget"):
        storage.evict("default", "a")


@pytest.mark.parametrize("phase", ["Pending", "Succeeded", "Failed"])
def test_a_pod_that_does_not_run_needs_no_budget(storage: Storage, phase: str) -> None:
    pod(storage, "a", {"phase": phase})
    budget(storage, disruptionsAllowed=0)
    storage.evict("default", "a")
    assert storage.get(PDBS, "default", "web")["status"]["disruptionsAllowed"] == 0


def test_an_unready_pod_may_go_while_enough_are_healthy(storage: Storage) -> None:
    pod(storage, "a", {"phase": "Running"})
    budget(storage, disruptionsAllowed=0, currentHealthy=1, desiredHealthy=1)
    storage.evict("default", "a")
    assert "deletionTimestamp" in storage.get(PODS, "default", "a")["metadata"]


def test_an_eviction_of_another_pod_of_that_name_uses_no_budget(storage: Storage) -> None:
    pod(storage, "a")
    budget(storage)
    with pytest.raises(Conflict):
        storage.evict("default", "a", options=DeleteOptions(uid="other"))
    assert storage.get(PDBS, "default", "web")["status"]["disruptionsAllowed"] == 1


def test_a_dry_run_eviction_changes_nothing(storage: Storage) -> None:
    pod(storage, "a")
    budget(storage)
    before = storage.resource_version
    storage.evict("default", "a", options=DeleteOptions(dry_run=True))
    assert storage.resource_version == before


def test_evicting_what_is_not_there_is_not_found(storage: Storage) -> None:
    with pytest.raises(NotFound, match='pods "a" not found'):
        storage.evict("default", "a")


def test_a_pod_is_bound_once(storage: Storage) -> None:
    pod(storage, "a")
    with pytest.raises(Conflict, match='pod a is already assigned to node "n1"'):
        storage.bind("default", "a", "n2")


def test_binding_says_that_the_pod_was_scheduled(storage: Storage) -> None:
    storage.create(
        PODS, "default", {"metadata": {"name": "a"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    )
    bound = storage.bind("default", "a", "n1")
    assert bound["spec"]["nodeName"] == "n1"
    assert [c["type"] for c in bound["status"]["conditions"]] == ["PodScheduled"]


def test_only_the_image_of_a_pod_may_change(storage: Storage) -> None:
    pod(storage, "a")
    change = [{"op": "replace", "path": "/spec/containers/0/image", "value": "web:v2"}]
    changed = storage.patch(PODS, "default", "a", change, type="json")
    assert changed["spec"]["containers"][0]["image"] == "web:v2"
    rename = [{"op": "replace", "path": "/spec/containers/0/name", "value": "d"}]
    with pytest.raises(Invalid, match="pod updates may not change fields other than"):
        storage.patch(PODS, "default", "a", rename, type="json")
