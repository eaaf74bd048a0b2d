"""A mesh that tells when a route is live (Istio's status, written by the sandbox's mesh): the release waits for it."""

from __future__ import annotations

from rollout.api.meta import metadata
from rollout.api.resources import DESTINATION_RULES, VIRTUAL_SERVICES, Resource
from rollout.runtime.kube import Object
from tests.stories.objects import ISTIO_SUBSETS, canary, mesh, rollout
from tests.stories.test_canary_istio import weights
from tests.stories.world import NAMESPACE, World, play


def tell(world: World, resource: Resource, name: str, *, generation: int, status: str = "True") -> None:
    said = {"observedGeneration": generation, "conditions": [{"type": "Reconciled", "status": status}]}
    world.patch(resource, name, {"status": said}, status=True)


def generation(world: World, resource: Resource, name: str) -> int:
    return int(metadata(world.get(resource, name, NAMESPACE))["generation"])


def objects() -> list[Object]:
    return [*mesh(), rollout(canary({"setWeight": 40}, {"pause": {}}, trafficRouting=ISTIO_SUBSETS))]


def test_a_weight_counts_only_when_the_mesh_says_that_it_is_live() -> None:
    async def story(world: World) -> None:
        world.apply(*objects())
        await world.phase("web", "Healthy")
        await world.rest(10)
        for resource, name in ((VIRTUAL_SERVICES, "web-vs"), (DESTINATION_RULES, "web-dr")):
            tell(world, resource, name, generation=generation(world, resource, name))
        world.set_image("web", "web:v2")
        await world.rest(30)
        # The subset was bound to v2, and the mesh has not said that it works by that.
        assert weights(world) == [100, 0]
        tell(world, DESTINATION_RULES, "web-dr", generation=generation(world, DESTINATION_RULES, "web-dr"))
        await world.until("weight asked for", lambda: weights(world) == [60, 40])
        await world.rest(30)
        assert world.status("web")["currentStepIndex"] == 0
        assert world.status("web")["canary"]["weights"]["verified"] is False
        tell(
            world,
            VIRTUAL_SERVICES,
            "web-vs",
            generation=generation(world, VIRTUAL_SERVICES, "web-vs"),
            status="False",
        )
        await world.rest(30)
        assert world.status("web")["currentStepIndex"] == 0
        tell(world, VIRTUAL_SERVICES, "web-vs", generation=generation(world, VIRTUAL_SERVICES, "web-vs"))
        await world.phase("web", "Paused", within=5)

    play(story)


def test_an_aborted_canary_keeps_its_pods_until_the_mesh_has_taken_their_traffic_away() -> None:
    async def story(world: World) -> None:
        world.apply(*objects())
        await world.phase("web", "Healthy")
        world.set_image("web", "web:v2")
        await world.phase("web", "Paused")
        tell(world, VIRTUAL_SERVICES, "web-vs", generation=generation(world, VIRTUAL_SERVICES, "web-vs"))
        world.command("web", {"abort": True})
        await world.until("asked home", lambda: weights(world) == [100, 0])
        await world.rest(300)
        assert world.sets() == {"web:v1": 5, "web:v2": 2}
        tell(world, VIRTUAL_SERVICES, "web-vs", generation=generation(world, VIRTUAL_SERVICES, "web-vs"))
        await world.until("gone", lambda: world.sets() == {"web:v1": 5, "web:v2": 0}, within=60)

    play(story)
