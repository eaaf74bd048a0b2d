"""AnalysisRuns under faults: whatever fails and whenever the controller dies, the record and the verdict are the same."""

import asyncio
import random  # noqa: TID251 - seeded

import pytest

from analysis.controller import AnalysisController
from rollout.api.meta import time_of
from rollout.api.resources import ANALYSIS_RUNS
from rollout.errors import ProviderError
from rollout.sandbox.inmemory import StorageKube
from tests import virtual
from tests.stories.faults import Faults, FaultyKube
from tests.unit.analysis.test_controller import GOOD, Bench

KINDS = ("crash-before", "crash-after", "conflict", "lost-reply", "unavailable", "throttled")
METRICS = (
    GOOD | {"name": "steady", "interval": "7s", "count": 5},
    GOOD | {"name": "shaky", "interval": "5s", "count": 4, "failureLimit": 2},
)
ANSWERS = {"steady": [[0.99]], "shaky": [[0.99], [0.1], ProviderError("away"), [0.99], [0.2], [0.99]]}


async def processes(bench, faults):
    """The controller, started again with empty caches whenever a fault has killed it."""
    while True:
        crashed = asyncio.Event()
        kube = FaultyKube(StorageKube(bench.storage, manager="surefoot"), faults, crashed)
        providers = {"prometheus": bench.provider}
        running = asyncio.create_task(
            AnalysisController(kube, bench.clock, providers, recorder=bench.told).run()
        )
        try:
            await crashed.wait()
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        await bench.clock.sleep(1.0)


def carried_out(faults, seed, answers=ANSWERS):
    """The final status of the run, and how often the provider was asked."""

    async def main(clock):
        bench = Bench(clock, **answers)
        bench.create(*METRICS)
        working = asyncio.create_task(processes(bench, faults))
        try:
            async with asyncio.timeout(600):
                while not bench.status().get("completedAt"):
                    await clock.sleep(0.5)
        finally:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
        return bench.storage.get(ANALYSIS_RUNS, "prod", "r")["status"], len(bench.provider.asked_at)

    return virtual.run(main, seed=seed)


def assert_sound(status):
    for result in status["metricResults"]:
        taken = result["measurements"]
        assert len(taken) == result["count"] + result.get("error", 0), "counters and record agree"
        starts = [time_of(m["startedAt"]) for m in taken]
        assert starts == sorted(set(starts)), "one measurement for one due time, in order"


@pytest.mark.parametrize("kind", KINDS)
def test_one_fault_at_any_write_changes_neither_the_record_nor_the_verdict(kind):
    for write in range(1, 14):
        status, asked = carried_out(
            Faults({write: kind}), seed=write, answers={"steady": [[1.0]], "shaky": [[1.0]]}
        )

        assert status["phase"] == "Successful"
        assert [r["count"] for r in status["metricResults"]] == [5, 4]
        assert_sound(status)
        assert asked <= 9 + (2 if kind.startswith("crash") else 0), (
            "asked again only when a crash lost the answer"
        )


@pytest.mark.parametrize("seed", range(12))
def test_many_faults_and_bad_answers_still_end_in_a_sound_record(seed):
    drawn = random.Random(seed)
    plan = {write: drawn.choice(KINDS) for write in drawn.sample(range(1, 40), 15)}

    status, _ = carried_out(Faults(plan), seed=seed)

    assert status["phase"] == "Successful"
    assert_sound(status)


def test_a_bad_release_is_caught_under_faults_too():
    for seed in range(6):
        drawn = random.Random(seed)
        plan = {write: drawn.choice(KINDS) for write in drawn.sample(range(1, 20), 8)}
        status, _ = carried_out(
            Faults(plan), seed=seed, answers={"steady": [[0.99], [0.5]], "shaky": [[0.99]]}
        )

        assert status["phase"] == "Failed"
        assert status["message"] == 'Metric "steady" assessed Failed due to failed (1) > failureLimit (0)'
