"""Runs other programs; what they said is in the error."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path


class Failed(RuntimeError):
    """A program failed. The message has its command line, exit code and what it wrote."""


def run(*argv: str | Path, stdin: str | None = None, timeout: float = 120) -> str:
    """Its standard output. Raises Failed unless it ends with 0 within `timeout` seconds."""
    line = [str(one) for one in argv]
    try:
        done = subprocess.run(
            line, check=False, capture_output=True, text=True, input=stdin, timeout=timeout, errors="replace"
        )
    except subprocess.TimeoutExpired as late:
        raise Failed(f"{shown(line)} did not end within {timeout:.0f} s") from late
    if done.returncode:
        raise Failed(f"{shown(line)}: exit code {done.returncode}\n{done.stdout}{done.stderr}".rstrip())
    return done.stdout


def shown(argv: Sequence[str]) -> str:
    return " ".join(argv)
