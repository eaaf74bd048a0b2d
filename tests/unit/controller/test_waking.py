"""What wakes a Rollout first."""

from __future__ import annotations

from typing import Any

import pytest

from rollout.api.meta import Key
from rollout.api.resources import ANALYSIS_RUNS, ROLLOUTS
from rollout.controller.caches import Caches
from rollout.controller.rollout import _waker
from rollout.runtime.clock import LoopClock
from rollout.runtime.runner import Runner
from rollout.sandbox.inmemory import StorageKube
from rollout.sandbox.storage import Storage
from tests import virtual


def run(owner: str, phase: str) -> dict[str, Any]:
    reference = {"kind": "Rollout", "name": owner, "controller": True}
    meta = {"name": f"{owner}-1", "namespace": "shop", "ownerReferences": [reference]}
    return {"metadata": meta, "status": {"phase": phase}}


def rollout(name: str, *, abort: bool = False) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "shop"}, "status": {"abort": abort}}


@pytest.mark.parametrize("phase", ["Failed", "Error", "Inconclusive"])
def test_what_takes_traffic_home_comes_before_everything_else(phase: str) -> None:
    async def main(clock: LoopClock) -> None:
        async def reconcile(key: Key) -> None:
            raise AssertionError(key)

        runner: Runner[Key] = Runner("rollout", reconcile, clock=clock)
        caches = Caches(StorageKube(Storage(clock)), clock, ())
        wake = {one: _waker(one, caches, runner) for one in (ROLLOUTS, ANALYSIS_RUNS)}
        wake[ROLLOUTS](None, rollout("quiet"))
        wake[ANALYSIS_RUNS](run("good", "Running"), run("good", "Successful"))
        wake[ANALYSIS_RUNS](run("old", phase), run("old", phase))
        wake[ANALYSIS_RUNS](run("bad", "Running"), run("bad", phase))
        wake[ROLLOUTS](rollout("told"), rollout("told", abort=True))
        order = []
        for _ in range(len(runner.queue)):
            async with runner.queue.take() as key:
                order.append(key.name)
        assert order == ["bad", "told", "quiet", "good", "old"]

    virtual.run(main)
