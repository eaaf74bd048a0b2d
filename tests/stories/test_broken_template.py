"""An analysis template that cannot be used: said before any pod starts, in the way of nothing that does not need it."""

from __future__ import annotations

from rollout.api.resources import ANALYSIS_TEMPLATES, VIRTUAL_SERVICES
from tests.stories.objects import ISTIO_SUBSETS, analysis, canary, mesh, rollout, template
from tests.stories.world import World, play

STEPS = ({"setWeight": 40}, {"pause": {}}, {"analysis": analysis()})


def test_a_broken_template_is_said_with_its_field_and_heals_when_it_is_mended() -> None:
    async def story(world: World) -> None:
        world.apply(*mesh(), rollout(canary(*STEPS, trafficRouting=ISTIO_SUBSETS)))
        await world.phase("web", "Healthy")
        world.apply(template(successCondition="result[0] >="))
        world.set_image("web", "web:v2")
        await world.phase("web", "Degraded")
        message = world.status("web")["message"]
        assert 'AnalysisTemplate "success-rate": spec.metrics[0].successCondition' in message
        assert world.sets() == {"web:v1": 5}
        world.apply(template(successCondition="result[0] >= 0.95"))
        await world.phase("web", "Paused")

    play(story)


def test_a_template_that_breaks_in_mid_release_does_not_stop_an_abort() -> None:
    async def story(world: World) -> None:
        world.apply(*mesh(), rollout(canary(*STEPS, trafficRouting=ISTIO_SUBSETS)))
        await world.phase("web", "Healthy")
        world.set_image("web", "web:v2")
        await world.phase("web", "Paused")
        world.patch(
            ANALYSIS_TEMPLATES,
            "success-rate",
            {"spec": {"metrics": [{"name": "m", "provider": {"web": {}}}]}},
        )
        await world.phase("web", "Degraded")
        world.command("web", {"abort": True})

        def home() -> bool:
            route = world.get(VIRTUAL_SERVICES, "web-vs")["spec"]["http"][0]["route"]
            return [one["weight"] for one in route] == [100, 0]

        await world.until("home", home, within=30)

    play(story)
