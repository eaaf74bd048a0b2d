"""When a process may act for a Rollout, by whose turn it is and how long it has waited."""

from __future__ import annotations

from rollout.controller.turns import PATIENCE_SECONDS, Turns
from rollout.runtime.clock import LoopClock
from tests import virtual
from tests.unit.plan.test_turn import seen

OURS, THEIRS, LATER = seen("1 us"), seen("2 them"), seen("3 them")


def test_the_first_time_the_turn_is_taken_at_once_whoever_has_it() -> None:
    async def story(clock: LoopClock) -> None:
        turns = Turns(clock, "us")
        assert turns.wait(THEIRS) == 0.0
        assert turns.first(THEIRS)

    virtual.run(story)


def test_who_was_hindered_by_another_write_tries_again_at_once() -> None:
    """A user's promote between our look and our write: a failover must not cost PATIENCE_SECONDS more for it."""

    async def story(clock: LoopClock) -> None:
        turns = Turns(clock, "us")
        assert turns.wait(THEIRS) == 0.0
        assert turns.first(THEIRS)  # refused: Conflict
        assert turns.wait(THEIRS) == 0.0

    virtual.run(story)


def test_who_has_lost_the_turn_waits_until_its_patience_is_over() -> None:
    async def story(clock: LoopClock) -> None:
        turns = Turns(clock, "us")
        assert turns.wait(OURS) == 0.0
        assert turns.wait(THEIRS) == PATIENCE_SECONDS
        await clock.sleep(10.0)
        assert turns.wait(THEIRS) == PATIENCE_SECONDS - 10.0
        await clock.sleep(PATIENCE_SECONDS)
        assert turns.wait(THEIRS) == 0.0

    virtual.run(story)


def test_patience_begins_anew_with_another_turn_and_after_a_rest() -> None:
    async def story(clock: LoopClock) -> None:
        turns = Turns(clock, "us")
        turns.wait(OURS)
        turns.wait(THEIRS)
        await clock.sleep(10.0)
        assert turns.wait(LATER) == PATIENCE_SECONDS
        await clock.sleep(10.0)
        turns.rest(LATER.key)
        assert turns.wait(LATER) == PATIENCE_SECONDS

    virtual.run(story)


def test_a_rollout_that_is_gone_is_forgotten() -> None:
    async def story(clock: LoopClock) -> None:
        turns = Turns(clock, "us")
        turns.wait(OURS)
        turns.forget(OURS.key)
        assert turns.wait(THEIRS) == 0.0

    virtual.run(story)
