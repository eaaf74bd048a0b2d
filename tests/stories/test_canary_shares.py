"""A canary whose traffic is moved by the share of pods."""

from __future__ import annotations

from rollout.api.resources import REPLICA_SETS
from rollout.sandbox.workloads.podmodel import Behaviour
from tests.stories.objects import canary, rollout
from tests.stories.world import World, play


def test_first_deploy_skips_the_steps_and_tells_its_events_in_order() -> None:
    async def story(world: World) -> None:
        world.apply(rollout(canary({"setWeight": 20}, {"pause": {}})))
        await world.phase("web", "Healthy")
        status = world.status("web")
        assert status["currentStepIndex"] == 2
        assert status["stableRS"] == status["currentPodHash"]
        assert world.sets() == {"web:v1": 5}
        assert world.reasons() == [
            "RolloutAddedToInformer",
            "RolloutUpdated",
            "NewReplicaSetCreated",
            "RolloutNotCompleted",
            "ScalingReplicaSet",
            "RolloutCompleted",
        ]

    play(story)


def test_steps_move_pods_and_a_pause_without_duration_waits_for_a_person() -> None:
    async def story(world: World) -> None:
        world.apply(
            rollout(
                canary({"setWeight": 20}, {"pause": {}}, {"setWeight": 60}, {"pause": {"duration": "30s"}})
            )
        )
        await world.phase("web", "Healthy")
        world.set_image("web", "web:v2")
        await world.phase("web", "Paused")
        assert world.status("web")["message"] == "CanaryPauseStep"
        assert world.sets() == {"web:v1": 4, "web:v2": 1}
        await world.rest(3600)
        assert world.sets() == {"web:v1": 4, "web:v2": 1}
        world.command("web", {"pauseConditions": None})
        await world.until("60 %", lambda: world.sets() == {"web:v1": 2, "web:v2": 3})
        await world.phase("web", "Healthy")
        assert world.sets() == {"web:v1": 0, "web:v2": 5}

    play(story)


def test_at_rest_nobody_writes() -> None:
    async def story(world: World) -> None:
        world.apply(rollout(canary({"setWeight": 50})))
        await world.phase("web", "Healthy")
        await world.rest(60)
        assert await world.rest(600) == 0  # I15

    play(story)


def test_an_abort_brings_the_stable_pods_back_before_the_canary_goes() -> None:
    async def story(world: World) -> None:
        world.images["*"] = Behaviour(ready_in=5.0)
        world.apply(rollout(canary({"setWeight": 60}, {"pause": {}}), replicas=10))
        await world.phase("web", "Healthy")
        world.set_image("web", "web:v2")
        await world.phase("web", "Paused")
        world.command("web", {"abort": True})
        await world.phase("web", "Degraded")
        assert world.status("web")["message"].startswith(
            "RolloutAborted: Rollout aborted update to revision 2"
        )
        await world.until("all stable", lambda: world.sets() == {"web:v1": 10, "web:v2": 0})
        world.set_image("web", "web:v1")
        await world.phase("web", "Healthy")
        assert len(world.list(REPLICA_SETS)) == 2

    play(story)


def test_a_version_that_never_gets_ready_holds_and_exceeds_its_deadline() -> None:
    async def story(world: World) -> None:
        world.apply(rollout(canary({"setWeight": 20}), progressDeadlineSeconds=60))
        await world.phase("web", "Healthy")
        world.images["web:v2"] = Behaviour(ready_in=None)
        world.set_image("web", "web:v2")
        await world.phase("web", "Degraded", within=120)
        assert "has timed out progressing" in world.status("web")["message"]
        # Which of the two goes over the wanted number is surge's business; stable keeps enough to serve.
        assert world.sets()["web:v1"] >= 4
        world.set_image("web", "web:v3")
        await world.phase("web", "Healthy")
        assert world.sets() == {"web:v1": 0, "web:v2": 0, "web:v3": 5}

    play(story)
