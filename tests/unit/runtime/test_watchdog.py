"""The watchdogs: lag fails health and gives leadership up; a loop that hangs ends the process, a process that slept does not."""

from __future__ import annotations

import subprocess
import sys

from rollout.runtime.clock import LoopClock, SystemClock
from rollout.runtime.watchdog import HANG_CODE, HangWatch, LoopWatchdog
from tests import virtual


class HandClock(SystemClock):
    """Time passes when it is told to."""

    at = 100.0

    def monotonic(self) -> float:
        return self.at


def watch(clock: HandClock, limit: float = 10.0) -> HangWatch:
    return HangWatch(clock, limit=limit, on_hang=lambda _: None)


def looks(watched: HangWatch, clock: HandClock, seconds: float, every: float = 0.5) -> str:
    """What the thread finds while `seconds` pass without a beat."""
    said = ""
    for _ in range(round(seconds / every)):
        clock.at += every
        said = said or watched.look()
    return said


def test_a_loop_that_does_not_beat_is_found_before_a_lease_would_be_over():
    clock = HandClock()
    watched = watch(clock)
    assert looks(watched, clock, 9.5) == ""
    assert looks(watched, clock, 1.0) == "the event loop hangs since 10.0 s"


def test_a_process_that_stood_still_as_a_whole_is_not_blamed():
    clock = HandClock()
    watched = watch(clock)
    clock.at += 600.0  # stopped, or the machine slept
    assert watched.look() == ""
    assert looks(watched, clock, 9.0) == ""
    assert looks(watched, clock, 2.0) != ""


def test_a_shutdown_is_over_in_time_whatever_beats():
    clock = HandClock()
    watched = watch(clock, limit=1e9)
    watched.end_within(43.0, "too long")
    assert looks(watched, clock, 42.0) == ""
    assert looks(watched, clock, 2.0) == "too long"


HANGING = """
import asyncio, threading
from rollout.runtime.clock import SystemClock
from rollout.runtime.watchdog import HangWatch

def a_call_that_never_returns():
    threading.Event().wait()

async def main():
    task = asyncio.create_task(HangWatch(SystemClock(), limit=1.0).run())
    await asyncio.sleep(0.1)
    a_call_that_never_returns()

asyncio.run(main())
"""


def test_a_hanging_process_ends_itself_and_says_where_it_hung():
    done = subprocess.run(
        [sys.executable, "-c", HANGING], check=False, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == HANG_CODE
    assert "the event loop hangs since" in done.stderr
    assert "a_call_that_never_returns" in done.stderr


def test_lag_is_told_to_health_for_a_minute_and_leadership_is_given_up():
    async def main(clock: LoopClock) -> None:
        given_up: list[float] = []
        watchdog = LoopWatchdog(clock, on_fatal=given_up.append)
        watchdog._note(clock.monotonic(), 2.0)
        assert (watchdog.problem(), given_up) == ("", [])
        watchdog._note(clock.monotonic(), 8.0)
        assert watchdog.problem() == "the event loop was blocked for 8.0 s"
        assert given_up == [8.0]
        await clock.sleep(61)
        assert watchdog.problem() == ""

    virtual.run(main)


def test_the_time_that_a_machine_sleeps_is_counted():
    import time

    clock = SystemClock()
    before = time.clock_gettime(time.CLOCK_BOOTTIME)
    assert before <= clock.monotonic() <= time.clock_gettime(time.CLOCK_BOOTTIME)
