from __future__ import annotations

from typing import Any

import pytest

from chaos.actions import Scale
from rollout.api.resources import ROLLOUTS
from tests.unit.chaos.faults.cluster import Case, obj, owned, rollout, world

TARGET = {"target": {"workloadRef": {"kind": "Rollout", "name": "web"}}}


def case(limits: dict[str, Any] | None = None, **how: Any) -> Case:
    return Case({"scaleDown": how or {"replicas": 2}}, limits=limits or {}, **TARGET)


def scaled(replicas: int, ready: int = 4, uid: str = "uid-web") -> dict:
    made = rollout(replicas, ready)
    made["metadata"]["uid"] = uid
    return made


def act(receipt_id: str, expected: int, replicas: int) -> Scale:
    return Scale(
        receipt=receipt_id,
        resource=ROLLOUTS,
        namespace="shop",
        name="web",
        replicas=replicas,
        expected=expected,
        uid="uid-web",
    )


@pytest.mark.parametrize(
    ("how", "wanted"),
    [
        ({"replicas": 2}, 2),
        ({"percent": 50}, 2),
        ({"percent": 1}, 3),
        ({"percent": 30}, 3),
        ({"replicas": 3}, 3),
    ],
)
def test_goes_to_fewer_replicas_and_back(how: dict, wanted: int) -> None:
    one, before = case(**how), world([rollout()])
    receipt = one.receipt(before)
    assert one.kind.inject(receipt, one.context, before) == (act(receipt.id, 4, wanted),)
    during = world([scaled(wanted)])
    assert one.kind.inject(receipt, one.context, during) == ()
    assert one.kind.revert(receipt, during) == (act(receipt.id, wanted, 4),)
    assert one.kind.gone(receipt, during) == ""
    assert "replicas are 4 again" in one.kind.gone(receipt, before)


def test_proof_is_fewer_ready_pods_at_our_number() -> None:
    one = case()
    receipt = one.receipt(world([rollout()]))
    assert one.kind.proof(receipt, world([scaled(2, ready=4)])) == ""
    assert one.kind.proof(receipt, world([scaled(2, ready=3)])) == "replicas 4 -> 2, ready pods 4 -> 3"
    assert one.kind.proof(receipt, world([scaled(3, ready=3)])) == ""


def test_a_number_that_somebody_else_has_set_is_left_alone() -> None:
    one = case()
    receipt = one.receipt(world([rollout()]))
    theirs = world([scaled(7)])
    assert one.kind.inject(receipt, one.context, theirs) == ()
    assert one.kind.revert(receipt, theirs) == ()
    assert "somebody has set replicas to 7" in one.kind.gone(receipt, theirs)


def test_another_workload_of_the_same_name_is_left_alone() -> None:
    one = case()
    receipt = one.receipt(world([rollout()]))
    other = world([scaled(2, uid="another")])
    assert one.kind.revert(receipt, other) == ()
    assert "itself has gone" in one.kind.gone(receipt, other)


def test_workloads_that_cannot_be_seen_are_not_gone() -> None:
    one = case()
    receipt = one.receipt(world([rollout()]))
    assert one.kind.gone(receipt, world([], without=[ROLLOUTS])) == ""


@pytest.mark.parametrize(
    ("one", "objects", "said"),
    [
        (case({"maxPods": 1}), [rollout()], "limits.maxPods (1)"),
        (case({"minReady": 3}), [rollout()], "limits.minReady (3)"),
        (case(replicas=1), [rollout()], "limits.maxPercent (50)"),
        (case({"maxPercent": 100}, replicas=0), [rollout()], "limits.allowTotal"),
        (case(), [rollout(4, ready=3)], "limits.maxPercent (50)"),
        (case(replicas=4), [rollout()], "not fewer"),
        (case(replicas=-1), [rollout()], "not fewer"),
        (case(replicas=1, percent=10), [rollout()], "exactly one of"),
        (case(percent=101), [rollout()], "1..100"),
        (case(), [], "there is no Rollout shop/web"),
        (
            case(),
            [
                rollout(),
                obj(
                    "HorizontalPodAutoscaler",
                    "hpa",
                    spec={"scaleTargetRef": {"kind": "Rollout", "name": "web"}},
                ),
            ],
            "HorizontalPodAutoscaler hpa",
        ),
    ],
)
def test_what_must_not_be_is_refused_and_said_before(one: Case, objects: list, said: str) -> None:
    (reason,) = one.obstacles(world(objects))
    assert said in reason
    assert one.refused(world(objects))


def test_all_of_it_may_go_when_that_is_allowed() -> None:
    one = case({"allowTotal": True, "maxPercent": 100}, replicas=0)
    assert one.receipt(world([rollout()])).undo == {"original": 4, "replicas": 0, "ready": 4}


def test_an_autoscaler_of_another_workload_is_no_obstacle() -> None:
    other = obj(
        "HorizontalPodAutoscaler", "hpa", spec={"scaleTargetRef": {"kind": "Rollout", "name": "other"}}
    )
    assert case().obstacles(world([rollout(), other])) == []


def test_a_workload_that_another_one_drives_is_not_scaled() -> None:
    inner = obj(
        "ReplicaSet",
        "web-v1",
        metadata={"ownerReferences": owned(rollout())},
        spec={"replicas": 4},
        status={"readyReplicas": 4},
    )
    one = Case(
        {"scaleDown": {"replicas": 2}}, target={"workloadRef": {"kind": "ReplicaSet", "name": "web-v1"}}
    )
    assert "belongs to Rollout web" in one.refused(world([rollout(), inner]))


@pytest.mark.parametrize(
    "target", [{"selector": {}}, {"workloadRef": {"kind": "Rollout", "name": "web", "role": "canary"}}]
)
def test_it_needs_a_whole_workload_by_name(target: dict) -> None:
    one = Case({"scaleDown": {"replicas": 1}}, target=target)
    assert "acts on a workload" in one.refused(world([rollout()]))
    assert any("acts on a workload" in text for text in one.obstacles(world([rollout()])))
