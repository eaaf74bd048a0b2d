"""What `rollout import flagger` makes of our users' Canary and its Deployment, to the end of a release, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

import pytest
import yaml

from analysis.controller import AnalysisController
from analysis.providers.base import Progress, Reading, Task
from analysis.providers.job import JobMetric
from rollout.api.analysis import Metric
from rollout.api.meta import duration, time_of, timestamp
from rollout.api.resources import (
    ANALYSIS_RUNS,
    DEPLOYMENTS,
    JOBS,
    REPLICA_SETS,
    SERVICES,
    VIRTUAL_SERVICES,
    Resource,
)
from rollout.api.rollout import HASH_LABEL
from rollout.controller.rollout import RolloutController
from rollout.errors import ProviderError
from rollout.importers.flagger import JOB_IMAGE, Options, convert
from rollout.runtime.clock import LoopClock
from rollout.runtime.kube import Object
from rollout.sandbox.inmemory import StorageKube
from rollout.sandbox.workloads.podmodel import Behaviour
from tests import virtual
from tests.stories.faults import FaultyKube
from tests.stories.world import ROOT, Scripted, World

PRODUCTION = "production"
WEIGHTS = [10, 20, 30, 40, 50]
HOUR = 3600.0


class FlaggerWorld(World):
    """Real Jobs with modelled pods; load tests that last as long as they say; Prometheus as the story has it."""

    def __init__(self, clock: LoopClock, answer: Callable[[str], Any]) -> None:
        super().__init__(clock, answer=answer)
        self.prometheus = answer
        self.images = {"*": Behaviour(ready_in=2.0), JOB_IMAGE: Behaviour(crashes_after=1.0, exit_code=0)}
        self.loads: list[tuple[str, datetime]] = []
        """The canary's hash and the moment of every load test that was begun."""

    async def _controllers_once(self, crashed: asyncio.Event) -> None:
        kube = FaultyKube(StorageKube(self.storage, manager="surefoot"), self.faults, crashed)
        step = RolloutController(kube, self.clock, recorder=self.events)
        providers = {
            "prometheus": Scripted(self.prometheus, {}),
            "job": JobMetric(kube),
            "loadTest": Load(self),
        }
        measuring = AnalysisController(kube, self.clock, providers, recorder=self.events)
        async with asyncio.TaskGroup() as group:
            for one in (step.caches.run(), step.run(), measuring.run()):
                group.create_task(one)

    def pinned(self, service: str) -> str:
        """The version that a Service leads to."""
        return str(self.get(SERVICES, service, PRODUCTION)["spec"]["selector"].get(HASH_LABEL, ""))

    def weights(self) -> list[int]:
        route = self.get(VIRTUAL_SERVICES, "myapp", PRODUCTION)["spec"]["http"][0]["route"]
        return [int(one["weight"]) for one in route]

    async def taken_over(self) -> None:
        """The users' Deployment is there, the imported objects are applied, the Rollout has its place; a new image."""
        parts = documents("flagger-canary-parts.yaml")
        made = convert([*documents("flagger-canary.yaml"), *parts], Options())
        assert made.outcome == "approximate", made.notes
        self.apply(*parts, *made.objects)
        await self.phase("myapp", "Healthy", namespace=PRODUCTION)
        await self.until(
            "the Deployment has gone to zero", lambda: self.deployment()["spec"]["replicas"] == 0
        )
        assert self.sizes() == {"myapp:1.2.3": 4}

    def sizes(self) -> dict[str, int]:
        """Image -> wanted pods of the Rollout's own ReplicaSets."""
        ours = [
            one
            for one in self.list(REPLICA_SETS, PRODUCTION)
            if one["metadata"]["ownerReferences"][0]["kind"] == "Rollout"
        ]
        images = [one["spec"]["template"]["spec"]["containers"][0]["image"] for one in ours]
        return {image: one["spec"]["replicas"] for image, one in zip(images, ours, strict=True)}

    def deployment(self) -> Object:
        return self.get(DEPLOYMENTS, "myapp", PRODUCTION)

    def set_deployed(self, image: str) -> None:
        containers = [{**self.deployment()["spec"]["template"]["spec"]["containers"][0], "image": image}]
        change = {"spec": {"template": {"spec": {"containers": containers}}}}
        self.patch(DEPLOYMENTS, "myapp", change, namespace=PRODUCTION)


class Load:
    """The provider loadTest with a load that nobody sends: as long as the metric says, with an answer for each request."""

    def __init__(self, world: FlaggerWorld) -> None:
        self._world = world

    def asked(self, metric: Metric) -> dict[str, str]:
        return {"target": metric.provider["loadTest"]["target"]["url"]}

    async def begin(self, metric: Metric, secrets: Mapping[str, str], task: Task) -> dict[str, str]:
        assert metric.provider["loadTest"]["target"] == {"url": "http://myapp-canary.production:80"}
        now = self._world.clock.now()
        self._world.loads.append((self._world.pinned("myapp-canary"), now))
        return {"begun": timestamp(now)}

    async def look(
        self,
        metric: Metric,
        secrets: Mapping[str, str],
        task: Task,
        metadata: Mapping[str, str],
        now: datetime,
    ) -> Reading | Progress:
        begun, body = time_of(metadata["begun"]), metric.provider["loadTest"]
        assert begun is not None
        over = begun + timedelta(seconds=duration(body["duration"]))
        if now < over:
            return Progress("under way")
        return Reading({"requests": body["requestsPerSecond"] * 60})

    async def end(self, metric: Metric, task: Task, metadata: Mapping[str, str]) -> None:
        """Nothing of it exists."""


def documents(name: str) -> list[Object]:
    return list(yaml.safe_load_all((ROOT / "examples" / name).read_text(encoding="utf-8")))


def play(story: Callable[[FlaggerWorld], Any], answer: Callable[[str], Any]) -> FlaggerWorld:
    async def main(clock: LoopClock) -> FlaggerWorld:
        world = FlaggerWorld(clock, answer)
        await world.run(story)
        return world

    return virtual.run(main, seed=0)


def good(query: str) -> list[float]:
    """Milliseconds of the slowest requests, or percent of good ones."""
    return [120.0] if "histogram_quantile" in query else [99.9]


def test_the_imported_canary_goes_through_all_its_weights_and_is_promoted() -> None:
    async def story(world: FlaggerWorld) -> None:
        await world.taken_over()
        old = world.status("myapp", PRODUCTION)["stableRS"]
        seen: list[int] = []

        def note(_kind: str, resource: Resource, _old: Object | None, _new: Object | None) -> None:
            if resource.kind == VIRTUAL_SERVICES.kind:
                seen.append(world.weights()[1])

        world.storage.on_write(note)
        begun = world.clock.now()
        world.set_deployed("myapp:1.2.4")
        await world.until(
            "promoted", lambda: world.status("myapp", PRODUCTION)["stableRS"] != old, within=HOUR
        )
        await world.phase("myapp", "Healthy", namespace=PRODUCTION)
        new = world.status("myapp", PRODUCTION)["stableRS"]
        assert list(dict.fromkeys(seen))[:5] == WEIGHTS
        assert world.weights() == [100, 0]
        assert world.sizes()["myapp:1.2.4"] == 4
        assert world.pinned("myapp") == new
        assert sorted(world.runs(PRODUCTION).values()) == ["Successful"] * 5

        assert [version for version, _ in world.loads] == [new] * 5, "one load at each weight, on the canary"
        assert (world.clock.now() - begun) > timedelta(minutes=5), "each weight lasts a minute at least"
        for run in world.list(ANALYSIS_RUNS, PRODUCTION):
            results = {one["name"]: one["measurements"] for one in run["status"]["metricResults"]}
            assert set(results) == {
                "load-test",
                "integration-test",
                "request-success-rate",
                "request-duration",
            }
            assert all(len(one) == 1 for one in results.values()), "a check that has passed is not repeated"
        jobs = world.list(JOBS, PRODUCTION)
        assert len(jobs) == 5
        assert all(one["status"]["succeeded"] == 1 for one in jobs)

    play(story, good)


@pytest.mark.parametrize(
    ("answer", "failures"),
    [
        (lambda query: [900.0] if "histogram_quantile" in query else [99.9], 5),
        (lambda query: [120.0] if "histogram_quantile" in query else [97.0], 5),
        (lambda query: [], 5),
        (lambda query: ProviderError("prometheus: connection refused"), 0),
    ],
    ids=["slow", "failing", "no-data", "prometheus-away"],
)
def test_a_version_that_does_not_pass_the_threshold_goes_back(answer: Any, failures: int) -> None:
    async def story(world: FlaggerWorld) -> None:
        await world.taken_over()
        old = world.status("myapp", PRODUCTION)["stableRS"]
        world.set_deployed("myapp:1.2.4")
        await world.phase("myapp", "Degraded", namespace=PRODUCTION, within=HOUR)
        await world.until("home", lambda: world.weights() == [100, 0])
        assert world.status("myapp", PRODUCTION)["stableRS"] == old
        assert world.pinned("myapp") == old
        (run,) = world.list(ANALYSIS_RUNS, PRODUCTION)
        counts = [
            sum(one["phase"] == "Failed" for one in result["measurements"])
            for result in run["status"]["metricResults"]
        ]
        assert max(counts) == failures, "the threshold of five, of which the fifth is too many"
        await world.until("the old version has all its pods", lambda: world.sizes()["myapp:1.2.3"] == 4)

    play(story, answer)


def test_an_integration_test_that_fails_now_and_then_is_tried_again_up_to_the_threshold() -> None:
    async def story(world: FlaggerWorld) -> None:
        await world.taken_over()
        world.images[JOB_IMAGE] = Behaviour(crashes_after=1.0, exit_code=1)
        world.set_deployed("myapp:1.2.4")
        await world.until("it has failed twice", lambda: len(world.list(JOBS, PRODUCTION)) >= 2, within=HOUR)
        world.images[JOB_IMAGE] = Behaviour(crashes_after=1.0, exit_code=0)
        await world.until("the next weight", lambda: world.weights()[1] == 20, within=HOUR)
        assert not world.status("myapp", PRODUCTION).get("abort")
        world.images[JOB_IMAGE] = Behaviour(crashes_after=1.0, exit_code=1)
        await world.phase("myapp", "Degraded", namespace=PRODUCTION, within=HOUR)
        assert world.weights() == [100, 0]

    play(story, good)
