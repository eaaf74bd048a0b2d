from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaos.actions import AddEphemeralContainer
from chaos.faults.injector import IMAGE
from chaos.faults.kinds import kinds
from chaos.faults.netem import Shape
from chaos.faults.receipts import object_name
from chaos.injector.__main__ import parser
from chaos.observed import Evidence
from rollout.api.resources import PODS
from tests.unit.chaos.faults.cluster import NOW, Case, ephemeral, obj, pod, sandbox_node, shop, world

LATENCY = {"networkLatency": {"delay": "2s", "rate": 1000}}
LOSS = {"networkLoss": {"percent": 30}}
VICTIM = "web-v2-0"
VERIFIED = {"verified": True, "outcome": "reverted", "message": "verified gone", "packets": 12, "dropped": 3}


def receipt_and_container(fault: dict[str, Any]) -> tuple[Any, AddEphemeralContainer]:
    case, seen = Case(fault), world(shop())
    receipt = case.receipt(seen, VICTIM)
    (action,) = case.kind.inject(receipt, case.context, seen)
    assert isinstance(action, AddEphemeralContainer)
    return receipt, action


def injected(receipt: Any, *, undo: dict | None = None, **what: Any) -> dict[str, Any]:
    """The victim with its injector in some state, and maybe with the container that only reverts."""
    fields = ephemeral(object_name(receipt.id), **what)
    if undo is not None:
        more = ephemeral(object_name(receipt.id, "undo"), **undo)
        fields["spec"]["ephemeralContainers"] += more["spec"]["ephemeralContainers"]
        fields["status"]["ephemeralContainerStatuses"] += more["status"]["ephemeralContainerStatuses"]
    return pod(VICTIM, "v2", **fields)


def test_latency_runs_the_injector_with_net_admin_alone() -> None:
    _, action = receipt_and_container(LATENCY)
    security = action.container["securityContext"]
    assert security["capabilities"] == {"drop": ["ALL"], "add": ["NET_ADMIN"]}
    assert security["privileged"] is False
    assert security["allowPrivilegeEscalation"] is False
    assert security["runAsUser"] == 0
    assert "targetContainerName" not in action.container
    assert action.container["image"] == IMAGE


def test_its_arguments_are_those_that_the_injector_reads() -> None:
    fault = {
        "networkLatency": {
            "delay": "2s",
            "jitter": "100ms",
            "correlation": 25,
            "hosts": ["db.shop", "10.0.0.9"],
            "ports": [5432],
            "interface": "net1",
            "rate": 1000,
        }
    }
    _, action = receipt_and_container(fault)
    read = parser().parse_args(action.container["args"])
    assert read.command == "netem"
    assert read.deadline == (NOW + timedelta(seconds=60)).timestamp()
    assert (read.delay, read.jitter, read.correlation, read.loss) == (2000, 100, 25, 0)
    assert (read.host, read.port, read.interface) == (["db.shop", "10.0.0.9"], [5432], "net1")
    assert read.exempt == ["192.168.0.7"]
    assert read.limit == 4200
    assert read.qdisc == "netem"


def test_loss_has_no_delay() -> None:
    _, action = receipt_and_container(LOSS)
    read = parser().parse_args(action.container["args"])
    assert (read.loss, read.delay) == (30, 0)


def test_the_image_and_the_lease_can_be_said() -> None:
    case, seen = Case(LATENCY), world(shop())
    case.kind = kinds("registry.example/injector:1", "http://surefoot:8080")["networkLatency"]
    receipt = case.receipt(seen, VICTIM)
    (action,) = case.kind.inject(receipt, case.context, seen)
    assert isinstance(action, AddEphemeralContainer)
    assert action.container["image"] == "registry.example/injector:1"
    url = parser().parse_args(action.container["args"]).lease_url
    assert url == f"http://surefoot:8080/chaos/lease/{case.run.metadata.uid}"


@given(
    rate=st.integers(1, 100_000),
    delay=st.floats(0.001, 3600),
    jitter=st.floats(0, 3600),
)
def test_the_queue_holds_twice_what_is_under_way(rate: int, delay: float, jitter: float) -> None:
    shape = Shape(interface="eth0", rate=rate, hosts=(), ports=(), delay=delay, jitter=jitter)
    assert shape.limit >= 2 * rate * delay
    assert shape.limit >= 1000


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"delay": "0s"}, "neither a delay"),
        ({"delay": "2h"}, "at most 1h"),
        ({"delay": "1s", "jitter": "2s"}, "jitter no longer"),
        ({"delay": "1s", "interface": "--help"}, "not the name of an interface"),
        ({"delay": "1s", "interface": "eth0; reboot"}, "not the name of an interface"),
        ({"delay": "1s", "hosts": ["-x"]}, "neither a host name"),
        ({"delay": "1s", "hosts": ["a b"]}, "neither a host name"),
        ({"delay": "1s", "ports": [0]}, "ports must be"),
        ({"delay": "1s", "correlation": 101}, "correlation must be"),
        ({"delay": "1h", "rate": 1000}, "queue of over"),
    ],
)
def test_what_makes_no_sense_or_is_no_value_is_refused_and_said_before(how: dict, said: str) -> None:
    case, seen = Case({"networkLatency": how}), world(shop())
    assert said in case.refused(seen, VICTIM)
    assert any(said in one for one in case.obstacles(seen))


def test_a_pod_in_its_nodes_network_is_never_a_victim() -> None:
    host = pod(VICTIM, "v2", spec={"hostNetwork": True})
    assert "whole node" in Case(LATENCY).refused(world([host]), VICTIM)


def test_two_network_faults_never_meet_in_one_pod() -> None:
    first, seen = Case(LATENCY), world(shop())
    there = first.receipt(seen, VICTIM)
    second = Case({"name": "other", **LOSS})
    second.run = msgspec.structs.replace(
        second.run, status=msgspec.structs.replace(second.run.status, receipts=(there,))
    )
    second.context = msgspec.structs.replace(second.context, run=second.run)
    assert "network fault already" in second.refused(seen, VICTIM)
    assert second.receipt(seen, "web-v2-1").victim.name == "web-v2-1"


def test_it_is_added_once_and_not_after_the_deadline() -> None:
    receipt, _ = receipt_and_container(LATENCY)
    case = Case(LATENCY)
    assert case.kind.inject(receipt, case.context, world([injected(receipt)])) == ()
    assert case.kind.inject(receipt, case.context, world(shop(), after=60)) == ()
    assert case.kind.inject(receipt, case.context, world([])) == ()


@pytest.mark.parametrize(
    ("fault", "evidence", "words", "proof"),
    [
        (LATENCY, Evidence(delayed=7), None, "delayed 7 packets"),
        (LATENCY, None, VERIFIED, "delayed 12 packets"),
        (LATENCY, Evidence(delayed=0, aborted=3), None, ""),
        (LATENCY, None, None, ""),
        (LOSS, None, VERIFIED, "dropped 3 packets"),
        (LOSS, Evidence(delayed=7, aborted=0), None, ""),
    ],
)
def test_proof_is_what_the_qdisc_has_counted(
    fault: dict, evidence: Evidence | None, words: dict | None, proof: str
) -> None:
    receipt, _ = receipt_and_container(fault)
    seen = world([injected(receipt, words=words)], evidence={receipt.id: evidence} if evidence else {})
    said = Case(fault).kind.proof(receipt, seen)
    assert proof in said
    assert bool(said) == bool(proof)


def test_it_is_gone_when_the_injector_has_verified_it() -> None:
    receipt, _ = receipt_and_container(LATENCY)
    kind = Case(LATENCY).kind
    assert kind.gone(receipt, world([injected(receipt)])) == ""
    assert "verified gone" in kind.gone(receipt, world([injected(receipt, words=VERIFIED)]))
    unsure = {**VERIFIED, "verified": False}
    assert kind.gone(receipt, world([injected(receipt, words=unsure, code=1)])) == ""
    assert kind.gone(receipt, world([injected(receipt, state={"terminated": {"exitCode": 137}})])) == ""


def test_it_is_gone_with_its_pod_and_when_it_was_never_there() -> None:
    receipt, _ = receipt_and_container(LATENCY)
    kind = Case(LATENCY).kind
    assert "its network with it" in kind.gone(receipt, world([]))
    assert "no injector was ever added" in kind.gone(receipt, world([pod(VICTIM, "v2")]))
    assert kind.gone(receipt, world([], without=[PODS])) == ""


def test_undone_early_by_a_second_container() -> None:
    receipt, _ = receipt_and_container(LATENCY)
    kind = Case(LATENCY).kind
    (action,) = kind.revert(receipt, world([injected(receipt)], after=10))
    assert isinstance(action, AddEphemeralContainer)
    assert action.container["name"] == object_name(receipt.id, "undo")
    read = parser().parse_args(action.container["args"])
    assert (read.command, read.interface) == ("revert", "eth0")
    assert kind.revert(receipt, world([injected(receipt, undo={})], after=11)) == ()


def test_at_its_deadline_the_injector_is_given_time_to_undo_it_itself() -> None:
    receipt, _ = receipt_and_container(LATENCY)
    kind = Case(LATENCY).kind
    assert kind.revert(receipt, world([injected(receipt)], after=60)) == ()
    assert len(kind.revert(receipt, world([injected(receipt)], after=70))) == 1


def test_a_killed_injector_is_reverted_by_a_second_one() -> None:
    receipt, _ = receipt_and_container(LATENCY)
    kind = Case(LATENCY).kind
    killed = {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}
    assert len(kind.revert(receipt, world([injected(receipt, state=killed)], after=60))) == 1
    helped = injected(receipt, state=killed, undo={"words": VERIFIED})
    assert kind.revert(receipt, world([helped], after=61)) == ()
    assert "undo" in kind.gone(receipt, world([helped], after=61))


def test_while_an_injector_may_still_begin_nothing_counts_as_gone() -> None:
    """Its image is being pulled: it would add its qdisc after the other container has looked."""
    receipt, _ = receipt_and_container(LATENCY)
    kind = Case(LATENCY).kind
    waiting = {"waiting": {"reason": "ContainerCreating"}}
    assert kind.revert(receipt, world([injected(receipt, state=waiting)])) == ()
    assert kind.gone(receipt, world([injected(receipt, state=waiting, undo={"words": VERIFIED})])) == ""


def test_nothing_is_undone_twice() -> None:
    receipt, _ = receipt_and_container(LATENCY)
    kind = Case(LATENCY).kind
    for objects in ([], [pod(VICTIM, "v2")], [injected(receipt, words=VERIFIED)]):
        assert kind.revert(receipt, world(objects, after=99)) == ()


# --- preflight ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", ["baseline", "restricted"])
def test_pod_security_that_forbids_net_admin_is_said_with_what_to_use_instead(level: str) -> None:
    space = obj("Namespace", "shop", metadata={"labels": {"pod-security.kubernetes.io/enforce": level}})
    case = Case(LATENCY)
    (obstacle,) = case.kind.obstacles(case.fault, case.run, world(shop(space)))
    assert f"enforces the {level}" in obstacle.reason
    assert "httpLatency" in obstacle.instead


def test_privileged_or_unlabelled_namespaces_are_no_obstacle() -> None:
    space = obj(
        "Namespace", "shop", metadata={"labels": {"pod-security.kubernetes.io/enforce": "privileged"}}
    )
    assert Case(LATENCY).obstacles(world(shop(space))) == []
    assert Case(LATENCY).obstacles(world(shop())) == []


def test_the_sandbox_has_no_network_of_its_own() -> None:
    (reason,) = Case(LOSS).obstacles(world(shop(sandbox_node())))
    assert "share one network" in reason
