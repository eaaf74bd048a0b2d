from __future__ import annotations

from typing import Any

import pytest

from rollout.api.resources import EVENTS, JOBS, PODS
from rollout.sandbox.workloads import job
from rollout.sandbox.workloads.decision import Create, Delete
from rollout.sandbox.workloads.podmodel import Behaviour

from .builders import NOW, ago, owner, pod, suffixes
from .world import World, play


def body(**spec: Any) -> dict[str, Any]:
    pod_spec = {"restartPolicy": "Never", "containers": [{"name": "main", "image": "job:v1"}]}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "work", "namespace": "default"},
        "spec": {"template": {"spec": pod_spec}, **spec},
    }


def live(world: World) -> dict[str, Any]:
    return world.storage.get(JOBS, "default", "work")


def conditions(world: World) -> list[tuple[str, str]]:
    return [(c["type"], c.get("reason", "")) for c in live(world)["status"].get("conditions") or ()]


def succeeds(seconds: float = 5) -> Behaviour:
    return Behaviour(crashes_after=seconds, exit_code=0)


def fails(seconds: float = 1) -> Behaviour:
    return Behaviour(crashes_after=seconds, exit_code=1)


def test_a_job_runs_its_completions_with_the_parallelism_asked_for() -> None:
    async def story(world: World) -> None:
        most = 0

        def watch(*_: Any) -> None:
            nonlocal most
            most = max(most, sum(p["status"].get("phase") in {"Pending", "Running"} for p in world.pods()))

        world.storage.on_write(watch)
        await world.kube.create(JOBS, "default", body(completions=5, parallelism=2))
        await world.clock.sleep(6)
        assert live(world)["status"]["succeeded"] == 2
        await world.clock.sleep(30)
        assert ("Complete", "CompletionsReached") in conditions(world)
        assert live(world)["status"]["succeeded"] == 5
        assert "active" not in live(world)["status"]
        assert live(world)["status"]["completionTime"] > live(world)["status"]["startTime"]
        assert most == 2
        assert len(world.pods()) == 5

    play(story, succeeds())


def test_pods_of_a_job_carry_its_labels() -> None:
    async def story(world: World) -> None:
        await world.kube.create(JOBS, "default", body(completions=1))
        await world.clock.sleep(2)
        [made] = world.pods()
        assert made["metadata"]["labels"]["job-name"] == "work"
        assert (
            made["metadata"]["labels"]["batch.kubernetes.io/controller-uid"] == live(world)["metadata"]["uid"]
        )

    play(story, succeeds())


def test_failures_are_retried_with_a_growing_pause_until_the_backoff_limit() -> None:
    async def story(world: World) -> None:
        await world.kube.create(JOBS, "default", body(completions=1, backoffLimit=2))
        await world.clock.sleep(8)
        assert len(world.pods()) == 1
        await world.clock.sleep(8)
        assert len(world.pods()) == 2
        await world.clock.sleep(10)
        assert len(world.pods()) == 2
        await world.clock.sleep(60)
        assert len(world.pods()) == 3
        assert conditions(world) == [("Failed", "BackoffLimitExceeded")]
        assert live(world)["status"]["failed"] == 3
        reasons = {e["reason"] for e in world.storage.list(EVENTS, "default").items}
        assert "BackoffLimitExceeded" in reasons

    play(story, fails())


def test_a_job_that_is_active_too_long_fails_and_its_pods_go() -> None:
    async def story(world: World) -> None:
        await world.kube.create(JOBS, "default", body(completions=1, activeDeadlineSeconds=10))
        await world.clock.sleep(15)
        assert conditions(world) == [("Failed", "DeadlineExceeded")]
        assert world.pods() == []

    play(story, succeeds(1000))


def test_a_finished_job_is_deleted_after_its_ttl() -> None:
    async def story(world: World) -> None:
        await world.kube.create(JOBS, "default", body(completions=1, ttlSecondsAfterFinished=30))
        await world.clock.sleep(20)
        assert world.names(JOBS) == ["work"]
        await world.clock.sleep(25)
        assert world.names(JOBS) == []
        assert world.names(PODS) == []

    play(story, succeeds())


def test_a_suspended_job_runs_nothing_and_goes_on_when_resumed() -> None:
    async def story(world: World) -> None:
        await world.kube.create(JOBS, "default", body(completions=1, suspend=True))
        await world.clock.sleep(5)
        assert world.pods() == []
        assert conditions(world) == [("Suspended", "JobSuspended")]
        await world.kube.patch(JOBS, "default", "work", {"spec": {"suspend": False}})
        await world.clock.sleep(10)
        assert conditions(world) == [("Complete", "CompletionsReached")]

    play(story, succeeds())


def test_a_work_queue_ends_when_one_pod_succeeded_and_the_others_finished() -> None:
    def behaviour(pod: Any) -> Behaviour:
        return succeeds(5 if pod["metadata"]["name"].endswith(tuple("bcdfghjklmn")) else 20)

    async def story(world: World) -> None:
        await world.kube.create(JOBS, "default", body(parallelism=3))
        await world.clock.sleep(60)
        assert conditions(world)[0][0] == "Complete"
        assert live(world)["status"]["succeeded"] == 3

    play(story, behaviour)


@pytest.mark.parametrize(
    "spec",
    [
        {"completionMode": "Indexed"},
        {"podFailurePolicy": {"rules": []} | {"x": 1}},
        {"backoffLimitPerIndex": 1},
    ],
)
def test_what_the_sandbox_does_not_have_is_refused_by_name(spec: dict[str, Any]) -> None:
    message = job.unsupported(body(**spec))
    assert next(iter(spec)) in message


def observed(**status: Any) -> dict[str, Any]:
    found = body(completions=3, parallelism=3)
    found["metadata"] |= {"uid": "uid-work", "namespace": "shop"}
    return {**found, "status": {"startTime": ago(60), **status}}


def of(name: str, **more: Any) -> dict[str, Any]:
    return pod(name, owned_by=owner("work", "Job", "batch/v1"), **more)


def test_fewer_pods_are_kept_when_fewer_completions_are_left() -> None:
    done = [of(f"d{i}", phase="Succeeded") for i in range(2)]
    running = [of("a"), of("b", ready=False)]
    actions = job.decide(observed(), [*done, *running], NOW, suffixes()).actions
    assert [a.name for a in actions if isinstance(a, Delete)] == ["b"]
    assert not any(isinstance(a, Create) for a in actions)


def test_counts_never_fall_when_finished_pods_are_deleted() -> None:
    assert job.count(observed(succeeded=2, failed=1), []).succeeded == 2
    assert job.count(observed(succeeded=2, failed=1), []).failed == 1
