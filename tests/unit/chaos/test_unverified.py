"""What is said, and done, when a fault could not be shown to be gone."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from chaos.actions import RemovePod
from chaos.faults.base import Kind
from chaos.faults.receipts import object_name
from chaos.observed import Observed, World
from chaos.plan.draft import Draft
from chaos.plan.receipts import advance, to_be_evicted
from chaos.plan.verdict import verdict
from rollout.api.chaos import ChaosRunStatus, Receipt
from rollout.api.meta import timestamp
from rollout.api.resources import ENVOY_FILTERS
from tests.unit.chaos.faults.cluster import NOW, Case, ephemeral, pod, sandbox_node, shop, world

POD = "web-v2-0"


def passed(case: Case, receipt: Receipt, kind: Kind, objects: Any, after: float) -> Draft:
    """One pass of a run that was stopped when the receipt was made."""
    status = ChaosRunStatus(phase="Reverting", stopping="Aborted: x", stopping_at=timestamp(NOW))
    status = msgspec.structs.replace(status, receipts=(receipt,))
    run = msgspec.structs.replace(case.run, status=status)
    seen: World = world(objects, after=after)
    assert seen.now == NOW + timedelta(seconds=after)
    draft = Draft(Observed(world=seen, run=run, raw={}), {receipt.kind: kind})
    advance(draft, injecting=False)
    return draft


def injected(case: Case, *names: str) -> Receipt:
    made = case.receipt(world(shop(sandbox_node())), *names)
    return msgspec.structs.replace(made, state="Proved", proof="seen")


def test_a_filter_that_stays_is_named_with_the_command_that_removes_it() -> None:
    case = Case({"httpLatency": {"delay": "1s"}}, seconds=3600)
    receipt = injected(case, POD, "web-v2-1")
    seen = world(shop(sandbox_node()))
    (create,) = case.kind.inject(receipt, case.context, seen)
    made: Any = create.object  # type: ignore[union-attr]
    early = passed(case, receipt, case.kind, [*shop(sandbox_node()), made], 59)
    assert early.status.receipts[0].state == "Proved"
    late = passed(case, receipt, case.kind, [*shop(sandbox_node()), made], 61)
    assert late.status.receipts[0].state == "Unverified"
    (event,) = [one for one in late.events if one.reason == "RevertUnverified"]
    assert event.warning
    name = made["metadata"]["name"]
    assert f"kubectl delete envoyfilter {name} -n shop" in event.message
    assert late.status.conditions[0].type == "RevertUnverified"
    assert name in (late.status.conditions[0].message or "")
    assert ENVOY_FILTERS.kind == made["kind"]


def test_a_workload_that_stays_small_is_named_with_the_command_that_scales_it() -> None:
    case = Case({"scaleDown": {"replicas": 2}}, target={"workloadRef": {"kind": "Rollout", "name": "web"}})
    receipt = Receipt(id="x", fault="it", kind="scaleDown", undo={"original": 4, "replicas": 2, "ready": 4})
    victim = msgspec.structs.replace(receipt.victim, kind="Rollout", namespace="shop", name="web")
    said = case.kind.advice(msgspec.structs.replace(receipt, victim=victim))
    assert said == "it had 4 replicas: kubectl scale rollout/web -n shop --replicas=4"


def stuck(receipt: Receipt) -> Any:
    """A pod with an injector that has ended without having verified anything."""
    words = {"verified": False, "outcome": "stuck", "message": "the qdisc could not be removed"}
    return pod(POD, "v2", **ephemeral(object_name(receipt.id), words=words))


def test_a_pod_is_evicted_until_it_is_gone_and_the_injectors_words_are_told() -> None:
    case = Case({"networkLatency": {"delay": "1s"}}, seconds=3600)
    receipt = injected(case, POD)
    late = passed(case, receipt, case.kind, [stuck(receipt)], 61)
    given_up = late.status.receipts[0]
    assert given_up.state == "Unverified"
    assert "could not be removed" in given_up.message
    (event,) = [one for one in late.events if one.reason == "RevertUnverified"]
    assert f"Pod shop/{POD} is evicted" in event.message
    phase, message = verdict(case.run.spec, late.status)
    assert (phase, "could not be removed" in message) == ("Error", True)

    again = passed(case, given_up, case.kind, [stuck(receipt)], 62)
    (removal,) = again.actions
    assert isinstance(removal, RemovePod)
    assert (removal.name, removal.evict) == (POD, True)
    assert to_be_evicted(again) == [f"Pod/{POD} is still to be evicted ({given_up.message})"]

    gone = passed(case, given_up, case.kind, [], 63)
    assert (gone.actions, to_be_evicted(gone)) == ([], [])


@pytest.mark.parametrize("fault", [{"networkLatency": {"delay": "1s"}}, {"containerKill": {}}])
def test_a_planned_receipt_whose_container_was_added_is_not_refused_after_the_deadline(fault: Any) -> None:
    case = Case(fault, seconds=60)
    running = {"containerStatuses": [{"name": "web", "state": {"running": {}}, "containerID": "a"}]}
    receipt = case.receipt(world([pod(POD, "v2", **running_pod(running))]), POD)
    receipt = msgspec.structs.replace(receipt, state="Planned")
    made = ephemeral(object_name(receipt.id))
    made["status"] |= running
    draft = passed(case, receipt, case.kind, [pod(POD, "v2", **made)], 61)
    assert draft.status.receipts[0].state not in {"Refused", "Planned"}
    untouched = passed(case, receipt, case.kind, [pod(POD, "v2", **running_pod(running))], 61)
    assert untouched.status.receipts[0].state == "Refused"


def running_pod(status: dict[str, Any]) -> dict[str, Any]:
    return {"spec": {"containers": [{"name": "web"}]}, "status": status}
