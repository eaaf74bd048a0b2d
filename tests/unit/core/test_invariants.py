"""Each safety rule by two pictures: what breaks it, and what does not."""

from __future__ import annotations

import msgspec
import pytest

from rollout.core.invariants import Picture, Version, violations

BEFORE = Picture(
    replicas=4,
    unavailable=1,
    versions={"old": Version(4, 4), "new": Version(2, 2)},
    stable="old",
    weights=((40, 60),),
    shares={"old": 60, "new": 40},
    selectors={"web": "old"},
    routed=frozenset({"old", "new"}),
)


def after(**changes: object) -> Picture:
    return msgspec.structs.replace(BEFORE, **changes)


@pytest.mark.parametrize(
    ("picture", "rule"),
    [
        (after(weights=((40, 50),)), "I1"),
        (after(weights=((-1, 101),)), "I1"),
        (after(shares={"old": 0, "new": 100}), "I2"),
        (after(versions={"old": Version(1, 1), "new": Version(2, 2)}), "I2"),
        (after(versions={"old": Version(0, 0), "new": Version(0, 0)}, shares={}, routed=frozenset()), "I3"),
        (after(versions={"old": Version(4, 4), "new": Version(0, 0)}, shares={"old": 100}), "I4"),
        (after(versions={"old": Version(4, 4)}, shares={"old": 100}), "I4"),
        (after(selectors={"web": ""}), "I5"),
        (after(selectors={"web": "nobody"}), "I5"),
    ],
)
def test_what_breaks_a_rule(picture: Picture, rule: str) -> None:
    assert rule in {one[:2] for one in violations(BEFORE, picture)}


@pytest.mark.parametrize(
    "picture",
    [
        BEFORE,
        after(shares={"old": 100, "new": 0}, weights=((0, 100),)),
        after(versions={"old": Version(4, 0), "new": Version(2, 2)}),  # they failed on their own
        after(selectors={"web": "new"}),
        after(replicas=0, versions={"old": Version(0, 0), "new": Version(0, 0)}),
    ],
)
def test_what_does_not(picture: Picture) -> None:
    assert violations(BEFORE, picture) == []


def test_a_binding_leaves_ready_pods_only_for_ready_pods() -> None:
    versions = {"old": Version(4, 4), "new": Version(2, 0)}
    before = msgspec.structs.replace(BEFORE, versions=versions, shares={}, weights=(), routed=frozenset())
    moved = msgspec.structs.replace(before, selectors={"web": "new"})
    assert violations(before, moved) == [
        "I5: traffic that selected old is bound to new, which has no ready pods"
    ]


def test_fewer_failed_pods_hurt_nobody() -> None:
    before = after(versions={"old": Version(6, 2), "new": Version(2, 2)}, shares={"old": 100})
    fewer = after(versions={"old": Version(4, 2), "new": Version(2, 2)}, shares={"old": 100})
    assert violations(before, fewer) == []


@pytest.mark.parametrize(
    ("stable", "left", "safe"),
    [("old", 0, True), ("new", 1, False), ("new", 2, True), ("gone", 3, False), ("", 0, True)],
)
def test_a_workload_shrinks_only_for_ready_pods_of_the_serving_revision(
    stable: str, left: int, safe: bool
) -> None:
    before = msgspec.structs.replace(BEFORE, workload=5, stable=stable)
    broken = violations(before, msgspec.structs.replace(before, workload=left))
    assert broken == [] if safe else ["I2: the workload" in one for one in broken] == [True]
