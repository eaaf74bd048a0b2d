"""Taking the place of a workload, as values."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from rollout.api.resources import DEPLOYMENTS
from rollout.api.rollout import RolloutStatus
from rollout.core.actions import PatchRollout, ScaleWorkload
from rollout.core.observed import Observed
from rollout.core.workload import Workload
from rollout.plan.draft import Draft
from rollout.plan.plan import plan
from rollout.plan.workload import scale_down
from tests.stories.objects import canary, rollout
from tests.unit.plan.test_plan import made, snapshot

FIVE = Workload(kind="Deployment", name="web", resource_version="9", generation=4, replicas=5)


def taking_over(mode: str | None, pods: int = 5, workload: Workload = FIVE, **spec: Any) -> Observed:
    """A Rollout whose first revision is stable and has so many available pods."""
    raw = rollout(canary(), **spec)
    ref = {"kind": "Deployment", "name": "web", **({"scaleDown": mode} if mode else {})}
    raw["spec"]["workloadRef"] = ref
    one = made(plan(snapshot(raw)), pods=pods) if raw["spec"]["replicas"] else None
    pod_hash = one.metadata.label("rollouts-pod-template-hash") if one is not None else ""
    sets = (one,) if one is not None else ()
    return snapshot(raw, *sets, status={"stableRS": pod_hash, "currentPodHash": pod_hash}, workload=workload)


def left(seen: Observed, phase: str = "Healthy", **status: Any) -> int | None:
    """The pods that the workload is given, None when it is left alone."""
    draft = Draft(seen)
    draft.status = replace(draft.status, phase=phase, **status)
    actions = list(scale_down(seen, draft))
    assert len(actions) == len(draft.events)
    if not actions:
        return None
    (one,) = actions
    assert one == ScaleWorkload(resource=DEPLOYMENTS, name="web", resource_version="9", replicas=one.replicas)
    return one.replicas


@pytest.mark.parametrize("mode", [None, "never"])
def test_never_leaves_the_workload_alone(mode: str | None) -> None:
    assert left(taking_over(mode)) is None


@pytest.mark.parametrize("mode", ["onsuccess", "progressively"])
def test_all_goes_when_the_rollout_is_healthy(mode: str) -> None:
    assert left(taking_over(mode)) == 0


@pytest.mark.parametrize("mode", ["onsuccess", "progressively"])
@pytest.mark.parametrize(
    ("phase", "status"), [("Degraded", {}), ("Healthy", {"abort": True}), ("Degraded", {"abort": True})]
)
def test_nothing_goes_while_the_rollout_is_aborted_or_degraded(
    mode: str, phase: str, status: dict[str, Any]
) -> None:
    assert left(taking_over(mode), phase, **status) is None


@pytest.mark.parametrize("mode", ["onsuccess", "progressively"])
def test_nothing_goes_while_a_person_holds_the_rollout_or_wants_no_pods(mode: str) -> None:
    assert left(taking_over(mode, paused=True)) is None
    assert left(taking_over(mode, replicas=0)) is None


@pytest.mark.parametrize(("pods", "stay"), [(0, None), (1, 4), (3, 2), (5, 1)])
def test_progressively_as_many_stay_as_are_lacking_and_the_last_until_the_end(
    pods: int, stay: int | None
) -> None:
    assert left(taking_over("progressively", pods), "Progressing") == stay
    assert left(taking_over("onsuccess", pods), "Progressing") is None


def test_pods_that_are_lost_after_the_rollout_was_healthy_still_count_as_lacking() -> None:
    assert left(taking_over("onsuccess", 3)) == 2


def test_a_workload_is_never_scaled_up_and_one_that_is_going_is_left_alone() -> None:
    assert left(taking_over("progressively", 0, replace(FIVE, replicas=2)), "Progressing") is None
    assert left(taking_over("onsuccess", 5, replace(FIVE, deleting=True))) is None


def test_the_size_of_the_workload_is_taken_over_before_anything_is_taken_from_it() -> None:
    raw = rollout(canary())
    raw["spec"] |= {"workloadRef": {"kind": "Deployment", "name": "web", "scaleDown": "progressively"}}
    del raw["spec"]["replicas"]
    decision = plan(snapshot(raw, workload=FIVE))
    (patch,) = [one for one in decision.actions if isinstance(one, PatchRollout)]
    assert patch.patch["spec"] == {"replicas": 5}
    assert patch.patch["metadata"]["annotations"]["rollout.argoproj.io/workload-generation"] == "4"
    assert not any(isinstance(one, ScaleWorkload) for one in decision.actions)
    assert decision.status.workload_observed_generation == "4"


def test_the_generation_that_was_seen_last_is_kept_while_the_workload_is_away() -> None:
    seen = taking_over("never")
    status = replace(seen.rollout.status, workload_observed_generation="3", observed_generation="1")
    gone = replace(seen, workload=None, rollout=replace(seen.rollout, status=status))
    assert plan(gone).status.workload_observed_generation == "3"
    assert RolloutStatus().workload_observed_generation == ""
