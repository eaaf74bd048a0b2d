"""What a sandbox gets from us beyond a plain cluster: our CRDs, and our controllers as a process of its own.

The sandbox itself knows neither.
"""

from __future__ import annotations

import sys
from pathlib import Path

import rollout.api
from rollout.sandbox.base import MONITORING, PROMETHEUS, PROMETHEUS_PORT
from rollout.sandbox.config import ExtraCommand

_SURROUNDINGS = {
    "SUREFOOT_METRICS_ON_LOOPBACK": "true",
    "SUREFOOT_PROMETHEUS_ADDRESS": f"http://{PROMETHEUS}.{MONITORING}:{PROMETHEUS_PORT}",
}


def our_crds() -> Path:
    """The directory with the CRDs of our API."""
    return Path(rollout.api.__file__).parent / "crds"


def controller_command(*more: str) -> ExtraCommand:
    """`rollout controller run` against the sandbox's own kubeconfig, which it finds in its environment.

    Everything in a sandbox is on loopback, so metrics may be asked there. Metrics that name no Prometheus ask the sandbox's.
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
        "--notifications-namespace",
        "default",
        *more,
    )
    return ExtraCommand(name="controller", argv=argv, env=_SURROUNDINGS)
