"""The virtual loop: time jumps, seeds replay, and a run that cannot end is told."""

import asyncio
from datetime import timedelta

import pytest

from rollout.runtime.clock import LoopClock
from tests import virtual


def test_a_week_of_sleep_passes_at_once_and_exactly() -> None:
    async def main(clock: LoopClock) -> None:
        await clock.sleep(7 * 86_400)
        assert clock.now() - virtual.START == timedelta(days=7)

    virtual.run(main)


def test_timers_fire_in_order_of_their_deadlines() -> None:
    async def main(clock: LoopClock) -> list[float]:
        seen: list[float] = []

        async def wait(seconds: float) -> None:
            await clock.sleep(seconds)
            seen.append(seconds)

        await asyncio.gather(*(wait(s) for s in (3.0, 0.5, 2.0)))
        return seen

    assert virtual.run(main) == [0.5, 2.0, 3.0]


def order(seed: int) -> list[int]:
    async def main(clock: LoopClock) -> list[int]:
        seen: list[int] = []

        async def step(number: int) -> None:
            for _ in range(3):
                seen.append(number)
                await asyncio.sleep(0)

        await asyncio.gather(*(step(i) for i in range(5)))
        return seen

    return virtual.run(main, seed=seed)


def test_a_seed_replays_and_other_seeds_try_other_orders() -> None:
    assert order(7) == order(7)
    assert len({tuple(order(seed)) for seed in range(20)}) > 10


def test_callbacks_keep_their_order() -> None:
    async def main(clock: LoopClock) -> list[int]:
        seen: list[int] = []
        loop = asyncio.get_running_loop()
        for i in range(20):
            loop.call_soon(seen.append, i)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return seen

    assert virtual.run(main, seed=3) == list(range(20))


def test_a_deadlock_is_told_with_the_place_where_each_task_waits() -> None:
    async def forever() -> None:
        await asyncio.Event().wait()

    async def main(clock: LoopClock) -> None:
        await asyncio.create_task(forever(), name="the-stuck-one")

    with pytest.raises(virtual.Stuck, match=r"deadlock(?s:.*)the-stuck-one: .*forever"):
        virtual.run(main)


def test_spinning_without_time_passing_is_told() -> None:
    async def main(clock: LoopClock) -> None:
        while True:
            await asyncio.sleep(0)

    with pytest.raises(virtual.Stuck, match="endless loop"):
        virtual.run(main)


def test_timeouts_follow_virtual_time() -> None:
    async def main(clock: LoopClock) -> None:
        before = clock.monotonic()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(30):
                await clock.sleep(31)
        assert clock.monotonic() - before == pytest.approx(30)

    virtual.run(main)


def test_what_main_raises_comes_out() -> None:
    async def main(clock: LoopClock) -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        virtual.run(main)
