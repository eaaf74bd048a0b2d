"""Turns as values: whose it is, what is stamped, and what a taken turn writes."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from rollout.api.meta import Key, ObjectMeta
from rollout.api.resources import REPLICA_SETS, ROLLOUTS, SERVICES, VIRTUAL_SERVICES
from rollout.api.rollout import TURN, Rollout
from rollout.api.workload import ReplicaSet, ReplicaSetSpec, Service
from rollout.core.actions import PatchRollout, Stamp
from rollout.core.observed import Observed
from rollout.plan.turn import Turn, is_ours, mark, stamps, taken, turn_of
from tests.stories.objects import canary, rollout
from tests.unit.plan.test_plan import snapshot

US, THEM = "us", "them"


def seen(turn: str, *, route: str = "", service: str = "", pods: str = "", replicas: int = 3) -> Observed:
    """A Rollout whose annotation is `turn`, with a route, a Service and a set that carry these annotations."""
    base = snapshot(rollout(canary()))

    def meta(name: str, value: str) -> ObjectMeta:
        marks = {TURN: value} if value else None
        return ObjectMeta(name=name, namespace="prod", resource_version="7", annotations=marks)

    marked: Rollout = replace(
        base.rollout, metadata=replace(base.rollout.metadata, annotations={TURN: turn} if turn else None)
    )
    vs = {
        "metadata": {"name": "vs", "namespace": "mesh", "resourceVersion": "5", "annotations": {TURN: route}}
    }
    return replace(
        base,
        rollout=marked,
        routes={(VIRTUAL_SERVICES, Key("mesh", "vs")): vs},
        services={"svc": Service(meta("svc", service))},
        replica_sets=(ReplicaSet(meta("one", pods), spec=ReplicaSetSpec(replicas=replicas)),),
    )


def stamped(actions: tuple) -> list[tuple[str, str, str]]:
    return [(one.name, one.resource_version, one.value) for one in actions if isinstance(one, Stamp)]


@pytest.mark.parametrize("text", ["", "7", "seven us", "-1 us", "7 ", "٧ us", "9" * 30 + " us"])
def test_a_turn_that_cannot_be_read_is_nobodys(text: str) -> None:
    assert turn_of(seen(text).rollout) == Turn()


def test_a_turn_is_ours_while_nothing_shows_a_later_one() -> None:
    assert is_ours(seen("4 us", route="prod/web=4", pods="prod/web=2"), US)
    assert not is_ours(seen("4 them", route="prod/web=4"), US)
    assert not is_ours(seen("4 us", pods="prod/web=5"), US)
    assert is_ours(seen("4 us", route="prod/api=9"), US)


def test_taking_the_turn_writes_a_number_above_all_others_into_everything() -> None:
    before = seen("4 them", route="prod/api=9,prod/web=6", service="prod/web=2")
    take, *rest = taken(before, US)
    version = before.rollout.metadata.resource_version
    assert take == PatchRollout(resource_version=version, patch={"metadata": {"annotations": {TURN: "7 us"}}})
    assert stamped(tuple(rest)) == [
        ("vs", "5", "prod/api=9,prod/web=7"),
        ("svc", "7", "prod/web=7"),
        ("one", "7", "prod/web=7"),
    ]
    assert [one.resource for one in rest if isinstance(one, Stamp)] == [
        VIRTUAL_SERVICES,
        SERVICES,
        REPLICA_SETS,
    ]
    assert [one.namespace for one in rest if isinstance(one, Stamp)] == ["mesh", "prod", "prod"]


def test_only_what_shows_an_older_number_is_stamped() -> None:
    assert stamps(seen("4 us", route="prod/web=4", service="prod/web=4", pods="prod/web=4")) == ()
    assert stamped(stamps(seen("4 us", route="prod/web=4", service="prod/web=3", pods="rubbish"))) == [
        ("svc", "7", "prod/web=4"),
        ("one", "7", "prod/web=4"),
    ]


def test_a_set_without_pods_is_not_stamped() -> None:
    assert stamps(seen("4 us", route="prod/web=4", service="prod/web=4", replicas=0)) == ()


def test_a_new_object_carries_the_number_of_the_turn_it_is_made_in() -> None:
    assert mark(seen("4 us")) == {TURN: "prod/web=4"}
    assert mark(seen("")) == {}
    assert ROLLOUTS.kind == seen("").raw["kind"]
