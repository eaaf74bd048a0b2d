"""A wave of canaries updated at once: time until all are Healthy, CPU, requests, memory."""

from __future__ import annotations

import time
from collections import Counter

import msgspec

from bench.cluster import objects
from bench.cluster.audit import Asked, counting
from bench.cluster.world import World
from bench.figures import Figure, number, progress

TOP = 9


class Goal(msgspec.Struct, frozen=True):
    """What the issue asks of a wave of this size; `today` is what users run today, on two cores like these."""

    wall: float | None
    today: float


GOALS = {1: Goal(None, 3.6), 100: Goal(12, 46), 300: Goal(30, 146)}
CPU_MS, REQUESTS, MEMORY_MIB = 60.0, 60.0, 130.0
TODAY_CPU_MS = {100: 69.0, 300: 79.0}
TODAY_REQUESTS = {100: 109.0, 300: 108.0}
TODAY_MEMORY_MIB = 142.0


class Wave(msgspec.Struct, frozen=True, kw_only=True):
    """What one wave took. `wall`: seconds; `cpu`: seconds by process and `requests`, until nobody had anything to do."""

    size: int
    wall: float
    cpu: dict[str, float]
    requests: Counter[Asked]
    memory: tuple[float, float]


async def wave(world: World, size: int) -> Wave:
    """Install as many canaries, update them all at once, and wait."""
    names = [f"wave{size}-{each:03}" for each in range(size)]
    progress(f"wave of {size}: installing")
    await world.install(names)
    before, position = world.cpu(), world.audit.position()
    progress(f"wave of {size}: updating")
    started = time.perf_counter()
    await world.update(names)
    await world.released(names, objects.NEW)
    wall = time.perf_counter() - started
    progress(f"wave of {size}: {wall:.1f} s")
    await world.quiet()
    used = {name: seconds - before[name] for name, seconds in world.cpu().items()}
    asked = counting(world.audit.since(position))
    return Wave(size=size, wall=wall, cpu=used, requests=asked, memory=world.memory())


def figures(took: Wave) -> list[Figure]:
    """The table of one wave."""
    size, goal = took.size, GOALS.get(took.size, Goal(None, 0.0))
    many = f"{size} canar{'y' if size == 1 else 'ies'}"
    per = {name: seconds / size * 1000 for name, seconds in took.cpu.items()}
    requests = took.requests.total() / size
    large = size > 1
    found = [
        Figure(
            what=f"{many}: update to all Healthy",
            value=took.wall,
            unit="s",
            goal=goal.wall,
            note=today(took.wall, goal.today, "s"),
        ),
        Figure(
            what=f"{many}: controller's CPU, each",
            value=per["controller"],
            unit="ms",
            goal=CPU_MS if large else None,
            note=today(per["controller"], TODAY_CPU_MS.get(size, 0.0), "ms"),
        ),
        Figure(
            what=f"{many}: requests of all components, each",
            value=requests,
            unit="requests",
            goal=REQUESTS,
            note=today(requests, TODAY_REQUESTS.get(size, 0.0), "requests"),
        ),
    ]
    for component, count in by_component(took.requests).most_common():
        often = ", ".join(
            f"{one.verb} {one.resource} {number(times / size)}"
            for one, times in took.requests.most_common()
            if one.component == component and times / size >= 0.1
        )
        found.append(Figure(what=f"{many}: of {component}", value=count / size, unit="requests", note=often))
    now, most = took.memory
    beside = ", ".join(f"{name} {number(each)}" for name, each in per.items() if name != "controller")
    return [
        *found,
        Figure(
            what=f"{many}: the others' CPU, each",
            value=sum(per.values()) - per["controller"],
            unit="ms",
            note=beside,
        ),
        Figure(
            what=f"{many}: controller's memory, at most",
            value=most,
            unit="MiB",
            goal=MEMORY_MIB if large else None,
            note=f"{number(now)} at the end; {today(most, TODAY_MEMORY_MIB if size == 300 else 0.0, 'MiB')}",
        ),
    ]


def by_component(requests: Counter[Asked]) -> Counter[str]:
    found: Counter[str] = Counter()
    for one, times in requests.items():
        found[one.component] += times
    return found


def today(value: float, others: float, unit: str) -> str:
    """How it compares with what users run today; "" where that is not known."""
    return f"{number(value / others)} of the {number(others)} {unit} of today" if others else ""
