"""Shell commands as a person or a pipeline runs them: with `rollout` on PATH, without a terminal, not for ever."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.pages import ROOT


def with_rollout(folder: Path) -> dict[str, str]:
    """Makes a program `rollout` of this checkout in the folder; what an environment needs for it."""
    program = folder / "rollout"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m rollout.cli.main "$@"\n')
    program.chmod(0o755)
    return {"PATH": f"{folder}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}


async def bash(
    *arguments: str, environment: Mapping[str, str], seconds: float, folder: Path | None = None
) -> tuple[int, str]:
    """`bash ARGUMENTS`: its exit code, and all that it said. TimeoutError when it takes longer; it is killed then."""
    process = await asyncio.create_subprocess_exec(
        "bash",
        *arguments,
        cwd=folder,
        env=dict(environment),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(seconds):
            out, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return process.returncode, out.decode()
