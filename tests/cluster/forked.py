"""`python -m tests.cluster.forked OPTIONS...`: a `rollout controller run OPTIONS...` for each line of standard input.

Each is a process of its own, forked from this one, which has imported all of it and done nothing else: so one that was
killed is followed by the next within moments, also on a slow machine. Its process id is a line of standard output, and
another line is written when it has ended. Nothing outlives this process, which ends with its standard input.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

from rollout import manager
from rollout.cli.main import main as rollout

_PR_SET_PDEATHSIG = 1


def main() -> None:
    assert manager.__name__ in sys.modules
    for _ in sys.stdin:
        pid = os.fork()
        if pid == 0:
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            sys.argv = ["rollout", "controller", "run", *sys.argv[1:]]
            rollout()
            os._exit(0)
        _say(pid)
        _say(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


def _say(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
