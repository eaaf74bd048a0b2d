"""Informers against a server with faults: whatever happens, the store becomes what the server has."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from rollout.api.meta import Key, key_of
from rollout.api.resources import HTTP_ROUTES, PODS
from rollout.errors import ApiError, Expired, Forbidden, NotFound, Throttled, Unavailable
from rollout.runtime.clock import LoopClock
from rollout.runtime.informer import ABSENT_SECONDS, Informer, strip, wait_synced
from rollout.runtime.kube import Object, WatchEvent
from tests import virtual
from tests.unit.runtime.fake import FakeKube


@asynccontextmanager
async def running(informer: Informer):
    task = asyncio.create_task(informer.run())
    try:
        yield
    finally:
        assert not task.done()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


class Mirror:
    """What a handler can know: the objects by adding up the changes it was told."""

    def __init__(self, informer: Informer) -> None:
        self.objects: dict[Key, Object] = {}
        informer.on_change(self.change)

    def change(self, old: Object | None, new: Object | None) -> None:
        if old is not None:
            assert self.objects.pop(key_of(old)) == old
        if new is not None:
            assert key_of(new) not in self.objects
            self.objects[key_of(new)] = new


def store_of(informer: Informer) -> dict[Key, Object]:
    return {key_of(o): o for o in informer.store.list()}


def test_the_store_follows_the_server() -> None:
    async def main(clock: LoopClock) -> None:
        kube = FakeKube()
        kube.put("a")
        informer = Informer(kube, PODS, clock=clock)
        mirror = Mirror(informer)
        async with running(informer):
            assert not informer.synced()
            await wait_synced(informer)
            kube.put("b")
            kube.put("a", changed=True)
            kube.remove("b")
            kube.put("c")
            await clock.sleep(1)
            assert store_of(informer) == mirror.objects == kube.objects
            assert informer.store.reached("ns") == kube.version
            assert kube.calls == ["stream"]

    virtual.run(main)


def test_late_handlers_are_told_what_is_there() -> None:
    async def main(clock: LoopClock) -> None:
        kube = FakeKube()
        kube.put("a")
        informer = Informer(kube, PODS, clock=clock)
        async with running(informer):
            await informer.wait_synced()
            assert Mirror(informer).objects == kube.objects

    virtual.run(main)


def test_objects_that_vanish_while_history_is_lost_are_reported_deleted() -> None:
    async def main(clock: LoopClock) -> None:
        kube = FakeKube()
        kube.put("stays")
        kube.put("goes")
        informer = Informer(kube, PODS, clock=clock)
        mirror = Mirror(informer)
        async with running(informer):
            await informer.wait_synced()
            kube.end_watches.set()  # unseen from here on
            kube.remove("goes")
            kube.compact()
            await clock.sleep(60)
            assert list(mirror.objects) == [Key("ns", "stays")]
            assert informer.relists == 2

    virtual.run(main)


def test_an_old_server_is_listed_in_pages() -> None:
    async def main(clock: LoopClock) -> None:
        kube = FakeKube(streams=False)
        for number in range(1200):
            kube.put(f"p{number:04}")
        informer = Informer(kube, PODS, clock=clock)
        async with running(informer):
            await informer.wait_synced()
            assert len(informer.store) == 1200
            await clock.sleep(1)
            assert [call.split()[0] for call in kube.calls] == ["stream", "list", "list", "list", "watch"]

    virtual.run(main)


def test_watches_are_renewed_after_five_to_ten_minutes_without_listing_again() -> None:
    async def main(clock: LoopClock) -> None:
        kube = FakeKube()
        informer = Informer(kube, PODS, clock=clock)
        async with running(informer):
            await clock.sleep(3600)
            kube.put("late")
            await clock.sleep(1)
            assert Key("ns", "late") in store_of(informer)
        assert kube.calls[0] == "stream"
        assert 5 <= len(kube.calls) - 1 <= 12
        assert informer.relists == 1

    virtual.run(main)


def test_errors_are_backed_off_from_and_readable() -> None:
    async def main(clock: LoopClock) -> None:
        kube = FakeKube()
        kube.fault = lambda verb: Forbidden("pods is forbidden: no list")
        informer = Informer(kube, PODS, clock=clock)
        async with running(informer):
            await clock.sleep(600)
            assert not informer.synced()
            assert "may not watch pods; the role 'chaos' grants it" in informer.problem
            assert "pods is forbidden: no list" in informer.problem
            assert informer.state == "not granted"
            assert 8 < len(kube.calls) < 40
            assert informer.age() > 500
            kube.fault = lambda verb: None
            await clock.sleep(40)
            assert informer.synced()
            assert (informer.problem, informer.errors) == ("", len(kube.calls) - 1)

    virtual.run(main)


def test_the_servers_wish_to_wait_is_honoured() -> None:
    async def main(clock: LoopClock) -> None:
        kube = FakeKube()
        kube.fault = lambda verb: Throttled("busy", after=120)
        informer = Informer(kube, PODS, clock=clock)
        async with running(informer):
            await clock.sleep(360)
            assert 2 <= len(kube.calls) <= 4

    virtual.run(main)


def test_a_defect_below_does_not_end_the_informer() -> None:
    async def main(clock: LoopClock) -> None:
        kube = FakeKube()
        broken = [True]

        def fault(verb: str) -> ApiError | None:
            if broken:
                raise ZeroDivisionError(broken.pop())
            return None

        kube.fault = fault
        informer = Informer(kube, PODS, clock=clock)
        async with running(informer):
            await clock.sleep(10)
            assert informer.synced()

    virtual.run(main)


def test_a_failing_handler_does_not_keep_the_others_from_hearing() -> None:
    async def main(clock: LoopClock) -> None:
        kube = FakeKube()
        informer = Informer(kube, PODS, clock=clock)

        def bad(old: Object | None, new: Object | None) -> None:
            raise ZeroDivisionError

        informer.on_change(bad)
        mirror = Mirror(informer)
        async with running(informer):
            kube.put("a")
            await clock.sleep(1)
            assert mirror.objects == kube.objects

    virtual.run(main)


def test_an_optional_resource_may_come_later_and_go_again() -> None:
    async def main(clock: LoopClock) -> None:
        kube = FakeKube()
        kube.put("a")
        absent = NotFound("the server could not find the requested resource")
        kube.fault = lambda verb: absent
        informer = Informer(kube, PODS, clock=clock, optional=True)
        mirror = Mirror(informer)
        async with running(informer):
            await clock.sleep(1)
            assert (informer.synced(), len(informer.store), informer.problem) == (True, 0, "")
            kube.fault = lambda verb: None
            await clock.sleep(100)
            assert mirror.objects == kube.objects
            kube.fault = lambda verb: absent
            kube.break_watches()
            await clock.sleep(100)
            assert mirror.objects == {}

    virtual.run(main)


def test_a_resource_that_can_be_forgone_is_empty_until_it_is_granted() -> None:
    async def main(clock: LoopClock) -> None:
        kube = FakeKube()
        kube.put("a")
        kube.fault = lambda verb: Forbidden("no")
        informer = Informer(kube, HTTP_ROUTES, clock=clock, optional=True, forgo=True)
        mirror = Mirror(informer)
        async with running(informer):
            await clock.sleep(100)
            assert (informer.synced(), informer.served, mirror.objects) == (True, False, {})
            assert (informer.problem, informer.state) == ("", "not granted")
            assert "may not watch httproutes.gateway.networking.k8s.io" in informer.lack
            assert "the role 'gateway' grants it, of features.gateway" in informer.lack
            assert informer.age() < 60
            assert len(kube.calls) < 8
            kube.fault = lambda verb: None
            await clock.sleep(ABSENT_SECONDS * 2)
            assert mirror.objects == kube.objects
            assert (informer.served, informer.state, informer.lack) == (True, "followed", "")

    virtual.run(main)


def test_what_was_seen_is_kept_when_the_right_to_see_it_is_taken_away() -> None:
    async def main(clock: LoopClock) -> None:
        kube = FakeKube()
        kube.put("a")
        informer = Informer(kube, HTTP_ROUTES, clock=clock, optional=True, forgo=True)
        mirror = Mirror(informer)
        async with running(informer):
            await informer.wait_synced()
            kube.fault = lambda verb: Forbidden("no more")
            kube.break_watches()
            await clock.sleep(100)
            assert mirror.objects == kube.objects
            assert (informer.served, informer.state) == (True, "not granted")
            assert "no more" in informer.problem
            assert informer.age() > 60

    virtual.run(main)


def test_a_stream_that_is_cut_by_a_refusal_leaves_no_empty_list_that_counts_as_seen() -> None:
    async def main(clock: LoopClock) -> None:
        kube = FakeKube()
        kube.fault = lambda verb: Forbidden("no")
        informer = Informer(kube, HTTP_ROUTES, clock=clock, forgo=True)
        async with running(informer):
            await clock.sleep(100)
            stream = kube.watch

            async def cut(*args: Any, **how: Any) -> AsyncIterator[WatchEvent]:
                events = stream(*args, **how)
                yield await anext(events)
                await events.aclose()
                raise Forbidden("no")

            kube.put("a")
            kube.fault, kube.watch = lambda verb: None, cut
            await clock.sleep(100)
            assert len(kube.calls) > 5
            assert not informer.served

    virtual.run(main)


def test_what_is_left_out_is_empty_at_once_and_never_asked_for() -> None:
    async def main(clock: LoopClock) -> None:
        kube = FakeKube()
        kube.put("a")
        informer = Informer(kube, HTTP_ROUTES, clock=clock, namespaces=("x", "y"), left_out="not wanted")
        await informer.run()
        assert (informer.synced(), informer.served, len(informer.store)) == (True, False, 0)
        assert (informer.state, informer.lack, informer.age()) == ("left out", "not wanted", 0)
        assert kube.calls == []

    virtual.run(main)


def test_several_namespaces_share_one_store() -> None:
    async def main(clock: LoopClock) -> None:
        kube = FakeKube()
        kube.put("a", "x")
        kube.put("b", "y")
        kube.put("c", "z")
        informer = Informer(kube, PODS, clock=clock, namespaces=("x", "y"))
        async with running(informer):
            await informer.wait_synced()
            kube.put("d", "x")
            kube.put("e", "z")
            await clock.sleep(1)
            assert sorted(map(str, store_of(informer))) == ["x/a", "x/d", "y/b"]
            kube.remove("b", "y")
            kube.compact()
            await clock.sleep(60)
            assert sorted(map(str, store_of(informer))) == ["x/a", "x/d"]

    virtual.run(main)


def test_managed_fields_are_left_out_of_the_cache_and_the_wire_object_is_untouched() -> None:
    obj = {"metadata": {"name": "a", "managedFields": [{"manager": "x"}]}, "spec": {}}
    assert strip(obj) == {"metadata": {"name": "a"}, "spec": {}}
    assert "managedFields" in obj["metadata"]


steps = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.sampled_from("abcd")),
        st.tuples(st.just("remove"), st.sampled_from("abcd")),
        st.tuples(st.sampled_from(["compact", "break", "bookmark", "sleep", "fault"]), st.just("")),
    ),
    max_size=30,
)
FAULTS = [Unavailable("reset"), Throttled("busy", after=1), Expired("old"), Unavailable("cut short")]


@settings(max_examples=80, deadline=None)
@given(steps, st.integers(0, 1_000_000), st.booleans())
def test_whatever_happens_the_store_and_its_handlers_converge(
    plan: list[tuple[str, str]], seed: int, streams: bool
) -> None:
    async def main(clock: LoopClock) -> None:
        kube = FakeKube(streams=streams)
        informer = Informer(kube, PODS, clock=clock)
        mirror = Mirror(informer)
        pending: list[ApiError] = []
        kube.fault = lambda verb: pending.pop() if pending else None
        async with running(informer):
            for action, name in plan:
                match action:
                    case "put":
                        kube.put(name, noise=clock.random.random())
                    case "remove" if Key("ns", name) in kube.objects:
                        kube.remove(name)
                    case "compact":
                        kube.compact()
                    case "break":
                        kube.break_watches()
                    case "bookmark":
                        kube.bookmark()
                    case "fault":
                        pending.append(clock.random.choice(FAULTS))
                    case "sleep":
                        await clock.sleep(clock.random.random() * 3)
            kube.fault = lambda verb: None
            await clock.sleep(120)
            assert informer.synced()
            assert store_of(informer) == kube.objects
            assert mirror.objects == kube.objects

    virtual.run(main, seed=seed)
