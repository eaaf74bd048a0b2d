"""Job and cmd metrics in a whole small cluster: real Job controller, modelled pods, our controller killed at any write."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from analysis.controller import AnalysisController
from analysis.providers.cmd import Cmd
from analysis.providers.job import JobMetric
from rollout.api import crds
from rollout.api.meta import timestamp
from rollout.api.resources import ANALYSIS_RUNS, CRDS, JOBS, NAMESPACES, PODS
from rollout.errors import NotFound
from rollout.runtime.clock import LoopClock
from rollout.runtime.kube import Object
from rollout.sandbox.inmemory import StorageKube
from rollout.sandbox.storage import Storage
from rollout.sandbox.workloads.controllers import run_workloads
from rollout.sandbox.workloads.podmodel import Behaviour, PodModel
from tests import virtual
from tests.stories.faults import Faults, FaultyKube, Kind

DONE, BAD, NEVER_ENDS = Behaviour(crashes_after=3, exit_code=0), Behaviour(crashes_after=3), Behaviour()
KINDS: tuple[Kind, ...] = (
    "crash-before",
    "crash-after",
    "conflict",
    "lost-reply",
    "unavailable",
    "throttled",
)


class Cluster:
    """Storage, the Job controller, pods whose image says what they do, and our analysis controller."""

    def __init__(self, clock: LoopClock, faults: Faults | None = None) -> None:
        self.clock = clock
        self.faults = faults or Faults()
        self.storage = Storage(clock)
        self.logs: dict[str, str] = {}
        self.images = {"done": DONE, "bad": BAD, "endless": NEVER_ENDS}
        self.jobs_made: list[str] = []
        for crd in crds.crds():
            self.storage.create(CRDS, None, crd)
        self.storage.create(NAMESPACES, None, {"metadata": {"name": "prod"}})
        self.storage.on_write(self._note)

    def _note(self, *_: object) -> None:
        for job in self.storage.list(JOBS, "prod").items:
            if job["metadata"]["uid"] not in self.jobs_made:
                self.jobs_made.append(job["metadata"]["uid"])

    async def run(self, body: Callable[[Cluster], Awaitable[None]]) -> None:
        pods = PodModel(StorageKube(self.storage, manager="kubelet"), self.clock, self._behaviour)
        workloads = StorageKube(self.storage, manager="kcm")
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(pods.run()),
                group.create_task(run_workloads(workloads, self.clock, events=False)),
                group.create_task(self._ours()),
                group.create_task(self._garbage()),
            ]
            await body(self)
            for task in tasks:
                task.cancel()

    async def _garbage(self) -> None:
        while True:
            await self.clock.sleep(0.5)
            if self.storage.has_garbage:
                self.storage.collect_garbage()

    async def _ours(self) -> None:
        while True:
            crashed = asyncio.Event()
            ours = StorageKube(self.storage, manager="surefoot", log=self._log)
            kube = FaultyKube(ours, self.faults, crashed)
            providers = {"job": JobMetric(kube), "cmd": Cmd(kube)}
            running = asyncio.create_task(AnalysisController(kube, self.clock, providers).run())
            try:
                await crashed.wait()
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)
            await self.clock.sleep(1.0)

    def _behaviour(self, pod: Object) -> Behaviour:
        return self.images[pod["spec"]["containers"][0]["image"]]

    async def _log(self, namespace: str, name: str, container: str, tail: int | None) -> str:
        pod = self.storage.get(PODS, namespace, name)
        return self.logs.get(pod["spec"]["containers"][0]["image"], "")

    def create(self, *metrics: Object, **spec: Any) -> Object:
        run = {"metadata": {"name": "r"}, "spec": {"metrics": list(metrics), **spec}}
        return self.storage.create(ANALYSIS_RUNS, "prod", run)

    @property
    def status(self) -> Object:
        return self.storage.get(ANALYSIS_RUNS, "prod", "r").get("status") or {}

    def measurements(self) -> list[Object]:
        return [one for result in self.status["metricResults"] for one in result["measurements"]]

    def jobs(self) -> list[Object]:
        return list(self.storage.list(JOBS, "prod").items)

    async def ended(self, within: float = 600) -> str:
        async with asyncio.timeout(within):
            while not self.status.get("completedAt"):
                await self.clock.sleep(0.2)
        await self.clock.sleep(60)
        return self.status["phase"]


def job(image: str, **more: Any) -> Object:
    pod = {"containers": [{"name": "main", "image": image}]}
    return {
        "name": "m",
        "provider": {"job": {"spec": {"backoffLimit": 0, "template": {"spec": pod}}}},
        **more,
    }


def cmd(image: str, comparator: Object | None = None, **body: Any) -> Object:
    metric = {"name": "m", "provider": {"cmd": {"image": image, "command": ["curl", "x"], **body}}}
    return metric | ({"comparator": comparator} if comparator else {})


def story(body: Callable[[Cluster], Awaitable[None]]) -> Callable[[], None]:
    def wrapped() -> None:
        async def main(clock: LoopClock) -> None:
            await Cluster(clock).run(body)

        virtual.run(main)

    wrapped.__name__ = body.__name__
    return wrapped


@story
async def test_a_job_that_completes_is_successful_and_stays_for_its_log(cluster: Cluster) -> None:
    run = cluster.create(job("done"))
    assert await cluster.ended() == "Successful"

    (left,) = cluster.jobs()
    meta, pod = left["metadata"], left["spec"]["template"]["spec"]
    assert meta["name"] == f"{run['metadata']['uid']}.m.1"
    assert meta["labels"]["analysisrun.argoproj.io/uid"] == run["metadata"]["uid"]
    assert meta["annotations"]["analysisrun.argoproj.io/metric-name"] == "m"
    assert (pod["automountServiceAccountToken"], pod["securityContext"]["runAsNonRoot"]) == (False, True)
    assert cluster.measurements()[0]["metadata"]["job-name"] == meta["name"]
    assert cluster.measurements()[0]["value"] == '{"succeeded": 1, "failed": 0, "completed": true}'


@story
async def test_a_job_that_fails_is_failed(cluster: Cluster) -> None:
    cluster.create(job("bad"))
    assert await cluster.ended() == "Failed"
    assert cluster.measurements()[0]["message"] == (
        "the Job has failed: BackoffLimitExceeded: Job has reached the specified backoff limit"
    )


async def waits(cluster: Cluster, reason: str, message: str) -> None:
    """The kubelet says so of the pod that comes next."""
    while not (pods := cluster.storage.list(PODS, "prod").items):
        await cluster.clock.sleep(0.1)
    await cluster.clock.sleep(0.5)
    container = {"name": "main", "image": "x", "imageID": "", "ready": False, "restartCount": 0}
    status = {
        "phase": "Pending",
        "startTime": timestamp(cluster.clock.now()),
        "containerStatuses": [
            container | {"state": {"waiting": {"reason": reason, "message": message}}},
        ],
    }
    name = pods[0]["metadata"]["name"]
    cluster.storage.patch(PODS, "prod", name, {"status": status}, subresource="status")


@story
async def test_a_job_whose_image_cannot_be_had_is_inconclusive_and_gone(cluster: Cluster) -> None:
    cluster.images["endless"] = Behaviour(starts_in=1e6)
    cluster.create(job("endless"))
    await waits(cluster, "ImagePullBackOff", "no such image")
    assert await cluster.ended() == "Inconclusive"
    assert "container main: ImagePullBackOff: no such image" in cluster.measurements()[0]["message"]
    assert cluster.jobs() == []
    assert list(cluster.storage.list(PODS, "prod").items) == []


@story
async def test_a_job_whose_image_would_run_as_root_is_an_error_at_once_and_gone(cluster: Cluster) -> None:
    cluster.images["endless"] = Behaviour(starts_in=1e6)
    cluster.create(job("endless", consecutiveErrorLimit=0))
    await waits(
        cluster, "CreateContainerConfigError", "container has runAsNonRoot and image will run as root"
    )
    told = cluster.clock.monotonic()
    async with asyncio.timeout(60):
        while not cluster.status.get("completedAt"):
            await cluster.clock.sleep(0.2)
    assert cluster.clock.monotonic() - told < 10
    assert await cluster.ended() == "Error"
    message = cluster.measurements()[0]["message"]
    assert "container main: CreateContainerConfigError: container has runAsNonRoot" in message
    assert "runAsUser" in message
    assert (cluster.jobs(), list(cluster.storage.list(PODS, "prod").items)) == ([], [])


@story
async def test_a_job_that_lacks_a_config_map_is_an_error_when_it_does_not_come(cluster: Cluster) -> None:
    cluster.images["endless"] = Behaviour(starts_in=1e6)
    cluster.create(job("endless", consecutiveErrorLimit=0))
    await waits(cluster, "CreateContainerConfigError", 'configmap "later" not found')
    await cluster.clock.sleep(50)
    [running] = cluster.measurements()
    assert running["phase"] == "Running"
    assert 'configmap "later" not found' in running["metadata"]["progress"]
    assert await cluster.ended(within=30) == "Error"
    assert cluster.jobs() == []


@story
async def test_a_job_metric_without_the_right_to_see_pods_says_so_and_ends_with_its_job(
    cluster: Cluster,
) -> None:
    cluster.faults.denied.add(PODS)
    cluster.images["done"] = Behaviour(crashes_after=20, exit_code=0)
    cluster.create(job("done"))
    await cluster.clock.sleep(10)
    assert "cannot be seen: pods is forbidden" in cluster.measurements()[0]["metadata"]["progress"]
    assert await cluster.ended() == "Successful"


@story
async def test_a_terminated_job_metric_is_inconclusive_and_its_job_is_deleted(cluster: Cluster) -> None:
    cluster.create(job("endless"))
    await cluster.clock.sleep(10)
    assert cluster.measurements()[0]["metadata"]["progress"] == "pods: 1 active"
    cluster.storage.patch(ANALYSIS_RUNS, "prod", "r", {"spec": {"terminate": True}})
    assert await cluster.ended() == "Inconclusive"
    assert cluster.jobs() == []


@story
async def test_a_job_that_somebody_deletes_is_an_error_and_is_not_made_again(cluster: Cluster) -> None:
    cluster.create(job("endless", consecutiveErrorLimit=0))
    await cluster.clock.sleep(5)
    cluster.storage.delete(JOBS, "prod", cluster.jobs()[0]["metadata"]["name"])
    assert await cluster.ended() == "Error"
    assert "was deleted before it had ended" in cluster.measurements()[0]["message"]
    assert len(cluster.jobs_made) == 1


@story
async def test_the_last_ten_jobs_of_a_metric_stay_and_go_with_the_run(cluster: Cluster) -> None:
    cluster.create(job("done", count=13, interval="5s"))
    assert await cluster.ended() == "Successful"
    assert sorted(int(one["metadata"]["name"].rpartition(".")[2]) for one in cluster.jobs()) == [
        *range(4, 14)
    ]
    cluster.storage.delete(ANALYSIS_RUNS, "prod", "r")
    await cluster.clock.sleep(10)
    assert cluster.jobs() == []


@story
async def test_what_a_program_writes_is_compared_and_its_job_is_gone(cluster: Cluster) -> None:
    cluster.logs["done"] = "200\n"
    cluster.create(cmd("done", {"type": "int", "operator": "==", "value": "200"}))
    assert await cluster.ended() == "Successful"
    (measurement,) = cluster.measurements()
    assert measurement["message"].startswith('comparator int == "200" holds for')
    assert measurement["metadata"]["argv"] == "curl x"
    assert cluster.jobs() == []


@story
async def test_output_that_is_no_number_is_an_error_never_zero(cluster: Cluster) -> None:
    cluster.logs["done"] = "oops"
    cluster.create(
        cmd("done", {"type": "int", "operator": "<=", "value": "5"}) | {"consecutiveErrorLimit": 0}
    )
    assert await cluster.ended() == "Error"
    assert cluster.measurements()[0]["message"] == ('comparator int <= "5": "oops" is not a whole number')


@story
async def test_a_program_that_fails_has_its_exit_code_in_the_result(cluster: Cluster) -> None:
    cluster.logs["bad"] = "no"
    cluster.create(cmd("bad") | {"successCondition": "result.exitCode == 1 && result.stdout == 'no'"})
    assert await cluster.ended() == "Successful"


@story
async def test_without_conditions_an_exit_code_is_a_failure_even_when_the_output_would_compare(
    cluster: Cluster,
) -> None:
    cluster.logs["bad"] = "200"
    cluster.create(cmd("bad", {"type": "int", "operator": "==", "value": "200"}))
    assert await cluster.ended() == "Failed"
    assert cluster.measurements()[0]["message"] == "exit code 1"


@story
async def test_a_timeout_really_stops_a_program(cluster: Cluster) -> None:
    cluster.create(cmd("endless", timeout="8s"))
    started = cluster.clock.monotonic()
    assert await cluster.ended() == "Failed"
    assert cluster.clock.monotonic() - started < 60 + 15
    assert cluster.measurements()[0]["message"] == "no end within 8s"
    assert cluster.jobs() == []
    assert list(cluster.storage.list(PODS, "prod").items) == []


@story
async def test_a_program_that_never_starts_is_an_error(cluster: Cluster) -> None:
    cluster.images["endless"] = Behaviour(starts_in=1e6)
    cluster.create(cmd("endless", timeout="8s") | {"consecutiveErrorLimit": 0})
    assert await cluster.ended() == "Error"
    assert cluster.measurements()[0]["message"].startswith("the program had not started within 8s")


def survives(*, every: int) -> None:
    calm = Faults()
    carried_out(calm)
    assert calm.count >= 8
    for place, kind in enumerate(KINDS):
        for write in range(1 + place % every, calm.count + 1, every):
            try:
                carried_out(Faults({write: kind}))
            except BaseException as error:
                error.add_note(f"{kind} at write {write} of {calm.count}")
                raise


def carried_out(faults: Faults) -> None:
    async def body(cluster: Cluster) -> None:
        cluster.logs["done"] = "1"
        program = {**cmd("done", {"type": "int", "operator": "==", "value": "1"}), "name": "program"}
        cluster.create(job("done"), program)
        assert await cluster.ended() == "Successful"
        assert len(cluster.jobs_made) == 2, "exactly one Job for each"
        assert [
            one["metadata"]["annotations"]["analysisrun.argoproj.io/metric-name"] for one in cluster.jobs()
        ] == ["m"]
        assert all("cleanup" not in one["metadata"] for one in cluster.measurements())
        cluster.storage.delete(ANALYSIS_RUNS, "prod", "r")
        await cluster.clock.sleep(10)
        assert (cluster.jobs(), list(cluster.storage.list(PODS, "prod").items)) == ([], [])
        with pytest.raises(NotFound):
            cluster.storage.get(ANALYSIS_RUNS, "prod", "r")

    async def main(clock: LoopClock) -> None:
        await Cluster(clock, faults).run(body)

    virtual.run(main)


def test_a_fault_at_some_writes_still_makes_exactly_one_job_for_each_metric() -> None:
    survives(every=4)


@pytest.mark.slow
def test_a_fault_at_any_write_still_makes_exactly_one_job_for_each_metric() -> None:
    survives(every=1)
