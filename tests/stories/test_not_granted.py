"""What the API server does not let the controller do: said clearly, nothing goes forward, and granting it heals it."""

from __future__ import annotations

from typing import Any

import pytest

from rollout.api.resources import CHAOS_RUNS, CHAOS_SWITCHES, DECISION_RECORDS, HTTP_ROUTES, VIRTUAL_SERVICES
from rollout.runtime.kube import Object
from tests.stories.faults import Faults
from tests.stories.objects import ISTIO_SUBSETS, canary, mesh, rollout
from tests.stories.world import World, play

STEPS: tuple[dict[str, Any], ...] = ({"setWeight": 40}, {"pause": {}})
SAYS = "the role 'decisions' grants it, which the chart always makes"


def condition(world: World, type: str) -> Object | None:
    found = [one for one in world.status("web").get("conditions") or [] if one["type"] == type]
    return found[0] if found else None


def story_with(denied: set[Any], story: Any) -> None:
    faults = Faults()
    faults.denied = denied
    play(story, faults=faults)


def test_a_controller_that_may_not_see_optional_kinds_releases_without_them() -> None:
    async def story(world: World) -> None:
        world.apply(rollout(canary(*STEPS)))
        await world.phase("web", "Healthy")
        world.set_image("web", "web:v2")
        await world.phase("web", "Paused")

    story_with({VIRTUAL_SERVICES, HTTP_ROUTES, CHAOS_RUNS}, story)


def test_a_rollout_that_names_what_may_not_be_seen_says_which_role_lacks_and_goes_on_once_it_is_granted() -> (
    None
):
    async def story(world: World) -> None:
        world.apply(*mesh())
        world.apply(rollout(canary(*STEPS, trafficRouting=ISTIO_SUBSETS)))
        await world.phase("web", "Degraded")
        said = condition(world, "InvalidSpec")
        assert said is not None
        assert "may not watch virtualservices.networking.istio.io" in said["message"]
        assert "the role 'istio' grants it" in said["message"]
        assert "not found" not in said["message"]
        assert world.sets() == {}
        world.faults.denied.clear()
        await world.phase("web", "Healthy", within=120.0)
        assert condition(world, "InvalidSpec") is None

    story_with({VIRTUAL_SERVICES}, story)


def test_who_may_not_see_the_switches_does_nothing_as_if_they_were_off() -> None:
    async def story(world: World) -> None:
        world.apply(rollout(canary(*STEPS)))
        await world.clock.sleep(300.0)
        assert world.sets() == {}
        world.faults.denied.clear()
        await world.phase("web", "Healthy")

    story_with({CHAOS_SWITCHES}, story)


def test_a_decision_that_may_not_be_recorded_is_not_carried_out_and_the_rollout_says_so() -> None:
    async def story(world: World) -> None:
        world.apply(rollout(canary(*STEPS)))
        await world.phase("web", "Healthy")
        world.faults.denied.add(DECISION_RECORDS)
        world.set_image("web", "web:v2")
        await world.until("it says so", lambda: condition(world, "DecisionsRecorded") is not None)
        said = condition(world, "DecisionsRecorded")
        assert said is not None
        assert (said["status"], said["reason"]) == ("False", "DecisionsForbidden")
        assert SAYS in said["message"]
        assert world.status("web")["message"].startswith("DecisionsForbidden: ")
        await world.clock.sleep(60.0)
        assert await world.rest(300.0) == 0
        assert world.sets() == {"web:v1": 5}
        assert world.reasons().count("DecisionsForbidden") == 1
        world.faults.denied.clear()
        await world.phase("web", "Paused", within=120.0)
        assert condition(world, "DecisionsRecorded") is None

    story_with(set(), story)


def test_an_abort_goes_home_although_it_may_not_be_recorded() -> None:
    async def story(world: World) -> None:
        world.rules.records.off = True
        world.apply(*mesh())
        world.apply(rollout(canary(*STEPS, trafficRouting=ISTIO_SUBSETS)))
        await world.phase("web", "Healthy")
        world.set_image("web", "web:v2")
        await world.phase("web", "Paused")
        world.faults.denied.add(DECISION_RECORDS)
        world.command("web", {"abort": True})

        def home() -> bool:
            (route,) = world.get(VIRTUAL_SERVICES, "web-vs")["spec"]["http"]
            return [one["weight"] for one in route["route"]] == [100, 0]

        await world.until("the traffic is back on stable", home, within=60.0)
        assert condition(world, "DecisionsRecorded") is not None
        await world.clock.sleep(120.0)
        assert await world.rest(300.0) == 0
        assert world.reasons().count("DecisionsForbidden") == 1

    story_with(set(), story)


def test_what_may_not_be_recorded_is_said_once_of_an_invalid_spec_too() -> None:
    async def story(world: World) -> None:
        world.rules.records.off = True
        world.apply(rollout(canary(*STEPS)))
        await world.phase("web", "Healthy")
        world.faults.denied.add(DECISION_RECORDS)
        world.apply(rollout(canary(*STEPS, trafficRouting=ISTIO_SUBSETS)))  # and there is no mesh
        await world.until("it says so", lambda: condition(world, "DecisionsRecorded") is not None)
        assert condition(world, "InvalidSpec") is not None
        await world.clock.sleep(60.0)  # it is looked at every 20 s
        assert await world.rest(300.0) == 0
        assert world.reasons().count("DecisionsForbidden") == 1
        assert world.reasons().count("InvalidSpec") == 1

    story_with(set(), story)


@pytest.mark.parametrize("kind", [VIRTUAL_SERVICES, DECISION_RECORDS])
def test_granted_again_leaves_no_complaint_behind(kind: Any) -> None:
    async def story(world: World) -> None:
        world.apply(*mesh())
        world.apply(rollout(canary({"setWeight": 40}, trafficRouting=ISTIO_SUBSETS)))
        await world.phase("web", "Healthy")
        world.faults.denied.add(kind)
        world.crash()
        world.set_image("web", "web:v2")
        await world.clock.sleep(100.0)
        world.faults.denied.clear()
        await world.phase("web", "Healthy", within=300.0)
        assert {one["type"] for one in world.status("web")["conditions"]}.isdisjoint(
            {"InvalidSpec", "DecisionsRecorded"}
        )

    story_with(set(), story)
