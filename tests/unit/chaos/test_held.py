"""Between plan and act pods may be lost: what would now take too many waits."""

from __future__ import annotations

import msgspec
import pytest

from chaos.observed import Observed
from chaos.plan.draft import Draft
from chaos.plan.receipts import advance
from rollout.api.chaos import FINALIZER, ChaosRunStatus
from tests.unit.chaos.faults.cluster import Case, shop, world


@pytest.mark.parametrize(("lost", "state"), [(0, "Injected"), (2, "Planned")])
def test_a_workload_that_has_lost_pods_since_is_not_scaled_down(lost: int, state: str) -> None:
    target = {"workloadRef": {"kind": "Rollout", "name": "web"}}
    case = Case({"scaleDown": {"replicas": 3}}, target=target, limits={"minReady": 2, "maxPercent": 100})
    objects = shop()
    pods = [one for one in objects if one["kind"] == "Pod" and one["metadata"]["name"].startswith("web")]
    receipt = case.receipt(world(objects), pods[0]["metadata"]["name"])
    fewer = receipt.undo["original"] - receipt.undo["replicas"]
    for one in pods[: lost and len(pods) - fewer - 1]:
        objects.remove(one)
    meta = msgspec.structs.replace(case.run.metadata, finalizers=(FINALIZER,))
    status = ChaosRunStatus(phase="Injecting", receipts=(msgspec.structs.replace(receipt, state="Planned"),))
    run = msgspec.structs.replace(case.run, metadata=meta, status=status)
    draft = Draft(Observed(world=world(objects), run=run, raw={}), {"scaleDown": case.kind})
    advance(draft, injecting=True)
    (after,) = draft.status.receipts
    assert after.state == state, after.message
    assert bool(draft.actions) == (state == "Injected")
    assert ("must stay" in after.message) == (state == "Planned")
