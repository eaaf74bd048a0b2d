"""Leader election on virtual time: each known way to have two leaders, or none, tried."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollout.api.meta import time_of
from rollout.api.resources import CONFIG_MAPS, LEASES
from rollout.errors import AlreadyExists, Conflict, NotFound, Unavailable
from rollout.runtime.clock import LoopClock
from rollout.runtime.kube import Object
from rollout.runtime.leader import Elector, FencedKube, LeadershipLost, live_holder
from tests import virtual


class Leases:
    """A server with one Lease and a log of writes. Each candidate reaches it through its own `Link`."""

    def __init__(self) -> None:
        self.version = 0
        self.lease: Object | None = None
        self.writes: list[tuple[str, int]] = []

    def put(self, obj: Object) -> Object:
        self.version += 1
        self.lease = {**obj, "metadata": obj["metadata"] | {"resourceVersion": str(self.version)}}
        return self.lease

    @property
    def spec(self) -> dict[str, Any]:
        assert self.lease is not None
        return self.lease["spec"]

    def edit(self, **spec: Any) -> None:
        assert self.lease is not None
        self.put({**self.lease, "spec": self.lease["spec"] | spec})


class Link:
    """One process's way to the server. `trouble()` runs before each call: it may raise, or never return."""

    def __init__(self, server: Leases) -> None:
        self.server = server
        self.calls = 0
        self.trouble: Callable[[], Awaitable[None]] = self.none
        self.after: Callable[[], Awaitable[None]] = self.none

    async def none(self) -> None:
        await asyncio.sleep(0.01)

    async def _call(self, act: Callable[[], Any]) -> Any:
        self.calls += 1
        await self.trouble()
        result = act()
        await self.after()
        return result

    async def get(self, resource: Any, namespace: str, name: str, **_: Any) -> Object:
        def act() -> Object:
            if self.server.lease is None:
                raise NotFound("no lease")
            return self.server.lease

        return await self._call(act)

    async def create(self, resource: Any, namespace: str, obj: Object, **_: Any) -> Object:
        def act() -> Object:
            if self.server.lease is not None:
                raise AlreadyExists("there")
            return self.server.put(obj)

        return await self._call(act)

    async def replace(self, resource: Any, namespace: str, name: str, obj: Object, **_: Any) -> Object:
        def act() -> Object:
            if self.server.lease is None:
                raise NotFound("no lease")
            if obj["metadata"]["resourceVersion"] != self.server.lease["metadata"]["resourceVersion"]:
                raise Conflict("changed meanwhile")
            return self.server.put(obj)

        return await self._call(act)

    async def patch(self, resource: Any, namespace: str, name: str, patch: Any, **_: Any) -> Object:
        """A write of the work: notes who wrote under which fence."""

        def act() -> Object:
            self.server.writes.append((patch["by"], patch["fence"]))
            return {"metadata": {"name": name}}

        return await self._call(act)


def elector(link: Any, name: str, clock: Any, **options: Any) -> Elector:
    return Elector(link, namespace="ns", name="surefoot", identity=name, clock=clock, **options)


class Work:
    """Work that beats every 0.1 s while it runs, and notes how it ended."""

    def __init__(self, clock: Any) -> None:
        self.clock = clock
        self.beats: list[float] = []
        self.ended = ""

    async def __call__(self) -> None:
        try:
            while True:
                self.beats.append(self.clock.monotonic())
                await asyncio.sleep(0.1)
        except asyncio.CancelledError:
            await asyncio.sleep(0.5)  # cleaning up takes a while
            self.ended = "cancelled"
            raise


@asynccontextmanager
async def candidate(link: Any, name: str, clock: Any, **options: Any):
    chosen, work = elector(link, name, clock, **options), Work(clock)
    task = asyncio.create_task(chosen.run(work), name=name)
    try:
        yield chosen, work, task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def hang() -> None:
    await asyncio.Event().wait()


async def refuse() -> None:
    raise Unavailable("connection refused", sent=False)


def test_the_first_leads_and_the_second_stands_by() -> None:
    async def main(clock: LoopClock) -> None:
        server = Leases()
        async with candidate(Link(server), "a", clock) as (a, _, _):
            await clock.sleep(1)
            async with candidate(Link(server), "b", clock) as (b, work, _):
                await clock.sleep(300)
                assert (a.leading, b.leading, work.beats) == (True, False, [])
                assert (b.holder, a.fence) == ("a", 1)

    virtual.run(main)


def test_of_two_that_start_together_one_leads() -> None:
    async def main(clock: LoopClock) -> None:
        server = Leases()
        async with (
            candidate(Link(server), "a", clock) as (a, _, _),
            candidate(Link(server), "b", clock) as (b, _, _),
        ):
            await clock.sleep(30)
            assert a.leading != b.leading

    for seed in range(10):
        virtual.run(main, seed=seed)


@pytest.mark.parametrize("seed", range(20))
def test_a_dead_leader_is_replaced_after_its_lease_and_within_17_seconds(seed: int) -> None:
    async def main(clock: LoopClock) -> None:
        server, dead = Leases(), Link(Leases())
        dead.server = server
        async with candidate(dead, "a", clock) as (_, _, task):
            await clock.sleep(4)
            async with candidate(Link(server), "b", clock) as (b, work, _):
                await clock.sleep(4 + 2 * clock.random.random())
                dead.trouble = hang  # kill -9: it neither renews nor releases
                task.cancel()
                died = clock.monotonic()
                await clock.sleep(30)
                assert b.leading
                assert 12 <= work.beats[0] - died <= 17
                assert b.fence == 2

    virtual.run(main, seed=seed)


@pytest.mark.parametrize("trouble", [refuse, hang])
def test_when_renewals_fail_or_hang_work_ends_before_others_may_take_over(trouble: Any) -> None:
    async def main(clock: LoopClock) -> None:
        server, link = Leases(), Link(Leases())
        link.server = server
        doubts: list[tuple[bool, float]] = []
        start = clock.monotonic()

        def on_doubt(doubt: bool) -> None:
            doubts.append((doubt, clock.monotonic() - start))

        async with candidate(link, "a", clock, on_doubt=on_doubt) as (a, work, task):
            await clock.sleep(5)
            renewed = time_of(server.spec["renewTime"])
            assert renewed is not None
            link.trouble = trouble
            with pytest.raises(LeadershipLost):
                await task
            assert not a.leading
            assert work.ended == "cancelled"  # and awaited: run() ended after it
            silence = clock.now() - renewed
            assert timedelta(seconds=13) <= silence <= timedelta(seconds=14)
            in_doubt, at = doubts[-1]
            assert in_doubt
            assert at == pytest.approx((renewed - virtual.START).total_seconds() + 10, abs=0.1)

    virtual.run(main)


def test_a_short_failure_brings_doubt_and_its_end() -> None:
    async def main(clock: LoopClock) -> None:
        server, link = Leases(), Link(Leases())
        link.server = server
        doubts: list[bool] = []
        async with candidate(link, "a", clock, on_doubt=doubts.append) as (a, _, task):
            await clock.sleep(5)
            link.trouble = refuse
            await clock.sleep(10.5)
            assert doubts[-1] is True
            link.trouble = link.none
            await clock.sleep(2.5)
            assert doubts[-1] is False
            await clock.sleep(100)
            assert a.leading
            assert not task.done()

    virtual.run(main)


class Skewed:
    """The clock of a machine whose wall clock is off; monotonic time is not."""

    def __init__(self, clock: LoopClock, skew: float) -> None:
        self._clock = clock
        self.skew = timedelta(seconds=skew)
        self.random = clock.random
        self.monotonic = clock.monotonic
        self.sleep = clock.sleep

    def now(self) -> datetime:
        return self._clock.now() + self.skew


@pytest.mark.parametrize("hours", [1, -1])
def test_a_wall_clock_that_jumps_changes_nothing(hours: int) -> None:
    async def main(clock: LoopClock) -> None:
        server = Leases()
        mine, theirs = Skewed(clock, 0), Skewed(clock, 3600 * hours)
        async with candidate(Link(server), "a", mine) as (a, _, _):
            await clock.sleep(1)
            async with candidate(Link(server), "b", theirs) as (b, _, _):
                await clock.sleep(60)
                mine.skew = timedelta(hours=-2 * hours)
                await clock.sleep(60)
                assert (a.leading, b.leading) == (True, False)

    virtual.run(main)


def test_times_are_written_in_utc() -> None:
    async def main(clock: LoopClock) -> None:
        server = Leases()
        async with candidate(Link(server), "a", clock):
            await clock.sleep(1)
            assert server.spec["acquireTime"] == server.spec["renewTime"] == "2026-01-05T09:00:00.010000Z"
            await clock.sleep(3)
            assert server.spec["acquireTime"] < server.spec["renewTime"]

    virtual.run(main)


def test_a_foreign_holder_ends_the_work_at_the_next_renewal() -> None:
    async def main(clock: LoopClock) -> None:
        server = Leases()
        async with candidate(Link(server), "a", clock) as (a, work, task):
            await clock.sleep(5)
            server.edit(holderIdentity="intruder", leaseTransitions=9)
            taken = clock.monotonic()
            with pytest.raises(LeadershipLost, match="intruder holds it"):
                await task
            assert work.beats[-1] - taken < 2.2
            assert (a.leading, work.ended, server.spec["holderIdentity"]) == (False, "cancelled", "intruder")

    virtual.run(main)


def test_an_edit_that_leaves_the_holder_is_survived_and_kept() -> None:
    async def main(clock: LoopClock) -> None:
        server = Leases()
        async with candidate(Link(server), "a", clock) as (a, _, task):
            await clock.sleep(5)
            server.edit(strategy="keep me")
            await clock.sleep(60)
            assert (a.leading, task.done(), server.spec["strategy"]) == (True, False, "keep me")

    virtual.run(main)


def test_a_deleted_lease_is_made_again_with_a_higher_number() -> None:
    async def main(clock: LoopClock) -> None:
        server = Leases()
        async with candidate(Link(server), "a", clock) as (a, _, task):
            await clock.sleep(5)
            server.lease = None
            await clock.sleep(5)
            assert (a.leading, task.done(), server.spec["leaseTransitions"], a.fence) == (True, False, 2, 2)

    virtual.run(main)


def test_a_lease_deleted_and_taken_by_another_ends_the_work() -> None:
    async def main(clock: LoopClock) -> None:
        server = Leases()
        async with candidate(Link(server), "a", clock) as (_, _, task):
            await clock.sleep(5)
            server.lease = None
            async with candidate(Link(server), "b", clock) as (b, _, _):
                with pytest.raises(LeadershipLost):
                    await task
                assert b.leading

    virtual.run(main)


def test_a_blocked_loop_loses_the_lease_and_writes_nothing_afterwards() -> None:
    async def main(clock: LoopClock) -> None:
        server = Leases()
        link = Link(server)
        chosen = elector(link, "a", clock)
        fenced = FencedKube(link, chosen)  # type: ignore[arg-type]
        refused: list[str] = []

        async def write_for_ever() -> None:
            while True:
                try:
                    await fenced.patch(CONFIG_MAPS, "ns", "x", {"by": "a", "fence": chosen.fence})
                except LeadershipLost as error:
                    refused.append(str(error))
                await asyncio.sleep(0.5)

        task = asyncio.create_task(chosen.run(write_for_ever))
        await clock.sleep(5)
        loop = asyncio.get_running_loop()
        assert isinstance(loop, virtual.VirtualLoop)
        before = len(server.writes)
        assert before > 5
        loop.advance(20)
        with pytest.raises(LeadershipLost):
            await task
        assert len(server.writes) <= before

    for seed in range(10):
        virtual.run(main, seed=seed)


@pytest.mark.parametrize("hours", [1, -1])
def test_a_deposed_leaders_late_write_fails_also_when_its_clock_jumps(hours: int) -> None:
    async def main(clock: LoopClock) -> None:
        server = Leases()
        mine = Skewed(clock, 0)
        old = Link(server)
        chosen = elector(old, "a", mine)
        fenced = FencedKube(old, chosen)  # type: ignore[arg-type]

        async def write() -> None:
            await fenced.patch(CONFIG_MAPS, "ns", "x", {"by": "a", "fence": chosen.fence})

        async with candidate(old, "a", clock):
            pass  # leaves a Lease that is free
        task = asyncio.create_task(chosen.run(hang))
        await clock.sleep(3)
        await write()
        mine.skew = timedelta(hours=hours)  # as if no time had passed, or an hour too much
        await write()
        assert len(server.writes) == 2
        old.trouble = hang  # its network is gone: the lease runs out
        on_its_way = asyncio.create_task(write())
        async with candidate(Link(server), "b", clock) as (b, _, _):
            await clock.sleep(20)
            assert b.leading
            with pytest.raises(Unavailable, match="did not end before the lease"):
                await on_its_way
            old.trouble = old.none  # the network is back, and what it had decided would be written now
            for skew in (-2 * hours, 0, 2 * hours):
                mine.skew = timedelta(hours=skew)
                with pytest.raises(LeadershipLost):
                    await write()
        assert len(server.writes) == 2
        await asyncio.gather(task, return_exceptions=True)

    virtual.run(main)


def test_release_lets_a_standby_lead_within_seconds() -> None:
    async def main(clock: LoopClock) -> None:
        server = Leases()
        async with candidate(Link(server), "b", clock) as (b, _, second):
            await clock.sleep(1)
            async with candidate(Link(server), "a", clock) as (a, work, _):
                await clock.sleep(10)
                assert not a.leading
                second.cancel()  # SIGTERM
                asked = clock.monotonic()
                await asyncio.gather(second, return_exceptions=True)
                await clock.sleep(5)
                assert a.leading
                assert work.beats[0] - asked < 3.5
                assert (b.leading, a.fence) == (False, 2)

    virtual.run(main)


def test_work_that_returns_releases_the_lease() -> None:
    async def main(clock: LoopClock) -> None:
        server = Leases()
        await elector(Link(server), "a", clock).run(lambda: clock.sleep(30))
        assert (server.spec["holderIdentity"], server.spec["leaseDurationSeconds"]) == ("", 1)

    virtual.run(main)


def test_work_that_fails_releases_the_lease_and_tells() -> None:
    async def main(clock: LoopClock) -> None:
        server = Leases()

        async def fail() -> None:
            await clock.sleep(1)
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await elector(Link(server), "a", clock).run(fail)
        assert server.spec["holderIdentity"] == ""

    virtual.run(main)


def test_a_release_that_fails_keeps_nobody_from_exiting() -> None:
    async def main(clock: LoopClock) -> None:
        server = Leases()
        link = Link(server)
        async with candidate(link, "a", clock) as (_, _, task):
            await clock.sleep(5)
            link.trouble = hang
            before = clock.monotonic()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert clock.monotonic() - before < 5

    virtual.run(main)


def test_a_lease_is_given_back_although_a_renewal_was_on_its_way() -> None:
    async def main(clock: LoopClock) -> None:
        server = Leases()
        link = Link(server)
        renewed = asyncio.Event()

        async def keep_the_answer() -> None:
            link.after = link.none
            renewed.set()
            await hang()

        async with candidate(link, "a", clock) as (_, _, task):
            await clock.sleep(1)
            link.after = keep_the_answer
            await renewed.wait()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert server.spec["holderIdentity"] == ""

    virtual.run(main)


def test_a_lease_that_somebody_else_took_meanwhile_is_left_to_him() -> None:
    async def main(clock: LoopClock) -> None:
        server = Leases()
        async with candidate(Link(server), "a", clock) as (_, _, task):
            await clock.sleep(1)
            server.edit(holderIdentity="b")
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert server.spec["holderIdentity"] == "b"

    virtual.run(main)


def test_an_acquisition_whose_answer_was_lost_is_found_to_be_ours() -> None:
    async def main(clock: LoopClock) -> None:
        server = Leases()
        link = Link(server)

        async def lose_the_answer() -> None:
            if server.lease is not None:
                link.after = link.none
                raise Unavailable("reset")

        link.after = lose_the_answer
        async with candidate(link, "a", clock) as (a, _, _):
            await clock.sleep(6)
            assert (a.leading, a.fence) == (True, 2)

    virtual.run(main)


def test_take_over_does_not_wait() -> None:
    async def main(clock: LoopClock) -> None:
        server = Leases()
        async with candidate(Link(server), "a", clock) as (_, old, first):
            await clock.sleep(5)
            async with candidate(Link(server), "b", clock, take_over=True) as (b, _, _):
                await clock.sleep(1)
                assert b.leading
                with pytest.raises(LeadershipLost):
                    await first
                assert old.ended == "cancelled"

    virtual.run(main)


def test_giving_up_ends_the_work_at_once() -> None:
    async def main(clock: LoopClock) -> None:
        server = Leases()
        async with candidate(Link(server), "a", clock) as (a, work, task):
            await clock.sleep(5)
            a.give_up("the event loop was blocked for 8 s")
            assert not a.leading
            with pytest.raises(LeadershipLost, match="blocked for 8 s"):
                await task
            assert work.ended == "cancelled"

    virtual.run(main)


def test_giving_up_as_a_standby_is_nothing_and_a_loop_blocked_while_acquiring_costs_only_time() -> None:
    async def main(clock: LoopClock) -> None:
        server = Leases()
        link = Link(server)

        async def block_once() -> None:
            if server.spec["holderIdentity"] != "b":
                return
            link.after = link.none
            loop = asyncio.get_running_loop()
            assert isinstance(loop, virtual.VirtualLoop)
            loop.advance(20)

        async with candidate(Link(server), "a", clock) as (_, _, first):
            await clock.sleep(1)
            async with candidate(link, "b", clock) as (b, work, second):
                await clock.sleep(1)
                b.give_up("blocked")
                link.after = block_once
                first.cancel()
                await clock.sleep(60)
                assert b.leading
                assert work.beats
                assert not second.done()

    virtual.run(main)


def test_a_live_holder_is_told_from_a_dead_or_absent_one() -> None:
    async def main(clock: LoopClock) -> None:
        server = Leases()
        link = Link(server)

        async def look() -> str:
            return await live_holder(link, namespace="ns", name="surefoot", clock=clock)  # type: ignore[arg-type]

        assert await look() == ""
        async with candidate(Link(server), "a", clock) as (_, _, task):
            await clock.sleep(5)
            before = clock.monotonic()
            assert await look() == "a"
            assert clock.monotonic() - before < 5
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        assert await look() == ""  # released
        server.edit(holderIdentity="dead", leaseDurationSeconds=15)
        assert await look() == ""

    virtual.run(main)


def test_fenced_deletions_are_refused_without_a_lease() -> None:
    async def main(clock: LoopClock) -> None:
        link = Link(Leases())
        fenced = FencedKube(link, elector(link, "a", clock))  # type: ignore[arg-type]
        with pytest.raises(LeadershipLost, match="no patch of configmaps"):
            await fenced.patch(CONFIG_MAPS, "ns", "x", {})
        with pytest.raises(NotFound):
            await fenced.get(LEASES, "ns", "surefoot")
        assert link.calls == 1

    virtual.run(main)


troubles = st.lists(
    st.tuples(
        st.floats(0.1, 20),
        st.sampled_from("abc"),
        st.sampled_from(["fine", "slow", "refuse", "hang", "lose"]),
    ),
    max_size=12,
)


@settings(max_examples=40, deadline=None)
@given(troubles, st.integers(0, 1_000_000))
def test_no_write_under_an_older_number_ever_follows_one_under_a_newer(plan: list[Any], seed: int) -> None:
    """Three processes, restarted when they lose; their links get slow (up to 1.5 s), break, hang, or lose answers."""

    async def main(clock: LoopClock) -> None:
        server = Leases()
        links = {name: Link(server) for name in "abc"}

        async def slow() -> None:
            await clock.sleep(clock.random.random() * 1.5)

        async def process(name: str) -> None:
            link = links[name]
            for start in range(10_000):
                chosen = elector(link, f"{name}-{start}", clock)
                fenced = FencedKube(link, chosen)  # type: ignore[arg-type]

                async def work(chosen: Elector = chosen, fenced: FencedKube = fenced) -> None:
                    while True:
                        try:
                            note = {"by": chosen.identity, "fence": chosen.fence}
                            await fenced.patch(CONFIG_MAPS, "ns", "x", note)
                        except (Unavailable, LeadershipLost):
                            pass
                        await clock.sleep(0.3)

                try:
                    await chosen.run(work)
                except LeadershipLost:
                    await clock.sleep(1)

        tasks = [asyncio.create_task(process(name)) for name in "abc"]
        for seconds, name, trouble in plan:
            link = links[name]
            link.trouble = {"slow": slow, "refuse": refuse, "hang": hang}.get(trouble, link.none)
            link.after = refuse if trouble == "lose" else link.none
            await clock.sleep(seconds)
        for link in links.values():
            link.trouble = link.after = link.none
        before = len(server.writes)
        await clock.sleep(40)
        assert len(server.writes) > before  # somebody leads in the end
        fences = [fence for _, fence in server.writes]
        assert fences == sorted(fences)
        assert len({(by, fence) for by, fence in server.writes}) == len(set(fences))
        for task in tasks:
            assert not task.done()
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    virtual.run(main, seed=seed)
