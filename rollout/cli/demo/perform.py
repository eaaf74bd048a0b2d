"""How every demo is played: drawn while it goes on, load beside it, one scene after the other."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TypeVar

from rollout.api.meta import Key
from rollout.cli.demo.ground import background
from rollout.cli.demo.load import Load
from rollout.cli.demo.scenes import Outcome, Stage
from rollout.cli.demo.screen import Screen
from rollout.runtime.clock import Clock

FRAME_SECONDS = 0.25
S = TypeVar("S", bound=Stage)


@contextlib.asynccontextmanager
async def drawn(screen: Screen, stage: Stage, load: Load, clock: Clock) -> AsyncIterator[None]:
    """Draw the stage on the screen while the body runs; what the scenes say is noted there."""

    async def draw() -> None:
        while True:
            screen.draw(stage, load.tally(), clock.now())
            await stage.view.tick(FRAME_SECONDS)
            await asyncio.sleep(FRAME_SECONDS / 4)

    with screen:
        stage.say = screen.note
        async with background(draw()):
            yield


async def perform(
    stage: S,
    load: Load,
    scenes: Sequence[Callable[[S], Awaitable[Outcome]]],
    *,
    keys: Sequence[Key],
    opening: str,
    noun: str,
) -> list[Outcome]:
    """Wait until the Rollouts `keys` are Healthy, begin the load, and play the scenes. `noun` is what one is called."""
    for stage.key in keys:
        await stage.phase("Healthy")
    stage.say(opening)
    await load.start()
    await load.warm()
    outcomes = []
    for scene in scenes:
        outcome = await scene(stage)
        outcomes.append(outcome)
        stage.say(f"{noun} {outcome.title.partition(' ')[0]}: {outcome.result}")
    return outcomes
