"""The lease that injectors ask for: only a leader holds it, and only while the run goes on."""

from __future__ import annotations

from typing import Any

import pytest

from chaos.controller.lease import answer
from chaos.faults.kinds import kinds
from rollout.api.rollout import INSTANCE_ID
from rollout.errors import ConfigError
from rollout.manager import ControllerConfig, lease_url_of
from tests.unit.chaos.faults.cluster import Case, shop, world

UID = "5a0c"


def run(phase: str = "Injecting", *, uid: str = UID, **more: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "run", "uid": uid, **more.get("metadata", {})},
        "spec": more.get("spec", {}),
        "status": {"phase": phase, **more.get("status", {})},
    }


def said(*runs: dict[str, Any], uid: str = UID, instance_id: str = "", working: bool = True) -> int:
    return answer(uid, runs, instance_id=instance_id, working=working)


@pytest.mark.parametrize("phase", ["Checking", "Injecting"])
def test_a_run_that_goes_on_is_held(phase: str) -> None:
    assert said(run("Completed", uid="other"), run(phase)) == 200


@pytest.mark.parametrize(
    "one",
    [
        *(run(phase) for phase in ("", "Pending", "Reverting", "Recovering", "Completed")),
        run(status={"stopping": "Switch: engaged"}),
        run(spec={"abort": True}),
        run(metadata={"deletionTimestamp": "2026-01-01T00:00:00Z"}),
        run(metadata={"labels": {INSTANCE_ID: "another"}}),
        run(uid="another"),
        {},
    ],
)
def test_a_run_that_ends_or_is_not_ours_is_over(one: dict[str, Any]) -> None:
    assert said(one) == 410


def test_no_uid_is_no_run() -> None:
    assert said(run(uid=""), uid="") == 410


def test_our_own_instance_is_ours() -> None:
    assert said(run(metadata={"labels": {INSTANCE_ID: "blue"}}), instance_id="blue") == 200


def test_who_does_not_lead_cannot_know_and_neither_holds_nor_ends_it() -> None:
    assert said(run(), working=False) == 503
    assert said(working=False) == 503


def test_an_injector_is_told_the_address_of_its_own_run() -> None:
    case = Case({"networkLatency": {"delay": "1s"}})
    case.kind = kinds(lease_url="http://10.1.2.3:8090/")["networkLatency"]
    receipt = case.receipt(world(shop()), "web-v2-0")
    uid = case.run.metadata.uid
    assert f"--lease-url=http://10.1.2.3:8090/chaos/lease/{uid}" in receipt.undo["args"]


def test_the_address_is_an_option_or_a_variable_and_the_option_counts() -> None:
    served = ControllerConfig(address=":8090")
    environ = {"SUREFOOT_LEASE_URL": "http://10.1.2.3:8090"}
    assert lease_url_of(served, {}) == ""
    assert lease_url_of(served, environ) == "http://10.1.2.3:8090"
    given = ControllerConfig(address=":8090", lease_url="http://10.9.9.9:1")
    assert lease_url_of(given, environ) == "http://10.9.9.9:1"


@pytest.mark.parametrize("url", ["10.1.2.3:8090", "ftp://host", "http://", "http://host?a=b", "http://h#x"])
def test_an_address_that_cannot_be_asked_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="not the base of a URL"):
        lease_url_of(ControllerConfig(address=":8090", lease_url=url), {})


def test_a_lease_that_nobody_serves_is_refused() -> None:
    with pytest.raises(ConfigError, match="--metrics-address"):
        lease_url_of(ControllerConfig(lease_url="http://host:1"), {})
