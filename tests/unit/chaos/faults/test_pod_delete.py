from __future__ import annotations

import pytest

from chaos.actions import RemovePod
from chaos.faults.receipts import receipt_id
from rollout.api.resources import PODS
from tests.unit.chaos.faults.cluster import Case, obj, pod, shop, world

EVICT = {"podDelete": {}}


def guard(name: str, allowed: int, **selector: object) -> dict[str, object]:
    return obj("PodDisruptionBudget", name, spec=selector, status={"disruptionsAllowed": allowed})


def ending(name: str, **status: object) -> dict[str, object]:
    return pod(name, "v2", metadata={"deletionTimestamp": "2026-11-21T12:00:01Z"}, status=status)


@pytest.mark.parametrize(
    ("how", "evict", "grace"),
    [
        ({}, True, None),
        ({"method": "evict", "gracePeriodSeconds": 5}, True, 5),
        ({"method": "delete"}, False, None),
        ({"method": "delete", "gracePeriodSeconds": 5}, False, 5),
        ({"method": "force", "gracePeriodSeconds": 5}, False, 0),
    ],
)
def test_each_method_is_one_removal_of_that_very_pod(how: dict, evict: bool, grace: int | None) -> None:
    case, seen = Case({"podDelete": how}), world(shop())
    receipt = case.receipt(seen, "web-v2-0")
    assert case.kind.inject(receipt, case.context, seen) == (
        RemovePod(
            receipt=receipt.id,
            namespace="shop",
            name="web-v2-0",
            uid="uid-web-v2-0",
            evict=evict,
            grace_seconds=grace,
        ),
    )


def test_a_pod_that_is_going_or_gone_is_not_removed_again() -> None:
    case = Case(EVICT)
    receipt = case.receipt(world(shop()), "web-v2-0")
    assert case.kind.inject(receipt, case.context, world([ending("web-v2-0")])) == ()
    assert case.kind.inject(receipt, case.context, world([])) == ()


def test_another_pod_of_the_same_name_is_not_the_victim() -> None:
    case = Case(EVICT)
    receipt = case.receipt(world(shop()), "web-v2-0")
    successor = world([pod("web-v2-0", "v2", uid="another")])
    assert case.kind.inject(receipt, case.context, successor) == ()
    assert "has gone" in case.kind.proof(receipt, successor)
    assert "has gone" in case.kind.gone(receipt, successor)


def test_proof_is_the_deletion_and_gone_is_the_uid() -> None:
    case, there = Case(EVICT), world(shop())
    receipt = case.receipt(there, "web-v2-0")
    assert case.kind.proof(receipt, there) == ""
    evicted = {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"}
    leaving = world([ending("web-v2-0", conditions=[evicted])])
    assert "EvictionByEvictionAPI" in case.kind.proof(receipt, leaving)
    assert case.kind.gone(receipt, leaving) == ""


def test_pods_that_cannot_be_seen_are_not_gone() -> None:
    case = Case(EVICT)
    receipt = case.receipt(world(shop()), "web-v2-0")
    blind = world([], without=[PODS])
    assert case.kind.gone(receipt, blind) == ""
    assert case.kind.proof(receipt, blind) == ""


def test_an_ending_pod_is_refused() -> None:
    assert "ending" in Case(EVICT).refused(world([ending("web-v2-0")]), "web-v2-0")


@pytest.mark.parametrize(
    ("budgets", "said"),
    [
        ([guard("pdb", 0, selector={"matchLabels": {"app": "web"}})], "pdb allows no disruption now"),
        ([guard("pdb", 0, selector={})], "pdb allows no disruption now"),
        (
            [guard("a", 1, selector={}), guard("b", 1, selector={})],
            "more than one PodDisruptionBudget (a, b)",
        ),
    ],
)
def test_a_budget_that_allows_nothing_stands_in_the_way_of_eviction_alone(budgets: list, said: str) -> None:
    seen = world(shop(*budgets))
    (reason,) = Case(EVICT).obstacles(seen)
    assert said in reason
    assert Case({"podDelete": {"method": "delete"}}).obstacles(seen) == []


@pytest.mark.parametrize(
    "budget",
    [
        guard("pdb", 1, selector={}),
        guard("pdb", 0),
        guard("pdb", 0, selector={"matchLabels": {"app": "other"}}),
    ],
)
def test_a_budget_that_allows_or_is_about_others_is_no_obstacle(budget: dict) -> None:
    assert Case(EVICT).obstacles(world(shop(budget))) == []


def test_receipts_differ_by_round_victim_and_run_and_are_the_same_for_the_same() -> None:
    case, seen = Case(EVICT), world(shop())
    first, second = case.victims(seen, "web-v2-0", "web-v2-1")
    ids = {receipt_id(case.context, one) for one in (first, second, first)}
    assert len(ids) == 2
