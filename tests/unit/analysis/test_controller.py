"""AnalysisRuns carried out on the sandbox's storage, on virtual time, with a provider whose answers are written down."""

import asyncio
import base64
import itertools
import math

import pytest

from analysis.controller import AnalysisController
from analysis.providers.base import Reading
from rollout.api import crds
from rollout.api.resources import ANALYSIS_RUNS, CRDS, NAMESPACES, SECRETS
from rollout.errors import Conflict, ProviderError
from rollout.sandbox.inmemory import StorageKube
from rollout.sandbox.storage import Storage
from tests import virtual


class Scripted:
    """Answers each metric from its list, the last answer again and again. Exceptions are raised, callables awaited."""

    def __init__(self, clock, **answers):
        self.answers = answers
        self.asked_at = []
        self.secrets = []
        self.running = self.most = 0
        self._clock = clock

    def asked(self, metric):
        return {"query": str(metric.provider["prometheus"]["query"])}

    async def measure(self, metric, secrets, now):
        answers = self.answers.get(metric.name, [[1.0]])
        taken = sum(name == metric.name for name, _ in self.asked_at)
        self.asked_at.append((metric.name, self._clock.monotonic()))
        self.secrets.append(dict(secrets))
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            answer = answers[min(taken, len(answers) - 1)]
            if callable(answer):
                answer = await answer()
            if isinstance(answer, Exception):
                raise answer
            return answer if isinstance(answer, Reading) else Reading(answer)
        finally:
            self.running -= 1


class Told:
    def __init__(self):
        self.events = []

    def emit(self, about, type, reason, message):
        self.events.append((type, reason, message))


class Bench:
    """Storage, a controller that can be killed and started again, and what it did."""

    def __init__(self, clock, **answers):
        self.clock = clock
        self.storage = Storage(clock)
        self.provider = Scripted(clock, **answers)
        self.told = Told()
        self.writes = 0
        self.task = None
        for crd in crds.crds():
            self.storage.create(CRDS, None, crd)
        self.storage.create(NAMESPACES, None, {"metadata": {"name": "prod"}})
        self.storage.on_write(self._count)

    def _count(self, *_):
        self.writes += 1

    def start(self, kube=None, **more):
        self.controller = AnalysisController(
            kube or StorageKube(self.storage, manager="surefoot"),
            self.clock,
            {"prometheus": self.provider},
            recorder=self.told,
            **more,
        )
        self.task = asyncio.create_task(self.controller.run())

    async def kill(self):
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    def create(self, *metrics, name="r", labels=None, **spec):
        defaults = {"name": "m", "provider": {"prometheus": {"query": "up"}}}
        body = {"metrics": [defaults | metric for metric in metrics or ({},)], **spec}
        meta = {"name": name, "namespace": "prod", "labels": labels or {}}
        return self.storage.create(
            ANALYSIS_RUNS,
            "prod",
            {"apiVersion": "argoproj.io/v1alpha1", "kind": "AnalysisRun", "metadata": meta, "spec": body},
        )

    def status(self, name="r"):
        return self.storage.get(ANALYSIS_RUNS, "prod", name).get("status") or {}

    async def until(self, phase, name="r", seconds=3600):
        async with asyncio.timeout(seconds):
            while self.status(name).get("phase") != phase:
                await self.clock.sleep(0.1)
        return self.status(name)


GOOD = {"successCondition": "result[0] >= 0.95"}


def story(test=None, **answers):
    """Runs a test's coroutine on a virtual loop with a bench."""

    def decorate(body):
        def wrapped():
            async def main(clock):
                bench = Bench(clock, **answers)
                try:
                    await body(bench)
                finally:
                    if bench.task is not None:
                        await bench.kill()

            virtual.run(main)

        wrapped.__name__ = body.__name__
        wrapped.__doc__ = body.__doc__
        return wrapped

    return decorate(test) if test else decorate


@story(m=[[0.99]])
async def test_a_run_is_measured_judged_and_told(bench):
    bench.create(GOOD | {"count": 3, "interval": "10s"})
    bench.start()
    status = await bench.until("Successful")

    result = status["metricResults"][0]
    assert (result["count"], result["successful"], result["phase"]) == (3, 3, "Successful")
    first = result["measurements"][0]
    assert (first["phase"], first["value"]) == ("Successful", "[0.99]")
    assert first["message"] == 'successCondition "result[0] >= 0.95" holds for [0.99]'
    assert first["metadata"] == {"query": "up"}
    times = [at for _, at in bench.provider.asked_at]
    assert [round(b - a) for a, b in itertools.pairwise(times)] == [10, 10]
    assert [reason for _, reason, _ in bench.told.events] == [
        "AnalysisRunRunning",
        "MetricSuccessful",
        "AnalysisRunSuccessful",
    ]


@story(m=[[0.99], [0.5]])
async def test_a_bad_value_fails_the_run_with_the_rule_that_decided(bench):
    bench.create(GOOD | {"count": 5, "interval": "10s"})
    bench.start()
    status = await bench.until("Failed")

    assert status["message"] == 'Metric "m" assessed Failed due to failed (1) > failureLimit (0)'
    assert "does not hold for [0.5]" in status["metricResults"][0]["measurements"][-1]["message"]
    assert ("Warning", "AnalysisRunFailed") in [event[:2] for event in bench.told.events]


@pytest.mark.parametrize(
    "answer", [ProviderError("refused"), [], [math.nan], None, TimeoutError(), ValueError("defect"), "text"]
)
def test_no_answer_of_any_kind_ever_passes(answer):
    @story(m=[answer])
    async def run(bench):
        bench.create(GOOD)
        bench.start()
        status = await bench.until("Error")
        assert len(bench.provider.asked_at) == 5
        assert "consecutiveErrors (5) > consecutiveErrorLimit (4)" in status["message"]

    run()


@story(m=[ProviderError("x"), ProviderError("x"), [1.0]])
async def test_a_source_that_comes_back_is_asked_again_and_the_run_goes_on(bench):
    bench.create(GOOD)
    bench.start()
    status = await bench.until("Successful")

    assert status["metricResults"][0]["error"] == 2
    assert "consecutiveError" not in status["metricResults"][0]


@story
async def test_a_controller_that_is_killed_goes_on_where_it_was(bench):
    bench.create(GOOD | {"count": 6, "interval": "10s"})
    for _ in range(4):
        bench.start()
        await bench.clock.sleep(13)
        await bench.kill()
        await bench.clock.sleep(4.5)
    bench.start()
    status = await bench.until("Successful")

    taken = [m["startedAt"] for m in status["metricResults"][0]["measurements"]]
    assert len(taken) == len(set(taken)) == 6
    assert len(bench.provider.asked_at) == 6


@story
async def test_measurements_are_an_interval_apart_also_where_it_is_no_whole_seconds(bench):
    intervals = {"half": 0.5, "odd": 1.5, "whole": 2.0}
    bench.create(*({"name": name, "count": 9, "interval": f"{each}s"} for name, each in intervals.items()))
    bench.start()
    await bench.until("Successful")

    for name, each in intervals.items():
        moments = [at for asked, at in bench.provider.asked_at if asked == name]
        apart = [after - before for before, after in itertools.pairwise(moments)]
        assert apart[1:] == pytest.approx([each] * 7, abs=0.1)


@story
async def test_two_metrics_are_measured_side_by_side(bench):
    async def slow():
        await bench.clock.sleep(5)
        return [1.0]

    bench.provider.answers = {"a": [slow], "b": [slow]}
    bench.create({"name": "a"}, {"name": "b"})
    bench.start()
    started = bench.clock.monotonic()
    await bench.until("Successful")

    assert bench.provider.most == 2
    assert bench.clock.monotonic() - started < 6


@story
async def test_no_more_than_the_bound_is_measured_at_once(bench):
    async def slow():
        await bench.clock.sleep(1)
        return [1.0]

    bench.provider.answers = {"m": [slow]}
    for n in range(12):
        bench.create(GOOD, name=f"r{n}")
    bench.start(measurements=3)
    for n in range(12):
        await bench.until("Successful", f"r{n}")

    assert bench.provider.most == 3


@story
async def test_a_terminated_run_stops_measuring_at_once(bench):
    stuck = asyncio.Event()
    cancelled = []

    async def hang():
        try:
            await stuck.wait()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    bench.provider.answers = {"m": [hang]}
    bench.create({"interval": "10s"})
    bench.start()
    await bench.until("Running")
    await bench.clock.sleep(1)
    bench.storage.patch(ANALYSIS_RUNS, "prod", "r", {"spec": {"terminate": True}})
    status = await bench.until("Successful")

    assert status["message"] == "Run Terminated"
    await bench.clock.sleep(1)
    assert cancelled == [True]


@story
async def test_a_deleted_run_leaves_nothing_behind(bench):
    stuck = asyncio.Event()
    bench.provider.answers = {"m": [stuck.wait]}
    bench.create()
    bench.start()
    await bench.until("Running")
    await bench.clock.sleep(1)
    bench.storage.delete(ANALYSIS_RUNS, "prod", "r")
    await bench.clock.sleep(1)

    assert bench.provider.running == 0


@story
async def test_killing_the_controller_ends_every_measurement(bench):
    stuck = asyncio.Event()
    bench.provider.answers = {"m": [stuck.wait]}
    bench.create()
    bench.start()
    await bench.clock.sleep(2)
    assert bench.provider.running == 1
    await bench.kill()
    assert bench.provider.running == 0


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        (
            {"metrics": [{"name": "m", "provider": {"web": {"url": "http://x"}}}]},
            "not supported yet: the provider web",
        ),
        (
            {"metrics": [{"name": "m", "provider": {"prometheus": {"query": "a"}}, "count": 2}]},
            "interval: Required",
        ),
        (
            {
                "metrics": [{"name": "m", "provider": {"prometheus": {"query": "{{args.x}}"}}}],
                "args": [{"name": "y", "value": "1"}],
            },
            'there is no argument "x"',
        ),
    ],
)
def test_a_spec_that_cannot_be_acted_on_ends_in_error_at_once_with_the_sentence(spec, sentence):
    @story
    async def run(bench):
        bench.create(**spec)
        bench.start()
        status = await bench.until("Error")
        assert sentence in status["message"]
        assert bench.provider.asked_at == []
        assert bench.told.events[0][:2] == ("Warning", "AnalysisRunError")

    run()


@story
async def test_a_secret_reaches_the_provider_and_nothing_else(bench):
    bench.storage.create(
        SECRETS,
        "prod",
        {
            "metadata": {"name": "s", "namespace": "prod"},
            "data": {"k": base64.b64encode(b"hunter2").decode()},
        },
    )
    bench.provider.answers = {
        "m": [ProviderError("401 for hunter2"), Reading(["x-hunter2-y"], {"a": "hunter2"})]
    }
    headers = [{"key": "Authorization", "value": "Bearer {{args.token}}"}]
    bench.create(
        {
            "provider": {"prometheus": {"query": "up", "headers": headers}},
            "successCondition": "len(result) == 1",
        },
        args=[{"name": "token", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}],
    )
    bench.start()
    await bench.until("Successful")

    assert bench.provider.secrets == [{"token": "hunter2"}] * 2
    assert "hunter2" not in str(bench.storage.get(ANALYSIS_RUNS, "prod", "r"))
    assert "hunter2" not in str(bench.told.events)


@story
async def test_a_missing_secret_is_an_error_that_heals(bench):
    headers = [{"key": "A", "value": "{{args.token}}"}]
    bench.create(
        {"provider": {"prometheus": {"query": "up", "headers": headers}}},
        args=[{"name": "token", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}],
    )
    bench.start()
    await bench.clock.sleep(15)
    message = bench.status()["metricResults"][0]["measurements"][0]["message"]
    assert message.startswith('the Secret "s" of argument "token": ')
    bench.storage.create(
        SECRETS, "prod", {"metadata": {"name": "s", "namespace": "prod"}, "data": {"k": "eA=="}}
    )
    await bench.until("Successful")
    assert bench.provider.secrets == [{"token": "x"}]


@story
async def test_a_completed_run_is_deleted_when_its_time_is_over_and_not_before(bench):
    bench.create(GOOD, ttlStrategy={"secondsAfterCompletion": 60})
    bench.start()
    await bench.until("Successful")
    await bench.clock.sleep(50)
    assert bench.storage.exists(ANALYSIS_RUNS, "prod", "r")
    await bench.clock.sleep(15)
    assert not bench.storage.exists(ANALYSIS_RUNS, "prod", "r")


@story
async def test_a_run_of_another_instance_is_left_alone(bench):
    bench.create(GOOD, labels={"argo-rollouts.argoproj.io/controller-instance-id": "other"})
    bench.start()
    await bench.clock.sleep(60)

    assert bench.status() == {}


@story
async def test_at_rest_nothing_is_written(bench):
    bench.create(GOOD)
    bench.create(GOOD | {"interval": "1h"}, name="slow")
    bench.start()
    await bench.until("Successful")
    await bench.clock.sleep(60)
    before = bench.writes
    await bench.clock.sleep(600)

    assert bench.writes == before


@story
async def test_a_measurement_is_recorded_once_however_often_its_write_is_refused(bench):
    class Refusing(StorageKube):
        left = 7

        async def patch(self, resource, *rest, **more):
            if resource is ANALYSIS_RUNS and self.left and bench.provider.asked_at:
                self.left -= 1
                raise Conflict("look again")
            return await super().patch(resource, *rest, **more)

    bench.create(GOOD | {"count": 2, "interval": "30s"})
    bench.start(kube=Refusing(bench.storage, manager="surefoot"))
    status = await bench.until("Successful")

    assert status["metricResults"][0]["count"] == 2
    assert len(bench.provider.asked_at) == 2


@story
async def test_foreign_changes_to_the_run_survive(bench):
    bench.create(GOOD | {"count": 3, "interval": "10s"})
    bench.start()
    await bench.until("Running")
    bench.storage.patch(
        ANALYSIS_RUNS, "prod", "r", {"metadata": {"annotations": {"who": "me"}, "labels": {"x": "y"}}}
    )
    await bench.until("Successful")

    meta = bench.storage.get(ANALYSIS_RUNS, "prod", "r")["metadata"]
    assert (meta["annotations"]["who"], meta["labels"]["x"]) == ("me", "y")
