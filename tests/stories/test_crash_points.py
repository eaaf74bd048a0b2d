"""Every write of a whole release, killed before it, after it, or answered badly: it goes on to the same end.

The release is first run without faults to count its writes; then once for every write and kind of fault. The
invariants hold after every write of every run (reliability.md 8.3, F1, F3, F4).
"""

from __future__ import annotations

import pytest

from rollout.api.resources import VIRTUAL_SERVICES
from rollout.sandbox.workloads.podmodel import Behaviour
from tests.stories.faults import Faults, Kind
from tests.stories.objects import (
    HTTP_ROUTE,
    ISTIO_SUBSETS,
    analysis,
    canary,
    gateway,
    mesh,
    rollout,
    service,
    template,
)
from tests.stories.world import NAMESPACE, Key, World, play

KINDS: tuple[Kind, ...] = (
    "crash-before",
    "crash-after",
    "conflict",
    "lost-reply",
    "unavailable",
    "throttled",
)


async def istio_canary(world: World) -> None:
    """v1, then v2 through two weights, a pause and an analysis, to its end."""
    world.images["*"] = Behaviour(ready_in=1.0)
    world.apply(*mesh())
    steps = ({"setWeight": 20}, {"pause": {"duration": 3}}, {"analysis": analysis()}, {"setWeight": 60})
    world.apply(
        rollout(
            canary(
                *steps,
                trafficRouting=ISTIO_SUBSETS,
                scaleDownDelaySeconds=5,
                analysis=analysis(startingStep=1),
            )
        )
    )
    await world.phase("web", "Healthy")
    world.set_image("web", "web:v2")
    await world.phase("web", "Healthy")
    await world.until("v1 gone", lambda: world.sets() == {"web:v1": 0, "web:v2": 5}, within=120)
    assert "web:v2" in world.sets()
    phases = set(world.runs().values())
    assert phases == {"Successful"}
    assert len(world.runs()) == 2


async def aborted_canary(world: World) -> None:
    """v1, then v2 that its analysis refuses: traffic home, canary gone; then a retry that passes."""
    world.apply(*mesh())
    world.apply(
        rollout(
            canary(
                {"setWeight": 40},
                {"analysis": analysis()},
                trafficRouting=ISTIO_SUBSETS,
                abortScaleDownDelaySeconds=4,
            )
        )
    )
    await world.phase("web", "Healthy")
    world.judge.verdicts["web-"] = "Failed"
    world.set_image("web", "web:v2")
    await world.phase("web", "Degraded")
    await world.until("v2 gone", lambda: world.sets() == {"web:v1": 5, "web:v2": 0}, within=120)
    routes = world.get(VIRTUAL_SERVICES, "web-vs")["spec"]["http"][0]["route"]
    assert [route["weight"] for route in routes] == [100, 0]
    world.judge.verdicts.clear()
    world.command("web", {"abort": False})
    await world.phase("web", "Healthy")
    assert sorted(world.runs().values()) == ["Failed", "Successful"]


async def blue_green(world: World) -> None:
    """v1, then v2 through both analyses and a person's word."""
    world.images["*"] = Behaviour(ready_in=1.0)
    world.apply(service("web-active"), service("web-preview"), template())
    strategy = {
        "blueGreen": {
            "activeService": "web-active",
            "previewService": "web-preview",
            "autoPromotionEnabled": False,
            "scaleDownDelaySeconds": 5,
            "prePromotionAnalysis": analysis(),
            "postPromotionAnalysis": analysis(),
        }
    }
    world.apply(rollout(strategy, replicas=3))
    await world.phase("web", "Healthy")
    world.set_image("web", "web:v2")
    await world.phase("web", "Paused")
    world.command("web", {"pauseConditions": None})
    await world.phase("web", "Healthy")
    await world.until("v1 gone", lambda: world.sets() == {"web:v1": 0, "web:v2": 3}, within=120)
    assert sorted(world.runs().values()) == ["Successful", "Successful"]


async def shares(world: World) -> None:
    """v1, then v2 by pod numbers."""
    world.images["*"] = Behaviour(ready_in=1.0)
    world.apply(rollout(canary({"setWeight": 40}, {"pause": {"duration": 3}})))
    await world.phase("web", "Healthy")
    world.set_image("web", "web:v2")
    await world.phase("web", "Healthy")
    assert world.sets() == {"web:v1": 0, "web:v2": 5}


async def gateway_canary(world: World) -> None:
    """v1, then v2 through a weight of an HTTPRoute and a pause; then v3 that its analysis refuses."""
    world.images["*"] = Behaviour(ready_in=1.0)
    world.apply(*gateway())
    fields = {"canaryService": "web-canary", "stableService": "web-stable", "trafficRouting": HTTP_ROUTE}
    delays = {"scaleDownDelaySeconds": 5, "abortScaleDownDelaySeconds": 4}
    steps = ({"setWeight": 20}, {"pause": {"duration": 3}}, {"analysis": analysis()})
    world.apply(rollout(canary(*steps, **fields, **delays), replicas=3))
    await world.phase("web", "Healthy")
    world.set_image("web", "web:v2")
    await world.phase("web", "Healthy")
    await world.until("v1 gone", lambda: world.sets() == {"web:v1": 0, "web:v2": 3}, within=120)
    world.judge.verdicts["web-"] = "Failed"
    world.set_image("web", "web:v3")
    await world.phase("web", "Degraded")
    gone = {"web:v1": 0, "web:v2": 3, "web:v3": 0}
    await world.until("v3 gone", lambda: world.sets() == gone, within=120)
    backends = world.gateway.served[Key(NAMESPACE, "web")]["rules"][1]["backendRefs"]
    assert [one["weight"] for one in backends] == [100, 0]


RELEASES = (istio_canary, aborted_canary, blue_green, shares, gateway_canary)


def survives(release, kind: Kind, *, every: int) -> None:
    """Play the release once for every `every`-th write, with the fault at that write."""
    calm = Faults()
    play(release, faults=calm)
    assert calm.count > 10
    for write in range(1 + calm.count % every, calm.count + 1, every):
        try:
            world = play(release, faults=Faults({write: kind}), seed=write)
        except BaseException as error:
            error.add_note(f"{release.__name__}: {kind} at write {write} of {calm.count}, seed {write}")
            raise
        if kind.startswith("crash") and write <= calm.count // 2:
            assert world.crashes == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("release", RELEASES, ids=lambda one: one.__name__)
def test_a_fault_at_some_writes_changes_nothing_but_the_time(release, kind: Kind) -> None:
    survives(release, kind, every=6)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("release", RELEASES, ids=lambda one: one.__name__)
def test_a_fault_at_any_write_changes_nothing_but_the_time(release, kind: Kind) -> None:
    survives(release, kind, every=1)
