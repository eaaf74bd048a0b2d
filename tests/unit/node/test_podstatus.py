from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from rollout.sandbox.node.podstatus import (
    Container,
    Running,
    Terminated,
    Waiting,
    containers_of,
    phase,
    pod_status,
    should_restart,
)

NOW = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
RUN = Running(NOW)


def ended(code: int) -> Terminated:
    return Terminated(code, NOW)


def app(state: Any, **more: Any) -> Container:
    return Container("web", "web:v1", state, **more)


@pytest.mark.parametrize(
    ("policy", "states", "expected"),
    [
        ("Always", [Waiting()], "Pending"),
        ("Always", [RUN, Waiting()], "Pending"),
        ("Always", [RUN, RUN], "Running"),
        ("Always", [RUN, ended(1)], "Running"),
        ("Always", [ended(0)], "Running"),
        ("OnFailure", [ended(0), ended(0)], "Succeeded"),
        ("OnFailure", [ended(0), ended(1)], "Running"),
        ("Never", [ended(0), ended(0)], "Succeeded"),
        ("Never", [ended(0), ended(1)], "Failed"),
        ("Never", [RUN, ended(1)], "Running"),
    ],
)
def test_the_phase_follows_the_containers_and_the_restart_policy(
    policy: Any, states: list[Any], expected: str
) -> None:
    assert phase(policy, [], [app(state) for state in states]) == expected


def test_a_container_that_waits_for_its_restart_does_not_make_the_pod_pending_again() -> None:
    assert phase("Always", [], [app(Waiting("CrashLoopBackOff"), last=ended(1))]) == "Running"


@pytest.mark.parametrize(
    ("policy", "init", "expected"),
    [
        ("Always", RUN, "Pending"),
        ("Always", ended(1), "Pending"),
        ("Never", ended(1), "Failed"),
        ("Always", ended(0), "Running"),
    ],
)
def test_init_containers_come_first(policy: Any, init: Any, expected: str) -> None:
    assert phase(policy, [app(init)], [app(RUN)]) == expected


def test_a_pod_that_is_over_has_failed_or_succeeded_whatever_its_policy() -> None:
    assert phase("Always", [], [app(ended(0))], over=True) == "Succeeded"
    assert phase("Always", [], [app(ended(143))], over=True) == "Failed"
    assert phase("Always", [], [app(Waiting())], over=True) == "Failed"


@pytest.mark.parametrize(
    ("policy", "code", "again"),
    [("Always", 0, True), ("OnFailure", 0, False), ("OnFailure", 1, True), ("Never", 1, False)],
)
def test_restarts_follow_the_policy(policy: Any, code: int, again: bool) -> None:
    assert should_restart(policy, code) is again


def pod(**status: Any) -> dict[str, Any]:
    return {"spec": {"containers": [{"name": "web"}]}, "status": {"podIP": "127.7.0.9", **status}}


def conditions(status: dict[str, Any]) -> dict[str, str]:
    return {item["type"]: item["status"] for item in status["conditions"]}


def test_a_ready_pod_has_all_conditions_and_its_addresses() -> None:
    status = pod_status(pod(), [], [app(RUN, ready=True, started=True, id="x")], NOW, "127.7.0.1")
    assert set(conditions(status).values()) == {"True"}
    assert (status["podIP"], status["hostIP"], status["phase"]) == ("127.7.0.9", "127.7.0.1", "Running")
    assert status["startTime"] == "2026-01-05T09:00:00Z"
    [told] = status["containerStatuses"]
    assert (told["ready"], told["started"], told["restartCount"]) == (True, True, 0)
    assert told["state"] == {"running": {"startedAt": "2026-01-05T09:00:00Z"}}


def test_unready_containers_are_named() -> None:
    status = pod_status(pod(), [], [app(RUN)], NOW, "127.7.0.1")
    ready = next(item for item in status["conditions"] if item["type"] == "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "ContainersNotReady")
    assert ready["message"] == "containers with unready status: [web]"


def test_transition_times_move_only_when_the_status_turns() -> None:
    first = pod_status(pod(), [], [app(RUN)], NOW, "h")
    later = NOW + timedelta(seconds=30)
    same = pod_status(pod(**first), [], [app(RUN)], later, "h")
    assert same["conditions"] == first["conditions"]
    turned = pod_status(pod(**first), [], [app(RUN, ready=True)], later, "h")
    times = {item["type"]: item["lastTransitionTime"] for item in turned["conditions"]}
    assert times["Ready"] == "2026-01-05T09:00:30Z"
    assert times["PodScheduled"] == "2026-01-05T09:00:00Z"


def test_readiness_gates_hold_the_pod_back_until_somebody_sets_them() -> None:
    gated = pod()
    gated["spec"]["readinessGates"] = [{"conditionType": "example/gate"}]
    ready = app(RUN, ready=True)
    assert conditions(pod_status(gated, [], [ready], NOW, "h"))["Ready"] == "False"
    gated["status"]["conditions"] = [{"type": "example/gate", "status": "True"}]
    status = pod_status(gated, [], [ready], NOW, "h")
    assert conditions(status) == dict.fromkeys(conditions(status), "True")
    assert "example/gate" in conditions(status)


def test_a_finished_pod_is_not_ready_and_says_why() -> None:
    job = pod()
    job["spec"]["restartPolicy"] = "Never"
    status = pod_status(job, [], [app(ended(0))], NOW, "h")
    ready = next(item for item in status["conditions"] if item["type"] == "Ready")
    assert (status["phase"], ready["status"], ready["reason"]) == ("Succeeded", "False", "PodCompleted")


def test_a_new_agent_counts_what_ran_before_it_as_ended() -> None:
    before = {
        "containerStatuses": [
            {"name": "web", "restartCount": 2, "state": {"running": {"startedAt": "2026-01-05T08:00:00Z"}}}
        ]
    }
    [found] = containers_of(pod(**before), "containers", NOW)
    assert isinstance(found.state, Terminated)
    assert (found.state.exit_code, found.state.reason, found.restarts) == (137, "ContainerStatusUnknown", 2)


def test_a_new_agent_remembers_what_had_ended() -> None:
    finished = {"exitCode": 0, "finishedAt": "2026-01-05T08:00:00Z", "reason": "Completed"}
    before = {"containerStatuses": [{"name": "web", "restartCount": 1, "state": {"terminated": finished}}]}
    [found] = containers_of(pod(**before), "containers", NOW)
    assert found.state == Terminated(0, datetime(2026, 1, 5, 8, 0, tzinfo=UTC), None, "Completed")


def test_a_pod_nobody_has_started_yet_waits() -> None:
    [found] = containers_of(pod(), "containers", NOW)
    assert (found.state, found.restarts) == (Waiting(), 0)
