"""A canary whose traffic an HTTPRoute of the Gateway API moves; the Gateway's word is waited for."""

from __future__ import annotations

import pytest

from rollout.api.meta import Key
from rollout.api.resources import HTTP_ROUTES, SERVICES
from rollout.api.rollout import HASH_LABEL, MANAGED_BY, TURN
from rollout.runtime.kube import Object
from rollout.sandbox.workloads.podmodel import Behaviour
from tests.stories.objects import HTTP_ROUTE, analysis, canary, gateway, http_route, rollout
from tests.stories.world import NAMESPACE, World, play

BY_ROUTE = {"canaryService": "web-canary", "stableService": "web-stable", "trafficRouting": HTTP_ROUTE}
BY_PLUGIN = {
    **BY_ROUTE,
    "trafficRouting": {"plugins": {"argoproj-labs/gatewayAPI": {"httpRoute": "web", "namespace": NAMESPACE}}},
}


def rules(world: World) -> list[Object]:
    return world.get(HTTP_ROUTES, "web")["spec"]["rules"]


def weights(world: World) -> list[int]:
    """[stable, canary] of the rule that is split."""
    return [one["weight"] for one in rules(world)[1]["backendRefs"]]


def served(world: World) -> list[int]:
    """The weights that the data plane works by."""
    spec = world.gateway.served[Key(NAMESPACE, "web")]
    return [one["weight"] for one in spec["rules"][1]["backendRefs"]]


def selectors(world: World) -> dict[str, str]:
    return {
        name: world.get(SERVICES, f"web-{name}")["spec"]["selector"].get(HASH_LABEL, "")
        for name in ("stable", "canary")
    }


def set_rules(world: World, *changed: Object) -> None:
    """Somebody edits the route by hand."""
    world.rules.by_hand = True
    world.patch(HTTP_ROUTES, "web", {"spec": {"rules": list(changed)}})
    world.rules.by_hand = False


def split(world: World, stable: int | None, of_canary: int | None, **fields: object) -> Object:
    """The split rule as it is, with other weights."""
    rule = rules(world)[1]
    refs = []
    for one, weight in zip(rule["backendRefs"], (stable, of_canary), strict=True):
        bare = {key: value for key, value in one.items() if key != "weight"}
        refs.append(bare if weight is None else {**bare, "weight": weight})
    return {**rule, "backendRefs": refs, **fields}


async def paused_at_40(world: World) -> None:
    world.apply(*gateway())
    world.apply(rollout(canary({"setWeight": 40}, {"pause": {}}, {"setWeight": 60}, **BY_ROUTE)))
    await world.phase("web", "Healthy")
    world.set_image("web", "web:v2")
    await world.phase("web", "Paused")
    assert weights(world) == served(world) == [60, 40]


@pytest.mark.parametrize("routing", [BY_ROUTE, BY_PLUGIN], ids=["native", "plugin"])
def test_a_good_release_goes_through_its_steps_and_touches_nothing_but_its_weights(routing: Object) -> None:
    async def story(world: World) -> None:
        world.images["*"] = Behaviour(ready_in=3.0)
        world.apply(*gateway())
        before = dict(world.get(HTTP_ROUTES, "web"))
        steps = ({"setWeight": 20}, {"pause": {}}, {"setWeight": 60}, {"analysis": analysis()})
        world.apply(rollout(canary(*steps, **routing)))
        await world.phase("web", "Healthy")
        v1 = world.status("web")["stableRS"]
        assert selectors(world) == {"stable": v1, "canary": v1}
        world.set_image("web", "web:v2")
        await world.phase("web", "Paused")
        v2 = world.status("web")["currentPodHash"]
        assert (weights(world), selectors(world)) == ([80, 20], {"stable": v1, "canary": v2})
        assert world.sets() == {"web:v1": 5, "web:v2": 1}
        told = world.status("web")["canary"]["weights"]
        assert (told["canary"]["weight"], told["stable"]["weight"], told["verified"]) == (20, 80, True)
        assert world.status("web")["message"] == "CanaryPauseStep"
        world.command("web", {"pauseConditions": None})
        await world.until("60 %", lambda: weights(world) == [40, 60])
        await world.phase("web", "Healthy")
        assert world.runs() == {f"web-{v2}-2-3": "Successful"}
        assert world.status("web")["stableRS"] == v2
        await world.until(
            "home", lambda: weights(world) == [100, 0] and selectors(world) == {"stable": v2, "canary": v2}
        )
        await world.until("v1 gone", lambda: world.sets() == {"web:v1": 0, "web:v2": 5}, within=60)
        after = world.get(HTTP_ROUTES, "web")
        assert after["spec"] == before["spec"]
        assert set(after["metadata"]) - set(before["metadata"]) == {"annotations"}
        assert after["metadata"]["annotations"] == {MANAGED_BY: "web", TURN: "prod/web=1"}
        await world.rest(60)
        assert await world.rest(600) == 0

    play(story)


def test_an_aborted_release_keeps_its_pods_until_the_gateway_has_taken_their_traffic_away() -> None:
    async def story(world: World) -> None:
        await paused_at_40(world)
        world.gateway.silent = True
        world.command("web", {"abort": True})
        await world.until("asked home", lambda: weights(world) == [100, 0], within=5)
        await world.rest(300)
        assert world.sets() == {"web:v1": 5, "web:v2": 2}
        assert served(world) == [60, 40]
        assert "Accepted does not speak of generation" in world.status("web")["message"]
        world.gateway.silent = False
        world.gateway.look()
        await world.until("gone", lambda: world.sets() == {"web:v1": 5, "web:v2": 0}, within=60)
        assert served(world) == [100, 0]
        assert "generation" not in world.status("web")["message"]
        await world.rest(60)
        assert await world.rest(600) == 0

    play(story)


def test_a_promoted_release_keeps_the_old_pods_until_the_gateway_serves_the_new_ones() -> None:
    async def story(world: World) -> None:
        await paused_at_40(world)
        world.gateway.seconds = 90.0
        world.promote("web", full=True)
        await world.until("all asked for", lambda: weights(world) == [0, 100])
        await world.rest(80)
        assert world.sets() == {"web:v1": 5, "web:v2": 5}
        assert world.status("web")["stableRS"] != world.status("web")["currentPodHash"]
        await world.phase("web", "Healthy")
        await world.until("v1 gone", lambda: world.sets() == {"web:v1": 0, "web:v2": 5})
        assert served(world) == [100, 0]

    play(story)


def test_a_route_that_no_gateway_takes_says_why_and_is_not_built_on() -> None:
    async def story(world: World) -> None:
        world.gateway.silent = True
        world.apply(*gateway())
        strategy = canary({"setWeight": 40}, {"pause": {}}, **BY_ROUTE)
        world.apply(rollout(strategy, progressDeadlineSeconds=120))
        await world.rest(60)
        said = 'HTTPRoute "prod/web" is not served yet: Gateway "door" says nothing of it'
        assert said in world.status("web")["message"]
        assert world.status("web")["phase"] == "Progressing"
        assert world.status("web")["canary"]["weights"]["verified"] is False
        assert selectors(world) == {"stable": "", "canary": ""}
        assert "stableRS" not in world.status("web")
        await world.phase("web", "Degraded", within=200)
        message = world.status("web")["message"]
        assert message.startswith("ProgressDeadlineExceeded")
        assert said in message
        world.gateway.silent = False
        world.gateway.look()
        await world.phase("web", "Healthy", within=5)
        assert "message" not in world.status("web")

    play(story)


def test_a_gateway_that_falls_silent_in_mid_release_stops_it_where_it_is() -> None:
    async def story(world: World) -> None:
        world.images["web:v2"] = Behaviour(ready_in=20.0)
        world.apply(*gateway())
        world.apply(rollout(canary({"setWeight": 40}, {"pause": {}}, **BY_ROUTE)))
        await world.phase("web", "Healthy")
        v1 = world.status("web")["stableRS"]
        world.set_image("web", "web:v2")
        world.gateway.silent = True
        set_rules(world, rules(world)[0], split(world, 100, 0, timeouts={"request": "7s"}))
        await world.rest(60)
        assert world.sets() == {"web:v1": 5, "web:v2": 2}
        assert (weights(world), selectors(world)) == ([100, 0], {"stable": v1, "canary": v1})
        world.gateway.silent = False
        world.gateway.look()
        await world.phase("web", "Paused", within=30)
        assert weights(world) == served(world) == [60, 40]

    play(story)


def test_a_weight_that_the_gateway_refuses_is_never_counted() -> None:
    async def story(world: World) -> None:
        await paused_at_40(world)
        world.gateway.refuses["ResolvedRefs"] = "RefNotPermitted"
        world.command("web", {"pauseConditions": None})
        await world.until("asked for", lambda: weights(world) == [40, 60])
        await world.rest(120)
        assert world.status("web")["currentStepIndex"] == 2
        assert "not ResolvedRefs: RefNotPermitted" in world.status("web")["message"]
        world.gateway.refuses.clear()
        world.gateway.look()
        await world.phase("web", "Healthy", within=30)

    play(story)


@pytest.mark.parametrize("edited", [(90, 10), (None, None), (1, 2), (0, 0), (3, 1)])
def test_weights_edited_by_hand_are_set_again_and_other_fields_stay(edited: tuple[int, int]) -> None:
    async def story(world: World) -> None:
        await paused_at_40(world)
        more: Object = {"matches": [{"path": {"type": "PathPrefix", "value": "/shop"}}]}
        set_rules(world, rules(world)[0], split(world, *edited, **more))
        await world.until("set again", lambda: weights(world) == [60, 40], within=10)
        assert rules(world)[1]["matches"] == more["matches"]
        await world.rest(5)
        assert world.status("web")["phase"] == "Paused"
        world.command("web", {"pauseConditions": None})
        await world.phase("web", "Healthy")
        await world.until("home", lambda: weights(world) == [100, 0])
        assert rules(world)[1]["matches"] == more["matches"]

    play(story)


def test_a_backend_that_is_missing_is_said_before_any_pod_starts_and_heals_by_itself() -> None:
    async def story(world: World) -> None:
        route = http_route()
        whole = route["spec"]["rules"][1]["backendRefs"]
        route["spec"]["rules"][1]["backendRefs"] = whole[:1]
        world.apply(*[one for one in gateway() if one["kind"] != "HTTPRoute"], route)
        world.apply(rollout(canary({"setWeight": 20}, **BY_ROUTE)))
        await world.phase("web", "Degraded")
        assert 'no rule of HTTPRoute "prod/web" has backendRefs to both' in world.status("web")["message"]
        assert world.sets() == {}
        world.apply(http_route())
        await world.phase("web", "Healthy", within=5)

    play(story)


def test_a_route_that_is_deleted_in_mid_release_is_said_and_gets_its_weight_again_when_it_is_back() -> None:
    async def story(world: World) -> None:
        await paused_at_40(world)
        world.rules.by_hand = True
        world.storage.delete(HTTP_ROUTES, NAMESPACE, "web")
        world.rules.by_hand = False
        await world.phase("web", "Degraded")
        assert 'HTTPRoute "prod/web" not found' in world.status("web")["message"]
        await world.rest(120)
        assert world.sets() == {"web:v1": 5, "web:v2": 2}
        world.rules.by_hand = True
        world.apply(http_route())
        world.rules.by_hand = False
        await world.until("40 % again", lambda: weights(world) == [60, 40], within=10)
        await world.phase("web", "Paused", within=10)
        world.command("web", {"abort": True})
        await world.until("home", lambda: weights(world) == [100, 0])

    play(story)


def test_a_third_backend_that_appears_stops_the_release_and_says_so() -> None:
    async def story(world: World) -> None:
        await paused_at_40(world)
        rule = rules(world)[1]
        third = {"name": "web-other", "port": 80, "weight": 50}
        set_rules(world, rules(world)[0], {**rule, "backendRefs": [*rule["backendRefs"], third]})
        await world.phase("web", "Degraded")
        assert "to a third backend" in world.status("web")["message"]
        third["weight"] = 0
        set_rules(world, rules(world)[0], {**rule, "backendRefs": [*rule["backendRefs"], third]})
        world.promote("web")
        await world.phase("web", "Healthy")
        await world.until("home", lambda: weights_of_three(world) == [100, 0, 0])

    def weights_of_three(world: World) -> list[int]:
        return [one["weight"] for one in rules(world)[1]["backendRefs"]]

    play(story)


def test_going_back_to_stable_in_mid_release_sends_the_traffic_home() -> None:
    async def story(world: World) -> None:
        await paused_at_40(world)
        world.set_image("web", "web:v1")
        await world.phase("web", "Healthy")
        await world.until("home", lambda: served(world) == [100, 0])
        await world.until("v2 gone", lambda: world.sets() == {"web:v1": 5, "web:v2": 0})

    play(story)


def test_several_routes_move_together_and_rules_that_are_not_named_stay() -> None:
    async def story(world: World) -> None:
        other = http_route()
        other["metadata"]["name"] = "mobile"
        rule = other["spec"]["rules"][1]
        other["spec"]["rules"] = [{**rule, "name": "ours"}, {**rule, "name": "theirs"}]
        routing = {"httpRoutes": [{"name": "web"}, {"name": "mobile", "rules": ["ours"]}]}
        world.apply(*gateway(), other)
        fields = {**BY_ROUTE, "trafficRouting": {"gatewayAPI": routing}}
        world.apply(rollout(canary({"setWeight": 30}, {"pause": {}}, **fields)))
        await world.phase("web", "Healthy")
        world.set_image("web", "web:v2")
        await world.phase("web", "Paused")
        mobile = world.get(HTTP_ROUTES, "mobile")["spec"]["rules"]
        assert weights(world) == [70, 30]
        assert [[one["weight"] for one in each["backendRefs"]] for each in mobile] == [[70, 30], [100, 0]]

    play(story)
