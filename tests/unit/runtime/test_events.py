"""The event recorder: in order, counted, bounded, and never in the way."""

import asyncio
from contextlib import asynccontextmanager
from typing import Any

from structlog.testing import capture_logs

from rollout.api.resources import EVENTS, Resource
from rollout.errors import AlreadyExists, Forbidden, NotFound, Unavailable
from rollout.runtime.clock import LoopClock
from rollout.runtime.events import Recorder
from tests import virtual

ROLLOUT = {
    "apiVersion": "argoproj.io/v1alpha1",
    "kind": "Rollout",
    "metadata": {
        "name": "web",
        "namespace": "shop",
        "uid": "u1",
        "resourceVersion": "5",
        "labels": {"a": "b"},
    },
}


class EventServer:
    """Keeps events; `troubles` are raised first, one per call."""

    def __init__(self, *troubles: Exception) -> None:
        self.events: dict[tuple[str, str], dict[str, Any]] = {}
        self.troubles = list(troubles)
        self.calls = 0

    async def _enter(self, resource: Resource) -> None:
        assert resource == EVENTS
        self.calls += 1
        await asyncio.sleep(0.01)
        if self.troubles:
            raise self.troubles.pop(0)

    async def create(self, resource: Resource, namespace: str, obj: dict[str, Any]) -> dict[str, Any]:
        await self._enter(resource)
        key = namespace, obj["metadata"]["name"]
        if key in self.events:
            raise AlreadyExists("there")
        self.events[key] = dict(obj)
        return obj

    async def get(self, resource: Resource, namespace: str, name: str) -> dict[str, Any]:
        await self._enter(resource)
        return self.events[namespace, name]

    async def patch(
        self, resource: Resource, namespace: str, name: str, patch: dict[str, Any]
    ) -> dict[str, Any]:
        await self._enter(resource)
        if (namespace, name) not in self.events:
            raise NotFound("expired")
        self.events[namespace, name] |= patch
        return self.events[namespace, name]

    @property
    def told(self) -> list[tuple[str, int]]:
        return [(e["message"], e["count"]) for e in self.events.values()]


@asynccontextmanager
async def recording(server: EventServer, clock: LoopClock, **options: Any):
    recorder = Recorder(server, clock, **options)  # type: ignore[arg-type]
    task = asyncio.create_task(recorder.run())
    try:
        yield recorder
    finally:
        assert not task.done()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def test_an_event_names_its_object_reason_and_source() -> None:
    async def main(clock: LoopClock) -> None:
        server = EventServer()
        async with recording(server, clock) as recorder:
            recorder.emit(ROLLOUT, "Warning", "RolloutAborted", "aborted by jane", annotations={"by": "jane"})
            assert await recorder.drain()
        ((namespace, name),) = server.events
        event = server.events[namespace, name]
        assert namespace == "shop"
        assert name.startswith("web.")
        assert event["involvedObject"] == {
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "Rollout",
            "name": "web",
            "namespace": "shop",
            "uid": "u1",
            "resourceVersion": "5",
        }
        assert (event["type"], event["reason"], event["message"], event["count"]) == (
            "Warning",
            "RolloutAborted",
            "aborted by jane",
            1,
        )
        assert event["source"] == {"component": "surefoot"}
        assert event["firstTimestamp"] == event["lastTimestamp"] == "2026-01-05T09:00:00Z"
        assert event["metadata"]["annotations"] == {"by": "jane"}

    virtual.run(main)


def test_events_arrive_in_the_order_in_which_they_were_emitted() -> None:
    async def main(clock: LoopClock) -> None:
        server = EventServer(Unavailable("first attempt fails"))
        async with recording(server, clock) as recorder:
            for number in range(20):
                recorder.emit(ROLLOUT, "Normal", "Step", f"step {number}")
            assert await recorder.drain()
        assert server.told == [(f"step {number}", 1) for number in range(20)]

    for seed in range(3):
        virtual.run(main, seed=seed)


def test_events_of_different_objects_are_sent_side_by_side_those_of_one_in_order() -> None:
    async def main(clock: LoopClock) -> None:
        server = EventServer()
        objects = [
            {**ROLLOUT, "metadata": {"name": f"web-{n}", "namespace": "shop", "uid": f"u{n}"}}
            for n in range(80)
        ]
        before = clock.monotonic()
        async with recording(server, clock) as recorder:
            for step in range(5):
                for obj in objects:
                    recorder.emit(obj, "Normal", "Step", f"step {step}")
            assert await recorder.drain(seconds=60)
        assert server.calls == 400
        one_after_the_other = server.calls * 0.01
        assert clock.monotonic() - before < one_after_the_other / 4
        for obj in objects:
            mine = [
                e["message"]
                for e in server.events.values()
                if e["involvedObject"]["uid"] == obj["metadata"]["uid"]
            ]
            assert mine == [f"step {step}" for step in range(5)]

    for seed in range(3):
        virtual.run(main, seed=seed)


def test_a_repetition_raises_the_count_of_the_same_event() -> None:
    async def main(clock: LoopClock) -> None:
        server = EventServer()
        async with recording(server, clock) as recorder:
            for _ in range(3):
                recorder.emit(ROLLOUT, "Normal", "Step", "again")
                await clock.sleep(60)
            (event,) = server.events.values()
            assert (event["count"], event["firstTimestamp"], event["lastTimestamp"]) == (
                3,
                "2026-01-05T09:00:00Z",
                "2026-01-05T09:02:00Z",
            )
            await clock.sleep(600)
            recorder.emit(ROLLOUT, "Normal", "Step", "again")
            await recorder.drain()
            assert [e["count"] for e in server.events.values()] == [3, 1]

    virtual.run(main)


def test_a_restarted_process_goes_on_counting() -> None:
    async def main(clock: LoopClock) -> None:
        server = EventServer()
        for _ in range(3):
            async with recording(server, clock) as recorder:
                recorder.emit(ROLLOUT, "Normal", "Step", "again")
                await recorder.drain()
        assert server.told == [("again", 3)]

    virtual.run(main)


def test_an_event_that_expired_on_the_server_is_made_anew() -> None:
    async def main(clock: LoopClock) -> None:
        server = EventServer()
        async with recording(server, clock) as recorder:
            recorder.emit(ROLLOUT, "Normal", "Step", "again")
            await recorder.drain()
            server.events.clear()
            recorder.emit(ROLLOUT, "Normal", "Step", "again")
            await recorder.drain()
        assert server.told == [("again", 1)]

    virtual.run(main)


def test_what_the_server_refuses_is_dropped_and_the_rest_goes_on() -> None:
    async def main(clock: LoopClock) -> None:
        server = EventServer(Forbidden("namespace is being terminated"), ZeroDivisionError())
        async with recording(server, clock) as recorder:
            for number in range(3):
                recorder.emit(ROLLOUT, "Normal", "Step", f"step {number}")
            await recorder.drain()
            assert (server.told, recorder.dropped) == ([("step 2", 1)], 2)

    with capture_logs() as lines:
        virtual.run(main)
    assert [line["event"] for line in lines].count("an event was dropped") == 2


def test_a_server_that_is_away_costs_a_few_attempts_then_the_event() -> None:
    async def main(clock: LoopClock) -> None:
        server = EventServer(*[Unavailable("down")] * 4)
        async with recording(server, clock) as recorder:
            recorder.emit(ROLLOUT, "Normal", "Step", "one")
            recorder.emit(ROLLOUT, "Normal", "Step", "two")
            assert await recorder.drain(60)
            assert (server.told, recorder.dropped) == ([("two", 1)], 1)

    virtual.run(main)


def test_a_full_buffer_drops_and_says_so_and_draining_is_bounded() -> None:
    async def main(clock: LoopClock) -> None:
        server = EventServer()

        async def never(*_: Any) -> None:
            await asyncio.Event().wait()

        server.create = never  # type: ignore[method-assign,assignment]
        async with recording(server, clock, capacity=10) as recorder:
            for number in range(25):
                recorder.emit(ROLLOUT, "Normal", "Step", f"step {number}")
            assert recorder.dropped == 15
            before = clock.monotonic()
            assert not await recorder.drain(5)
            assert clock.monotonic() - before == 5

    virtual.run(main)


def test_long_messages_are_cut_and_cluster_objects_go_to_default() -> None:
    async def main(clock: LoopClock) -> None:
        server = EventServer()
        async with recording(server, clock) as recorder:
            recorder.emit({"kind": "Node", "metadata": {"name": "n" * 253}}, "Normal", "R", "x" * 5000)
            await recorder.drain()
        ((namespace, name),) = server.events
        assert namespace == "default"
        assert len(name) <= 253
        assert len(server.events[namespace, name]["message"]) == 1024

    virtual.run(main)


def test_in_a_crowd_what_waits_of_one_object_is_told_together_under_the_last_reason() -> None:
    async def main(clock: LoopClock) -> None:
        server = EventServer()
        other = {**ROLLOUT, "metadata": {**ROLLOUT["metadata"], "name": "api", "uid": "u2"}}  # type: ignore[dict-item]
        async with recording(server, clock, senders=1, crowd=1) as recorder:
            for step in range(3):
                recorder.emit(ROLLOUT, "Normal", "Scaled", f"to {step}")
                recorder.emit(other, "Normal", "Step", f"{step % 2}")
            recorder.emit(ROLLOUT, "Normal", "Step", "done")
            recorder.emit(ROLLOUT, "Warning", "Late", "first")
            recorder.emit(ROLLOUT, "Warning", "Late", "second")
            recorder.emit(ROLLOUT, "Warning", "Aborted", "another reason stays alone")
            recorder.emit(ROLLOUT, "Normal", "Step", "after it")
            assert await recorder.drain()
        assert recorder.dropped == 0
        assert server.told == [
            ("Scaled: to 0; Scaled: to 1; Scaled: to 2; Step: done", 4),
            ("1; 0", 3),
            ("first; second", 2),
            ("another reason stays alone", 1),
            ("after it", 1),
        ]
        assert [one["reason"] for one in server.events.values()] == [
            "Step",
            "Step",
            "Late",
            "Aborted",
            "Step",
        ]

    virtual.run(main)


def test_events_keep_back_in_a_crowd_and_nowhere_else() -> None:
    async def main(clock: LoopClock) -> None:
        server = EventServer()
        async with recording(server, clock, senders=1, crowd=1) as recorder:
            recorder.emit(ROLLOUT, "Normal", "Step", "alone")
            await clock.sleep(0.1)
            assert server.told == [("alone", 1)]
            for number in range(3):
                other = {"metadata": {"name": f"r{number}", "namespace": "shop", "uid": f"u{number}"}}
                recorder.emit(other, "Normal", "Step", f"{number}")
            await clock.sleep(4)
            recorder.emit(
                {"metadata": {"name": "r0", "namespace": "shop", "uid": "u0"}}, "Normal", "Step", "late"
            )
            assert len(server.told) == 1
            await clock.sleep(2)
            assert server.told[1:] == [("0; late", 2), ("1", 1), ("2", 1)]

    virtual.run(main)


def test_in_a_crowd_nothing_joins_what_is_being_sent_and_no_message_is_cut() -> None:
    async def main(clock: LoopClock) -> None:
        server = EventServer()
        async with recording(server, clock, senders=1, crowd=1) as recorder:
            recorder.emit(ROLLOUT, "Normal", "Step", "being sent")
            await clock.sleep(0.005)
            for letter in "abc":
                recorder.emit(ROLLOUT, "Normal", "Step", letter * 500)
            assert await recorder.drain()
        assert server.told == [("being sent", 1), (f"{'a' * 500}; {'b' * 500}", 2), ("c" * 500, 1)]

    virtual.run(main)
