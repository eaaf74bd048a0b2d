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
    try:
        os.kill(pid, signal.Signals[f"SIG{name}"])
    except OSError as error:
        return words.finish(words.FAILED, "failed", f"signal {name} to process {pid}: {error}", place=place)
    return words.finish(words.DONE, "signalled", f"sent {name} to process {pid}", place=place)
