"""Slots: never more at a time than there are, first come first served, and nobody is lost when they change."""

import asyncio
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollout.runtime.clock import LoopClock
from rollout.runtime.slots import Slots
from tests import virtual


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from(["work", "cancel", "sleep", "resize"]), max_size=40),
    st.integers(1, 5),
    st.integers(0, 10_000),
)
def test_whatever_happens_the_bound_holds_and_everybody_has_a_turn(
    plan: list[str], size: int, seed: int
) -> None:
    async def main(clock: LoopClock) -> None:
        slots = Slots(size)
        tasks: list[asyncio.Task[None]] = []
        at_work = 0

        async def work() -> None:
            nonlocal at_work
            async with slots:
                at_work += 1
                assert at_work <= slots.busy
                try:
                    await clock.sleep(clock.random.random())
                finally:
                    at_work -= 1

        for action in plan:
            match action:
                case "work":
                    before = at_work
                    tasks.append(asyncio.create_task(work()))
                    await asyncio.sleep(0)
                    assert at_work <= max(before, slots.size)
                case "cancel" if tasks:
                    clock.random.choice(tasks).cancel()
                case "resize":
                    slots.resize(clock.random.randint(1, 5))
                case _:
                    await clock.sleep(clock.random.random() / 2)
        for task in tasks:
            with suppress(asyncio.CancelledError):
                async with asyncio.timeout(1000):
                    await task
        assert slots.busy == 0

    virtual.run(main, seed=seed)


def test_more_slots_let_those_who_wait_begin_and_fewer_stop_nobody() -> None:
    async def main(clock: LoopClock) -> None:
        slots, begun = Slots(1), []

        async def work(number: int) -> None:
            async with slots:
                begun.append(number)
                await clock.sleep(10)

        tasks = [asyncio.create_task(work(number)) for number in range(6)]
        await clock.sleep(1)
        assert len(begun) == 1
        slots.resize(3)
        await clock.sleep(1)
        assert len(begun) == 3
        slots.resize(1)
        await clock.sleep(9)  # 0 has ended, two are still at it
        assert len(begun) == 3
        await asyncio.gather(*tasks)
        assert sorted(begun) == [0, 1, 2, 3, 4, 5]

    virtual.run(main)


def test_an_error_inside_gives_the_slot_back() -> None:
    async def main(_: LoopClock) -> None:
        slots = Slots(1)
        with pytest.raises(ZeroDivisionError):
            async with slots:
                raise ZeroDivisionError
        assert slots.busy == 0

    virtual.run(main)
