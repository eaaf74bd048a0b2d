"""`rollout sandbox up`, and a first Rollout in it: a process with the demo application, really started and probed."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench import manifests
from bench.figures import Figure, median, progress
from rollout.api.resources import ROLLOUTS
from rollout.runtime import config
from rollout.runtime.sync import SyncKube

GOAL_SECONDS = 5
HEALTHY_SECONDS = 60
POLL_SECONDS = 0.02
NAME = "first"


def measure(*, runs: int = 5) -> list[Figure]:
    """Seconds from the command's start to its return, and to the first Rollout Healthy. The first run is not
    counted: it fills the file cache (that is what "warm" means)."""
    up, healthy, down = [], [], []
    for number in range(runs + 1):
        with tempfile.TemporaryDirectory(prefix="bench-") as state:
            took = one_life(Path(state))
        progress(f"sandbox: run {number} of {runs}: " + ", ".join(f"{one:.2f} s" for one in took))
        if number > 0:
            up.append(took[0])
            healthy.append(took[1])
            down.append(took[2])
    return [
        median("sandbox up, until it returns (all parts ready)", up, "s"),
        median("from `sandbox up` to the first Rollout Healthy", healthy, "s", goal=GOAL_SECONDS),
        median("sandbox down", down, "s"),
    ]


def one_life(state: Path) -> tuple[float, float, float]:
    """Seconds: until `up` returned, until the Rollout was Healthy (both from the start), and of `down`."""
    started = time.perf_counter()
    try:
        said = command("sandbox", "up", "--state", str(state))
        up = time.perf_counter() - started
        first_rollout(kubeconfig_in(said))
        healthy = time.perf_counter() - started
    finally:
        ending = time.perf_counter()
        command("sandbox", "down", "--state", str(state))
    return up, healthy, time.perf_counter() - ending


def kubeconfig_in(said: str) -> str:
    """The kubeconfig of the line that `sandbox up` prints for the shell: export KUBECONFIG=PATH."""
    words = shlex.split(said)
    return next(word.partition("=")[2] for word in words if word.startswith("KUBECONFIG="))


def first_rollout(kubeconfig: str) -> None:
    """Create a Rollout of one replica, and wait until it is Healthy. TimeoutError with its message if it is not."""
    with SyncKube(config.load(kubeconfig=kubeconfig)) as kube:
        kube.create(
            ROLLOUTS,
            manifests.NAMESPACE,
            manifests.rollout(NAME, {"steps": [{"setWeight": 50}]}, replicas=1, image="demo:v1"),
        )
        end = time.perf_counter() + HEALTHY_SECONDS
        while True:
            status = kube.get(ROLLOUTS, manifests.NAMESPACE, NAME).get("status") or {}
            if status.get("phase") == "Healthy":
                return
            if time.perf_counter() > end:
                raise TimeoutError(
                    f"the Rollout is not Healthy after {HEALTHY_SECONDS} s: {status.get('message')}"
                )
            time.sleep(POLL_SECONDS)


def command(*arguments: str) -> str:
    """What one `rollout` command prints; RuntimeError with what it said when it fails."""
    done = subprocess.run(
        (sys.executable, "-m", "rollout.cli.main", *arguments),
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"NO_COLOR": "1"},
    )
    if done.returncode != 0:
        raise RuntimeError(f"rollout {' '.join(arguments)} ended with {done.returncode}: {done.stderr}")
    return done.stdout
