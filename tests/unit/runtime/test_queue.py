"""The work queue's contract: fair, stingy, exclusive, delayed, shut down."""

import asyncio
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollout.runtime.clock import LoopClock
from rollout.runtime.queue import JITTER, Backoff, ShutDown, WorkQueue
from tests import virtual


async def take(queue: WorkQueue[str]) -> str:
    async with queue.take() as key:
        return key


def test_keys_come_in_the_order_of_their_addition() -> None:
    async def main(clock: LoopClock) -> None:
        queue: WorkQueue[str] = WorkQueue(clock)
        for key in "bca":
            queue.add(key)
        assert [await take(queue) for _ in range(3)] == ["b", "c", "a"]

    virtual.run(main)


def test_a_key_added_many_times_is_handed_out_once() -> None:
    async def main(clock: LoopClock) -> None:
        queue: WorkQueue[str] = WorkQueue(clock)
        for _ in range(100):
            queue.add("a")
        assert len(queue) == 1
        assert await take(queue) == "a"
        assert len(queue) == 0

    virtual.run(main)


def test_urgent_keys_come_before_the_others_until_they_went_well() -> None:
    async def main(clock: LoopClock) -> None:
        queue: WorkQueue[str] = WorkQueue(clock)
        for key in "abc":
            queue.add(key)
        queue.add("c", urgent=True)
        queue.add("d", urgent=True)
        assert len(queue) == 4
        assert await take(queue) == "c"
        queue.add("c")  # it failed: nobody has called `forget`
        async with queue.take() as key:
            assert key == "d"
            queue.forget("d")
        queue.add("d")
        assert [await take(queue) for _ in range(4)] == ["c", "a", "b", "d"]

    virtual.run(main)


def test_a_key_is_urgent_again_only_if_that_was_asked_for_while_it_was_worked_on() -> None:
    async def main(clock: LoopClock) -> None:
        for again in (True, False):
            queue: WorkQueue[str] = WorkQueue(clock)
            queue.add("b", urgent=True)
            async with queue.take() as key:
                queue.add("a")
                queue.add(key, urgent=again)
                queue.forget(key)
            assert [await take(queue) for _ in range(2)] == (["b", "a"] if again else ["a", "b"])

    virtual.run(main)


def test_a_key_added_while_worked_on_comes_again_afterwards_and_not_before() -> None:
    async def main(clock: LoopClock) -> None:
        queue: WorkQueue[str] = WorkQueue(clock)
        queue.add("a")
        async with queue.take() as key:
            queue.add(key)
            queue.add(key)
            assert len(queue) == 0
            assert queue.processing == {"a"}
        assert len(queue) == 1
        assert await take(queue) == "a"
        assert len(queue) == 0

    virtual.run(main)


def test_the_block_that_fails_still_gives_its_key_back() -> None:
    async def main(clock: LoopClock) -> None:
        queue: WorkQueue[str] = WorkQueue(clock)
        queue.add("a")

        async def fail() -> None:
            async with queue.take():
                queue.add("a")
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await fail()
        assert await take(queue) == "a"

    virtual.run(main)


def test_of_two_delays_the_earlier_deadline_wins() -> None:
    async def main(clock: LoopClock) -> None:
        queue: WorkQueue[str] = WorkQueue(clock)
        start = clock.monotonic()
        queue.add_after("a", 10)
        queue.add_after("a", 3)
        queue.add_after("a", 30)
        assert await take(queue) == "a"
        assert clock.monotonic() - start == pytest.approx(3)
        assert queue.delayed == 0
        await clock.sleep(60)
        assert len(queue) == 0

    virtual.run(main)


def test_a_delay_that_has_passed_adds_at_once() -> None:
    async def main(clock: LoopClock) -> None:
        queue: WorkQueue[str] = WorkQueue(clock)
        queue.add_after("a", 0)
        queue.add_after("b", -5)
        assert len(queue) == 2

    virtual.run(main)


def test_back_off_doubles_from_5_ms_to_60_s_and_starts_again_when_forgotten() -> None:
    async def main(clock: LoopClock) -> None:
        backoff: Backoff[str] = Backoff(clock)
        delays = [backoff.next("a") for _ in range(20)]
        for number, delay in enumerate(delays):
            floor = min(60.0, 0.005 * 2**number)
            assert floor <= delay <= floor * (1 + JITTER)
        assert backoff.failures("a") == 20
        assert backoff.next("b") < 0.01
        backoff.forget("a")
        assert backoff.next("a") < 0.01

    virtual.run(main)


def test_back_off_survives_thousands_of_failures() -> None:
    async def main(clock: LoopClock) -> None:
        backoff: Backoff[str] = Backoff(clock)
        assert max(backoff.next("a") for _ in range(5000)) <= 60 * (1 + JITTER)

    virtual.run(main)


def test_shut_down_ends_waiting_takers_and_refuses_new_keys() -> None:
    async def main(clock: LoopClock) -> None:
        queue: WorkQueue[str] = WorkQueue(clock)
        takers = [asyncio.create_task(take(queue)) for _ in range(3)]
        await asyncio.sleep(0)
        queue.add_after("late", 5)
        queue.shut_down()
        results = await asyncio.gather(*takers, return_exceptions=True)
        assert [type(r) for r in results] == [ShutDown] * 3
        queue.add("a")
        await clock.sleep(10)
        assert len(queue) == 0
        with pytest.raises(ShutDown):
            await take(queue)

    virtual.run(main)


def test_shut_down_lets_running_work_finish_and_idle_says_when() -> None:
    async def main(clock: LoopClock) -> None:
        queue: WorkQueue[str] = WorkQueue(clock)
        queue.add("a")
        finished: list[float] = []

        async def work() -> None:
            async with queue.take():
                await clock.sleep(5)
                finished.append(clock.monotonic())

        task = asyncio.create_task(work())
        await asyncio.sleep(0)
        queue.shut_down()
        await queue.idle()
        assert finished == [clock.monotonic()]
        await task

    virtual.run(main)


def test_a_paused_queue_hands_out_nothing_until_it_is_resumed() -> None:
    async def main(clock: LoopClock) -> None:
        queue: WorkQueue[str] = WorkQueue(clock)
        queue.add("a")
        queue.pause()
        taken: list[str] = []

        async def work() -> None:
            while True:
                taken.append(await take(queue))

        workers = [asyncio.create_task(work()) for _ in range(2)]
        await clock.sleep(1)
        queue.add("b")
        await clock.sleep(1)
        assert taken == []
        queue.resume()
        await clock.sleep(0.001)
        assert sorted(taken) == ["a", "b"]
        for worker in workers:
            worker.cancel()

    virtual.run(main)


def test_a_cancelled_taker_does_not_swallow_a_key() -> None:
    async def main(clock: LoopClock) -> None:
        queue: WorkQueue[str] = WorkQueue(clock)
        first = asyncio.create_task(take(queue))
        second = asyncio.create_task(take(queue))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        queue.add("a")
        first.cancel()
        done, _ = await asyncio.wait({first, second}, timeout=1)
        assert {task.result() for task in done if not task.cancelled()} == {"a"}

    for seed in range(20):
        virtual.run(main, seed=seed)


def test_waiting_time_is_told() -> None:
    async def main(clock: LoopClock) -> None:
        queue: WorkQueue[str] = WorkQueue(clock)
        waits: list[float] = []
        queue.on_wait = waits.append
        queue.add("a")
        await clock.sleep(2.5)
        await take(queue)
        assert waits == [pytest.approx(2.5)]

    virtual.run(main)


actions = st.lists(
    st.tuples(
        st.sampled_from(["add", "urgent", "after", "limited", "sleep"]),
        st.sampled_from("abc"),
        st.integers(0, 5),
    ),
    max_size=40,
)


@settings(max_examples=60, deadline=None)
@given(actions, st.integers(0, 10_000))
def test_no_key_runs_twice_at_once_and_none_is_lost(plan: list[tuple[str, str, int]], seed: int) -> None:
    async def main(clock: LoopClock) -> None:
        queue: WorkQueue[str] = WorkQueue(clock)
        running: Counter[str] = Counter()
        seen_after_last_add: dict[str, bool] = {}

        async def worker() -> None:
            while True:
                async with queue.take() as key:
                    running[key] += 1
                    assert running[key] == 1
                    seen_after_last_add[key] = True
                    await clock.sleep(clock.random.random() * 3)
                    running[key] -= 1

        workers = [asyncio.create_task(worker()) for _ in range(3)]
        for action, key, number in plan:
            if action == "sleep":
                await clock.sleep(number / 2)
                continue
            seen_after_last_add[key] = False
            if action in ("add", "urgent"):
                queue.add(key, urgent=action == "urgent")
            elif action == "after":
                queue.add_after(key, number)
            else:
                queue.add_rate_limited(key)
        await clock.sleep(200)
        assert all(seen_after_last_add.values())
        assert not any(w.done() for w in workers)
        for w in workers:
            w.cancel()

    virtual.run(main, seed=seed)
