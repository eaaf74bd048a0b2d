"""A deterministic event loop on virtual time, for tests.

    def test_a_week_passes_at_once() -> None:
        async def story(clock: LoopClock) -> None:
            await clock.sleep(7 * 24 * 3600)

        virtual.run(story, seed=3)

When no task can go on, time jumps to the next timer, so waiting costs nothing and takes exactly as long as asked.
Each turn of the loop runs the tasks that are ready in an order drawn from the seed: the same seed replays the same
run, other seeds try other interleavings. Only the order of *tasks* is drawn; plain callbacks keep asyncio's promise
of first come, first served.

Nothing outside the loop (sockets, threads, processes) can wake it: a loop that waits for such a thing alone is
reported as a deadlock.
"""

from __future__ import annotations

import asyncio
import random  # noqa: TID251 - seeded
import selectors
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any, TypeVar

from rollout.runtime.clock import LoopClock

T = TypeVar("T")

START = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
MAX_TURNS_WITHOUT_TIME = 50_000
MAX_TURNS = 3_000_000


class Stuck(AssertionError):
    """The run can never end: every task waits for another (deadlock), or tasks spin without time passing."""


class _Selector(selectors.SelectSelector):
    """A selector that never waits: it moves the loop's time instead."""

    def __init__(self, idle: Callable[[float | None], None]) -> None:
        super().__init__()
        self._idle = idle

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready and (timeout is None or timeout > 0):
            self._idle(timeout)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose `time()` is virtual and whose task order follows `seed`."""

    def __init__(self, seed: int = 0) -> None:
        self._now = 1_000.0
        self._turns = 0
        self._turns_at_this_time = 0
        self._random = random.Random(seed)
        super().__init__(_Selector(self._wait))
        self._clock_resolution = 1e-9

    def time(self) -> float:
        return self._now

    @property
    def turns(self) -> int:
        """How many turns the loop has made: the measure of work in a run."""
        return self._turns

    def advance(self, seconds: float) -> None:
        """Let time pass while nothing runs: what a blocked loop or a suspended machine looks like."""
        self._now += seconds

    def _wait(self, timeout: float | None) -> None:
        if timeout is None:
            raise Stuck(f"deadlock: no task can ever go on\n{self._waiting()}")
        # asyncio caps its timeout at a day; the next turn goes on from there.
        self._now = max(self._now, min(self._next_timer(), self._now + timeout))
        self._turns_at_this_time = 0

    def _next_timer(self) -> float:
        return self._scheduled[0].when() if self._scheduled else float("inf")  # type: ignore[attr-defined]

    def _run_once(self) -> None:
        self._turns += 1
        self._turns_at_this_time += 1
        if self._turns_at_this_time > MAX_TURNS_WITHOUT_TIME or self._turns > MAX_TURNS:
            turns, self._turns_at_this_time = self._turns_at_this_time, 0  # cleaning up needs turns, too
            raise Stuck(f"endless loop: {turns} turns at virtual time {self._now:.3f}\n{self._waiting()}")
        self._shuffle()
        super()._run_once()  # type: ignore[misc]

    def _shuffle(self) -> None:
        ready = self._ready  # type: ignore[attr-defined]
        places = [i for i, handle in enumerate(ready) if _is_task_step(handle)]
        if len(places) > 1:
            steps = [ready[i] for i in places]
            self._random.shuffle(steps)
            for place, step in zip(places, steps, strict=True):
                ready[place] = step

    def _waiting(self) -> str:
        lines = []
        for task in sorted(asyncio.all_tasks(self), key=lambda task: task.get_name()):
            frames = task.get_stack(limit=3)
            where = " < ".join(f"{f.f_code.co_qualname}:{f.f_lineno}" for f in reversed(frames)) or "?"
            lines.append(f"  {task.get_name()}: {where}")
        return "\n".join(lines)


def _is_task_step(handle: Any) -> bool:
    return isinstance(getattr(handle._callback, "__self__", None), asyncio.Task)


def run(main: Callable[[LoopClock], Coroutine[Any, Any, T]], *, seed: int = 0, start: datetime = START) -> T:
    """Run `main(clock)` to its end on a fresh virtual loop, whatever is left over cancelled at the end.

    Raises what `main` raises, or Stuck.
    """
    loops: list[VirtualLoop] = []

    def make() -> VirtualLoop:
        loops.append(VirtualLoop(seed))
        return loops[0]

    async def with_clock() -> T:
        return await main(LoopClock(asyncio.get_running_loop(), start, seed))

    with asyncio.Runner(loop_factory=make) as runner:
        return runner.run(with_clock())
