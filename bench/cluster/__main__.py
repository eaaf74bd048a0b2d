"""`python -m bench.cluster`: measure on a real control plane, print, and keep the chapter in bench/RESULTS.md.

    python -m bench.cluster                    # all, and RESULTS.md
    python -m bench.cluster --only waves       # some of it, printed only (repeat --only for more)

Needs the programs of tools/get_kubernetes.sh and tools/get_etcd.sh. Exit code 1 when a measurement failed; a missed goal is told
in the table and is no failure: the machine may be busy, and timings are no tests.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from bench import results
from bench.cluster import failing, idle, profile, wave
from bench.cluster.world import world
from bench.figures import Figure, progress
from bench.machine import machine
from rollout.runtime import logs

TITLE = "# On a real control plane"
ABOUT = {
    "waves": "A wave of canaries updated at once; the controller under a sampling profiler, which costs about 1 %",
    "large": "A large wave, without the profiler",
    "failing": "Canaries that fail their analysis at the same moment",
    "idle": "Rollouts at rest",
}
WORDS = (
    "etcd 3.6, kube-apiserver and kube-controller-manager 1.34 with RBAC and an audit log, our controller with the",
    "chart's roles, and a stand-in that turns pods Ready at once, all on this machine. A canary has 3 replicas, Istio",
    "subsets, and the steps 20, pause 2 s, 50, analysis of three samples a second apart; its old pods stay. Requests",
    "are counted in the audit log, watches left out; kube-controller-manager's own bound on requests is lifted.",
    "Of a canary's requests about 24 are kube-controller-manager's and the kubelet's, whatever the controller:",
    "its pods, their status, that of their ReplicaSet, and the endpoints of their Service. Ours that no safe way",
    "saves are about 29: six decisions, each recorded before it is carried out, and seven times the status that",
    "says so; four moves of traffic and two bindings; three sizes of the ReplicaSet; a run with its three samples.",
    "The rest are Events: in a crowd they keep back for five seconds, and those of one object are told together.",
    "Both cores are busy throughout a wave, so its time is N times the CPU of a canary, by two. About 0.3 of 0.4 s of that is",
    "kube-apiserver's, 4 to 5 ms a request. Its own profile (pprof, 2026-11-21): a third applies patches (decode, managed",
    "fields, validate, encode), a quarter collects garbage, a tenth decodes what etcd's watch tells; no part stands out. So",
    "the goals for 100 and 300 at once would take half as much of kube-apiserver for a canary, whoever asks it.",
    '"Today" is what issue 5 says that users run, measured on two such cores. Goals are from that issue.',
)
SMALL, LARGE = (1, 100), 300


async def small() -> list[Figure]:
    with tempfile.TemporaryDirectory(prefix="bench-profile-") as folder:
        samples = Path(folder) / "samples"
        async with world(profile=samples) as place:
            found = [figure for size in SMALL for figure in wave.figures(await wave.wave(place, size))]
        return [*found, *profile.figures(samples)]


async def large() -> list[Figure]:
    async with world() as place:
        return wave.figures(await wave.wave(place, LARGE))


async def failures() -> list[Figure]:
    async with world() as place:
        alone = await failing.alone(place)
        return failing.figures(await failing.failing(place, failing.MANY), alone)


async def at_rest() -> list[Figure]:
    async with world() as place:
        return idle.figures(await idle.idle(place))


SUBJECTS: dict[str, Callable[[], Awaitable[list[Figure]]]] = {
    "waves": small,
    "large": large,
    "failing": failures,
    "idle": at_rest,
}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.cluster", description="Measure on a real control plane."
    )
    parser.add_argument(
        "--only", action="append", choices=SUBJECTS, help="measure this only (repeat); prints, writes nothing"
    )
    only = parser.parse_args(arguments).only
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended, too
    where = machine()
    sections, failed = results.measured(
        only or SUBJECTS, ABOUT, lambda name: asyncio.run(_awaited(SUBJECTS[name]()))
    )
    text = results.chapter(TITLE, "make bench-cluster", where, WORDS, sections)
    sys.stdout.write(text)
    if not only and not failed:
        progress(f"written: {results.keep(TITLE, text)}")
    return int(bool(failed))


async def _awaited(measuring: Awaitable[list[Figure]]) -> list[Figure]:
    return await measuring


if __name__ == "__main__":
    logs.configure(level="error")
    sys.exit(main())
