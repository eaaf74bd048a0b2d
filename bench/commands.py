"""How long the command line takes to start: `rollout --help`, `get` and `status`, beside what one cannot beat
(the interpreter alone) and what people know (kubectl, where it is on PATH). Commands take turns, so that all see
the same machine. And how long the controller takes, until it says that it is ready."""

from __future__ import annotations

import os
import re
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench import manifests
from bench.figures import Figure, median, number, progress, ratio
from bench.processes import api_server, child, cpu_seconds
from rollout.api.crds import crds
from rollout.api.resources import CRDS, ROLLOUTS
from rollout.runtime import config
from rollout.runtime.sync import SyncKube

HELP_SECONDS, GET_SECONDS, READY_SECONDS = 0.15, 0.35, 1.5
NAME = "web"
LARGEST = 5
PATIENCE, POLL_SECONDS = 120.0, 0.005

Command = tuple[str, ...]


def measure(*, runs: int = 10) -> list[Figure]:
    """Seconds per command, ratios against kubectl, and the largest imports."""
    with api_server() as to:
        fill(to.kubeconfig)
        cache = str(Path(to.kubeconfig).parent / "kubectl")
        env = os.environ | {"KUBECONFIG": to.kubeconfig, "NO_COLOR": "1", "KUBECACHEDIR": cache}
        took = timed(commands(), runs, env)
        figures = [
            figure("python -c pass", took["python"]),
            figure("rollout --help", took["help"], goal=HELP_SECONDS),
            figure(f"rollout get {NAME}", took["get"], goal=GET_SECONDS),
            figure(f"rollout status {NAME}", took["status"], goal=GET_SECONDS),
            figure(
                "rollout controller run, until it is ready", started(to.kubeconfig, runs), goal=READY_SECONDS
            ),
        ]
        if "kubectl" in took:
            kubectl = figure(f"kubectl get rollout {NAME}", took["kubectl"])
            figures += [
                kubectl,
                ratio(f"rollout get {NAME} over kubectl get", figures[2].value, kubectl.value),
            ]
        else:
            progress("commands: no kubectl on PATH, so no comparison")
        for name in ("help", "get"):
            figures += largest_imports(name, commands()[name], env)
    return figures


def script() -> str:
    return str(Path(sys.executable).parent / "rollout")


def commands() -> dict[str, Command]:
    """What is run, by a short name."""
    found: dict[str, Command] = {
        "python": (sys.executable, "-c", "pass"),
        "help": (script(), "--help"),
        "get": (script(), "get", NAME),
        "status": (script(), "status", NAME),
    }
    if kubectl := shutil.which("kubectl"):
        found["kubectl"] = (kubectl, "get", "rollout", NAME)
    return found


def fill(kubeconfig: str) -> None:
    """Our CRDs and one Rollout that its controller has finished."""
    strategy = {"steps": [{"setWeight": 20}, {"pause": {}}]}
    with SyncKube(config.load(kubeconfig=kubeconfig)) as kube:
        for crd in crds():
            kube.create(CRDS, None, crd)
        obj = manifests.rollout(NAME, strategy, replicas=1, image="web:1")
        made = kube.create(ROLLOUTS, manifests.NAMESPACE, obj)
        status = {
            "observedGeneration": str(made["metadata"]["generation"]),
            "phase": "Healthy",
            "replicas": 1,
            "readyReplicas": 1,
            "availableReplicas": 1,
            "updatedReplicas": 1,
        }
        kube.patch(ROLLOUTS, manifests.NAMESPACE, NAME, {"status": status}, subresource="status")


Took = tuple[float, float]
"""Seconds of wall time and of CPU."""


def figure(what: str, took: Sequence[Took], *, goal: float | None = None) -> Figure:
    """Wall time, with the CPU time (which other work on the machine changes less) in the note."""
    cpu = number(statistics.median(cpu for _, cpu in took))
    return median(what, [wall for wall, _ in took], "s", goal=goal, note=f"CPU {cpu} s")


def timed(what: Mapping[str, Command], runs: int, env: dict[str, str]) -> dict[str, list[Took]]:
    """What every run of every command took, after one that is not counted."""
    took: dict[str, list[Took]] = {name: [] for name in what}
    for each in range(runs + 1):
        for name, command in what.items():
            started, used = time.perf_counter(), children_cpu()
            done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
            seconds = time.perf_counter() - started
            if done.returncode != 0:
                raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr}")
            if each > 0:
                took[name].append((seconds, children_cpu() - used))
        progress(f"commands: round {each} of {runs}")
    return took


def started(kubeconfig: str, runs: int) -> list[Took]:
    """From the controller's exec until /readyz says 200, after one start that is not counted."""
    took = []
    for each in range(runs + 1):
        address = f"127.0.0.1:{free_port()}"
        command = [script(), "controller", "run", "--no-leader-election", "--kubeconfig", kubeconfig]
        began = time.perf_counter()
        with child([*command, "--metrics-address", address]) as process:
            while not ready(f"http://{address}/readyz"):
                if process.poll() is not None or time.perf_counter() - began > PATIENCE:
                    raise RuntimeError("the controller did not get ready; its own message is above")
                time.sleep(POLL_SECONDS)
            found = time.perf_counter() - began, cpu_seconds(process.pid)
        if each > 0:
            took.append(found)
        progress(f"commands: start {each} of {runs} of the controller")
    return took


def ready(url: str) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=PATIENCE) as answer:
            return bool(answer.status == 200)
    except OSError:  # nobody listens yet, or it says 503
        return False


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def children_cpu() -> float:
    """CPU seconds of all child processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


_LINE = re.compile(r"import time:\s+\d+ \|\s+(\d+) \|\s+(\S+)")


def largest_imports(name: str, command: Command, env: dict[str, str]) -> list[Figure]:
    """The packages of others whose import takes a command longest, what they import in turn included."""
    argv = (sys.executable, "-X", "importtime", *command)
    said = subprocess.run(argv, env=env, capture_output=True, text=True, check=False).stderr
    largest: dict[str, int] = {}
    for total, module in _LINE.findall(said):
        package = module.partition(".")[0]
        largest[package] = max(largest.get(package, 0), int(total))
    largest.pop("rollout", None)  # its modules import all the others
    first = sorted(largest.items(), key=lambda one: -one[1])[:LARGEST]
    return [
        Figure(what=f"rollout {name}: import {package}", value=total / 1000, unit="ms", note="-X importtime")
        for package, total in first
    ]
