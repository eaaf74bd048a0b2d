from __future__ import annotations

import pytest

from chaos.actions import AddEphemeralContainer
from chaos.faults.receipts import object_name
from tests.unit.chaos.faults.cluster import Case, ephemeral, obj, pod, sandbox_node, shop, world

KILL = {"containerKill": {}}


def kill_in(*objects: dict, **how: str) -> AddEphemeralContainer:
    case, seen = Case({"containerKill": how}), world(objects)
    (action,) = case.kind.inject(case.receipt(seen, "web-v2-0"), case.context, seen)
    assert isinstance(action, AddEphemeralContainer)
    return action


def test_the_signal_comes_from_an_ephemeral_container_beside_the_target() -> None:
    action = kill_in(pod("web-v2-0", "v2"), signal="INT")
    assert (action.namespace, action.name, action.uid) == ("shop", "web-v2-0", "uid-web-v2-0")
    container = action.container
    assert container["name"] == object_name(action.receipt)
    assert container["targetContainerName"] == "web"
    assert container["image"].startswith("surefoot/injector:")
    assert container["args"] == ["kill", "--signal=INT"]


def test_an_unknown_user_is_signalled_by_root_with_kill_alone() -> None:
    security = kill_in(pod("web-v2-0", "v2")).container["securityContext"]
    assert security["capabilities"] == {"drop": ["ALL"], "add": ["KILL"]}
    assert security["runAsUser"] == 0
    assert security["privileged"] is False
    assert security["allowPrivilegeEscalation"] is False


@pytest.mark.parametrize(
    "spec",
    [
        {"securityContext": {"runAsUser": 1000}},
        {
            "containers": [{"name": "web", "securityContext": {"runAsUser": 1000}}],
            "securityContext": {"runAsUser": 5},
        },
    ],
)
def test_a_known_user_needs_no_capability(spec: dict) -> None:
    security = kill_in(pod("web-v2-0", "v2", spec=spec)).container["securityContext"]
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert (security["runAsUser"], security["runAsNonRoot"]) == (1000, True)


def restarted(**status: object) -> dict:
    now = {"name": "web", "restartCount": 2, "containerID": "c://1", "state": {"running": {}}, **status}
    return pod("web-v2-0", "v2", status={"containerStatuses": [now]})


@pytest.mark.parametrize(
    ("now", "proof"),
    [
        (restarted(), ""),
        (restarted(restartCount=3), "restartCount 2 -> 3"),
        (restarted(containerID="c://2"), "c://1 -> c://2"),
        (restarted(containerID="", state={"waiting": {}}), ""),
        (restarted(restartCount=1), ""),
    ],
)
def test_proof_is_a_restart_since_the_receipt(now: dict, proof: str) -> None:
    case = Case(KILL)
    receipt = case.receipt(world(shop()), "web-v2-0")
    said = case.kind.proof(receipt, world([now]))
    assert proof in said
    assert bool(said) == bool(proof)


def test_a_pod_that_has_gone_proves_nothing_and_has_nothing_left() -> None:
    case = Case(KILL)
    receipt = case.receipt(world(shop()), "web-v2-0")
    assert case.kind.proof(receipt, world([])) == ""
    assert "has gone" in case.kind.gone(receipt, world([]))


def test_it_is_over_when_the_container_runs_and_no_signal_can_come_any_more() -> None:
    case = Case(KILL)
    receipt = case.receipt(world(shop()), "web-v2-0")
    name = object_name(receipt.id)
    assert case.kind.gone(receipt, world([pod("web-v2-0", "v2", **ephemeral(name))])) == ""
    ended = {"terminated": {"exitCode": 0}}
    assert "web is running" in case.kind.gone(
        receipt, world([pod("web-v2-0", "v2", **ephemeral(name, state=ended))])
    )
    assert (
        case.kind.gone(receipt, world([restarted(state={"waiting": {"reason": "CrashLoopBackOff"}})])) == ""
    )


def test_a_container_that_was_added_or_has_restarted_is_not_killed_again() -> None:
    case = Case(KILL)
    receipt = case.receipt(world(shop()), "web-v2-0")
    added = pod("web-v2-0", "v2", **ephemeral(object_name(receipt.id)))
    assert case.kind.inject(receipt, case.context, world([added])) == ()
    assert case.kind.inject(receipt, case.context, world([restarted(restartCount=3)])) == ()


@pytest.mark.parametrize(
    ("victim", "how", "said"),
    [
        (pod("p"), {"container": "sidecar"}, "no container 'sidecar'"),
        (pod("p", spec={"shareProcessNamespace": True}), {}, "share their processes"),
        (pod("p", status={"containerStatuses": []}), {}, "not running"),
        (pod("p", metadata={"deletionTimestamp": "2026-11-21T12:00:00Z"}), {}, "ending"),
    ],
)
def test_what_cannot_be_killed_is_refused(victim: dict, how: dict, said: str) -> None:
    assert said in Case({"containerKill": how}).refused(world([victim]), "p")


def test_kill_is_ignored_by_the_kernel_except_in_the_sandbox() -> None:
    case = Case({"containerKill": {"signal": "KILL"}})
    (reason,) = case.obstacles(world(shop()))
    assert "kernel ignores KILL" in reason
    assert case.obstacles(world(shop(sandbox_node()))) == []


def test_a_restricted_namespace_wants_the_user_to_be_known() -> None:
    labels = {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}
    space = obj("Namespace", "shop", metadata=labels)
    reasons = Case(KILL).obstacles(world(shop(space)))
    assert any("does not say as which user" in one for one in reasons)
    owner = [one for one in shop() if one["kind"] == "Rollout"]
    sets = [one for one in shop() if one["kind"] == "ReplicaSet"]
    known = pod("web-v2-0", "v2", spec={"securityContext": {"runAsUser": 1000}})
    assert Case(KILL).obstacles(world([*owner, *sets, known, space])) == []


def test_old_clusters_have_no_ephemeral_containers() -> None:
    old = obj("Node", "n", status={"nodeInfo": {"kubeletVersion": "v1.24.3"}})
    new = obj("Node", "n", status={"nodeInfo": {"kubeletVersion": "v1.34.0+k3s1"}})
    assert any("ephemeral containers need 1.25" in one for one in Case(KILL).obstacles(world(shop(old))))
    assert Case(KILL).obstacles(world(shop(new))) == []
