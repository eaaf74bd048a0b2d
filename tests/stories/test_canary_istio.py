"""A canary whose traffic Istio moves: by subsets of a DestinationRule, and by hosts."""

from __future__ import annotations

import pytest

from rollout.api.resources import ANALYSIS_TEMPLATES, DESTINATION_RULES, SERVICES, VIRTUAL_SERVICES
from rollout.api.rollout import HASH_LABEL
from rollout.runtime.kube import Object
from rollout.sandbox.workloads.podmodel import Behaviour
from tests.stories.objects import ISTIO_HOSTS, ISTIO_SUBSETS, analysis, canary, hosts, mesh, rollout
from tests.stories.world import World, play

BY_SUBSETS = {"trafficRouting": ISTIO_SUBSETS}
BY_HOSTS = {"trafficRouting": ISTIO_HOSTS, "canaryService": "web-canary", "stableService": "web-stable"}


def weights(world: World) -> list[int]:
    """[stable, canary] of the only route."""
    routes = world.get(VIRTUAL_SERVICES, "web-vs")["spec"]["http"][0]["route"]
    return [route["weight"] for route in routes]


def subsets(world: World) -> dict[str, str]:
    rule = world.get(DESTINATION_RULES, "web-dr")
    return {one["name"]: one["labels"].get(HASH_LABEL, "") for one in rule["spec"]["subsets"]}


def selectors(world: World) -> dict[str, str]:
    return {
        name: world.get(SERVICES, f"web-{name}")["spec"]["selector"].get(HASH_LABEL, "")
        for name in ("stable", "canary")
    }


@pytest.mark.parametrize(
    ("routing", "objects", "bound"),
    [(BY_SUBSETS, mesh, subsets), (BY_HOSTS, hosts, selectors)],
    ids=["subsets", "hosts"],
)
def test_a_good_release_goes_through_its_steps_and_the_old_pods_stay_for_their_delay(
    routing, objects, bound
) -> None:
    async def story(world: World) -> None:
        world.images["*"] = Behaviour(ready_in=3.0)
        world.apply(*objects())
        world.apply(
            rollout(
                canary(
                    {"setWeight": 20}, {"pause": {}}, {"setWeight": 60}, {"analysis": analysis()}, **routing
                )
            )
        )
        await world.phase("web", "Healthy")
        v1 = world.status("web")["stableRS"]
        assert bound(world) == {"stable": v1, "canary": v1}
        world.set_image("web", "web:v2")
        await world.phase("web", "Paused")
        v2 = world.status("web")["currentPodHash"]
        assert (weights(world), bound(world)) == ([80, 20], {"stable": v1, "canary": v2})
        assert world.sets() == {"web:v1": 5, "web:v2": 1}
        assert world.status("web")["canary"]["weights"]["verified"] is True
        world.command("web", {"pauseConditions": None})
        await world.until("60 %", lambda: weights(world) == [40, 60])
        assert world.sets() == {"web:v1": 5, "web:v2": 3}
        await world.phase("web", "Healthy")
        assert world.runs() == {f"web-{v2}-2-3": "Successful"}
        assert world.status("web")["stableRS"] == v2
        await world.until(
            "home", lambda: weights(world) == [100, 0] and bound(world) == {"stable": v2, "canary": v2}
        )
        assert world.sets() == {"web:v1": 5, "web:v2": 5}
        await world.rest(25)
        assert world.sets() == {"web:v1": 5, "web:v2": 5}
        await world.until("v1 gone", lambda: world.sets() == {"web:v1": 0, "web:v2": 5}, within=20)
        assert world.reasons().count("RolloutStepCompleted") == 4
        await world.rest(60)
        assert await world.rest(600) == 0

    play(story)


@pytest.mark.parametrize("verdict", ["Failed", "Error"])
def test_a_bad_release_is_aborted_by_its_step_analysis_and_the_canary_goes_after_its_delay(
    verdict: str,
) -> None:
    async def story(world: World) -> None:
        world.apply(*mesh())
        world.apply(rollout(canary({"setWeight": 40}, {"analysis": analysis()}, {"pause": {}}, **BY_SUBSETS)))
        await world.phase("web", "Healthy")
        v1 = world.status("web")["stableRS"]
        world.judge.verdicts["web-"] = verdict
        world.set_image("web", "web:v2")
        await world.phase("web", "Degraded")
        assert f"Step-based analysis phase {verdict.lower()}" in world.status("web")["message"]
        await world.until("home", lambda: weights(world) == [100, 0], within=5)
        assert world.sets() == {"web:v1": 5, "web:v2": 2}
        await world.until("gone", lambda: world.sets() == {"web:v1": 5, "web:v2": 0}, within=60)
        assert subsets(world) == {"stable": v1, "canary": v1}
        assert world.status("web")["stableRS"] == v1
        await world.rest(30)
        assert await world.rest(600) == 0

    play(story)


def test_a_retry_measures_anew_and_old_evidence_never_counts() -> None:
    async def story(world: World) -> None:
        world.apply(*mesh())
        world.apply(rollout(canary({"setWeight": 40}, {"analysis": analysis()}, **BY_SUBSETS)))
        await world.phase("web", "Healthy")
        world.judge.verdicts["web-"] = "Failed"
        world.set_image("web", "web:v2")
        await world.phase("web", "Degraded")
        v2 = world.status("web")["currentPodHash"]
        world.judge.verdicts.clear()
        world.command("web", {"abort": False})
        await world.phase("web", "Healthy")
        assert world.runs() == {f"web-{v2}-2-1": "Failed", f"web-{v2}-2-1.1": "Successful"}
        assert world.status("web")["stableRS"] == v2

    play(story)


def test_an_inconclusive_gate_asks_a_person() -> None:
    async def story(world: World) -> None:
        world.apply(*mesh())
        world.apply(
            rollout(canary({"setWeight": 40}, {"analysis": analysis()}, {"setWeight": 60}, **BY_SUBSETS))
        )
        await world.phase("web", "Healthy")
        world.judge.verdicts["web-"] = "Inconclusive"
        world.set_image("web", "web:v2")
        await world.phase("web", "Paused")
        assert world.status("web")["message"] == "InconclusiveAnalysisRun"
        await world.rest(3600)
        assert weights(world) == [60, 40]
        world.rules.overruled |= set(world.runs())
        world.command("web", {"pauseConditions": None, "controllerPause": False, "currentStepIndex": 2})
        await world.phase("web", "Healthy")

    play(story)


def test_a_background_analysis_that_fails_aborts_between_the_steps() -> None:
    async def story(world: World) -> None:
        world.apply(*mesh())
        world.apply(
            rollout(
                canary(
                    {"setWeight": 20}, {"pause": {"duration": 60}}, {"setWeight": 60}, {"pause": {"duration": 60}},
                    analysis=analysis(startingStep=2), **BY_SUBSETS,
                )
            )
        )  # fmt: skip
        await world.phase("web", "Healthy")
        world.judge.verdicts["web-"] = "Failed"
        world.set_image("web", "web:v2")
        await world.until("20 %", lambda: weights(world) == [80, 20])
        await world.rest(30)
        assert world.runs() == {}
        await world.phase("web", "Degraded", within=90)
        assert "Background analysis phase failed" in world.status("web")["message"]
        await world.until("home", lambda: weights(world) == [100, 0])

    play(story)


def test_traffic_goes_home_though_the_watch_shows_the_saved_abort_late() -> None:
    async def story(world: World) -> None:
        world.apply(*mesh())
        world.apply(rollout(canary({"setWeight": 40}, {"pause": {}}, analysis=analysis(), **BY_SUBSETS)))
        await world.phase("web", "Healthy")
        world.set_image("web", "web:v2")
        await world.until("40 %", lambda: weights(world) == [60, 40])
        await world.until("measured", lambda: set(world.runs().values()) == {"Running"})
        await world.rest(3)
        # The verdict still arrives; what we write because of it comes back 20 s late.
        following = range(world.faults.events + 2, world.faults.events + 20)
        world.faults.watch.update(dict.fromkeys(following, "delay"))
        world.judge.verdicts["web-"] = "Failed"
        await world.until("home", lambda: weights(world) == [100, 0], within=5)
        assert world.status("web")["abort"] is True

    play(story)


def test_a_third_version_in_mid_release_takes_over_safely() -> None:
    async def story(world: World) -> None:
        world.images["*"] = Behaviour(ready_in=4.0)
        world.apply(*mesh())
        world.apply(rollout(canary({"setWeight": 40}, {"pause": {"duration": 20}}, **BY_SUBSETS)))
        await world.phase("web", "Healthy")
        v1 = world.status("web")["stableRS"]
        world.set_image("web", "web:v2")
        await world.until("v2 at 40", lambda: weights(world) == [60, 40])
        world.set_image("web", "web:v3")
        await world.until("v2 off", lambda: weights(world) == [100, 0])
        await world.until("v3 at 40", lambda: weights(world) == [60, 40])
        v3 = world.status("web")["currentPodHash"]
        assert subsets(world) == {"stable": v1, "canary": v3}
        await world.phase("web", "Healthy")
        await world.until("only v3", lambda: world.sets() == {"web:v1": 0, "web:v2": 0, "web:v3": 5})

    play(story)


def test_going_back_to_stable_in_mid_release_skips_all_steps() -> None:
    async def story(world: World) -> None:
        world.apply(*mesh())
        world.apply(rollout(canary({"setWeight": 40}, {"pause": {}}, **BY_SUBSETS)))
        await world.phase("web", "Healthy")
        world.set_image("web", "web:v2")
        await world.phase("web", "Paused")
        world.set_image("web", "web:v1")
        await world.phase("web", "Healthy")
        await world.until("home", lambda: weights(world) == [100, 0])
        await world.until("v2 gone", lambda: world.sets() == {"web:v1": 5, "web:v2": 0})
        assert "SkipSteps" in world.reasons()

    play(story)


def test_a_canary_whose_pods_all_die_loses_its_traffic() -> None:
    async def story(world: World) -> None:
        world.apply(*mesh())
        world.apply(rollout(canary({"setWeight": 40}, {"pause": {}}, **BY_SUBSETS)))
        await world.phase("web", "Healthy")
        world.images["web:v2"] = Behaviour(crashes_after=20.0, restarts_in=100_000.0)
        world.set_image("web", "web:v2")
        await world.until("40 %", lambda: weights(world) == [60, 40])
        await world.until("0 %", lambda: weights(world) == [100, 0], within=60)
        assert world.status("web")["stableRS"] != world.status("web")["currentPodHash"]

    play(story)


def test_promote_full_skips_pauses_and_gates_but_not_capacity() -> None:
    async def story(world: World) -> None:
        world.images["*"] = Behaviour(ready_in=10.0)
        world.apply(*mesh())
        world.apply(rollout(canary({"setWeight": 20}, {"pause": {}}, {"analysis": analysis()}, **BY_SUBSETS)))
        await world.phase("web", "Healthy")
        world.set_image("web", "web:v2")
        await world.phase("web", "Paused")
        world.command("web", {"promoteFull": True})
        await world.phase("web", "Healthy")
        assert world.runs() == {}
        assert any("Full promotion requested" in message for _, message in world.events.told)

    play(story)


def test_what_is_missing_is_said_before_any_pod_starts_and_heals_by_itself() -> None:
    async def story(world: World) -> None:
        world.apply(rollout(canary({"setWeight": 20}, {"analysis": analysis()}, **BY_SUBSETS)))
        await world.phase("web", "Degraded")
        message = world.status("web")["message"]
        for missing in ('VirtualService "prod/web-vs" not found', 'DestinationRule "prod/web-dr" not found',
                        'AnalysisTemplate "prod/success-rate" not found'):  # fmt: skip
            assert missing in message
        assert world.sets() == {}
        world.apply(*mesh())
        await world.phase("web", "Healthy", within=5)

    play(story)


def test_a_stranger_in_the_route_is_kept_and_a_reverted_weight_is_set_again() -> None:
    async def story(world: World) -> None:
        world.apply(*mesh())
        world.apply(rollout(canary({"setWeight": 40}, {"pause": {}}, **BY_SUBSETS)))
        await world.phase("web", "Healthy")
        world.set_image("web", "web:v2")
        await world.phase("web", "Paused")
        spec: Object = dict(world.get(VIRTUAL_SERVICES, "web-vs")["spec"])
        route = {**spec["http"][0], "timeout": "7s"}
        route["route"] = [{**route["route"][0], "weight": 60}, {**route["route"][1], "weight": 40}]
        world.patch(VIRTUAL_SERVICES, "web-vs", {"spec": {**spec, "http": [route]}})
        await world.rest(1)
        world.command("web", {"pauseConditions": None})
        await world.phase("web", "Healthy")
        await world.until("home", lambda: weights(world) == [100, 0])
        assert world.get(VIRTUAL_SERVICES, "web-vs")["spec"]["http"][0]["timeout"] == "7s"

    play(story)


def test_a_template_that_vanishes_does_not_stop_an_abort() -> None:
    async def story(world: World) -> None:
        world.apply(*mesh())
        world.apply(rollout(canary({"setWeight": 40}, {"pause": {}}, {"analysis": analysis()}, **BY_SUBSETS)))
        await world.phase("web", "Healthy")
        world.set_image("web", "web:v2")
        await world.phase("web", "Paused")
        world.storage.delete(ANALYSIS_TEMPLATES, "prod", "success-rate")
        await world.phase("web", "Degraded")
        world.command("web", {"abort": True})
        await world.until("home", lambda: weights(world) == [100, 0])

    play(story)
