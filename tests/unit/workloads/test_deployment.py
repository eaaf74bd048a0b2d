from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.api.resources import DEPLOYMENTS, EVENTS, PODS, REPLICA_SETS
from rollout.sandbox.workloads import deployment
from rollout.sandbox.workloads.podmodel import Behaviour
from rollout.sandbox.workloads.templates import same_template, template_hash

from .builders import replica_set
from .world import World, play, template


def a_deployment(replicas: int = 4, image: str = "web:v1", **spec: Any) -> dict[str, Any]:
    body = template()
    body["spec"]["containers"][0]["image"] = image
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "default", "annotations": {"team": "a"}},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": body, **spec},
    }


async def set_image(world: World, image: str) -> None:
    containers = [{"name": "web", "image": image}]
    await world.kube.patch(
        DEPLOYMENTS,
        "default",
        "web",
        {"spec": {"template": {"spec": {"containers": containers}}}},
        type="strategic",
    )


def live(world: World) -> dict[str, Any]:
    return world.storage.get(DEPLOYMENTS, "default", "web")


def condition(world: World, type: str) -> dict[str, Any]:
    return next(c for c in live(world)["status"]["conditions"] if c["type"] == type)


def sizes(world: World) -> dict[str, int]:
    """Replicas asked for, by image."""
    return {
        item["spec"]["template"]["spec"]["containers"][0]["image"]: item["spec"]["replicas"]
        for item in world.storage.list(REPLICA_SETS, "default").items
    }


def ready(world: World) -> int:
    return sum(
        any(c["type"] == "Ready" and c["status"] == "True" for c in p["status"].get("conditions") or ())
        and not p["metadata"].get("deletionTimestamp")
        for p in world.pods()
    )


@pytest.mark.parametrize("seed", range(3))
def test_a_rolling_update_ends_on_the_new_version_and_never_leaves_its_limits(seed: int) -> None:
    async def story(world: World) -> None:
        await world.kube.create(DEPLOYMENTS, "default", a_deployment())
        await world.clock.sleep(10)
        assert ready(world) == 4
        seen = []

        def watch(*_: Any) -> None:
            alive = [p for p in world.pods() if not p["metadata"].get("deletionTimestamp")]
            seen.append((len(alive), ready(world)))

        world.storage.on_write(watch)
        await set_image(world, "web:v2")
        await world.clock.sleep(60)
        assert sizes(world) == {"web:v1": 0, "web:v2": 4}
        assert max(alive for alive, _ in seen) <= 5
        assert min(able for _, able in seen) >= 3
        status = live(world)["status"]
        assert (status["updatedReplicas"], status["availableReplicas"], status["replicas"]) == (4, 4, 4)
        assert condition(world, "Progressing")["reason"] == "NewReplicaSetAvailable"
        assert condition(world, "Available")["status"] == "True"
        assert live(world)["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "2"

    play(story, seed=seed)


def test_the_first_replica_set_carries_hash_revision_and_the_deployments_annotations() -> None:
    async def story(world: World) -> None:
        await world.kube.create(DEPLOYMENTS, "default", a_deployment())
        await world.clock.sleep(5)
        [item] = world.storage.list(REPLICA_SETS, "default").items
        hash = item["metadata"]["labels"]["pod-template-hash"]
        assert item["metadata"]["name"] == f"web-{hash}"
        assert item["spec"]["selector"]["matchLabels"] == {"app": "web", "pod-template-hash": hash}
        assert item["metadata"]["annotations"] == {
            "team": "a",
            "deployment.kubernetes.io/revision": "1",
            "deployment.kubernetes.io/desired-replicas": "4",
            "deployment.kubernetes.io/max-replicas": "5",
        }
        assert all(p["metadata"]["labels"]["pod-template-hash"] == hash for p in world.pods())
        messages = [e["message"] for e in world.storage.list(EVENTS, "default").items]
        assert f"Scaled up replica set web-{hash} from 0 to 4" in messages

    play(story)


def test_going_back_reuses_the_old_replica_set_with_a_new_revision() -> None:
    async def story(world: World) -> None:
        await world.kube.create(DEPLOYMENTS, "default", a_deployment())
        await world.clock.sleep(30)
        await set_image(world, "web:v2")
        await world.clock.sleep(60)
        await set_image(world, "web:v1")
        await world.clock.sleep(60)
        assert sizes(world) == {"web:v1": 4, "web:v2": 0}
        annotations = {
            item["spec"]["template"]["spec"]["containers"][0]["image"]: item["metadata"]["annotations"]
            for item in world.storage.list(REPLICA_SETS, "default").items
        }
        assert annotations["web:v1"]["deployment.kubernetes.io/revision"] == "3"
        assert annotations["web:v1"]["deployment.kubernetes.io/revision-history"] == "1"

    play(story)


def test_recreate_ends_all_old_pods_before_the_first_new_one() -> None:
    async def story(world: World) -> None:
        await world.kube.create(DEPLOYMENTS, "default", a_deployment(strategy={"type": "Recreate"}))
        await world.clock.sleep(10)
        mixed = []

        def watch(*_: Any) -> None:
            images = {p["spec"]["containers"][0]["image"] for p in world.pods()}
            mixed.append(len(images) > 1)

        world.storage.on_write(watch)
        await set_image(world, "web:v2")
        await world.clock.sleep(30)
        assert sizes(world) == {"web:v1": 0, "web:v2": 4}
        assert ready(world) == 4
        assert not any(mixed)

    play(story)


def test_a_version_that_never_gets_ready_stops_and_the_deadline_is_told() -> None:
    def behaviour(pod: Any) -> Behaviour:
        bad = pod["spec"]["containers"][0]["image"] == "web:bad"
        return Behaviour(ready_in=None if bad else 1)

    async def story(world: World) -> None:
        await world.kube.create(DEPLOYMENTS, "default", a_deployment(progressDeadlineSeconds=60))
        await world.clock.sleep(10)
        await set_image(world, "web:bad")
        await world.clock.sleep(50)
        assert condition(world, "Progressing")["status"] == "True"
        await world.clock.sleep(20)
        assert condition(world, "Progressing")["reason"] == "ProgressDeadlineExceeded"
        assert condition(world, "Progressing")["status"] == "False"
        assert sizes(world) == {"web:v1": 3, "web:bad": 2}
        assert ready(world) == 3
        await set_image(world, "web:v1")
        await world.clock.sleep(20)
        assert sizes(world) == {"web:v1": 4, "web:bad": 0}
        assert condition(world, "Progressing")["reason"] == "NewReplicaSetAvailable"

    play(story, behaviour)


def test_a_paused_deployment_holds_its_template_and_still_scales() -> None:
    async def story(world: World) -> None:
        await world.kube.create(DEPLOYMENTS, "default", a_deployment())
        await world.clock.sleep(10)
        await world.kube.patch(DEPLOYMENTS, "default", "web", {"spec": {"paused": True}})
        await set_image(world, "web:v2")
        await world.kube.patch(DEPLOYMENTS, "default", "web", {"spec": {"replicas": 6}})
        await world.clock.sleep(10)
        assert sizes(world) == {"web:v1": 6}
        assert condition(world, "Progressing")["reason"] == "DeploymentPaused"
        await world.kube.patch(DEPLOYMENTS, "default", "web", {"spec": {"paused": False}})
        await world.clock.sleep(60)
        assert sizes(world) == {"web:v1": 0, "web:v2": 6}

    play(story)


def test_old_replica_sets_beyond_the_history_limit_are_deleted() -> None:
    async def story(world: World) -> None:
        await world.kube.create(DEPLOYMENTS, "default", a_deployment(1, revisionHistoryLimit=1))
        for version in (2, 3, 4):
            await world.clock.sleep(30)
            await set_image(world, f"web:v{version}")
        await world.clock.sleep(30)
        assert sizes(world) == {"web:v3": 0, "web:v4": 1}

    play(story)


def test_scaling_in_the_middle_of_an_update_keeps_the_proportions() -> None:
    def behaviour(pod: Any) -> Behaviour:
        return Behaviour(ready_in=None if pod["spec"]["containers"][0]["image"] == "web:bad" else 0)

    async def story(world: World) -> None:
        rolling = {"rollingUpdate": {"maxSurge": 3, "maxUnavailable": 2}}
        await world.kube.create(DEPLOYMENTS, "default", a_deployment(10, strategy=rolling))
        await world.clock.sleep(5)
        await set_image(world, "web:bad")
        await world.clock.sleep(5)
        assert sizes(world) == {"web:v1": 8, "web:bad": 5}
        await world.kube.patch(DEPLOYMENTS, "default", "web", {"spec": {"replicas": 15}})
        await world.clock.sleep(5)
        # The worked example of the Kubernetes documentation ("Proportional scaling").
        assert sizes(world) == {"web:v1": 11, "web:bad": 7}

    play(story, behaviour)


def test_a_name_taken_by_somebody_else_is_gone_around() -> None:
    async def story(world: World) -> None:
        body = a_deployment(1)
        created = await world.kube.create(
            DEPLOYMENTS, "default", {**body, "spec": {**body["spec"], "paused": True}}
        )
        name = f"web-{template_hash(created['spec']['template'])}"
        taken = replica_set(0, name=name, selector={"matchLabels": {"app": "x"}})
        taken["metadata"] = {"name": name, "namespace": "default"}
        taken["spec"]["template"]["metadata"]["labels"] = {"app": "x"}
        await world.kube.create(REPLICA_SETS, "default", taken)
        await world.kube.patch(DEPLOYMENTS, "default", "web", {"spec": {"paused": False}})
        await world.clock.sleep(20)
        assert live(world)["status"]["collisionCount"] == 1
        assert live(world)["status"]["availableReplicas"] == 1

    play(story)


def test_deleting_a_deployment_takes_its_replica_sets_and_pods_along() -> None:
    async def story(world: World) -> None:
        await world.kube.create(DEPLOYMENTS, "default", a_deployment())
        await world.clock.sleep(10)
        await world.kube.delete(DEPLOYMENTS, "default", "web")
        await world.clock.sleep(60)
        assert world.names(REPLICA_SETS) == []
        assert world.names(PODS) == []

    play(story)


def test_the_hash_label_does_not_count_when_templates_are_compared() -> None:
    labelled = template(**{"pod-template-hash": "abc"})
    assert same_template(labelled, template())
    assert template_hash(labelled) == template_hash(template()) != template_hash(template(), 1)
    assert not same_template(template(a="b"), template())


@given(
    replicas=st.integers(0, 20),
    surge=st.one_of(st.integers(0, 5), st.just("25%"), st.just("0%")),
    unavailable=st.one_of(st.integers(0, 5), st.just("25%"), st.just("0%")),
    new=st.tuples(st.integers(0, 25), st.integers(0, 25)),
    olds=st.lists(st.tuples(st.integers(0, 25), st.integers(0, 25)), max_size=3),
)
def test_no_decision_goes_above_the_surge_or_below_the_availability(
    replicas: int, surge: Any, unavailable: Any, new: tuple[int, int], olds: list[tuple[int, int]]
) -> None:
    def item(index: int, size: int, available: int) -> dict[str, Any]:
        return {
            "metadata": {"name": f"rs{index}", "uid": str(index)},
            "spec": {"replicas": size},
            "status": {"availableReplicas": min(size, available)},
        }

    strategy = {"rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}
    bounds = deployment.limits({"spec": {"replicas": replicas, "strategy": strategy}})
    old = [item(i, *pair) for i, pair in enumerate(olds)]
    sets = deployment.Sets(item(99, *new), old, {})
    before = sets.total()
    available = sum(o["status"]["availableReplicas"] for o in sets.all)
    deployment._roll(sets, bounds)
    assert sets.total() <= max(before, bounds.replicas + bounds.surge)
    lost = sum(max(0, o["status"]["availableReplicas"] - sets.size(o)) for o in old)
    if new[0] <= replicas:
        assert available - lost >= min(available, bounds.minimum)
    assert all(sets.size(o) >= 0 for o in sets.all)
