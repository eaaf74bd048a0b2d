"""Plans as values: what is decided from a snapshot, without any world around it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollout.api.codec import plain, view
from rollout.api.meta import key_of
from rollout.api.resources import DESTINATION_RULES, HTTP_ROUTES, VIRTUAL_SERVICES
from rollout.api.rollout import HASH_LABEL, Condition, Rollout
from rollout.api.workload import ReplicaSet, Service
from rollout.core.actions import CreateReplicaSet, Event, PatchReplicaSet, PatchRollout
from rollout.core.observed import Observed
from rollout.plan.plan import Plan, plan
from rollout.plan.status import phase_of
from tests.simulation.scenario import draw
from tests.stories.objects import canary, rollout

NOW = datetime(2026, 1, 5, 9, 0, 0, 250_000, tzinfo=UTC)


def snapshot(
    raw: dict[str, Any], *sets: ReplicaSet, status: Any = None, objects: Any = (), **more: Any
) -> Observed:
    meta = {**raw["metadata"], "uid": "u", "generation": 1, "resourceVersion": "5"}
    raw = {**raw, "metadata": meta, "status": status or {}}
    services = {o["metadata"]["name"]: view(o, Service) for o in objects if o["kind"] == "Service"}
    routes = {
        (resource, key_of(o)): o
        for o in objects
        for resource in (VIRTUAL_SERVICES, DESTINATION_RULES, HTTP_ROUTES)
        if o["kind"] == resource.kind
    }
    return Observed(
        now=NOW,
        rollout=view(raw, Rollout),
        raw=raw,
        replica_sets=sets,
        services=services,
        routes=routes,
        **more,
    )


def made(decision: Plan, *, pods: int | None = None) -> ReplicaSet:
    """The ReplicaSet that a plan creates, with `pods` available (default all)."""
    (obj,) = (one.object for one in decision.actions if isinstance(one, CreateReplicaSet))
    have = obj["spec"]["replicas"] if pods is None else pods
    count = {"replicas": have, "readyReplicas": have, "availableReplicas": have, "observedGeneration": 1}
    meta = {**obj["metadata"], "uid": "rs", "generation": 1, "creationTimestamp": "2026-01-05T09:00:00Z"}
    return view({**obj, "metadata": meta, "status": count}, ReplicaSet)


def after(seen: Observed, decision: Plan, *sets: ReplicaSet) -> Observed:
    """What is seen once the plan has been carried out."""
    raw = {**seen.raw, "status": plain(decision.status)}
    meta = {**raw["metadata"], "annotations": {"rollout.argoproj.io/revision": str(seen.sets.revision)}}
    raw["metadata"] = meta
    return Observed(now=seen.now, rollout=view(raw, Rollout), raw=raw, replica_sets=sets or seen.replica_sets)


def test_a_first_deploy_creates_its_set_in_full_and_counts_its_steps_as_done() -> None:
    seen = snapshot(rollout(canary({"setWeight": 20}, {"pause": {}})))
    decision = plan(seen)
    create, mark = decision.actions[1], decision.actions[0]
    assert isinstance(create, CreateReplicaSet)
    assert isinstance(mark, PatchRollout)
    assert create.object["metadata"]["name"] == f"web-{seen.sets.hash}"
    assert create.object["spec"]["replicas"] == 5
    assert create.object["spec"]["selector"]["matchLabels"] == {"app": "web", HASH_LABEL: seen.sets.hash}
    assert decision.status.current_step_index == 2
    assert decision.status.stable_rs == ""
    assert [event.reason for event in decision.events] == [
        "RolloutAddedToInformer",
        "RolloutUpdated",
        "NewReplicaSetCreated",
        "RolloutNotCompleted",
        "ScalingReplicaSet",
    ]


def test_a_first_deploy_is_promoted_when_it_is_up_and_then_there_is_nothing_to_do() -> None:
    seen = snapshot(rollout(canary({"setWeight": 20})))
    first = plan(seen)
    waiting = after(seen, first, made(first, pods=4))
    assert plan(waiting).actions == ()
    assert plan(waiting).status.stable_rs == ""
    up = after(seen, first, made(first))
    promoted = plan(up)
    assert promoted.again
    assert promoted.actions == ()
    assert promoted.status.stable_rs == seen.sets.hash
    rest = plan(after(up, promoted))
    assert rest.actions == ()
    last = plan(after(up, rest))
    assert (last.actions, last.events, last.status) == ((), (), after(up, rest).rollout.status)


def test_scaling_is_one_patch_with_the_version_that_was_read() -> None:
    seen = snapshot(rollout(canary()))
    first = plan(seen)
    up = after(seen, first, made(first))
    rest = after(up, plan(up))
    spec = {**rest.raw["spec"], "replicas": 8}
    more = msgspec.structs.replace(
        rest, raw={**rest.raw, "spec": spec}, rollout=view({**rest.raw, "spec": spec}, Rollout)
    )
    (patch,) = plan(more).actions
    assert patch == PatchReplicaSet(
        name=f"web-{seen.sets.hash}",
        resource_version="",
        replicas=8,
        annotations={"rollout.argoproj.io/desired-replicas": "8"},
    )


def test_a_pause_begins_at_the_next_whole_second_and_wakes_at_its_end() -> None:
    seen = snapshot(rollout(canary({"pause": {"duration": 10}})))
    first = plan(seen)
    up = after(seen, first, made(first))
    old = made(first)
    stable = after(up, plan(up))
    template = {
        "metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [{"name": "web", "image": "web:v2"}]},
    }
    raw = {**stable.raw, "spec": {**stable.raw["spec"], "template": template}}
    update = Observed(now=NOW, rollout=view(raw, Rollout), raw=raw, replica_sets=(old,))
    decision = plan(update)
    (pause,) = decision.status.pause_conditions
    assert (pause.reason, pause.start_time) == ("CanaryPauseStep", "2026-01-05T09:00:01Z")
    assert decision.wake_at == NOW.replace(microsecond=0) + timedelta(seconds=11)


@pytest.mark.parametrize(
    ("conditions", "spec", "expected"),
    [
        ([("InvalidSpec", "InvalidSpec")], {"paused": True}, ("Degraded", "InvalidSpec: why")),
        ([("Progressing", "RolloutAborted")], {"paused": True}, ("Degraded", "RolloutAborted: why")),
        ([("InvariantBroken", "InvariantBroken")], {}, ("Degraded", "InvariantBroken: why")),
        ([], {"paused": True}, ("Paused", "manually paused")),
        ([], {}, ("Progressing", "more replicas need to be updated")),
    ],
)
def test_the_phase_is_that_of_the_first_rule_that_holds(conditions: Any, spec: Any, expected: Any) -> None:
    seen = snapshot(rollout(canary(), **spec))
    told = tuple(
        Condition(type=type, status="True", reason=reason, message="why") for type, reason in conditions
    )
    assert phase_of(seen, msgspec.structs.replace(seen.rollout.status, conditions=told)) == expected


def test_what_is_missing_is_an_event_once_and_a_condition_for_as_long() -> None:
    seen = snapshot(rollout({"blueGreen": {"activeService": "web-active"}}))
    first = plan(seen)
    assert first.actions == ()
    assert first.status.phase == "Degraded"
    assert [event.reason for event in first.events] == ["InvalidSpec"]
    second = plan(after(seen, first))
    assert (second.actions, second.events, second.status) == ((), (), first.status)
    assert isinstance(first.events[0], Event)


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 100_000), st.integers(0, 3), st.booleans(), st.booleans())
def test_a_plan_of_anything_valid_never_raises_and_never_breaks_a_rule(
    seed: int, pods: int, abort: bool, promote: bool
) -> None:
    scenario = draw(seed)
    seen = snapshot(scenario.rollout(), objects=scenario.objects())
    first = plan(seen)
    assert not first.broken
    if not any(isinstance(one, CreateReplicaSet) for one in first.actions):
        return
    one = made(first, pods=pods)
    status = {
        **plain(first.status),
        "abort": abort,
        "promoteFull": promote,
        "stableRS": "gone" if abort else "",
    }
    later = snapshot(scenario.rollout(), one, status=status, objects=scenario.objects())
    assert not plan(later).broken
