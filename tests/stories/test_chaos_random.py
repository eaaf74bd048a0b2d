"""Chaos runs under several faults of the API at random: writes that fail, crashes, watches that break or lag.

python -m pytest tests/stories/test_chaos_random.py -m slow        # 200 seeds
"""

from __future__ import annotations

import random  # noqa: TID251 - seeded

import pytest

from tests.stories.faults import Faults, WatchKind
from tests.stories.test_chaos_crashes import KINDS, STORIES, chaos

WATCH: tuple[WatchKind, ...] = ("drop", "gone", "end", "delay")
WRITES, EVENTS = 60, 300


def survives(seed: int) -> None:
    dice = random.Random(seed)
    story = dice.choice(STORIES)
    writes = {dice.randint(1, WRITES): dice.choice(KINDS) for _ in range(dice.randint(1, 4))}
    watch = {dice.randint(1, EVENTS): dice.choice(WATCH) for _ in range(dice.randint(0, 2))}
    try:
        chaos(story, faults=Faults(writes, watch=watch), seed=seed)
    except BaseException as error:
        error.add_note(f"seed {seed}: {story.__name__}, writes {writes}, watch {watch}")
        raise


@pytest.mark.parametrize("seed", range(12))
def test_whatever_comes_together_nothing_is_left_behind(seed: int) -> None:
    survives(seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(200))
def test_two_hundred_times_nothing_is_left_behind(seed: int) -> None:
    survives(1000 + seed)
