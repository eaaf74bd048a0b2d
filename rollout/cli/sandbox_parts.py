"""What a sandbox gets from us beyond a plain cluster: our CRDs, and our controllers as a process of its own.

The sandbox itself knows neither.
"""

from __future__ import annotations

import sys
from pathlib import Path

import rollout.api
from rollout.sandbox.config import ExtraCommand


def our_crds() -> Path:
    """The directory with the CRDs of our API."""
    return Path(rollout.api.__file__).parent / "crds"


def controller_command(*more: str) -> ExtraCommand:
    """`rollout controller run` against the sandbox's own kubeconfig, which it finds in its environment.

    Everything in a sandbox is on loopback, so metrics may be asked there.
    """
    argv = (
        sys.executable,
        "-m",
        "rollout.cli.main",
        "controller",
        "run",
        "--context",
        "surefoot-sandbox",
        "--no-leader-election",
        *more,
    )
    return ExtraCommand(name="controller", argv=argv, env={"SUREFOOT_METRICS_ON_LOOPBACK": "true"})
