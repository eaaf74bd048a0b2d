from __future__ import annotations

from typing import Any

from rollout.sandbox.workloads import endpointslice
from rollout.sandbox.workloads.decision import Create, Decision, Delete, Patch

from .builders import pod, suffixes


def service(*ports: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "namespace": "shop", "uid": "uid-svc", "labels": {"team": "a"}},
        "spec": {
            "selector": {"app": "web"},
            "ports": list(ports or ({"port": 80, "targetPort": 8080},)),
            **spec,
        },
    }


def decide(svc: dict[str, Any], pods: list[dict[str, Any]], slices: list[Any] | None = None) -> Decision:
    return endpointslice.decide(svc, pods, slices or [], suffixes())


def made(svc: dict[str, Any], pods: list[dict[str, Any]]) -> list[dict[str, Any]]:
    found = []
    for action in decide(svc, pods).actions:
        assert isinstance(action, Create)
        meta = {
            **action.obj["metadata"],
            "uid": f"uid-{action.obj['metadata']['name']}",
            "resourceVersion": "9",
        }
        found.append({**action.obj, "metadata": meta})
    return found


def test_a_service_gets_a_slice_with_its_ready_pods() -> None:
    [item] = made(service({"name": "http", "port": 80, "targetPort": 8080}), [pod("a", ip="127.1.0.2")])
    assert item["metadata"]["labels"] == {
        "team": "a",
        "kubernetes.io/service-name": "web",
        "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
    }
    assert item["ports"] == [{"name": "http", "port": 8080, "protocol": "TCP"}]
    assert item["endpoints"] == [
        {
            "addresses": ["127.1.0.2"],
            "conditions": {"ready": True, "serving": True, "terminating": False},
            "nodeName": "sandbox",
            "targetRef": {"kind": "Pod", "name": "a", "namespace": "shop", "uid": "uid-a"},
        }
    ]


def test_a_terminating_pod_is_not_ready_at_once_while_it_still_serves() -> None:
    [item] = made(service(), [pod("a", deleting=True)])
    assert item["endpoints"][0]["conditions"] == {"ready": False, "serving": True, "terminating": True}


def test_a_pod_that_is_not_ready_is_listed_as_not_ready() -> None:
    [item] = made(service(), [pod("a", ready=False)])
    assert item["endpoints"][0]["conditions"] == {"ready": False, "serving": False, "terminating": False}


def test_not_ready_addresses_are_published_as_ready_when_asked() -> None:
    [item] = made(service(publishNotReadyAddresses=True), [pod("a", ready=False)])
    assert item["endpoints"][0]["conditions"]["ready"] is True


def test_pods_without_an_address_and_finished_pods_are_left_out() -> None:
    [item] = made(service(), [pod("a", ip=""), pod("b", phase="Failed"), pod("c", phase="Succeeded")])
    assert item["endpoints"] == []


def test_a_named_target_port_follows_each_pod_into_slices_of_their_own() -> None:
    svc = service({"name": "http", "port": 80, "targetPort": "web"})
    pods = [
        pod("a", ports=[{"name": "web", "containerPort": 8080}]),
        pod("b", ports=[{"name": "web", "containerPort": 9090}]),
        pod("c", ports=[{"name": "web", "containerPort": 53, "protocol": "UDP"}]),
    ]
    found = {tuple(p["port"] for p in item["ports"]): len(item["endpoints"]) for item in made(svc, pods)}
    assert found == {(8080,): 1, (9090,): 1, (): 1}


def test_a_local_port_told_by_the_node_agent_is_used() -> None:
    shared = pod("a", annotations={endpointslice.PORTS_ANNOTATION: '{"8080": 49321}'})
    [item] = made(service(), [shared])
    assert item["ports"][0]["port"] == 49321


def test_services_without_a_selector_and_external_names_are_left_alone() -> None:
    assert decide(service(selector={}), [pod("a")]).actions == ()
    assert decide(service(type="ExternalName"), [pod("a")]).actions == ()


def test_a_slice_that_is_right_is_not_written() -> None:
    svc, pods = service(), [pod("a"), pod("b")]
    assert decide(svc, pods, made(svc, pods)).actions == ()


def test_a_pod_that_became_ready_changes_its_slice_with_a_precondition() -> None:
    svc = service()
    slices = made(svc, [pod("a", ready=False)])
    [action] = decide(svc, [pod("a")], slices).actions
    assert isinstance(action, Patch)
    assert action.patch["metadata"] == {"resourceVersion": "9"}
    assert action.patch["endpoints"][0]["conditions"]["ready"] is True


def test_more_than_a_hundred_pods_need_a_second_slice_and_nobody_moves() -> None:
    svc = service()
    pods = [pod(f"p{i:03d}") for i in range(250)]
    slices = made(svc, pods)
    assert [len(item["endpoints"]) for item in slices] == [100, 100, 50]
    [action] = decide(svc, [*pods[1:], pod("zzz")], slices).actions
    assert isinstance(action, Patch)
    assert [e["targetRef"]["name"] for e in action.patch["endpoints"]][-1] == "zzz"
    assert len(action.patch["endpoints"]) == 100


def test_slices_of_ports_that_are_gone_and_empty_surplus_slices_are_deleted() -> None:
    svc = service()
    old = made(service({"port": 80, "targetPort": 1234}), [pod("a")])
    actions = decide(svc, [pod("a")], old).actions
    assert [type(action) for action in actions] == [Create, Delete]
    many = made(svc, [pod(f"p{i:03d}") for i in range(150)])
    [patch_or_delete] = [a for a in decide(svc, [pod("p000")], many).actions if isinstance(a, Delete)]
    assert patch_or_delete.uid == many[1]["metadata"]["uid"]


def test_a_service_without_pods_keeps_one_empty_slice() -> None:
    svc = service()
    slices = made(svc, [pod("a")])
    [action] = decide(svc, [], slices).actions
    assert isinstance(action, Patch)
    assert action.patch["endpoints"] == []


def test_a_headless_service_is_labelled_so() -> None:
    [item] = made(service(clusterIP="None"), [])
    assert item["metadata"]["labels"]["service.kubernetes.io/headless"] == ""
