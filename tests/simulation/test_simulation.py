"""Random releases keep the safety rules, and come to the right end once the noise is over."""

from __future__ import annotations

import pytest

from tests.simulation.__main__ import report
from tests.simulation.regressions import CASES
from tests.simulation.run import simulate
from tests.simulation.scenario import draw

QUICK = 30
BATCHES, BATCH = 12, 25


@pytest.mark.parametrize("first", range(0, QUICK, 10))
def test_random_releases_are_safe_and_end_well(first: int) -> None:
    check(range(first, first + 10))


@pytest.mark.slow
@pytest.mark.parametrize("batch", range(BATCHES))
def test_many_random_releases_are_safe_and_end_well(batch: int) -> None:
    check(range(1000 + batch * BATCH, 1000 + (batch + 1) * BATCH))


@pytest.mark.parametrize("name", CASES)
def test_what_once_failed_does_not_fail_again(name: str) -> None:
    assert simulate(CASES[name]) == []


def test_a_seed_is_always_the_same_run() -> None:
    assert draw(17) == draw(17)
    assert draw(17) != draw(18)


def check(seeds: range) -> None:
    for seed in seeds:
        if simulate(draw(seed)):
            pytest.fail(report(seed))
