"""A Rollout that takes its pods from a Deployment, and takes the Deployment's place."""

from __future__ import annotations

import random  # noqa: TID251 - seeded
from typing import Any

import pytest
import yaml

from rollout.api.resources import DEPLOYMENTS, PODS, REPLICA_SETS
from rollout.api.rollout import HASH_LABEL
from rollout.runtime.kube import Object
from rollout.sandbox.workloads.podmodel import Behaviour
from tests.stories.faults import Faults, Kind, WatchKind
from tests.stories.objects import canary, rollout, service
from tests.stories.test_crash_points import KINDS
from tests.stories.world import NAMESPACE, ROOT, World, play


def deployment(*, name: str = "web", replicas: int = 5, image: str = "web:v1", **spec: Any) -> Object:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "web", "image": image}]},
            },
            **spec,
        },
    }


def referring(
    mode: str | None = None, *steps: Object, replicas: int | None = 5, kind: str = "Deployment", **fields: Any
) -> Object:
    obj = rollout(canary(*steps), **fields)
    spec = obj["spec"]
    del spec["template"], spec["selector"], spec["replicas"]
    if replicas is not None:
        spec["replicas"] = replicas
    spec["workloadRef"] = {"apiVersion": "apps/v1", "kind": kind, "name": "web"}
    if mode is not None:
        spec["workloadRef"]["scaleDown"] = mode
    return obj


def left(world: World) -> int:
    """The pods that the Deployment still asks for."""
    return int(world.get(DEPLOYMENTS, "web")["spec"]["replicas"])


def set_image(world: World, image: str) -> None:
    containers = [{"name": "web", "image": image}]
    world.patch(DEPLOYMENTS, "web", {"spec": {"template": {"spec": {"containers": containers}}}})


def ours(world: World) -> dict[str, int]:
    """Image -> wanted replicas, of the Rollout's own sets."""
    return {
        one["spec"]["template"]["spec"]["containers"][0]["image"]: one["spec"]["replicas"]
        for one in world.list(REPLICA_SETS)
        if HASH_LABEL in (one["metadata"].get("labels") or {})
    }


def available(world: World) -> int:
    """Available pods of the Rollout's serving revision."""
    sets = [one for one in world.list(REPLICA_SETS) if HASH_LABEL in (one["metadata"].get("labels") or {})]
    stable = world.status("web").get("stableRS")
    return sum(
        min(one["spec"]["replicas"], (one.get("status") or {}).get("availableReplicas", 0))
        for one in sets
        if not stable or one["metadata"]["labels"][HASH_LABEL] == stable
    )


def guard(world: World) -> list[int]:
    """Every count that the Deployment is given; each that is not a person's must leave the wanted capacity there."""
    counts: list[int] = []

    def check(*_: object) -> None:
        if not world.storage.exists(DEPLOYMENTS, NAMESPACE, "web"):
            return
        now = left(world)
        if counts and now < counts[-1] and not world.rules.by_hand:
            assert now + available(world) >= world.rollout("web")["spec"]["replicas"]
        if not counts or now != counts[-1]:
            counts.append(now)

    world.storage.on_write(check)
    return counts


def test_the_template_comes_from_the_deployment_and_is_never_written_into_the_rollout() -> None:
    async def story(world: World) -> None:
        world.apply(deployment(), referring())
        await world.phase("web", "Healthy")
        assert ours(world) == {"web:v1": 5}
        assert left(world) == 5
        spec, status = world.rollout("web")["spec"], world.status("web")
        assert "template" not in spec
        assert "selector" not in spec
        generation = str(world.get(DEPLOYMENTS, "web")["metadata"]["generation"])
        assert status["workloadObservedGeneration"] == generation
        annotations = world.rollout("web")["metadata"]["annotations"]
        assert annotations["rollout.argoproj.io/workload-generation"] == generation
        await world.rest(60)
        assert await world.rest(600) == 0

    play(story)


def generation(world: World) -> str:
    """The Deployment's, which counts changes of its annotations, too (so those that its controller makes)."""
    return str(world.get(DEPLOYMENTS, "web")["metadata"]["generation"])


def test_a_change_of_the_deployment_is_a_new_revision_and_a_change_of_its_size_is_none() -> None:
    async def story(world: World) -> None:
        world.apply(deployment(), referring(None, {"setWeight": 20}, {"pause": {}}))
        await world.phase("web", "Healthy")
        first = world.status("web")["stableRS"]
        set_image(world, "web:v2")
        await world.until("the canary waits", lambda: world.status("web")["phase"] == "Paused")
        assert ours(world) == {"web:v1": 4, "web:v2": 1}
        world.patch(DEPLOYMENTS, "web", {"spec": {"replicas": 3}})
        await world.rest(30)
        assert world.status("web")["phase"] == "Paused"
        assert world.status("web")["workloadObservedGeneration"] == generation(world)
        set_image(world, "web:v1")
        await world.phase("web", "Healthy")
        assert world.status("web")["stableRS"] == world.status("web")["currentPodHash"] == first

    play(story)


def test_a_missing_deployment_is_said_before_anything_starts_and_heals_by_itself() -> None:
    async def story(world: World) -> None:
        world.apply(referring("onsuccess"))
        await world.until("said", lambda: world.status("web").get("phase") == "Degraded")
        message = world.status("web")["message"]
        assert 'spec.workloadRef.name: Invalid value: "web": Deployment "prod/web" not found' in message
        assert world.list(REPLICA_SETS) == []
        world.apply(deployment())
        await world.phase("web", "Healthy")
        await world.until("replaced", lambda: left(world) == 0)
        assert ours(world) == {"web:v1": 5}

    play(story)


def test_a_deployment_that_cannot_be_used_is_said_with_its_field() -> None:
    async def story(world: World) -> None:
        bad = referring()
        bad["spec"]["selector"] = {"matchLabels": {"app": "other"}}
        world.apply(deployment(), bad)
        await world.until("said", lambda: world.status("web").get("phase") == "Degraded")
        message = world.status("web")["message"]
        assert 'Deployment "prod/web": spec.template.metadata.labels' in message
        assert ours(world) == {}

    play(story)


def test_on_success_the_deployment_goes_when_the_rollout_is_healthy() -> None:
    async def story(world: World) -> None:
        world.images["*"] = Behaviour(ready_in=5.0)
        world.apply(deployment())
        await world.rest(30)
        counts = guard(world)
        world.apply(referring("onsuccess"))
        await world.phase("web", "Healthy")
        await world.until("replaced", lambda: left(world) == 0)
        assert counts == [5, 0]
        assert "ScalingWorkload" in world.reasons()

    play(story)


def test_progressively_the_deployment_shrinks_as_pods_become_available() -> None:
    async def story(world: World) -> None:
        world.images["*"] = Behaviour(ready_in=5.0)
        world.apply(deployment())
        await world.rest(30)
        counts = guard(world)
        world.apply(referring("progressively"))
        await world.phase("web", "Healthy")
        await world.until("replaced", lambda: left(world) == 0)
        assert counts == sorted(counts, reverse=True)
        assert counts[-1] == 0

    play(story)


def test_pods_that_never_become_ready_leave_the_deployment_as_it_is() -> None:
    async def story(world: World) -> None:
        world.apply(deployment(image="web:bad"))
        await world.rest(30)
        world.images["web:bad"] = Behaviour(ready_in=None)
        world.apply(referring("progressively"))
        await world.until("given up", lambda: world.status("web").get("phase") == "Degraded", within=1200)
        await world.rest(600)
        assert left(world) == 5

    play(story)


def test_an_aborted_rollout_takes_nothing_from_the_deployment() -> None:
    async def story(world: World) -> None:
        world.apply(deployment(), referring("progressively", {"setWeight": 20}, {"pause": {}}))
        await world.until(
            "replaced", lambda: world.status("web").get("phase") == "Healthy" and left(world) == 0
        )
        set_image(world, "web:v2")
        await world.until("the canary waits", lambda: world.status("web")["phase"] == "Paused")
        world.command("web", {"abort": True})
        await world.until("aborted", lambda: world.status("web")["phase"] == "Degraded")
        world.patch(DEPLOYMENTS, "web", {"spec": {"replicas": 5}})
        await world.rest(600)
        assert left(world) == 5
        world.command("web", {"abort": False})
        await world.until("the canary waits", lambda: world.status("web")["phase"] == "Paused")
        assert left(world) == 1  # stable stands in for the others, and the last goes at the end
        world.promote("web", full=True)
        await world.until(
            "replaced", lambda: world.status("web").get("phase") == "Healthy" and left(world) == 0
        )

    play(story)


def test_an_abort_is_honoured_while_the_deployment_is_gone() -> None:
    async def story(world: World) -> None:
        world.apply(deployment(), referring("never", {"setWeight": 40}, {"pause": {}}))
        await world.phase("web", "Healthy")
        set_image(world, "web:v2")
        await world.until("the canary waits", lambda: world.status("web")["phase"] == "Paused")
        world.storage.delete(DEPLOYMENTS, NAMESPACE, "web")
        await world.until("said", lambda: world.status("web")["phase"] == "Degraded")
        assert ours(world) == {"web:v1": 3, "web:v2": 2}
        world.command("web", {"abort": True})
        await world.until("home", lambda: ours(world) == {"web:v1": 5, "web:v2": 0})

    play(story)


def test_a_rollout_without_a_size_takes_over_that_of_the_deployment() -> None:
    async def story(world: World) -> None:
        world.apply(deployment(replicas=7))
        await world.rest(30)
        world.apply(referring("progressively", replicas=None))
        await world.until(
            "replaced", lambda: world.status("web").get("phase") == "Healthy" and left(world) == 0
        )
        assert world.rollout("web")["spec"]["replicas"] == 7
        assert ours(world) == {"web:v1": 7}

    play(story)


def test_a_rollout_that_wants_no_pods_leaves_the_deployment_alone() -> None:
    async def story(world: World) -> None:
        world.apply(deployment(), referring("progressively", replicas=0))
        await world.rest(300)
        assert left(world) == 5

    play(story)


def test_blue_green_takes_over_from_a_deployment_before_its_service_moves() -> None:
    async def story(world: World) -> None:
        world.images["*"] = Behaviour(ready_in=5.0)
        world.apply(deployment(), service("web-active"))
        await world.rest(30)
        counts = guard(world)
        obj = referring("onsuccess")
        obj["spec"]["strategy"] = {"blueGreen": {"activeService": "web-active"}}
        world.apply(obj)
        await world.until(
            "replaced", lambda: world.status("web").get("phase") == "Healthy" and left(world) == 0
        )
        assert counts == [5, 0]

    play(story)


def test_a_replica_set_gives_its_template_too_and_is_looked_at_again() -> None:
    async def story(world: World) -> None:
        source = deployment(replicas=0)
        source |= {"kind": "ReplicaSet"}
        source["spec"]["template"]["metadata"]["labels"]["pod-template-hash"] = "abc"
        source["spec"]["selector"]["matchLabels"]["pod-template-hash"] = "abc"
        world.apply(source, referring(kind="ReplicaSet"))
        await world.phase("web", "Healthy")
        (made,) = [
            one for one in world.list(REPLICA_SETS) if HASH_LABEL in (one["metadata"].get("labels") or {})
        ]
        assert "pod-template-hash" not in made["spec"]["template"]["metadata"]["labels"]
        containers = [{"name": "web", "image": "web:v2"}]
        world.patch(REPLICA_SETS, "web", {"spec": {"template": {"spec": {"containers": containers}}}})
        await world.until("seen", lambda: ours(world) == {"web:v1": 0, "web:v2": 5})

    play(story)


def test_the_example_takes_over_and_releases() -> None:
    async def story(world: World) -> None:
        world.images["*"] = Behaviour(ready_in=2.0)
        documents = list(yaml.safe_load_all((ROOT / "examples/rollout-workloadref.yaml").read_text()))
        world.apply(*documents)

        def size() -> int:
            return int(world.get(DEPLOYMENTS, "catalogue", "shop")["spec"]["replicas"])

        await world.phase("catalogue", "Healthy", namespace="shop")
        await world.until("replaced", lambda: size() == 0)
        containers = documents[1]["spec"]["template"]["spec"]["containers"]
        template = {"spec": {"containers": [{**containers[0], "image": "catalogue:v2"}]}}
        world.patch(DEPLOYMENTS, "catalogue", {"spec": {"template": template}}, namespace="shop")
        first = world.status("catalogue", "shop")["stableRS"]
        await world.until("released", lambda: world.status("catalogue", "shop")["stableRS"] != first)
        await world.phase("catalogue", "Healthy", namespace="shop")
        assert size() == 0

    play(story)


async def migration(world: World) -> None:
    """A Deployment's place is taken progressively, then a release through its template."""
    world.images["*"] = Behaviour(ready_in=1.0)
    world.apply(deployment(replicas=3))
    await world.until("the Deployment is up", lambda: len(world.list(REPLICA_SETS)) == 1)
    await world.rest(10)
    guard(world)
    world.apply(referring("progressively", {"setWeight": 50}, {"pause": {"duration": 2}}, replicas=3))
    await world.until("replaced", lambda: world.status("web").get("phase") == "Healthy" and left(world) == 0)
    set_image(world, "web:v2")
    await world.until("released", lambda: ours(world) == {"web:v1": 0, "web:v2": 3})
    generation = str(world.get(DEPLOYMENTS, "web")["metadata"]["generation"])
    await world.until(
        "Healthy",
        lambda: (
            (world.status("web")["phase"], world.status("web")["workloadObservedGeneration"])
            == ("Healthy", generation)
        ),
    )
    assert left(world) == 0


@pytest.fixture(scope="module")
def writes() -> int:
    faults = Faults()
    play(migration, faults=faults)
    return faults.count


@pytest.mark.parametrize("kind", KINDS)
def test_a_migration_survives_every_fault_at_every_write(kind: Kind, writes: int) -> None:
    assert 10 < writes < 60
    for number in range(1, writes + 1):
        faults = Faults({number: kind})
        play(migration, faults=faults, seed=number)
        assert faults.count >= number


def test_a_rollout_that_goes_over_to_a_reference_keeps_its_pods() -> None:
    async def story(world: World) -> None:
        world.apply(rollout(canary({"setWeight": 20}, {"pause": {}})))
        await world.phase("web", "Healthy")
        before = [one["metadata"]["uid"] for one in world.list(PODS)]
        world.apply(deployment(replicas=0))
        ref = {"kind": "Deployment", "name": "web", "scaleDown": "onsuccess"}
        world.edit("web", {"template": None, "workloadRef": ref})
        await world.phase("web", "Healthy")
        await world.rest(60)
        assert [one["metadata"]["uid"] for one in world.list(PODS)] == before
        assert len(ours(world)) == 1
        assert world.status("web")["workloadObservedGeneration"] == generation(world)

    play(story)


async def random_migration(world: World, dice: random.Random) -> None:
    """Releases, sizes, aborts and the Deployment's absence in any order; then everything is left to settle."""
    world.images["*"] = Behaviour(ready_in=dice.choice([0.5, 2.0, 8.0]))
    world.images["web:bad"] = Behaviour(ready_in=None)
    source = deployment(replicas=dice.randint(1, 6))
    world.apply(source)
    await world.rest(dice.choice([0, 1, 20]))
    guard(world)
    mode = dice.choice(["onsuccess", "progressively"])
    steps = [{"setWeight": dice.choice([20, 50])}, {"pause": {"duration": dice.randint(1, 5)}}]
    world.apply(referring(mode, *steps, replicas=dice.randint(1, 6), progressDeadlineSeconds=60))
    for _ in range(dice.randint(2, 8)):
        await world.rest(dice.choice([0.1, 1.0, 5.0, 30.0]))
        there = world.storage.exists(DEPLOYMENTS, NAMESPACE, "web")
        match dice.choice(["image", "image", "size", "scale", "abort", "retry", "gone", "pause", "crash"]):
            case "image" if there:
                set_image(world, dice.choice(["web:v1", "web:v2", "web:v3", "web:bad"]))
            case "size" if there:
                world.rules.by_hand = True
                world.patch(DEPLOYMENTS, "web", {"spec": {"replicas": dice.randint(0, 6)}})
                world.rules.by_hand = False
            case "scale":
                world.edit("web", {"replicas": dice.randint(1, 6)})
            case "abort":
                world.command("web", {"abort": True})
            case "retry":
                world.command("web", {"abort": False})
            case "gone" if there:
                world.storage.delete(DEPLOYMENTS, NAMESPACE, "web")
            case "gone":
                world.rules.by_hand = True
                world.apply(source)
                world.rules.by_hand = False
            case "pause":
                world.edit("web", {"paused": not world.rollout("web")["spec"].get("paused")})
            case "crash":
                world.crash()
    await world.rest(30)
    world.faults.stop()
    if not world.storage.exists(DEPLOYMENTS, NAMESPACE, "web"):
        world.rules.by_hand = True
        world.apply(source)
        world.rules.by_hand = False
    set_image(world, "web:end")
    world.edit("web", {"paused": False})
    await world.until("seen", lambda: "web:end" in ours(world))
    if world.status("web").get("abort"):
        world.command("web", {"abort": False})
    wanted = world.rollout("web")["spec"]["replicas"]
    await world.until(
        "the end",
        lambda: (
            world.status("web")["phase"] == "Healthy"
            and left(world) == 0
            and {image: size for image, size in ours(world).items() if size} == {"web:end": wanted}
        ),
        within=3600,
    )


@pytest.mark.parametrize("seed", range(16))
def test_whatever_happens_on_the_way_capacity_comes_first_and_the_end_is_the_same(seed: int) -> None:
    dice = random.Random(seed)
    planned: dict[int, Kind] = {dice.randint(1, 40): dice.choice(KINDS) for _ in range(dice.randint(0, 4))}
    play(lambda world: random_migration(world, dice), faults=Faults(planned), seed=seed)


@pytest.mark.parametrize("kind", ["drop", "gone", "end", "delay"])
def test_a_migration_survives_watches_that_fail(kind: WatchKind) -> None:
    clean = Faults()
    play(migration, faults=clean)
    for number in range(1, clean.events + 1, 9):
        play(migration, faults=Faults(watch={number: kind}), seed=number)
