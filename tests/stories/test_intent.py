"""What people ask for is done, whatever else is wrong; and odd worlds are survived."""

from __future__ import annotations

import pytest

from rollout.api.meta import metadata, timestamp
from rollout.api.resources import PODS, REPLICA_SETS, VIRTUAL_SERVICES
from rollout.api.rollout import HASH_LABEL
from rollout.plan import plan as planning
from rollout.runtime.kube import Object
from rollout.sandbox.workloads.podmodel import Behaviour
from tests.stories.objects import ISTIO_SUBSETS, analysis, canary, mesh, rollout, service, template
from tests.stories.world import World, play

PAUSED = canary({"setWeight": 40}, {"pause": {}}, {"analysis": analysis()}, trafficRouting=ISTIO_SUBSETS)


def weights(world: World) -> list[int]:
    routes = world.get(VIRTUAL_SERVICES, "web-vs")["spec"]["http"][0]["route"]
    return [route["weight"] for route in routes]


async def at_forty(world: World, strategy: Object = PAUSED) -> None:
    world.apply(*mesh())
    world.apply(rollout(strategy))
    await world.phase("web", "Healthy")
    world.set_image("web", "web:v2")
    await world.phase("web", "Paused")
    assert weights(world) == [60, 40]


def test_an_abort_works_on_a_spec_that_is_invalid_and_says_so() -> None:
    async def story(world: World) -> None:
        await at_forty(world)
        world.edit("web", {"strategy": {"canary": {"steps": [{"pause": {"duration": "soon"}}]}}})
        await world.phase("web", "Degraded")
        assert weights(world) == [60, 40]
        world.command("web", {"abort": True})
        await world.until("home", lambda: weights(world) == [100, 0], within=30)
        await world.until("gone", lambda: world.sets() == {"web:v1": 5, "web:v2": 0}, within=60)
        kinds = {one["type"]: one["status"] for one in world.status("web")["conditions"]}
        assert kinds["InvalidSpec"] == "True"
        await world.rest(60)
        assert await world.rest(600) == 0

    play(story)


def test_promote_full_in_a_pause_ends_the_pause_at_once_and_counts_all_steps_as_done() -> None:
    async def story(world: World) -> None:
        world.images["web:v2"] = Behaviour(ready_in=5.0)
        await at_forty(world)
        world.promote("web", full=True)
        await world.until("not paused", lambda: world.status("web")["phase"] == "Progressing", within=1)
        await world.phase("web", "Healthy")
        assert world.status("web")["currentStepIndex"] == 3

    play(story)


def test_the_second_rollout_that_names_a_service_is_told_whose_it_is() -> None:
    async def story(world: World) -> None:
        strategy = {"blueGreen": {"activeService": "web-active"}}
        world.apply(service("web-active"))
        world.apply(rollout(strategy))
        await world.phase("web", "Healthy")
        world.apply(rollout(strategy, name="api"))
        await world.phase("api", "Degraded")
        assert 'is managed by another Rollout, "web"' in world.status("api")["message"]
        await world.rest(60)
        assert await world.rest(600) == 0
        world.storage.delete(world.resource(rollout(strategy)), "prod", "web")
        await world.phase("api", "Healthy", within=60)

    play(story)


def test_an_abort_of_the_first_deploy_has_nothing_to_go_back_to() -> None:
    async def story(world: World) -> None:
        world.images["*"] = Behaviour(ready_in=10.0)
        world.apply(*mesh())
        world.apply(rollout(PAUSED))
        await world.clock.sleep(3)
        world.command("web", {"abort": True})
        await world.phase("web", "Healthy")
        assert "abort" not in world.status("web")

    play(story)


def test_a_stable_set_deleted_by_hand_gives_the_traffic_to_the_canary_and_not_the_promotion() -> None:
    async def story(world: World) -> None:
        await at_forty(world)
        stable = world.status("web")["stableRS"]
        (one,) = (o for o in world.list(REPLICA_SETS) if metadata(o)["labels"][HASH_LABEL] == stable)
        world.rules.by_hand = True
        world.storage.delete(REPLICA_SETS, "prod", metadata(one)["name"])
        world.rules.by_hand = False
        await world.until("all of it", lambda: weights(world) == [0, 100])
        assert world.sets() == {"web:v2": 5}
        await world.rest(600)
        assert world.status("web")["stableRS"] == stable
        world.promote("web")
        await world.phase("web", "Healthy")
        assert set(world.runs().values()) == {"Successful"}

    play(story)


def test_a_restart_replaces_every_older_pod_a_few_at_a_time() -> None:
    async def story(world: World) -> None:
        world.images["*"] = Behaviour(ready_in=2.0)
        world.apply(rollout(canary({"setWeight": 20}), replicas=4))
        await world.phase("web", "Healthy")
        await world.rest(5)
        before = {metadata(pod)["uid"] for pod in world.list(PODS)}
        at = timestamp(world.clock.now())
        world.edit("web", {"restartAt": at})
        least = 4

        def done() -> bool:
            nonlocal least
            (one,) = world.list(REPLICA_SETS)
            least = min(least, (one.get("status") or {}).get("availableReplicas", 0))
            return world.status("web").get("restartedAt") == at

        await world.until("restarted", done, within=200)
        assert least == 3  # maxUnavailable 25 % of 4
        await world.phase("web", "Healthy")
        assert not before & {metadata(pod)["uid"] for pod in world.list(PODS)}

    play(story)


def test_a_broken_invariant_is_told_and_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(world: World) -> None:
        await at_forty(world)
        real = planning.check

        def refuse(*_: object) -> None:
            raise planning.InvariantBroken("I2: planned")

        monkeypatch.setattr(planning, "check", refuse)
        world.promote("web")
        await world.phase("web", "Degraded")
        assert "I2: planned" in world.status("web")["message"]
        assert world.reasons().count("InvariantBroken") == 1
        await world.rest(300)
        assert weights(world) == [60, 40]
        assert world.reasons().count("InvariantBroken") == 1
        monkeypatch.setattr(planning, "check", real)
        await world.phase("web", "Healthy", within=400)

    play(story)


def test_a_pause_step_while_a_background_analysis_is_undecided_does_not_overrule_it() -> None:
    async def story(world: World) -> None:
        world.judge.verdicts["web-"] = "Inconclusive"
        strategy = canary(
            {"setWeight": 40}, {"pause": {"duration": 20}}, {"setWeight": 80},
            trafficRouting=ISTIO_SUBSETS, analysis=analysis(),
        )  # fmt: skip
        world.apply(*mesh(), template("unused"))
        world.apply(rollout(strategy))
        await world.phase("web", "Healthy")
        world.set_image("web", "web:v2")
        await world.phase("web", "Paused")
        await world.rest(300)
        assert weights(world) != [20, 80]
        assert len(world.runs()) == 1
        world.judge.verdicts.clear()
        world.command("web", {"pauseConditions": None})
        await world.phase("web", "Healthy")
        assert sorted(world.runs().values()) == ["Inconclusive", "Successful"]

    play(story)
