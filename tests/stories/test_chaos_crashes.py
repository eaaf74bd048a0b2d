"""Every write of a chaos run, killed before it, after it, or answered badly: whatever was begun is undone, and every
invariant holds after every write (reliability.md 8.2 I10-I13).

The run is first played without faults to count the writes; then once for every write and kind of fault. A fault may
change the verdict (what was not measured is an Error) but never what is left behind.
"""

from __future__ import annotations

import pytest

from rollout.api.chaos import FINALIZER
from rollout.api.resources import ANALYSIS_RUNS, CHAOS_RUNS, ENVOY_FILTERS, PODS
from rollout.sandbox.workloads.podmodel import Behaviour
from tests.stories.chaos_mesh import Mesh, gatherer
from tests.stories.chaos_objects import DEPLOYMENT, chaos_run, deployment, kill, opted_in, probe
from tests.stories.faults import Faults, Kind
from tests.stories.world import NAMESPACE, World, play

KINDS: tuple[Kind, ...] = (
    "crash-before",
    "crash-after",
    "conflict",
    "lost-reply",
    "unavailable",
    "throttled",
)
PROBES = [probe("up", "Edge", attempts=3), probe("errors", "During", interval="1s", tolerance={"ratio": 0.5})]


def whole(world: World, replicas: int) -> bool:
    pods = [one for one in world.list(PODS) if not one["metadata"].get("deletionTimestamp")]
    ready = [
        one
        for one in pods
        if any(
            c["type"] == "Ready" and c["status"] == "True"
            for c in one.get("status", {}).get("conditions") or ()
        )
    ]
    return len(ready) == replicas == len(pods)


async def ended(world: World, verdicts: set[str]) -> None:
    """The run comes to its end, and everything is as it was."""

    def holds() -> bool:
        run = world.get(CHAOS_RUNS, "run")
        over = (run.get("status") or {}).get("phase") == "Completed"
        return over and FINALIZER not in (run["metadata"].get("finalizers") or ())

    await world.until("completed and let go", holds, within=300)
    world.faults.stop()
    await world.until("the workload is whole", lambda: whole(world, 4), within=120)
    await world.clock.sleep(35)  # the reaper has been there
    world.chaos_rules.assert_clean()
    running = [one for one in world.list(ANALYSIS_RUNS) if one["status"].get("phase") == "Running"]
    assert running == []
    verdict = world.get(CHAOS_RUNS, "run")["status"]["verdict"]
    assert verdict in verdicts, world.describe()


async def staged(world: World) -> None:
    world.images["*"] = Behaviour(ready_in=1.0)
    world.apply(opted_in(), deployment(replicas=4))
    await world.until("ready", lambda: whole(world, 4))


async def pod_delete(world: World) -> None:
    """Two rounds of evictions between probes."""
    await staged(world)
    target = {**DEPLOYMENT, "retarget": "Replaced"}
    world.apply(chaos_run(kill(interval="6s"), duration="12s", target=target, probes=PROBES))
    # Whoever could not measure, or lost the answer to an eviction, may say Error; never more than it knows.
    await ended(world, {"Successful", "Error", "Inconclusive"})


async def aborted(world: World) -> None:
    """Somebody's word in the middle of a round."""
    await staged(world)
    world.apply(
        chaos_run(kill(sequence="serial"), target={**DEPLOYMENT, "count": 2}, duration="30s", probes=PROBES)
    )
    await world.until(
        "a pod is harmed, or it is over",
        lambda: (
            bool(world.chaos_rules.harmed)
            or (world.get(CHAOS_RUNS, "run").get("status") or {}).get("phase") == "Completed"
        ),
    )
    world.patch(CHAOS_RUNS, "run", {"spec": {"abort": True}})
    await ended(world, {"Inconclusive", "Error"})


async def deleted(world: World) -> None:
    """The run itself is deleted while a fault of the mesh is at work."""
    await staged(world)
    Mesh(world).start()
    world.apply(mesh_run())
    await world.until(
        "an EnvoyFilter is there, or it is over",
        lambda: (
            bool(world.list(ENVOY_FILTERS))
            or (world.get(CHAOS_RUNS, "run").get("status") or {}).get("phase") == "Completed"
        ),
    )
    world.storage.delete(CHAOS_RUNS, NAMESPACE, "run")
    await world.until("gone", lambda: not world.list(CHAOS_RUNS), within=120)
    world.faults.stop()
    await world.clock.sleep(35)
    world.chaos_rules.assert_clean()
    await world.until("no AnalysisRun is left", lambda: not world.list(ANALYSIS_RUNS), within=10)


def mesh_run():
    slow = {"name": "slow", "httpLatency": {"delay": "300ms"}}
    return chaos_run(
        slow, target={**DEPLOYMENT, "percent": 100}, limits={"maxPercent": 100}, duration="12s", probes=PROBES
    )


async def latency(world: World) -> None:
    """A fault that leaves something in the cluster, with its lease, and is proved by counters."""
    await staged(world)
    Mesh(world).start()
    world.apply(mesh_run())
    await ended(world, {"Successful", "Error"})
    assert world.list(ENVOY_FILTERS) == []


STORIES = (pod_delete, aborted, deleted, latency)


def chaos(story, **more):
    return play(story, answer=lambda _: [1.0], chaos=True, gatherer=gatherer, **more)


def survives(story, kind: Kind, *, every: int) -> None:
    calm = Faults()
    chaos(story, faults=calm)
    assert calm.count > 10
    for write in range(1 + calm.count % every, calm.count + 1, every):
        try:
            chaos(story, faults=Faults({write: kind}), seed=write)
        except BaseException as error:
            error.add_note(f"{story.__name__}: {kind} at write {write} of {calm.count}, seed {write}")
            raise


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("story", STORIES, ids=lambda one: one.__name__)
def test_a_fault_at_some_writes_leaves_nothing_behind(story, kind: Kind) -> None:
    survives(story, kind, every=17)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("story", STORIES, ids=lambda one: one.__name__)
def test_a_fault_at_any_write_leaves_nothing_behind(story, kind: Kind) -> None:
    survives(story, kind, every=1)
