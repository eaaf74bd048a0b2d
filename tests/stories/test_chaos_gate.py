"""Chaos as a gate of a release: the provider `chaos`, with all controllers at work."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from rollout.api.chaos import OPT_IN
from rollout.api.meta import time_of
from rollout.api.resources import ANALYSIS_RUNS, CHAOS_RUNS
from rollout.runtime.kube import Object
from rollout.sandbox.workloads.podmodel import Behaviour
from tests.stories.objects import canary, rollout
from tests.stories.schedule_world import ScheduleWorld, play
from tests.stories.world import NAMESPACE

START = datetime(2026, 10, 12, 9, tzinfo=UTC)
KILL = {
    "target": {"percent": "{{args.percent}}"},
    "args": [{"name": "percent", "value": "50"}],
    "duration": "10s",
    "steps": [{"faults": [{"name": "kill", "podDelete": {}}]}],
    "probes": [
        {
            "name": "serving",
            "mode": "During",
            "interval": "1s",
            "provider": {"http": {"url": "http://web/health"}},
            "successCondition": "result.status == 200",
            "tolerance": {"ratio": 0.9},
        }
    ],
}


def metric(name: str, **provider: Any) -> Object:
    return {"name": name, "provider": provider, "startGroup": "together"}


def stage(world: ScheduleWorld) -> None:
    world.images["*"] = Behaviour(ready_in=2.0)
    world.answers = {"web/health": {"status": 200, "latencyMs": 3.0}}
    chaos = {"templateName": "kill-some", "args": [{"name": "percent", "value": "{{args.percent}}"}]}
    world.apply(
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": NAMESPACE, "labels": {OPT_IN: "enabled"}},
        },
        {
            "apiVersion": "surefoot.dev/v1alpha1",
            "kind": "ChaosTemplate",
            "metadata": {"name": "kill-some", "namespace": NAMESPACE},
            "spec": KILL,
        },
        {
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "AnalysisTemplate",
            "metadata": {"name": "withstands", "namespace": NAMESPACE},
            "spec": {"args": [{"name": "percent"}], "metrics": [metric("chaos", chaos=chaos)]},
        },
        rollout(
            canary(
                {"setWeight": 50},
                {
                    "analysis": {
                        "templates": [{"templateName": "withstands"}],
                        "args": [{"name": "percent", "value": "50"}],
                    }
                },
            ),
            replicas=8,
        ),
    )


def chaos_run(world: ScheduleWorld) -> Object | None:
    found = world.list(CHAOS_RUNS)
    assert len(found) <= 1
    return found[0] if found else None


def phase_of(world: ScheduleWorld) -> str:
    run = chaos_run(world)
    return (run.get("status") or {}).get("phase", "") if run else ""


async def released(world: ScheduleWorld) -> None:
    stage(world)
    await world.phase("web", "Healthy")
    world.set_image("web", "web:v2")


def measurement(world: ScheduleWorld) -> Object:
    (run,) = world.list(ANALYSIS_RUNS, NAMESPACE)[:1]
    (result,) = run["status"]["metricResults"]
    return result["measurements"][-1]


def test_a_version_that_withstands_the_loss_of_half_its_pods_is_released():
    async def story(world: ScheduleWorld) -> None:
        await released(world)
        await world.until("it injects", lambda: phase_of(world) == "Injecting")
        run = chaos_run(world)
        assert run is not None
        victims = {one["workload"] for one in run["status"]["victims"]}
        assert len(run["status"]["victims"]) == 2
        assert all(world.status("web")["currentPodHash"] in name for name in victims)
        await world.until(
            "it tells how far",
            lambda: "serving" in (measurement(world).get("metadata") or {}).get("progress", ""),
        )
        await world.phase("web", "Healthy")
        assert world.sets()["web:v2"] == 8
        found = measurement(world)
        assert found["phase"] == "Successful"
        assert found["metadata"]["chaosRun"] == run["metadata"]["name"]
        begun = time_of(found["metadata"]["start-at"])
        injected = time_of(world.get(CHAOS_RUNS, run["metadata"]["name"])["status"]["injectedAt"])
        assert begun is not None
        assert injected is not None
        assert timedelta(seconds=-1) < injected - begun < timedelta(seconds=5)

    play(story, start=START)


def test_a_version_that_does_not_is_rolled_back_and_the_evidence_stays():
    async def story(world: ScheduleWorld) -> None:
        await released(world)
        await world.until("it injects", lambda: phase_of(world) == "Injecting")
        world.answers = {"web/health": {"status": 503, "latencyMs": 3.0}}
        await world.phase("web", "Degraded")
        await world.until("v1 alone", lambda: world.sets() == {"web:v1": 8, "web:v2": 0})
        assert measurement(world)["phase"] == "Failed"
        run = chaos_run(world)
        assert run is not None
        assert run["status"]["verdict"] == "Failed"

    play(story, start=START)


def test_an_aborted_release_takes_its_chaos_along():
    async def story(world: ScheduleWorld) -> None:
        await released(world)
        await world.until("it injects", lambda: phase_of(world) == "Injecting")
        world.command("web", {"abort": True})
        await world.until("it is undone", lambda: phase_of(world) == "Completed", within=120)
        run = chaos_run(world)
        assert run is not None
        assert run["spec"]["abort"] is True
        assert run["status"]["verdict"] != "Successful"
        assert "finalizers" not in run["metadata"]

    play(story, start=START)


@pytest.mark.parametrize("after", [1.0, 3.0, 5.0, 8.0, 13.0])
def test_a_killed_controller_goes_on_with_the_same_run(after: float):
    async def story(world: ScheduleWorld) -> None:
        await released(world)
        await world.until("there is a run", lambda: chaos_run(world) is not None)
        await world.clock.sleep(after)
        world.crash()
        await world.phase("web", "Healthy")
        assert world.sets()["web:v2"] == 8

    world = play(story, start=START)
    assert len(world.made) == 1
