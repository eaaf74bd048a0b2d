"""A thousand Rollouts at rest: the controller's memory, its CPU, and what it asks."""

from __future__ import annotations

import asyncio
import time
from collections import Counter

import msgspec

from bench.cluster.audit import COMPONENTS, OURS, Asked
from bench.cluster.wave import today
from bench.cluster.world import LEASES, World
from bench.figures import Figure, number, progress

MANY = 1000
WINDOW_SECONDS = 35.0
GOAL_MEMORY_MIB, GOAL_CPU_MS = 180.0, 2.0
TODAY = {"memory": 178.0, "cpu": 37.0, "creation": 158.0}


class Idle(msgspec.Struct, frozen=True, kw_only=True):
    """`creation`: seconds until all were Healthy and quiet. `cpu`: seconds per second. `requests`: ours, in the window."""

    size: int
    creation: float
    memory: tuple[float, float]
    cpu: float
    requests: Counter[Asked]


async def idle(world: World, size: int = MANY) -> Idle:
    names = [f"idle-{each:04}" for each in range(size)]
    progress(f"{size} at rest: creating")
    started = time.perf_counter()
    await world.install(names)
    creation = time.perf_counter() - started
    progress(f"{size} at rest: created in {creation:.0f} s; watching for {WINDOW_SECONDS:.0f} s")
    position, before, since = world.audit.position(), world.cpu()["controller"], time.perf_counter()
    await asyncio.sleep(WINDOW_SECONDS)
    used = (world.cpu()["controller"] - before) / (time.perf_counter() - since)
    ours = {
        one: times for one, times in world.audit.since(position).items() if one.component == COMPONENTS[OURS]
    }
    return Idle(size=size, creation=creation, memory=world.memory(), cpu=used, requests=Counter(ours))


def figures(took: Idle) -> list[Figure]:
    many = f"{took.size} Rollouts at rest"
    other = {
        one: times for one, times in took.requests.items() if one.verb != "watch" and one.resource != LEASES
    }
    asked = ", ".join(f"{one.verb} {one.resource} {times}" for one, times in took.requests.most_common())
    now, most = took.memory
    cpu = took.cpu * 1000
    return [
        Figure(
            what=f"{many}: created, Healthy and quiet",
            value=took.creation,
            unit="s",
            note=today(took.creation, TODAY["creation"], "s"),
        ),
        Figure(
            what=f"{many}: controller's memory",
            value=now,
            unit="MiB",
            goal=GOAL_MEMORY_MIB,
            note=f"{number(most)} at most; {today(now, TODAY['memory'], 'MiB')}",
        ),
        Figure(
            what=f"{many}: controller's CPU",
            value=cpu,
            unit="ms/s",
            goal=GOAL_CPU_MS,
            note=today(cpu, TODAY["cpu"], "ms/s"),
        ),
        Figure(
            what=f"{many}: requests beside leases and watches",
            value=float(sum(other.values())),
            unit="requests",
            goal=0,
            note=f"in {WINDOW_SECONDS:.0f} s; all: {asked or 'none'}",
        ),
    ]
