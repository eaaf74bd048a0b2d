"""Waiting for what is to become true, with patience for a slow and busy machine."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from rollout.runtime.clock import SystemClock

T = TypeVar("T")
PATIENCE = 240.0
CLOCK = SystemClock()


def until(what: str, holds: Callable[[], T | None], patience: float = PATIENCE) -> T:
    """The first value of `holds()` that counts as true. Raises TimeoutError, which says what was waited for."""
    last = CLOCK.monotonic() + patience
    while not (found := holds()):
        if CLOCK.monotonic() > last:
            raise TimeoutError(f"{what}: not within {patience:.0f} s; the last look gave {found!r}")
        time.sleep(0.1)
    return found
