"""A clock that runs faster than the machine's."""

from __future__ import annotations

import asyncio

import pytest

from rollout.runtime.clock import FastClock


async def test_waiting_by_a_fast_clock_passes_as_much_of_its_time() -> None:
    clock = FastClock(10_000)
    before, steady = clock.now(), clock.monotonic()
    async with asyncio.timeout(60):
        await clock.sleep(3600)
    assert (clock.now() - before).total_seconds() >= 3600
    assert clock.monotonic() - steady >= 3600


@pytest.mark.parametrize("speed", [0, -1])
def test_a_clock_cannot_stand_still_or_run_backwards(speed: float) -> None:
    with pytest.raises(ValueError, match="more than 0"):
        FastClock(speed)
