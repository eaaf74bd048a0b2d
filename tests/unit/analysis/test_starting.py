"""Which pods of a measurement will not start, in the kubelet's words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from analysis.providers.starting import GRACE_SECONDS, NO_POD_SECONDS, trouble, unmade

TAKEN = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
ROOT = "container has runAsNonRoot and image will run as root"


def pod(reason, message="", **status):
    waits = {"name": "main", "state": {"waiting": {"reason": reason, "message": message}}}
    return {
        "metadata": {"name": "p"},
        "status": {"startTime": "2026-11-21T12:00:00Z", "containerStatuses": [waits], **status},
    }


def seen(*pods, after=1.0):
    return trouble(pods, TAKEN + timedelta(seconds=after))


@pytest.mark.parametrize("reason", ["", "ContainerCreating", "PodInitializing"])
def test_a_container_whose_turn_comes_is_no_trouble(reason):
    assert seen(pod(reason)) is None
    assert seen({"metadata": {"name": "p"}, "status": {}}) is None
    running = {"name": "main", "state": {"running": {}}}
    assert seen(pod("", containerStatuses=[running])) is None


@pytest.mark.parametrize(
    "message",
    [
        ROOT,
        "container has runAsNonRoot and image has non-numeric user (app), cannot verify user is non-root",
        "container's runAsUser breaks non-root policy",
    ],
)
def test_an_image_that_runs_as_root_is_hopeless_at_once(message):
    found = seen(pod("CreateContainerConfigError", message))
    assert found.cause == "config"
    assert found.said.startswith(f"pod p, container main: CreateContainerConfigError: {message}; ")
    assert "runAsUser" in found.said


@pytest.mark.parametrize(
    "reason", ["CreateContainerConfigError", "CreateContainerError", "RunContainerError"]
)
def test_what_can_still_be_made_is_waited_for_and_not_for_ever(reason):
    missing = pod(reason, 'configmap "later" not found')
    assert seen(missing, after=GRACE_SECONDS).cause == "passing"
    found = seen(missing, after=GRACE_SECONDS + 1)
    assert found.cause == "config"
    assert "make what is missing" in found.said
    no_node = pod(reason, "x", startTime=None)
    assert seen(no_node, after=1e6).cause == "passing"


@pytest.mark.parametrize("reason", ["ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"])
def test_an_image_that_cannot_be_had(reason):
    found = seen(pod(reason, "no such image"))
    assert found.cause == "image"
    assert f"pod p, container main: {reason}: no such image; put the image where" in found.said


def test_a_first_failed_pull_and_a_crash_may_pass():
    assert seen(pod("ErrImagePull"), after=1e6).cause == "passing"
    assert seen(pod("CrashLoopBackOff"), after=1e6).cause == "passing"


def test_the_worst_of_all_containers_and_pods_counts_and_init_containers_do():
    init = {"name": "init", "state": {"waiting": {"reason": "CreateContainerConfigError", "message": ROOT}}}
    both = pod("ErrImagePull", initContainerStatuses=[init])
    assert seen(pod("ErrImagePull"), both).container == "init"


def test_a_pod_that_goes_says_nothing():
    going = pod("ErrImageNeverPull")
    going["metadata"]["deletionTimestamp"] = "2026-11-21T12:00:00Z"
    assert seen(going) is None


def job(**status):
    return {"metadata": {"name": "j", "namespace": "shop"}, "status": status}


def test_a_job_whose_pods_are_not_admitted_is_given_time_and_then_its_events_are_named():
    begun = job(startTime="2026-11-21T12:00:00Z")
    assert unmade(begun, TAKEN + timedelta(seconds=NO_POD_SECONDS)) == ""
    late = TAKEN + timedelta(seconds=NO_POD_SECONDS + 1)
    assert "kubectl describe job j -n shop" in unmade(begun, late)
    for had in ("active", "failed", "succeeded", "terminating"):
        assert unmade(job(startTime="2026-11-21T12:00:00Z", **{had: 1}), late) == ""
    assert unmade(job(), late) == "", "suspended, or not seen by its controller"
