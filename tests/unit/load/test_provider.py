"""The provider `loadTest` on in-memory storage: what it makes, how it reads the pod that counts, what it leaves."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta

import pytest

from analysis.load import lines, objects
from analysis.load.objects import LABEL, MAIN, ROLE_LABEL
from analysis.load.plan import decode
from analysis.providers.base import Lasting, Progress, Reading, Task
from analysis.providers.load_test import LoadTest
from analysis.providers.registry import lasting_providers
from rollout.api import crds
from rollout.api.analysis import Metric
from rollout.api.meta import Key
from rollout.api.resources import (
    ANALYSIS_RUNS,
    CONFIG_MAPS,
    CRDS,
    JOBS,
    PODS,
    ROLLOUTS,
    SECRETS,
    SERVICES,
    Resource,
)
from rollout.errors import BadRequest, ProviderError
from rollout.runtime.clock import SystemClock
from rollout.sandbox.inmemory import StorageKube
from rollout.sandbox.storage import Storage

START = datetime(2026, 11, 21, 12, 0, 5, tzinfo=UTC)
RESULT = {
    "rps": 198.0, "requests": 11_880, "failures": 12, "failRatio": 0.001, "p50": 8.0, "p95": 41.0, "p99": 120.0,
    "max": 300.0, "perName": {}, "errors": [], "model": "open", "users": 4, "duration": 60.0, "wantedRps": 200.0,
    "achievedRps": 198.0, "reached": True, "dropped": 0, "late": 0.2,
}  # fmt: skip


ROLLOUT = {
    "apiVersion": "argoproj.io/v1alpha1",
    "kind": "Rollout",
    "metadata": {"name": "web"},
    "spec": {
        "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "web", "image": "web"}]},
        },
        "strategy": {"canary": {"canaryService": "web-canary", "stableService": "web"}},
    },
}


def metric(**changes):
    body = {"target": {"url": "http://web"}, "requestsPerSecond": 200, "duration": "1m"} | changes
    return Metric(name="load", provider={"loadTest": body})


class Clock(SystemClock):
    """Five seconds before the start."""

    def now(self):
        return START - timedelta(seconds=5)


class World:
    """A storage, a provider, and a log that the test writes."""

    def __init__(self):
        self.clock = Clock()
        self.storage = Storage(self.clock)
        for crd in crds.crds():
            self.storage.create(CRDS, None, crd)
        rollout = self.storage.create(ROLLOUTS, "default", ROLLOUT)
        owner = {
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "Rollout",
            "name": "web",
            "uid": rollout["metadata"]["uid"],
        }
        run = {
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "AnalysisRun",
            "metadata": {"name": "web.run-1", "ownerReferences": [owner]},
            "spec": {"metrics": [{"name": "load", "provider": {"loadTest": {}}}]},
        }
        self.uid = self.storage.create(ANALYSIS_RUNS, "default", run)["metadata"]["uid"]
        self.task = self.numbered(1)
        self.log = ""
        self.kube = StorageKube(self.storage, log=self._read)
        self.provider = LoadTest(self.kube, self.clock)

    async def _read(self, *_):
        if not self.log:
            raise BadRequest("container is waiting to start")
        return self.log

    def numbered(self, number):
        return Task(
            run=Key("default", "web.run-1"), run_uid=self.uid, metric="load", number=number, start_at=START
        )

    async def begin(self, one, secrets=None, number=1):
        return await self.provider.begin(one, secrets or {}, self.numbered(number))

    async def end(self, one):
        await self.provider.end(one, self.task, {})

    async def look(self, one, seconds=10.0):
        return await self.provider.look(
            one, {}, self.task, {"target": "http://web"}, START + timedelta(seconds=seconds)
        )

    def names(self, resource: Resource) -> list[str]:
        return sorted(
            one["metadata"]["name"]
            for one in self.storage.list(resource, "default").items
            if LABEL in (one["metadata"].get("labels") or {})
        )

    async def pod(self, state, name="main", ip="127.0.0.9"):
        labels = {LABEL: objects.name_of(self.task.run, self.uid, "load", 1), ROLE_LABEL: MAIN}
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "labels": labels},
            "spec": {"containers": [{"name": "load", "image": "x"}]},
        }
        await self.kube.create(PODS, "default", pod)
        container = {
            "name": "load",
            "image": "x",
            "imageID": "",
            "ready": True,
            "restartCount": 0,
            "state": state,
        }
        status = {"phase": "Running", "podIP": ip, "containerStatuses": [container]}
        await self.kube.patch(PODS, "default", name, {"status": status}, subresource="status")


@pytest.fixture
def world():
    return World()


RUNNING = {"running": {"startedAt": "2026-11-21T12:00:00Z"}}
ENDED = {
    "terminated": {"exitCode": 1, "finishedAt": "2026-11-21T12:00:00Z", "startedAt": "2026-11-21T12:00:00Z"}
}


def test_it_is_a_lasting_provider_by_its_name(world):
    found = lasting_providers(world.kube, world.clock, {"SUREFOOT_LOAD_IMAGE": "mine/load:1"})
    assert isinstance(found["loadTest"], Lasting)
    assert found["loadTest"].asked(metric()) == {"load": "200 requests/s for 1m to http://web"}


async def test_one_process_is_a_config_map_and_a_job_that_the_run_owns(world):
    told = await world.begin(metric())
    name = told["loadTest"]
    assert told["target"] == "http://web"
    assert (world.names(CONFIG_MAPS), world.names(JOBS)) == ([name], [name])
    assert world.names(SERVICES) == world.names(SECRETS) == []
    for resource in (CONFIG_MAPS, JOBS):
        owner = world.storage.get(resource, "default", name)["metadata"]["ownerReferences"][0]
        assert (owner["kind"], owner["name"], owner["uid"]) == ("AnalysisRun", "web.run-1", world.uid)
    plan = decode(world.storage.get(CONFIG_MAPS, "default", name)["data"]["plan.json"])
    assert (plan.rate, plan.target, plan.start_at) == (200.0, "http://web", START.timestamp())


async def test_the_job_is_restricted_bounded_in_time_and_never_tried_twice(world):
    told = await world.begin(metric())
    spec = world.storage.get(JOBS, "default", told["loadTest"])["spec"]
    assert spec["backoffLimit"] == 0
    assert 60 < spec["activeDeadlineSeconds"] <= 60 + 10 + 15 + 5 + 121
    pod = spec["template"]["spec"]
    assert pod["restartPolicy"] == "Never"
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    container = pod["containers"][0]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }
    assert container["image"].startswith("surefoot/load:")


async def test_begin_may_be_repeated_and_another_measurement_has_other_names(world):
    first = await world.begin(metric())
    assert await world.begin(metric()) == first
    second = await world.begin(metric(), number=2)
    assert second["loadTest"] != first["loadTest"]
    assert len(world.names(JOBS)) == 2


@pytest.mark.parametrize("run", ["web.run-1", "a" * 253, "x.y.z", "web-"])
def test_names_are_dns_labels_whatever_the_run_is_called(run):
    name = objects.name_of(Key("default", run), "uid", "Load Test!", 12)
    assert len(objects.worker_name(name)) <= 57
    assert name.replace("-", "a").isalnum()
    assert name == name.lower().strip("-")


async def test_secret_arguments_travel_in_a_secret_and_nowhere_else(world):
    one = metric(headers=[{"key": "authorization", "value": "Bearer {{args.token}}"}])
    told = await world.begin(one, {"token": "s3cret", "other": "not mine"})
    secret = world.storage.get(SECRETS, "default", told["loadTest"])
    assert json.loads(base64.b64decode(secret["data"]["args.json"])) == {"token": "s3cret"}
    assert "s3cret" not in json.dumps(world.storage.get(CONFIG_MAPS, "default", told["loadTest"]))
    assert "s3cret" not in json.dumps(world.storage.get(JOBS, "default", told["loadTest"]))
    await world.end(one)
    assert world.names(SECRETS) == []


async def test_a_secret_that_would_break_the_header_is_refused_before_anything_is_made(world):
    one = metric(headers=[{"key": "authorization", "value": "Bearer {{args.token}}"}])
    with pytest.raises(ProviderError, match="line break"):
        await world.begin(one, {"token": "s3cret\n"})
    assert world.names(JOBS) == world.names(SECRETS) == []


async def test_a_pod_that_is_evicted_is_an_error(world):
    one = metric()
    await world.begin(one)
    await world.pod({})
    gone = {"phase": "Failed", "reason": "Evicted", "message": "no memory", "containerStatuses": None}
    await world.kube.patch(PODS, "default", "main", {"status": gone}, subresource="status")
    with pytest.raises(ProviderError, match="lost before it ran: Evicted: no memory"):
        await world.look(one)


async def test_a_locustfile_comes_in_line_or_from_the_users_config_map(world):
    def source(name):
        env = world.storage.get(JOBS, "default", name)["spec"]["template"]["spec"]["containers"][0]["env"]
        return next(one["valueFrom"] for one in env if one["name"] == "SUREFOOT_LOAD_LOCUSTFILE")

    closed = {"target": {"url": "http://web"}, "users": 2, "duration": "1m"}
    inline = Metric(name="load", provider={"loadTest": closed | {"locustfile": {"inline": "x = 1"}}})
    name = (await world.begin(inline))["loadTest"]
    assert source(name) == {"configMapKeyRef": {"name": name, "key": "locustfile.py"}}
    assert world.storage.get(CONFIG_MAPS, "default", name)["data"]["locustfile.py"] == "x = 1"
    ref = {"configMapRef": {"name": "mine", "key": "a.py"}}
    mine = Metric(name="load", provider={"loadTest": closed | {"locustfile": ref}})
    other = await world.begin(mine, number=2)
    assert source(other["loadTest"]) == {"configMapKeyRef": {"name": "mine", "key": "a.py"}}


async def test_workers_are_made_when_their_master_has_an_address(world):
    one = metric(workers=2)
    name = (await world.begin(one))["loadTest"]
    assert world.names(SERVICES) == [name]
    assert world.storage.get(SERVICES, "default", name)["spec"]["clusterIP"] == "None"
    assert world.names(JOBS) == [name]
    assert await world.look(one) == Progress("waiting for its pod")
    await world.pod(RUNNING)
    await world.look(one)
    await world.look(one)
    assert world.names(JOBS) == [name, f"{name}-workers"]
    workers = world.storage.get(JOBS, "default", f"{name}-workers")["spec"]
    assert (workers["parallelism"], workers["completions"]) == (2, 2)
    args = workers["template"]["spec"]["containers"][0]["args"]
    assert args[args.index("--master-host") + 1] == "127.0.0.9"


async def test_progress_is_what_the_pod_said_last(world):
    one = metric()
    await world.begin(one)
    await world.pod(RUNNING)
    assert await world.look(one, -3.0) == Progress("begins in 3 s")
    told = {
        "seconds": 42,
        "of": 60,
        "users": 9,
        "rps": 198.2,
        "p95": 41.0,
        "requests": 8000,
        "failRatio": 0.003,
    }
    world.log = f"Starting\n{lines.line('progress', told)}\n"
    assert await world.look(one) == Progress("42 s of 60 s, 198 requests/s, 0.3 % failed, p95 41 ms")


async def test_the_result_is_the_reading_and_its_course_stays_in_the_config_map(world):
    one = metric()
    name = (await world.begin(one))["loadTest"]
    await world.pod(RUNNING)
    rows = {
        "start": 1,
        "step": 1,
        "duration": 60.0,
        "rows": [{"t": 0, "rps": 198.0, "failRatio": 0.0, "p95": 41.0}],
    }
    world.log = "\n".join([lines.line("timeline", rows), lines.line("result", RESULT)])
    reading = await world.look(one)
    assert isinstance(reading, Reading)
    assert reading.value == RESULT
    assert reading.inconclusive == ""
    assert reading.metadata["configMap"] == name
    assert json.loads(reading.metadata["result"]) == RESULT
    await world.end(one)
    kept = world.storage.get(CONFIG_MAPS, "default", name)["data"]
    assert json.loads(kept["timeline.json"]) == rows
    assert json.loads(kept["result.json"]) == RESULT


async def test_a_load_that_was_not_reached_is_inconclusive_whatever_its_numbers(world):
    one = metric()
    await world.begin(one)
    await world.pod(RUNNING)
    world.log = lines.line("result", RESULT | {"reached": False, "achievedRps": 120.0})
    reading = await world.look(one)
    assert isinstance(reading, Reading)
    assert "120 of 200 requests/s" in reading.inconclusive


@pytest.mark.parametrize(
    ("state", "log", "seconds", "sentence"),
    [
        (
            ENDED,
            "ModuleNotFoundError: no module named x",
            9,
            "locust ended with 1 and without a result: ModuleNotF",
        ),
        (ENDED, "", 9, "locust ended with 1 and without a result"),
        (
            RUNNING,
            lines.line("failed", {"reason": "1 of 2 workers were lost"}),
            9,
            "failed: 1 of 2 workers were lost",
        ),
        (RUNNING, "still here", 60 + 10 + 15 + 120 + 31, "no result at the load test's deadline: still here"),
        (
            {"waiting": {"reason": "ErrImagePull"}},
            "",
            121,
            "its pod did not start within 120 s: ErrImagePull",
        ),
        (
            {"waiting": {"reason": "ErrImageNeverPull", "message": "not present"}},
            "",
            9,
            "the load test cannot run: pod .*: ErrImageNeverPull: not present; put the image where",
        ),
        (
            {
                "waiting": {
                    "reason": "CreateContainerConfigError",
                    "message": "container has runAsNonRoot and image will run as root",
                }
            },
            "",
            9,
            "the load test cannot run: pod .*runAsNonRoot and image will run as root; .*runAsUser",
        ),
    ],
)
async def test_what_gives_no_result_is_an_error_with_the_last_words(world, state, log, seconds, sentence):
    one = metric()
    await world.begin(one)
    await world.pod(state)
    world.log = log
    with pytest.raises(ProviderError, match=sentence):
        await world.look(one, seconds)


async def test_a_pod_that_waits_is_given_time_and_its_reason_is_told(world):
    one = metric()
    await world.begin(one)
    await world.pod({"waiting": {"reason": "ContainerCreating"}})
    assert await world.look(one, 100) == Progress("its pod starts (ContainerCreating)")


async def test_a_job_that_is_gone_or_has_failed_is_an_error(world):
    one = metric()
    name = (await world.begin(one))["loadTest"]
    condition = {"type": "Failed", "status": "True", "reason": "DeadlineExceeded", "message": "too long"}
    await world.kube.patch(
        JOBS, "default", name, {"status": {"conditions": [condition]}}, subresource="status"
    )
    with pytest.raises(ProviderError, match="the load test's Job failed: too long"):
        await world.look(one)
    await world.end(one)
    with pytest.raises(ProviderError, match="is gone; somebody deleted it"):
        await world.look(one)


async def test_no_pod_at_all_is_an_error_after_a_while(world):
    one = metric()
    await world.begin(one)
    assert await world.look(one, 119) == Progress("waiting for its pod")
    with pytest.raises(ProviderError, match="no pod came of the Job"):
        await world.look(one, 121)


async def test_the_end_deletes_all_but_the_result_and_may_come_twice_or_first(world):
    one = metric(workers=2)
    await world.end(one)
    await world.begin(one)
    await world.pod(RUNNING)
    await world.look(one)
    for _ in range(2):
        await world.end(one)
    assert world.names(JOBS) == world.names(SERVICES) == world.names(SECRETS) == []
    assert len(world.names(CONFIG_MAPS)) == 1


async def test_a_role_is_the_service_of_the_rollout_behind_the_run(world):
    one = metric(target={"role": "canary"})
    with pytest.raises(ProviderError, match=r'role canary: .*"web-canary" not found'):
        await world.begin(one)
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web-canary"},
        "spec": {
            "selector": {"app": "web"},
            "ports": [{"name": "http", "port": 8080}, {"name": "admin", "port": 9}],
        },
    }
    await world.kube.create(SERVICES, "default", service)
    assert (await world.begin(one))["target"] == "http://web-canary.default.svc:8080"
    named = metric(target={"role": "canary", "port": "admin"})
    assert (await world.begin(named, number=2))["target"] == "http://web-canary.default.svc:9"


async def test_a_run_of_nobody_has_no_roles(world):
    world.storage.patch(ANALYSIS_RUNS, "default", "web.run-1", {"metadata": {"ownerReferences": None}})
    with pytest.raises(ProviderError, match="no Rollout owns this AnalysisRun; use target"):
        await world.begin(metric(target={"role": "stable"}))
    assert world.names(JOBS) == []
