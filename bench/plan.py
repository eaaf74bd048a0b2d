"""What one decision costs: `plan` as a whole, and stage by stage, for a 10-step canary with 3 ReplicaSets.

The snapshot is no invention: a release is played on the in-memory storage (as the stories do) up to its pause at
20 %, and observed there as the controller does. "at rest" plans that; "a step" plans what follows the promotion.
"""

from __future__ import annotations

import asyncio
import gc
import statistics
import time
from collections.abc import Callable
from typing import Any

import msgspec

from bench.figures import Figure, median, progress
from rollout.api import codec
from rollout.api.meta import Key
from rollout.api.resources import ROLLOUTS
from rollout.api.rollout import Rollout
from rollout.controller.caches import Caches
from rollout.core.observed import Observed
from rollout.core.validate import validate
from rollout.plan import canary, lifecycle, references
from rollout.plan.diff import diff
from rollout.plan.plan import plan
from rollout.plan.safety import check
from rollout.plan.status import finish
from rollout.runtime.informer import wait_synced
from tests.stories import objects
from tests.stories.world import NAMESPACE, World, play

GOAL_MICROSECONDS = 300
BATCH = 20
PAUSE: dict[str, Any] = {"pause": {}}
STEPS: list[dict[str, Any]] = [
    step for weight in (20, 40, 60, 80, 90) for step in ({"setWeight": weight}, PAUSE)
]


def measure(*, batches: int = 100) -> list[Figure]:
    """Microseconds of one `plan`, and of its stages."""
    progress("plan: playing a release up to its pause")
    seen = snapshot()
    moving = promoted(seen)
    assert len(seen.replica_sets) == 3
    assert not plan(seen).actions
    assert plan(moving).actions
    gc.collect()
    gc.freeze()
    progress("plan: measuring")
    raw: Any = seen.raw
    figures = [
        timed("plan, at rest in a pause", lambda: plan(fresh(seen)), batches, goal=GOAL_MICROSECONDS),
        timed("plan, a step forward", lambda: plan(fresh(moving)), batches, goal=GOAL_MICROSECONDS),
        *stages(moving, batches),
        timed("beside it: validate (once per generation)", lambda: validate(raw), batches),
        timed("beside it: decoding the Rollout", lambda: codec.view(raw, Rollout), batches),
        timed("beside it: the status patch", lambda: status_patch(moving), batches),
    ]
    gc.unfreeze()
    return figures


def snapshot() -> Observed:
    """The third release of a Rollout, at 20 %."""
    found: list[Observed] = []

    async def story(world: World) -> None:
        strategy = objects.canary(*STEPS, trafficRouting=objects.ISTIO_SUBSETS)
        world.apply(*objects.mesh(), objects.rollout(strategy))
        await world.phase("web", "Healthy")
        world.set_image("web", "web:v2")
        await world.phase("web", "Paused")
        world.set_image("web", "web:v3")
        await world.until("v3 waits", lambda: len(world.sets()) == 3 and at_first_pause(world))
        found.append(await observe(world))

    play(story)
    return found[0]


def at_first_pause(world: World) -> bool:
    status = world.status("web")
    return status.get("phase") == "Paused" and status.get("currentStepIndex") == 1


async def observe(world: World) -> Observed:
    """What the controller would see now."""
    caches = Caches(world.kube, world.clock)
    following = asyncio.create_task(caches.run())
    await wait_synced(*caches.needed)
    raw = caches.get(ROLLOUTS, Key(NAMESPACE, "web"))
    assert raw is not None
    seen = await caches.observe(raw, codec.view(raw, Rollout), world.clock.now())
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    return seen


def promoted(seen: Observed) -> Observed:
    """The same after `rollout promote`: the pause is over, the next step begins."""
    replace = msgspec.structs.replace
    status = replace(seen.rollout.status, pause_conditions=())
    return replace(seen, rollout=replace(seen.rollout, status=status))


def fresh(seen: Observed) -> Observed:
    """A snapshot that nobody has looked at yet: what is computed once per snapshot is to be counted."""
    return msgspec.structs.replace(seen)


def status_patch(seen: Observed) -> dict[str, Any]:
    """What the controller sends of a status."""
    before = seen.rollout.status
    after = msgspec.structs.replace(before, current_step_index=(before.current_step_index or 0) + 1)
    return codec.merge_diff(codec.plain(before), codec.plain(after))


def timed(what: str, act: Callable[[], object], batches: int, *, goal: float | None = None) -> Figure:
    """Microseconds of CPU per call (on an idle machine the same as time): the median over batches."""
    took = []
    for _ in range(batches):
        started = time.thread_time()
        for _ in range(BATCH):
            act()
        took.append((time.thread_time() - started) / BATCH * 1e6)
    return median(what, took, "µs", goal=goal)


def stages(seen: Observed, batches: int) -> list[Figure]:
    """The stages of `plan` one after the other, as it calls them, each with a stopwatch."""
    rounds = [stage_times(fresh(seen)) for _ in range(batches * BATCH)]
    return [
        Figure(what=f"of it: {name}", value=statistics.median(one[name] for one in rounds) * 1e6, unit="µs")
        for name in rounds[0]
    ]


def stage_times(seen: Observed) -> dict[str, float]:
    took: dict[str, float] = {}
    mark = time.perf_counter()

    def lap(name: str) -> None:
        nonlocal mark
        now = time.perf_counter()
        took[name] = now - mark
        mark = time.perf_counter()

    assert seen.sets.new is not None
    lap("which ReplicaSet is which")
    assert not tuple(references.problems(seen))
    lap("are all references there")
    router = references.router_for(seen.rollout)
    assert router is not None
    live = router.live(seen)
    lap("live weights")
    draft, _ = lifecycle.begin(seen)
    lap("user intent, new revision")
    strategy = seen.rollout.spec.strategy.canary
    assert strategy is not None
    desired = canary.decide(seen, draft, strategy, live)
    lap("decide")
    finish(draft, creating=False)
    lap("status")
    actions = diff(desired, seen, router, live)
    lap("diff")
    check(seen, actions, live)
    lap("invariants")
    return took
