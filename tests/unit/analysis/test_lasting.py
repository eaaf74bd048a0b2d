"""Measurements that last: the record comes first, the answer replaces it, and nothing is left over, whoever dies when."""

import asyncio
import random  # noqa: TID251 - seeded

import pytest

from analysis.controller import AnalysisController
from analysis.providers.base import Progress, Reading
from rollout.api.meta import time_of
from rollout.api.resources import ANALYSIS_RUNS, CONFIG_MAPS
from rollout.errors import AlreadyExists, NotFound, ProviderError, Unavailable
from rollout.sandbox.inmemory import StorageKube
from tests import virtual
from tests.stories.faults import Faults, FaultyKube
from tests.unit.analysis.test_controller import Bench, Told

KINDS = ("crash-before", "crash-after", "conflict", "lost-reply", "unavailable", "throttled")


class Slow:
    """A lasting provider that makes a ConfigMap, and answers when that is `seconds` old."""

    def __init__(self, kube, clock, journal, answers, seconds=5.0):
        self.kube, self.clock, self.journal, self.answers, self.seconds = (
            kube,
            clock,
            journal,
            answers,
            seconds,
        )

    def asked(self, metric):
        return {"asked": metric.name}

    async def begin(self, metric, secrets, task):
        self.journal.append(("begin", metric.name, task.number, task.start_at, self.clock.now()))
        name = f"{task.run_uid}.{metric.name}.{task.number}"
        owner = {"apiVersion": "argoproj.io/v1alpha1", "kind": "AnalysisRun", "name": task.run.name}
        meta = {"name": name, "ownerReferences": [owner | {"uid": task.run_uid}]}
        born = {"data": {"at": self.clock.now().isoformat()}}
        try:
            await self.kube.create(CONFIG_MAPS, "prod", {"metadata": meta} | born)
        except AlreadyExists:
            self.journal.append(("was there", metric.name, task.number))
        return {"made": name}

    async def look(self, metric, secrets, task, metadata, now):
        answer = self.answers.get(metric.name, [Reading([1.0])])
        answer = answer[min(task.number, len(answer)) - 1]
        if callable(answer):
            return await answer()
        assert metadata["made"], "what begin has said is remembered"
        found = await self.kube.get(CONFIG_MAPS, "prod", metadata["made"])
        age = (now - time_of(found["data"]["at"])).total_seconds()
        if age < self.seconds:
            return Progress(f"{age:.0f} s old", {"seen": "yes"}, 1.0 if age < 60 else 60.0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def end(self, metric, task, metadata):
        self.journal.append(("end", metric.name, task.number))
        try:
            await self.kube.delete(CONFIG_MAPS, "prod", f"{task.run_uid}.{metric.name}.{task.number}")
        except NotFound:
            self.journal.append(("was gone", metric.name, task.number))


class SlowBench(Bench):
    def __init__(self, clock, seconds=5.0, **answers):
        super().__init__(clock)
        self.journal, self.answers, self.seconds = [], answers, seconds
        self.statuses = []
        self.storage.on_write(self._keep)

    def _keep(self, *_):
        status = self.status() if self.storage.exists(ANALYSIS_RUNS, "prod", "r") else {}
        if status not in ({}, *self.statuses[-1:]):
            self.statuses.append(status)

    def providers(self, kube):
        return {
            "prometheus": self.provider,
            "job": Slow(kube, self.clock, self.journal, self.answers, self.seconds),
        }

    def start(self, kube=None, **more):
        kube = kube or StorageKube(self.storage, manager="surefoot")
        self.controller = AnalysisController(kube, self.clock, self.providers(kube), recorder=Told(), **more)
        self.task = asyncio.create_task(self.controller.run())

    def create(self, *metrics, **spec):
        pod = {"containers": [{"name": "main", "image": "x"}]}
        defaults = {"provider": {"job": {"spec": {"template": {"spec": pod}}}}}
        return super().create(*(defaults | metric for metric in metrics or ({},)), **spec)

    def things(self):
        return [one["metadata"]["name"] for one in self.storage.list(CONFIG_MAPS, "prod").items]

    def steps(self, what):
        return [entry[:3] for entry in self.journal if entry[0] == what]

    async def quiet(self, seconds=120):
        await self.clock.sleep(seconds)


def story(**how):
    def decorate(body):
        def wrapped():
            async def main(clock):
                bench = SlowBench(clock, **how)
                try:
                    await body(bench)
                finally:
                    if bench.task is not None:
                        await bench.kill()

            virtual.run(main)

        wrapped.__name__, wrapped.__doc__ = body.__name__, body.__doc__
        return wrapped

    return decorate


@story()
async def test_the_record_is_saved_before_anything_is_begun(bench):
    bench.create()
    seen = []

    class Watching(StorageKube):
        async def create(self, resource, namespace, obj, *, dry_run=False):
            if resource is CONFIG_MAPS:
                (result,) = bench.status()["metricResults"]
                seen.append(result["measurements"][-1])
            return await super().create(resource, namespace, obj, dry_run=dry_run)

    bench.start(Watching(bench.storage, manager="surefoot"))
    status = await bench.until("Successful")

    (before,) = seen
    assert (before["phase"], before["metadata"]["number"]) == ("Running", "1")
    assert time_of(before["metadata"]["start-at"]) is not None
    assert before["metadata"]["cleanup"] == "pending"
    assert before["startedAt"] == status["metricResults"][0]["measurements"][0]["startedAt"]


@story(m=[Reading([7.0], {"rate": "9"})])
async def test_the_answer_replaces_the_record_and_the_clean_up_is_noted(bench):
    bench.create({"successCondition": "result[0] == 7"})
    bench.start()
    await bench.until("Successful")
    await bench.quiet()

    (result,) = bench.status()["metricResults"]
    (measurement,) = result["measurements"]
    assert (result["count"], result["successful"], measurement["value"]) == (1, 1, "[7]")
    assert measurement["metadata"].keys() == {"number", "start-at", "asked", "made", "seen", "rate"}
    assert bench.steps("begin") == [("begin", "m", 1)]
    assert bench.steps("end") == [("end", "m", 1)]
    assert bench.things() == []
    writes = bench.writes
    await bench.quiet(2000)
    assert bench.writes == writes, "at rest nobody writes"


@story(seconds=20.0)
async def test_progress_is_told_at_most_every_two_seconds(bench):
    bench.create()
    bench.start()
    await bench.until("Successful")

    said = [
        status["metricResults"][0]["measurements"][0]["metadata"].get("progress") for status in bench.statuses
    ]
    distinct = {text for text in said if text}
    assert 8 <= len(distinct) <= 11, "about every other of twenty looks"
    assert said[-1] is None, "an answer has no progress"


@story(seconds=1.0, m=[Reading([1.0]), ProviderError("gone"), Reading([1.0])])
async def test_each_repetition_has_its_own_number_and_begins_when_the_last_is_cleaned_up(bench):
    bench.create({"count": 3, "interval": "10s"})
    bench.start()
    status = await bench.until("Successful")

    (result,) = status["metricResults"]
    assert [m["phase"] for m in result["measurements"]] == ["Successful", "Error", "Successful", "Successful"]
    assert (result["count"], result["error"]) == (3, 1)
    order = [entry[:3:2] for entry in bench.journal if entry[0] in {"begin", "end"}]
    await bench.quiet()
    assert order[:7] == [
        ("begin", 1),
        ("end", 1),
        ("begin", 2),
        ("end", 2),
        ("begin", 3),
        ("end", 3),
        ("begin", 4),
    ]
    assert bench.things() == []


@story(m=[Reading(None, phase="Failed", message="the thing says no")])
async def test_without_conditions_the_sources_own_verdict_counts(bench):
    bench.create()
    bench.start()
    status = await bench.until("Failed")
    assert status["metricResults"][0]["measurements"][0]["message"] == "the thing says no"


@story(m=[Reading([1.0], phase="Failed")])
async def test_conditions_beat_the_sources_own_verdict(bench):
    bench.create({"successCondition": "result[0] == 1"})
    bench.start()
    await bench.until("Successful")


@story(m=[Reading([1.0], inconclusive="the load was not reached")])
async def test_an_answer_that_decides_nothing_is_inconclusive_whatever_the_conditions_say(bench):
    bench.create({"successCondition": "result[0] == 1"})
    bench.start()
    status = await bench.until("Inconclusive")
    assert status["metricResults"][0]["measurements"][0]["message"] == "the load was not reached"


@story(seconds=1e6)
async def test_a_terminated_run_is_inconclusive_when_it_was_in_its_first_measurement(bench):
    bench.create()
    bench.start()
    await bench.clock.sleep(10)
    bench.storage.patch(ANALYSIS_RUNS, "prod", "r", {"spec": {"terminate": True}})
    status = await bench.until("Inconclusive")
    await bench.quiet(10)

    (result,) = status["metricResults"]
    assert result["message"] == "metric terminated before it had an answer"
    assert result["measurements"][0]["phase"] == "Inconclusive"
    assert (bench.steps("end"), bench.things()) == ([("end", "m", 1)], [])


@story(seconds=20.0)
async def test_a_terminated_run_with_answers_before_is_successful(bench):
    bench.create({"interval": "30s"})
    bench.start()
    await bench.clock.sleep(40)
    bench.storage.patch(ANALYSIS_RUNS, "prod", "r", {"spec": {"terminate": True}})
    status = await bench.until("Successful")
    await bench.quiet(10)

    (result,) = status["metricResults"]
    assert [m["phase"] for m in result["measurements"]] == ["Successful", "Inconclusive"]
    assert (result["message"], result["count"]) == ("metric terminated", 2)
    assert bench.things() == []


@story(seconds=1e6)
async def test_a_failing_metric_ends_the_lasting_one_beside_it(bench):
    bench.provider.answers = {"fast": [[0.0]]}
    prometheus = {"provider": {"prometheus": {"query": "up"}}, "initialDelay": "5s"}
    bench.create({}, prometheus | {"name": "fast", "successCondition": "result[0] == 1"})
    bench.start()
    status = await bench.until("Failed")
    await bench.quiet(10)
    assert [one["phase"] for one in status["metricResults"]] == ["Inconclusive", "Failed"]
    assert bench.things() == []


@story(seconds=1e6)
async def test_a_run_that_is_being_deleted_ends_what_it_has_begun(bench):
    run = bench.create()
    bench.storage.patch(ANALYSIS_RUNS, "prod", "r", {"metadata": {"finalizers": ["test/hold"]}})
    bench.start()
    await bench.clock.sleep(5)
    assert len(bench.things()) == 1
    bench.storage.delete(ANALYSIS_RUNS, "prod", "r")
    await bench.clock.sleep(5)
    assert bench.things() == []
    assert bench.steps("end") == [("end", "m", 1)], "once is enough"
    assert bench.storage.get(ANALYSIS_RUNS, "prod", "r")["metadata"]["uid"] == run["metadata"]["uid"]


@story(seconds=1e6)
async def test_a_measurement_beyond_a_day_is_given_up_as_error(bench):
    bench.create({"consecutiveErrorLimit": 0})
    bench.start()
    await bench.clock.sleep(24 * 3600 - 60)
    assert len(bench.things()) == 1
    await bench.clock.sleep(120)
    status = bench.status()
    assert status["phase"] == "Error"
    assert status["metricResults"][0]["measurements"][0]["message"] == "no answer within 24 h"
    assert bench.things() == []


@story()
async def test_what_passes_is_tried_again_and_a_call_that_hangs_is_cancelled(bench):
    hang = asyncio.Event().wait
    tries = iter([Unavailable("no connection"), "hang"])

    async def answer():
        turn = next(tries, None)
        if isinstance(turn, Exception):
            raise turn
        if turn == "hang":
            await hang()
        return Reading([1.0])

    bench.answers = {"m": [answer]}
    bench.create()
    bench.start()
    started = bench.clock.monotonic()
    status = await bench.until("Successful")
    assert 65 <= bench.clock.monotonic() - started < 75
    assert status["metricResults"][0]["error" if "error" in status["metricResults"][0] else "count"] == 1


@story()
async def test_a_defect_of_the_provider_is_an_error_and_is_cleaned_up(bench):
    async def broken():
        raise ZeroDivisionError("oh")

    bench.answers = {"m": [broken]}
    bench.create({"consecutiveErrorLimit": 0})
    bench.start()
    status = await bench.until("Error")
    await bench.quiet(10)
    message = status["metricResults"][0]["measurements"][0]["message"]
    assert message == "the provider failed: ZeroDivisionError: oh"
    assert bench.things() == []


@story()
async def test_a_clean_up_that_fails_is_tried_again_and_never_keeps_a_run_beyond_its_time(bench):
    class Broken(Slow):
        async def end(self, metric, task, metadata):
            self.journal.append(("end", metric.name, task.number))
            raise ProviderError("no")

    bench.providers = lambda kube: {"job": Broken(kube, bench.clock, bench.journal, {}, 1.0)}
    bench.create(ttlStrategy={"secondsAfterCompletion": 60})
    bench.start()
    await bench.until("Successful")
    await bench.clock.sleep(300)
    assert bench.status()["metricResults"][0]["measurements"][0]["metadata"]["cleanup"] == "pending"
    assert 50 <= len(bench.steps("end")) <= 62, "every five seconds"
    await bench.clock.sleep(120)
    assert not bench.storage.exists(ANALYSIS_RUNS, "prod", "r")


# --- start groups -------------------------------------------------------------------------------------


@story(seconds=3.0)
async def test_metrics_of_a_start_group_share_their_start_in_every_round(bench):
    group = {"startGroup": "g", "count": 2, "interval": "20s"}
    bench.create(group | {"name": "a"}, group | {"name": "b"}, {"name": "alone"})
    bench.start()
    await bench.until("Successful")

    starts = {entry[1:3]: entry[3] for entry in bench.journal if entry[0] == "begin"}
    assert starts["a", 1] == starts["b", 1] != starts["alone", 1]
    assert starts["a", 2] == starts["b", 2]
    begun = {entry[1:3]: entry[4] for entry in bench.journal if entry[0] == "begin"}
    assert (starts["a", 1] - begun["a", 1]).total_seconds() > 2.5, "there is time to make all ready"
    assert begun["alone", 1] >= starts["alone", 1]


@story(seconds=1.0, b=[ProviderError("away")])
async def test_an_error_in_a_start_group_is_not_made_up_for_alone(bench):
    group = {"startGroup": "g"}
    bench.create(group | {"name": "a"}, group | {"name": "b"})
    bench.start()
    await bench.until("Error")
    await bench.quiet()
    assert bench.steps("begin") == [("begin", "a", 1), ("begin", "b", 1)]
    assert bench.things() == []


# --- crashes ------------------------------------------------------------------------------------------


METRICS = ({"name": "a", "count": 2, "interval": "9s"}, {"name": "b"})


def carried_out(faults, seed, seconds=3.0, terminate_at=None):
    """The final status, the journal and what is left, with controllers that die as planned."""

    async def main(clock):
        bench = SlowBench(clock, seconds)
        bench.create(*METRICS)
        working = asyncio.create_task(processes(bench, faults))
        try:
            async with asyncio.timeout(900):
                while not bench.status().get("completedAt"):
                    await clock.sleep(0.5)
                    if terminate_at is not None and clock.monotonic() > 1000 + terminate_at:
                        bench.storage.patch(ANALYSIS_RUNS, "prod", "r", {"spec": {"terminate": True}})
            await clock.sleep(120)
        finally:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
        return bench

    return virtual.run(main, seed=seed)


async def processes(bench, faults):
    while True:
        crashed = asyncio.Event()
        kube = FaultyKube(StorageKube(bench.storage, manager="surefoot"), faults, crashed)
        running = asyncio.create_task(
            AnalysisController(kube, bench.clock, bench.providers(kube), recorder=Told()).run()
        )
        try:
            await crashed.wait()
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        await bench.clock.sleep(1.0)


def assert_sound(bench):
    status = bench.status()
    assert [r["count"] for r in status["metricResults"]] == [2, 1]
    for result in status["metricResults"]:
        assert [m["metadata"]["number"] for m in result["measurements"]] == ["1", "2"][: result["count"]]
        assert all("cleanup" not in m["metadata"] for m in result["measurements"]), "nothing is owed"
    assert bench.things() == [], "nothing is left"
    begun = [entry[1:3] for entry in bench.journal if entry[0] == "begin"]
    assert set(begun) == {("a", 1), ("a", 2), ("b", 1)}, "the same tasks, never a new one"


def survives(every):
    calm = Faults()
    assert_sound(carried_out(calm, seed=0))
    assert calm.count > 15
    for place, kind in enumerate(KINDS):
        for write in range(1 + place % every, calm.count + 1, every):
            bench = carried_out(Faults({write: kind}), seed=write)
            try:
                assert bench.status()["phase"] == "Successful"
                assert_sound(bench)
            except BaseException as error:
                error.add_note(f"{kind} at write {write} of {calm.count}")
                raise


def test_a_fault_before_or_after_some_writes_changes_nothing_but_the_time():
    survives(every=4)


@pytest.mark.slow
def test_a_fault_before_or_after_any_write_changes_nothing_but_the_time():
    survives(every=1)


@pytest.mark.parametrize("seed", range(15))
def test_many_faults_at_once_leave_a_sound_record_and_nothing_else(seed):
    drawn = random.Random(seed)
    plan = {write: drawn.choice(KINDS) for write in drawn.sample(range(1, 50), 15)}
    bench = carried_out(Faults(plan), seed=seed)
    assert bench.status()["phase"] == "Successful"
    assert_sound(bench)


@pytest.mark.parametrize("seed", range(15))
def test_a_termination_under_faults_leaves_nothing(seed):
    drawn = random.Random(seed)
    plan = {write: drawn.choice(KINDS) for write in drawn.sample(range(1, 25), 8)}
    bench = carried_out(Faults(plan), seed=seed, seconds=1e6, terminate_at=drawn.uniform(0.5, 20))
    assert bench.status()["phase"] in {"Inconclusive", "Successful"}, "Successful when nothing had begun"
    assert bench.things() == []
