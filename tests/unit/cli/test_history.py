"""`rollout history`: decisions as a table and as JSON."""

from datetime import UTC, datetime

import msgspec

from rollout.api.codec import plain
from rollout.api.resources import DECISION_RECORDS
from rollout.cli.history import DIFFERENT, SAME, UNREADABLE, lines, told
from tests.stories.objects import canary, rollout
from tests.stories.world import World, play

NOW = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)


async def release(world: World) -> None:
    world.apply(rollout(canary({"setWeight": 40}, {"pause": {}})))
    await world.phase("web", "Healthy")
    world.set_image("web", "web:v2")
    await world.phase("web", "Paused")
    world.command("web", {"abort": True})
    await world.phase("web", "Degraded")


def record():
    world = play(release)
    return world.get(DECISION_RECORDS, "web")


def test_the_table_tells_each_decision_with_its_reason() -> None:
    shown = lines(told(record()), NOW)
    assert shown[0].split() == ["#", "AGE", "REVISION", "DECISION", "STEP", "WHY"]
    cells = [line.split(maxsplit=5) for line in shown[1:]]
    assert [(one[3], one[4], one[5]) for one in cells] == [
        ("begin", "2", "a new pod template"),
        ("promote", "2", "Initial deploy"),
        ("begin", "0", "a new pod template"),
        ("advance", "0->1", "done: setWeight: 40; waits: CanaryPauseStep"),
        ("abort", "-", "a person asked for it"),
    ]


def test_every_field_is_always_there_in_the_json() -> None:
    for one in plain(told(record())):
        assert set(one) >= {"number", "at", "kind", "because", "before", "after", "inputs", "replay"}
        assert set(one["after"]) == {"hash", "steps", "step", "stable", "active", "aborted", "hold"}
        assert one["spec"]["strategy"]["canary"]["steps"]
        assert one["inputs"]["hash"]


def test_a_replay_says_the_same_and_what_was_tampered_with_is_told() -> None:
    raw = record()
    assert {one.replay for one in told(raw, replaying=True)} == {SAME}
    other = msgspec.json.decode(msgspec.json.encode(raw))
    entries = list(other["decisions"].values())
    inputs = msgspec.json.decode(entries[3]["inputs"])
    inputs["sets"][0]["available"] = 0
    entries[3]["inputs"] = msgspec.json.encode(inputs).decode()
    entries[4]["inputs"] = entries[4]["inputs"][:-1]
    shown = told(other, replaying=True)
    assert [one.replay for one in shown] == [SAME, SAME, SAME, DIFFERENT, UNREADABLE]
    assert shown[4].inputs == {"unreadable": entries[4]["inputs"]}
    assert lines(told(other, replaying=True), NOW)[0].endswith("REPLAY")
