"""examples/chaos has one run for each kind of fault, and each is a valid one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from chaos.faults.receipts import kind_of
from rollout.api.chaos import FAULT_KINDS, ChaosRun
from rollout.api.codec import view
from rollout.core.validate_chaos import validate_run
from rollout.sandbox.mesh.envoy_filter import faults
from tests.unit.chaos.faults.cluster import Case, obj, sandbox_node, shop, world

EXAMPLES = Path(__file__).parents[4] / "examples" / "chaos"


def runs() -> list[dict[str, Any]]:
    files = sorted(EXAMPLES.glob("*.yaml"))
    found = [one for file in files for one in yaml.safe_load_all(file.read_text())]
    return [one for one in found if one["kind"] == "ChaosRun"]


def test_every_kind_of_fault_has_an_example() -> None:
    kinds = [
        kind_of(fault) for run in runs() for step in view(run, ChaosRun).spec.steps for fault in step.faults
    ]
    assert sorted(kinds) == sorted(FAULT_KINDS)


@pytest.mark.parametrize("run", runs(), ids=lambda run: run["metadata"]["generateName"])
def test_every_example_is_valid(run: dict[str, Any]) -> None:
    named = {**run, "metadata": {**run["metadata"], "name": "example"}}
    assert [str(one) for one in validate_run(named)] == []


@pytest.mark.parametrize(
    ("fault", "inbound"),
    [
        ({"httpLatency": {"delay": "1.5ms", "port": 8080}}, True),
        ({"httpAbort": {"percent": 1}}, True),
        ({"dependencyLatency": {"host": "web", "delay": "1h"}}, False),
        ({"dependencyOutage": {"host": "api.example.com", "port": 443}}, False),
    ],
)
def test_the_sandboxs_mesh_understands_what_mesh_faults_make(fault: dict, inbound: bool) -> None:
    service = obj("Service", "web", spec={"ports": [{"port": 80}]})
    seen, case = world(shop(sandbox_node(), service)), Case(fault)
    receipt = case.receipt(seen, "web-v2-0", "web-v2-1")
    (create,) = case.kind.inject(receipt, case.context, seen)
    (found,), problems = faults([create.object])  # type: ignore[union-attr]
    assert problems == []
    assert (len(found.inbound), len(found.outbound)) == ((1, 0) if inbound else (0, 1))
    assert found.selects("shop", {"app": "web", "rollouts-pod-template-hash": "v2"})
    assert not found.selects("shop", {"app": "web", "rollouts-pod-template-hash": "v1"})
