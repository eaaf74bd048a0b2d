"""Send one signal to the first process of the container whose process namespace is shared."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from chaos.injector import words

TARGET = "SUREFOOT_TARGET_PID"
"""Set by the sandbox, whose containers have no process namespace: the process that stands for the container."""


def run(name: str, place: str = words.PLACE) -> int:
    named = os.environ.get(TARGET)
    if not named and not Path(place).exists():
        message = "not in a pod (there is no termination log): process 1 would be this machine's own"
        return words.finish(words.REFUSED, "refused", message, place=place)
    pid = int(named or 1)
    if pid == os.getpid():
        message = "process 1 is the injector itself: the container runtime shares no process namespace with the target"
        return words.finish(words.REFUSED, "refused", message, place=place)
    number = signal.Signals[f"SIG{name}"]
    deaf = pid == 1 and not handles(_status(pid), number)
    try:
        os.kill(pid, number)
    except OSError as error:
        return words.finish(words.FAILED, "failed", f"signal {name} to process {pid}: {error}", place=place)
    said = f"sent {name} to process {pid}"
    if deaf:
        said += f", which has no handler for it: as the first process of its namespace it ignores {name}"
    return words.finish(words.DONE, "signalled", said, place=place)


def handles(status: str, number: signal.Signals) -> bool:
    """Whether a process with this /proc/PID/status catches the signal; where that is not said, yes (proc(5), SigCgt)."""
    caught = next((line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:")), "")
    return not caught or bool(int(caught, 16) >> (number - 1) & 1)


def _status(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return ""
