"""Canaries that fail their analysis at the same moment: how long until their traffic is back on stable.

All sample every second on the second; between two samples Prometheus begins to give a bad answer. The time counts from
the first bad answer that it gave to anybody to the moment when a watch shows a VirtualService with all weight on stable,
so a measurement that had to queue is in it.
"""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from bench.cluster import objects
from bench.cluster.wave import today
from bench.cluster.world import PATIENCE_SECONDS, World
from bench.figures import Figure, progress
from rollout.runtime.clock import SystemClock

CLOCK = SystemClock()
MANY = 100
BAD, GOOD = "0.5", "1"
GOAL_MANY_SECONDS, GOAL_ONE_MS = 1.0, 30.0
TODAY = {"median": 5.2, "worst": 8.7, "one": 31.0}
SAMPLES_BEFORE = 2
"""Good samples that each has had before the bad one."""


class Failing(msgspec.Struct, frozen=True):
    """Seconds from the first bad answer until each canary's traffic was back on stable, in ascending order."""

    seconds: tuple[float, ...]

    def quantile(self, share: float) -> float:
        return self.seconds[min(len(self.seconds) - 1, int(share * len(self.seconds)))]


async def failing(world: World, size: int, prefix: str = "fail") -> Failing:
    """Bring as many canaries to their analysis, let it fail, and take the times."""
    names = [f"{prefix}-{each:03}" for each in range(size)]
    progress(f"{size} failing: installing")
    await world.install(names, samples=objects.FOREVER)
    await world.update(names)
    await world.measured(names, SAMPLES_BEFORE)
    progress(f"{size} failing: all sample")
    home: dict[str, float] = {}
    all_home = asyncio.Event()
    waiting = set(names)

    def look(_old: Any, new: Any) -> None:
        name = new["metadata"]["name"] if new else ""
        if name in waiting and weight_of_canary(new) == 0:
            home[name] = CLOCK.monotonic()
            waiting.discard(name)
            if not waiting:
                all_home.set()

    # Half-way between two samples: all of them get the bad answer in the same second.
    await asyncio.sleep(1.5 - CLOCK.now().timestamp() % 1.0)
    early = [name for name in names if weight_of_canary(world.route(name)) == 0]
    if early:
        raise RuntimeError(f"back on stable before anything was wrong: {', '.join(early[:3])}")
    await world.answer(BAD)
    world.routes.on_change(look)
    async with asyncio.timeout(PATIENCE_SECONDS):
        await all_home.wait()
    first = await world.first_answer()
    await world.answer(GOOD)
    await world.quiet()
    return Failing(tuple(sorted(moment - first for moment in home.values())))


async def alone(world: World, times: int = 3) -> Failing:
    """One after the other, each alone."""
    found: list[float] = []
    for each in range(times):
        found += (await failing(world, 1, f"alone{each}")).seconds
    return Failing(tuple(sorted(found)))


def weight_of_canary(route: Any) -> int:
    split = route["spec"]["http"][0]["route"]
    return next(int(one["weight"]) for one in split if one["destination"]["subset"] == "canary")


def figures(many: Failing, alone: Failing) -> list[Figure]:
    size = len(many.seconds)
    what = f"{size} fail at once: traffic back on stable"
    median, p95, worst = many.quantile(0.5), many.quantile(0.95), many.seconds[-1]
    one = alone.quantile(0.5) * 1000
    return [
        Figure(what=f"{what}, median", value=median, unit="s", note=today(median, TODAY["median"], "s")),
        Figure(what=f"{what}, 95th percentile", value=p95, unit="s", goal=GOAL_MANY_SECONDS),
        Figure(what=f"{what}, worst", value=worst, unit="s", note=today(worst, TODAY["worst"], "s")),
        Figure(
            what="one fails alone: traffic back on stable",
            value=one,
            unit="ms",
            goal=GOAL_ONE_MS,
            note=f"{today(one, TODAY['one'], 'ms')}; worst of {len(alone.seconds)}: {alone.seconds[-1] * 1000:.0f} ms",
        ),
    ]
