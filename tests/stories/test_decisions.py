"""The record of decisions where it is not as usual: no such kind, deleted, somebody else's, a crash at its write."""

from __future__ import annotations

from typing import Any

from structlog.testing import capture_logs

from rollout.api.codec import view
from rollout.api.decisions import DecisionRecord
from rollout.api.resources import CRDS, DECISION_RECORDS, Resource
from tests.stories.faults import Faults
from tests.stories.objects import canary, rollout
from tests.stories.world import NAMESPACE, World, play

STEPS: tuple[dict[str, Any], ...] = ({"setWeight": 40}, {"pause": {}}, {"setWeight": 60})


async def paused(world: World) -> None:
    """v2 waits for a person at its second step."""
    world.apply(rollout(canary(*STEPS)))
    await world.phase("web", "Healthy")
    world.set_image("web", "web:v2")
    await world.phase("web", "Paused")


async def finished(world: World) -> None:
    world.promote("web")
    await world.phase("web", "Healthy")


def kinds(world: World) -> list[str]:
    record = view(world.get(DECISION_RECORDS, "web"), DecisionRecord)
    return [entry.kind for _, entry in record.in_order()]


def test_a_release_is_recorded_from_its_begin_to_its_promotion() -> None:
    async def story(world: World) -> None:
        await paused(world)
        await finished(world)
        assert kinds(world) == ["begin", "promote", "begin", "advance", "advance", "advance", "promote"]
        await world.clock.sleep(60.0)
        assert await world.rest(600.0) == 0
        assert len(kinds(world)) == 7

    play(story)


def test_a_server_that_does_not_know_the_kind_keeps_no_record_and_the_release_goes_on() -> None:
    async def story(world: World) -> None:
        world.rules.records.off = True
        world.storage.delete(CRDS, None, str(DECISION_RECORDS))
        await paused(world)
        await finished(world)

    with capture_logs() as logs:
        play(story)
    warned = [entry for entry in logs if entry["event"].startswith("decisions are not recorded")]
    assert len(warned) == 1
    assert "rollout crds" in warned[0]["event"]


def test_a_record_that_was_deleted_at_rest_stays_away_and_begins_anew_with_the_next_decision() -> None:
    async def story(world: World) -> None:
        await paused(world)
        await finished(world)
        world.storage.delete(DECISION_RECORDS, NAMESPACE, "web")
        world.crash()
        await world.clock.sleep(5.0)
        assert not world.storage.exists(DECISION_RECORDS, NAMESPACE, "web")
        world.set_image("web", "web:v3")
        await world.phase("web", "Paused")
        assert kinds(world) == ["begin", "advance"]

    play(story)


def test_a_record_that_an_earlier_rollout_of_the_name_has_left_is_taken_over() -> None:
    async def story(world: World) -> None:
        world.rules.by_hand = True
        world.storage.create(
            DECISION_RECORDS,
            NAMESPACE,
            {
                "metadata": {"name": "web"},
                "decisions": {"00000009": {"kind": "hold", "at": "2026-01-01T00:00:00Z"}},
            },
        )
        world.rules.by_hand = False
        await paused(world)
        record = world.get(DECISION_RECORDS, "web")
        assert min(record["decisions"]) == "00000010"
        assert record["metadata"]["ownerReferences"][0]["uid"] == world.rollout("web")["metadata"]["uid"]

    play(story)


def test_a_crash_right_after_the_record_was_written_records_nothing_twice() -> None:
    numbers: set[int] = set()

    async def story(world: World) -> None:
        def note(kind: str, resource: Resource, *_: Any) -> None:
            if resource == DECISION_RECORDS:
                numbers.add(world.faults.count)

        world.storage.on_write(note)
        await paused(world)
        await finished(world)
        assert kinds(world) == ["begin", "promote", "begin", "advance", "advance", "advance", "promote"]

    play(story)
    assert len(numbers) == 7
    for number in sorted(numbers):
        assert play(story, faults=Faults({number: "crash-after"})).crashes == 1
        assert play(story, faults=Faults({number: "lost-reply"})).crashes == 0
