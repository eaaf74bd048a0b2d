"""What the injector tells: JSON lines on standard output, and last words for the kubelet to keep."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

DONE, FAILED, USAGE, REFUSED = 0, 1, 2, 3
"""Exit codes."""
LIMIT = 4000
"""Bytes of the last words: a kubelet keeps 4096."""
PLACE = "/dev/termination-log"


def tell(**fields: Any) -> None:
    """One line of the log."""
    sys.stdout.write(json.dumps(fields, separators=(",", ":")) + "\n")
    sys.stdout.flush()


def finish(
    code: int, outcome: str, message: str, *, place: str = PLACE, packets: int = 0, dropped: int = 0
) -> int:
    """The last words: told, and written to `place` where a kubelet has put one. Returns the exit code.

    `verified` is said only with DONE: what was to be done, or undone, was seen to be so.
    """
    words = {
        "verified": code == DONE,
        "outcome": outcome,
        "message": message[: LIMIT // 2],
        "packets": packets,
        "dropped": dropped,
    }
    tell(**words)
    try:
        descriptor = os.open(place, os.O_WRONLY | os.O_TRUNC)  # never made: outside a pod there is none
    except OSError:
        return code
    with os.fdopen(descriptor, "w") as file:
        json.dump(words, file, separators=(",", ":"))
    return code
