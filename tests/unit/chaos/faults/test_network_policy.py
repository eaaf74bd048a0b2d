from __future__ import annotations

import ipaddress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaos.actions import AddEphemeralContainer, Create, Delete, Patch
from chaos.faults.network_policy import Undo, policy
from chaos.faults.receipts import object_name
from chaos.injector.__main__ import parser
from rollout.api.chaos import EXPIRES_AT, Victim
from rollout.api.resources import NETWORK_POLICIES
from tests.unit.chaos.faults.cluster import HASH, Case, ephemeral, obj, pod, sandbox_node, shop, world

OUTAGE = {"dependencyOutage": {"host": "db", "port": 5432, "method": "networkPolicy"}}
CANARY = ("web-v2-0", "web-v2-1")
DB = obj(
    "Service", "db", spec={"clusterIP": "10.96.0.5", "clusterIPs": ["10.96.0.5"], "ports": [{"port": 5432}]}
)
SLICE = obj(
    "EndpointSlice",
    "db-1",
    metadata={"labels": {"kubernetes.io/service-name": "db"}},
    endpoints=[{"addresses": ["10.0.7.1"]}, {"addresses": ["10.0.7.2"]}],
)
VERIFIED = {"verified": True, "outcome": "blocked", "message": "10.96.0.5:5432 is blocked (3 looks)"}


def begun(objects: list[dict]) -> tuple[Any, dict, AddEphemeralContainer]:
    case, seen = Case(OUTAGE), world(objects)
    receipt = case.receipt(seen, *CANARY)
    create, look = case.kind.inject(receipt, case.context, seen)
    assert isinstance(create, Create)
    assert isinstance(look, AddEphemeralContainer)
    made = create.object | {"metadata": create.object["metadata"] | {"uid": "uid-policy"}}
    return receipt, made, look


def allowed(spec: dict, address: str, port: int) -> bool:
    """Whether a policy lets TCP out to an address, as Kubernetes reads it."""
    ip = ipaddress.ip_address(address)
    for rule in spec["egress"]:
        to = any(
            ip in ipaddress.ip_network(peer["ipBlock"]["cidr"])
            and not any(ip in ipaddress.ip_network(one) for one in peer["ipBlock"].get("except", ()))
            for peer in rule["to"]
        )
        ports = rule.get("ports")
        tcp = [one for one in ports or () if one["protocol"] == "TCP"]
        if to and (ports is None or any(one["port"] <= port <= one["endPort"] for one in tcp)):
            return True
    return False


@given(
    host=st.ip_addresses(),
    other=st.ip_addresses(),
    port=st.integers(0, 65535),
    asked=st.integers(1, 65535),
)
def test_exactly_the_host_and_port_are_cut_off(host: Any, other: Any, port: int, asked: int) -> None:
    undo = Undo(
        name="n",
        selector={"app": "web"},
        addresses=(str(host),),
        port=port,
        probe="",
        image="",
        witness=Victim(),
    )
    spec = policy(undo)
    assert allowed(spec, str(host), asked) == (port not in {0, asked})
    assert allowed(spec, str(other), asked) == (other != host or port not in {0, asked})


def test_it_selects_the_victims_version_and_cuts_off_the_service_and_its_pods() -> None:
    _, made, _ = begun(shop(DB, SLICE))
    assert made["kind"] == "NetworkPolicy"
    assert made["spec"]["podSelector"] == {"matchLabels": {"app": "web", HASH: "v2"}}
    assert made["spec"]["policyTypes"] == ["Egress"]
    for address in ("10.96.0.5", "10.0.7.1", "10.0.7.2"):
        assert not allowed(made["spec"], address, 5432)
        assert allowed(made["spec"], address, 80)
    assert allowed(made["spec"], "10.0.7.3", 5432)


def test_a_witness_without_any_privilege_looks_from_a_victim() -> None:
    _, _, look = begun(shop(DB, SLICE))
    assert look.name in CANARY
    assert look.container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert look.container["securityContext"]["runAsNonRoot"] is True
    read = parser().parse_args(look.container["args"])
    assert (read.command, read.address, read.expect) == ("reach", "10.96.0.5:5432", "blocked")


def test_what_is_missing_of_policy_and_witness_is_made() -> None:
    case, objects = Case(OUTAGE), shop(DB, SLICE)
    receipt, made, look = begun(objects)
    assert case.kind.inject(receipt, case.context, world([*objects, made])) == (look,)
    assert case.kind.inject(receipt, case.context, world(objects, after=60)) == ()


def looked(objects: list[dict], receipt: Any, *whats: tuple[str, dict | None]) -> list[dict]:
    """The cluster after witnesses were sent: (suffix, last words) each."""
    fields: dict[str, Any] = {
        "spec": {"containers": [{"name": "web"}], "ephemeralContainers": []},
        "status": {},
    }
    fields["status"]["ephemeralContainerStatuses"] = []
    for suffix, words in whats:
        more = ephemeral(object_name(receipt.id, suffix), words=words)
        fields["spec"]["ephemeralContainers"] += more["spec"]["ephemeralContainers"]
        fields["status"]["ephemeralContainerStatuses"] += more["status"]["ephemeralContainerStatuses"]
    name = receipt.undo["witness"]["name"]
    return [one for one in objects if one["metadata"]["name"] != name] + [pod(name, "v2", **fields)]


def test_proof_is_what_the_witness_saw() -> None:
    case, objects = Case(OUTAGE), shop(DB, SLICE)
    receipt, made, _ = begun(objects)
    assert case.kind.proof(receipt, world([*objects, made])) == ""
    assert case.kind.proof(receipt, world([*looked(objects, receipt, ("", None)), made])) == ""
    unsure = {**VERIFIED, "verified": False}
    assert case.kind.proof(receipt, world([*looked(objects, receipt, ("", unsure)), made])) == ""
    assert "is blocked" in case.kind.proof(receipt, world([*looked(objects, receipt, ("", VERIFIED)), made]))


def test_undone_by_deleting_and_gone_when_a_second_witness_can_reach_it_again() -> None:
    case, objects = Case(OUTAGE), shop(DB, SLICE)
    receipt, made, _ = begun(objects)
    during = looked(objects, receipt, ("", VERIFIED))
    (delete,) = case.kind.revert(receipt, world([*during, made]))
    assert isinstance(delete, Delete)
    assert delete.uid == "uid-policy"
    (look,) = case.kind.revert(receipt, world(during))
    assert isinstance(look, AddEphemeralContainer)
    assert parser().parse_args(look.container["args"]).expect == "open"
    again = {"verified": True, "message": "open"}
    waiting = looked(objects, receipt, ("", VERIFIED), ("open", None))
    assert case.kind.revert(receipt, world(waiting)) == ()
    assert case.kind.gone(receipt, world(waiting)) == ""
    seen = looked(objects, receipt, ("", VERIFIED), ("open", again))
    assert "open" in case.kind.gone(receipt, world(seen))
    assert case.kind.gone(receipt, world([*seen, made])) == ""
    assert case.kind.gone(receipt, world(seen, without=[NETWORK_POLICIES])) == ""


def test_without_the_witness_pod_it_says_that_nobody_has_looked() -> None:
    case, objects = Case(OUTAGE), shop(DB, SLICE)
    receipt, _, _ = begun(objects)
    assert "nobody has seen" in case.kind.gone(receipt, world([DB]))


def test_the_lease_is_renewed() -> None:
    case, objects = Case(OUTAGE), shop(DB, SLICE)
    receipt, made, _ = begun(objects)
    assert case.kind.renew(receipt, world([*objects, made], after=5)) == ()
    (renewal,) = case.kind.renew(receipt, world([*objects, made], after=15))
    assert isinstance(renewal, Patch)
    assert renewal.patch["metadata"]["annotations"][EXPIRES_AT] == "2026-11-21T12:00:35Z"


OPEN = obj("NetworkPolicy", "theirs", spec={"podSelector": {}, "policyTypes": ["Egress"]})


@pytest.mark.parametrize(
    ("how", "objects", "said"),
    [
        ({"host": "db", "port": 5432}, [DB, SLICE, OPEN], "policies add up"),
        ({"host": "api.example.com", "port": 443}, [], "addresses of api.example.com are not known"),
        (
            {"host": "kube-dns.kube-system", "port": 53},
            [obj("Service", "kube-dns", namespace="kube-system", spec={"clusterIP": "10.96.0.10"})],
            "the cluster's own",
        ),
    ],
)
def test_what_must_not_or_cannot_be_cut_off_is_refused_and_said_before(
    how: dict, objects: list, said: str
) -> None:
    case, seen = Case({"dependencyOutage": {**how, "method": "networkPolicy"}}), world(shop(*objects))
    assert said in case.refused(seen, *CANARY)
    assert any(said in one for one in case.obstacles(seen))


def test_policies_for_others_and_for_ingress_are_no_obstacle() -> None:
    others = obj(
        "NetworkPolicy",
        "others",
        spec={"podSelector": {"matchLabels": {"app": "x"}}, "policyTypes": ["Egress"]},
    )
    ingress = obj("NetworkPolicy", "in", spec={"podSelector": {}, "policyTypes": ["Ingress"]})
    assert Case(OUTAGE).obstacles(world(shop(DB, SLICE, others, ingress))) == []


def test_an_address_is_its_own_host() -> None:
    case = Case({"dependencyOutage": {"host": "10.9.9.9", "port": 80, "method": "networkPolicy"}})
    assert case.receipt(world(shop()), *CANARY).undo["addresses"] == ["10.9.9.9"]


def test_the_sandbox_enforces_no_policies() -> None:
    (reason,) = Case(OUTAGE).obstacles(world(shop(DB, SLICE, sandbox_node())))
    assert "enforces NetworkPolicies" in reason
