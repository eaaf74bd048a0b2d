"""Two controllers side by side, without election: one acts at a time, and what comes late is refused (I14)."""

from __future__ import annotations

import pytest

from rollout.api.meta import metadata
from rollout.api.resources import DESTINATION_RULES, REPLICA_SETS, ROLLOUTS, VIRTUAL_SERVICES, Resource
from rollout.api.rollout import TURN
from rollout.controller import turns
from rollout.controller.turns import PATIENCE_SECONDS
from rollout.errors import Conflict
from rollout.plan.turn import taken
from rollout.runtime.kube import Object
from tests.stories.faults import LATE_SECONDS, Faults
from tests.stories.objects import ISTIO_SUBSETS, canary, mesh, rollout, service
from tests.stories.world import NAMESPACE, World, play

STEPS = ({"setWeight": 40}, {"pause": {}}, {"setWeight": 60})


async def paused(world: World) -> None:
    """v2 waits for a person with 40 % of the traffic."""
    world.apply(*mesh())
    delays = {"abortScaleDownDelaySeconds": 1, "scaleDownDelaySeconds": 1}
    world.apply(rollout(canary(*STEPS, trafficRouting=ISTIO_SUBSETS, **delays)))
    await world.phase("web", "Healthy")
    world.set_image("web", "web:v2")
    await world.phase("web", "Paused")


def turn(world: World) -> tuple[int, str]:
    number, holder = metadata(world.rollout("web"))["annotations"][TURN].split(" ")
    return int(number), holder


def concerned(world: World) -> list[tuple[Resource, Object]]:
    """What the safety rules speak of: routes, and sets with pods."""
    routes = [
        (resource, one) for resource in (VIRTUAL_SERVICES, DESTINATION_RULES) for one in world.list(resource)
    ]
    return [*routes, *((REPLICA_SETS, one) for one in world.list(REPLICA_SETS) if one["spec"]["replicas"])]


def test_alone_the_turn_is_taken_once_and_costs_a_canary_nothing() -> None:
    stamped: list[str] = []

    async def story(world: World) -> None:
        def note(_kind: str, resource: Resource, old: Object | None, new: Object | None) -> None:
            before, after = ((metadata(one or {}).get("annotations") or {}).get(TURN) for one in (old, new))
            if old is not None and new is not None and before != after:
                stamped.append(str(resource))

        world.storage.on_write(note)
        await paused(world)
        world.promote("web")
        await world.phase("web", "Healthy")
        assert turn(world)[0] == 1

    play(story)
    assert stamped == [str(ROLLOUTS), str(VIRTUAL_SERVICES), str(DESTINATION_RULES)]


def refused() -> list[bool]:
    """Of what was decided before a new process took the turn: whether the server refuses it afterwards."""
    found: list[bool] = []

    async def story(world: World) -> None:
        await paused(world)
        before = concerned(world)
        world.crash()
        world.edit("web", {"progressDeadlineSeconds": 50})  # something to do that touches none of them
        await world.until("a new turn", lambda: turn(world)[0] == 2)
        await world.clock.sleep(1.0)
        for resource, old in before:
            name, version = metadata(old)["name"], metadata(old)["resourceVersion"]
            late = {"metadata": {"resourceVersion": version, "labels": {"late": "yes"}}}
            try:
                world.storage.patch(resource, NAMESPACE, name, late)
            except Conflict:
                found.append(True)
            else:
                found.append(False)

    play(story)
    return found


def test_what_was_decided_before_a_turn_was_taken_is_refused() -> None:
    assert refused() == [True] * 4


def test_if_nothing_were_stamped_it_would_not_be_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "stamps", lambda seen: ())
    monkeypatch.setattr(turns, "taken", lambda seen, identity: taken(seen, identity)[:1])
    assert not any(refused())


def test_a_turn_that_a_dead_process_has_left_holds_nobody_up() -> None:
    async def story(world: World) -> None:
        await paused(world)
        world.crash()
        world.command("web", {"abort": True})
        await world.until("v2 gone", lambda: world.sets()["web:v2"] == 0, within=PATIENCE_SECONDS - 5.0)

    play(story)


def test_the_other_one_takes_the_turn_of_a_holder_that_does_nothing() -> None:
    async def story(world: World) -> None:
        await paused(world)
        number, holder = turn(world)
        world.faults.plan[world.faults.count + 1] = "late"
        asked = world.clock.monotonic()
        world.promote("web")
        await world.until("the turn is taken", lambda: turn(world) != (number, holder))
        assert PATIENCE_SECONDS - 1.0 <= world.clock.monotonic() - asked <= PATIENCE_SECONDS + 1.0
        await world.phase("web", "Healthy", within=asked + LATE_SECONDS - world.clock.monotonic())
        await world.clock.sleep(LATE_SECONDS)
        assert turn(world)[0] == number + 1
        assert await world.rest(60.0) == 0

    play(story, controllers=2)


def test_a_turn_that_somebody_has_removed_or_spoiled_is_taken_anew() -> None:
    async def story(world: World) -> None:
        await paused(world)
        world.patch(ROLLOUTS, "web", {"metadata": {"annotations": {TURN: None}}})
        world.patch(
            VIRTUAL_SERVICES, "web-vs", {"metadata": {"annotations": {TURN: "nonsense,=,prod/api=4"}}}
        )
        world.promote("web")
        await world.phase("web", "Healthy")
        assert turn(world)[0] == 2
        assert metadata(world.get(VIRTUAL_SERVICES, "web-vs"))["annotations"][TURN] == "prod/api=4,prod/web=2"

    play(story)


async def aborted(world: World) -> None:
    """v2 is aborted, its pods leave at once, and it is tried again."""
    await paused(world)
    world.command("web", {"abort": True})
    await world.clock.sleep(5.0)
    world.command("web", {"abort": False})
    await world.phase("web", "Paused")
    world.promote("web")
    await world.phase("web", "Healthy")


async def blue_green(world: World) -> None:
    """v2 is switched to, and v1 comes back while its pods are leaving."""
    world.apply(service("web-active"), service("web-preview"))
    fields = {"activeService": "web-active", "previewService": "web-preview", "scaleDownDelaySeconds": 1}
    world.apply(rollout({"blueGreen": fields}))
    await world.clock.sleep(10.0)
    world.set_image("web", "web:v2")
    await world.clock.sleep(2.0)
    world.set_image("web", "web:v1")
    await world.clock.sleep(2 * LATE_SECONDS)
    await world.phase("web", "Healthy")


@pytest.mark.slow
@pytest.mark.parametrize("release", [aborted, blue_green])
def test_a_write_that_comes_late_breaks_no_rule(release) -> None:
    count = play(release, controllers=2).faults.count
    assert count > 20
    for number in range(1, count + 1):
        play(release, controllers=2, seed=number, faults=Faults({number: "late"}))
