from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.api.resources import PODS
from rollout.sandbox.workloads import replicaset
from rollout.sandbox.workloads.decision import Create, Decision, Delete, Note, Patch

from .builders import NOW, ago, owner, pod, replica_set, suffixes


def decide(rs: dict[str, Any], pods: list[dict[str, Any]], failure: str = "") -> Decision:
    return replicaset.decide(rs, pods, NOW, suffixes(), failure)


def changes(decision: Decision) -> list[Any]:
    return [action for action in decision.actions if not (isinstance(action, Patch) and action.subresource)]


def status(decision: Decision) -> Any:
    return next(a.patch["status"] for a in decision.actions if isinstance(a, Patch) and a.subresource)


def test_missing_pods_are_created_from_the_template_with_the_controller_as_owner() -> None:
    first, second = changes(decide(replica_set(3), [pod("a")]))
    assert first == Create(
        PODS,
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": "web-n0000",
                "namespace": "shop",
                "generateName": "web-",
                "labels": {"app": "web"},
                "ownerReferences": [owner()],
            },
            "spec": {"containers": [{"name": "web", "image": "web:v1"}]},
        },
        Note("SuccessfulCreate", "Created pod: web-n0000"),
    )
    assert second.obj["metadata"]["name"] == "web-n0001"


def test_enough_pods_leave_nothing_to_do_but_the_status() -> None:
    assert changes(decide(replica_set(2), [pod("a"), pod("b")])) == []


def test_replicas_default_to_one() -> None:
    rs = replica_set()
    del rs["spec"]["replicas"]
    assert len(changes(decide(rs, []))) == 1


@pytest.mark.parametrize(
    "dead", [pod("x", phase="Failed"), pod("x", phase="Succeeded"), pod("x", deleting=True)]
)
def test_finished_and_terminating_pods_are_replaced(dead: dict[str, Any]) -> None:
    assert len(changes(decide(replica_set(1), [dead]))) == 1


@pytest.mark.parametrize(
    ("useful", "given_up"),
    [
        (pod("a"), pod("b", node="", phase="Pending", ready=False)),
        (pod("a", phase="Pending", ready=False), pod("b", node="", phase="Pending", ready=False)),
        (pod("a", ready=False), pod("b", phase="Pending", ready=False)),
        (pod("a", ready=False), pod("b", phase="Unknown", ready=False)),
        (pod("a", ready=True), pod("b", ready=False)),
        (pod("a", annotations={"controller.kubernetes.io/pod-deletion-cost": "5"}), pod("b", ready_for=9000)),
        (
            pod("a"),
            pod("b", annotations={"controller.kubernetes.io/pod-deletion-cost": "-5"}, ready_for=9000),
        ),
        (pod("a", ready_for=100_000), pod("b", ready_for=10)),
        (pod("a", restarts=0), pod("b", restarts=3)),
        (pod("a", age=100_000), pod("b", age=100)),
    ],
)
def test_the_less_useful_pod_is_given_up_first(useful: dict[str, Any], given_up: dict[str, Any]) -> None:
    for pods in ([useful, given_up], [given_up, useful]):
        [action] = changes(decide(replica_set(1), pods))
        assert action == Delete(PODS, "shop", "b", "uid-b", Note("SuccessfulDelete", "Deleted pod: b"))


def test_pods_of_nearly_the_same_age_are_given_up_by_uid_not_by_age() -> None:
    old, young = pod("a", age=1000, ready_for=900), pod("b", age=990, ready_for=890)
    assert [p["metadata"]["name"] for p in replicaset.deletion_order([young, old], NOW)] == ["a", "b"]


def test_a_matching_orphan_is_adopted_and_counts() -> None:
    orphan = pod("a", owned_by=None)
    assert changes(decide(replica_set(1), [orphan])) == [
        Patch(PODS, "shop", "a", {"metadata": {"resourceVersion": "5", "ownerReferences": [owner()]}})
    ]


def test_an_owned_pod_whose_labels_no_longer_match_is_released_and_replaced() -> None:
    release, create = changes(decide(replica_set(1), [pod("a", labels={"app": "debug"})]))
    assert release.patch == {"metadata": {"resourceVersion": "5", "ownerReferences": []}}
    assert isinstance(create, Create)


def test_pods_of_another_controller_are_left_alone() -> None:
    assert len(changes(decide(replica_set(1), [pod("a", owned_by=owner("other"))]))) == 1


def test_a_replica_set_that_is_being_deleted_creates_adopts_and_deletes_nothing() -> None:
    rs = replica_set(3)
    rs["metadata"]["deletionTimestamp"] = ago(1)
    assert changes(decide(rs, [pod("a", owned_by=None)])) == []


def test_status_counts_labelled_ready_and_available_pods() -> None:
    rs = replica_set(4, minReadySeconds=30)
    rs["spec"]["template"]["metadata"]["labels"]["tier"] = "front"
    pods = [
        pod("a", labels={"app": "web", "tier": "front"}, ready_for=60),
        pod("b", ready_for=10),
        pod("c", ready=False),
        pod("d", deleting=True),
    ]
    decision = decide(rs, pods)
    assert status(decision) == {
        "replicas": 3,
        "fullyLabeledReplicas": 1,
        "readyReplicas": 2,
        "availableReplicas": 1,
        "observedGeneration": 4,
    }
    assert decision.requeue == 20


def test_a_status_that_is_right_is_not_written_again() -> None:
    rs = replica_set(1)
    rs["status"] = replicaset.next_status(rs, [pod("a")], NOW)
    assert decide(rs, [pod("a")]).actions == ()


def test_a_failed_creation_becomes_a_condition_and_goes_when_it_works() -> None:
    rs = replica_set(1)
    rs["status"] = replicaset.next_status(rs, [], NOW, "pods is forbidden")
    assert rs["status"]["conditions"][0]["message"] == "pods is forbidden"
    assert status(decide(rs, [pod("a")]))["conditions"] is None


@given(
    have=st.integers(0, 12),
    want=st.integers(0, 12),
    dead=st.integers(0, 3),
)
def test_carrying_out_the_decision_gives_exactly_the_replicas_asked_for(
    have: int, want: int, dead: int
) -> None:
    pods = [pod(f"p{i}") for i in range(have)] + [pod(f"d{i}", phase="Failed") for i in range(dead)]
    acts = changes(decide(replica_set(want), pods))
    created = sum(isinstance(act, Create) for act in acts)
    deleted = {act.uid for act in acts if isinstance(act, Delete)}
    assert have + created - len(deleted) == want
    assert not (created and deleted)
    assert all(uid.startswith("uid-p") for uid in deleted)
