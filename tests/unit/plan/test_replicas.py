"""Pods as the share of the traffic: exact numbers, and what holds for all of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.api.meta import ObjectMeta
from rollout.api.rollout import CanaryStrategy, Rollout, RolloutSpec, Strategy
from rollout.core.capacity import least_ready, surge_and_unavailable
from rollout.plan.replicas import Count, next_counts, split


@pytest.mark.parametrize(
    ("weight", "replicas", "surge", "expected"),
    [
        (0, 10, 1, (0, 10)),
        (100, 10, 1, (10, 0)),
        (10, 10, 0, (1, 9)),
        (1, 10, 0, (1, 9)),
        (99, 10, 0, (9, 1)),
        (50, 1, 1, (1, 1)),
        (50, 1, 0, (1, 0)),
        (33, 3, 0, (1, 2)),
        (20, 5, 1, (1, 4)),
        (20, 0, 1, (0, 0)),
    ],
)
def test_split(weight: int, replicas: int, surge: int, expected: tuple[int, int]) -> None:
    assert split(weight, replicas, surge) == expected


@given(st.integers(1, 99), st.integers(1, 60), st.integers(0, 3))
def test_no_side_is_empty_between_the_ends_and_the_total_is_kept(
    weight: int, replicas: int, surge: int
) -> None:
    canary, stable = split(weight, replicas, surge)
    assert replicas <= canary + stable <= replicas + min(surge, 1)
    if replicas > 1 or surge:
        assert canary > 0
        assert stable > 0


@given(st.integers(0, 100), st.integers(1, 20), st.integers(0, 4), st.integers(0, 4), st.integers(0, 20))
def test_counts_reach_their_targets_and_never_fall_below_what_must_stay(
    weight: int, replicas: int, surge: int, unavailable: int, start: int
) -> None:
    unavailable = min(unavailable, replicas - 1)
    surge = surge if surge or unavailable else 1
    start = min(start, replicas)
    specs = {"stable": replicas - start, "new": start}
    canary, stable = split(weight, replicas, surge)
    targets = {"stable": stable, "new": canary}
    for _ in range(100):
        counts = {name: Count(specs[name], specs[name], targets[name]) for name in specs}
        after = next_counts(counts, replicas=replicas, surge=surge, unavailable=unavailable, older=())
        assert sum(after.values()) <= max(replicas + surge, sum(specs.values()))
        # Only what is new still has to become ready.
        still_ready = sum(min(specs[name], after[name]) for name in specs)
        assert still_ready >= min(replicas - unavailable, sum(specs.values()))
        if after == specs:
            break
        specs = after
    assert specs == targets


def rollout(replicas: int, surge: int | str, unavailable: int | str) -> Rollout:
    canary = CanaryStrategy(max_surge=surge, max_unavailable=unavailable)
    return Rollout(
        metadata=ObjectMeta(), spec=RolloutSpec(replicas=replicas, strategy=Strategy(canary=canary))
    )


@pytest.mark.parametrize(
    ("replicas", "surge", "unavailable", "expected"),
    [
        (10, "25%", "25%", (3, 2)),
        (1, "25%", "25%", (1, 0)),
        (1, 0, "25%", (1, 0)),  # one pod is only replaced by way of a second one
        (1, 0, 1, (1, 0)),
        (2, 0, "100%", (0, 1)),
        (4, 1, 0, (1, 0)),
    ],
)
def test_never_all_pods_may_be_unavailable(
    replicas: int, surge: int | str, unavailable: int | str, expected: tuple[int, int]
) -> None:
    assert surge_and_unavailable(rollout(replicas, surge, unavailable)) == expected


@pytest.mark.parametrize(
    ("weight", "replicas", "unavailable", "pods"),
    [(0, 5, 1, 0), (1, 5, 4, 1), (40, 5, 0, 2), (100, 5, 1, 4), (50, 0, 0, 0)],
)
def test_least_ready(weight: int, replicas: int, unavailable: int, pods: int) -> None:
    assert least_ready(weight, replicas, unavailable) == pods
