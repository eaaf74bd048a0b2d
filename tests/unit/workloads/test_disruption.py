from __future__ import annotations

from typing import Any

import pytest

from rollout.api.resources import DEPLOYMENTS, PDBS, PODS
from rollout.errors import Throttled
from rollout.sandbox.workloads import disruption
from rollout.sandbox.workloads.decision import Patch
from rollout.sandbox.workloads.podmodel import Behaviour

from .builders import NOW, ago, pod
from .test_deployment import a_deployment
from .world import World, play


def budget(status: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "web", "namespace": "shop", "uid": "u", "generation": 3, "resourceVersion": "8"},
        "spec": {"selector": {"matchLabels": {"app": "web"}}, **spec},
        "status": status or {},
    }


def status(body: dict[str, Any], pods: list[dict[str, Any]], scale: int) -> Any:
    [action] = disruption.decide(body, pods, {"rs": scale}, NOW).actions
    assert isinstance(action, Patch)
    assert action.patch["metadata"] == {"resourceVersion": "8"}
    return action.patch["status"]


@pytest.mark.parametrize(
    ("spec", "healthy", "scale", "expected", "desired", "allowed"),
    [
        ({"minAvailable": 2}, 4, 4, 4, 2, 2),
        ({"minAvailable": 5}, 4, 4, 4, 5, 0),
        ({"minAvailable": "50%"}, 4, 5, 5, 3, 1),
        ({"maxUnavailable": 1}, 4, 4, 4, 3, 1),
        ({"maxUnavailable": 1}, 3, 4, 4, 3, 0),
        ({"maxUnavailable": "30%"}, 10, 10, 10, 7, 3),
        ({"maxUnavailable": "25%"}, 3, 3, 3, 2, 1),
        ({"minAvailable": 0}, 0, 0, 0, 0, 0),
    ],
)
def test_allowed_disruptions_are_what_health_exceeds_the_budget(
    spec: dict[str, Any], healthy: int, scale: int, expected: int, desired: int, allowed: int
) -> None:
    got = status(budget(**spec), [pod(f"p{i}") for i in range(healthy)], scale)
    assert (got["expectedPods"], got["desiredHealthy"], got["disruptionsAllowed"]) == (
        expected,
        desired,
        allowed,
    )
    assert got["conditions"][0]["status"] == str(allowed > 0)
    assert got["observedGeneration"] == 3


def test_unready_terminating_and_just_evicted_pods_are_not_healthy() -> None:
    pods = [pod("a"), pod("b", ready=False), pod("c", deleting=True), pod("d"), pod("e", phase="Failed")]
    noted = {"disruptedPods": {"d": ago(10), "gone": ago(10), "old": ago(500)}}
    got = status(budget(noted, minAvailable=1), [*pods, pod("old")], 5)
    assert got["currentHealthy"] == 2
    assert got["disruptedPods"] == {"gone": None, "old": None}


def test_evictions_beyond_the_budget_are_refused_until_pods_are_back() -> None:
    async def story(world: World) -> None:
        await world.kube.create(DEPLOYMENTS, "default", a_deployment(3))
        selector = {"matchLabels": {"app": "web"}}
        await world.kube.create(
            PDBS,
            "default",
            {"metadata": {"name": "web"}, "spec": {"maxUnavailable": 1, "selector": selector}},
        )
        await world.clock.sleep(10)
        first, second = world.names(PODS)[:2]
        await world.kube.evict("default", first)
        with pytest.raises(Throttled):
            await world.kube.evict("default", second)
        await world.clock.sleep(2)
        with pytest.raises(Throttled):
            await world.kube.evict("default", second)
        await world.clock.sleep(10)
        await world.kube.evict("default", second)

    play(story, Behaviour(ready_in=4, stops_in=1))
