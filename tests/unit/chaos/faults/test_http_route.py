"""httpLatency and httpAbort in a route of Envoy Gateway: the policy, the preflight, the proof."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaos.actions import Create, Delete, Patch
from chaos.faults.traffic_policy import Policy, silent, spec
from chaos.observed import Evidence
from rollout.api.chaos import EXPIRES_AT, RECEIPT, RUN_UID, SILENCED_AT
from rollout.api.meta import duration
from rollout.api.resources import BACKEND_TRAFFIC_POLICIES, HTTP_ROUTES
from tests.unit.chaos.faults.cluster import Case, obj, pod, shop, world
from tests.unit.chaos.faults.test_mesh import merged

Plain = dict[str, Any]
GATEWAY = {"kind": "Gateway", "name": "public", "namespace": "edge"}
CONTROLLER = "gateway.envoyproxy.io/gatewayclass-controller"
CANARY_RULE = {"name": "canary", "backendRefs": [{"name": "web-canary"}]}
BOTH_RULE = {
    "name": "both",
    "backendRefs": [{"name": "web-stable", "weight": 100}, {"name": "web-canary", "weight": 0}],
}


def route(
    *rules: Plain, name: str = "web", parents: Any = (GATEWAY,), controller: str = CONTROLLER, **meta: Any
) -> Plain:
    said = [{"type": one, "status": "True", "observedGeneration": 3} for one in ("Accepted", "ResolvedRefs")]
    told = [{"parentRef": one, "controllerName": controller, "conditions": said} for one in parents]
    body = {"parentRefs": list(parents), "rules": list(rules or (BOTH_RULE, CANARY_RULE))}
    return obj("HTTPRoute", name, metadata={"generation": 3, **meta}, spec=body, status={"parents": told})


def service(version: str) -> Plain:
    role = "canary" if version == "v2" else "stable"
    return obj(
        "Service", f"web-{role}", spec={"selector": {"app": "web", "rollouts-pod-template-hash": version}}
    )


def envoy(gateway: str = "public") -> Plain:
    owner = "gateway.envoyproxy.io/owning-gateway-"
    labels = {f"{owner}name": gateway, f"{owner}namespace": "edge"}
    made = pod(f"envoy-{gateway}", metadata={"labels": labels, "ownerReferences": []})
    made["metadata"]["namespace"] = "envoy"
    return made


def policy(
    name: str = "theirs", target: Plain | None = None, *, namespace: str = "shop", **body: Any
) -> Plain:
    refs = {"targetRefs": [target]} if target else {}
    return obj("BackendTrafficPolicy", name, namespace=namespace, spec={**refs, **body})


def told(one: Plain, *conditions: tuple[str, str], generation: int = 1, gateway: str = "public") -> Plain:
    said = [{"type": type, "status": status, "observedGeneration": generation} for type, status in conditions]
    ancestor = {"ancestorRef": {**GATEWAY, "name": gateway}, "conditions": said}
    return one | {"status": {"ancestors": [ancestor]}}


def seen(*more: Plain, without: Any = (), **options: Any) -> Any:
    there = shop(service("v1"), service("v2"), envoy(), route())
    kept = [one for one in there if one["metadata"]["name"] not in without]
    return world([*kept, *more], **options)


def latency(rule: str = "canary", **spec: Any) -> Case:
    return Case(
        {"httpLatency": {"delay": "300ms", "percent": 40, "httpRoute": {"name": "web", "rule": rule}}}, **spec
    )


ALL = {"workloadRef": {"kind": "Rollout", "name": "web"}, "percent": 100}


def created(case: Case) -> tuple[Any, Plain]:
    receipt = case.receipt(seen())
    (action,) = case.kind.inject(receipt, case.context, seen())
    assert isinstance(action, Create)
    made = action.object | {"metadata": action.object["metadata"] | {"uid": "uid-policy", "generation": 1}}
    return receipt, made


# --- the policy ---------------------------------------------------------------------------------------


def test_latency_is_one_policy_of_ours_for_the_named_rule_beside_what_the_gateway_has() -> None:
    receipt, made = created(latency())
    assert (receipt.victim.kind, receipt.victim.name, receipt.victim.uid) == ("HTTPRoute", "web", "uid-web")
    assert made["kind"] == "BackendTrafficPolicy"
    assert made["metadata"]["namespace"] == "shop"
    assert made["metadata"]["annotations"].keys() == {RECEIPT, EXPIRES_AT}
    assert made["metadata"]["labels"][RUN_UID] == "uid-run"
    target = {
        "group": "gateway.networking.k8s.io",
        "kind": "HTTPRoute",
        "name": "web",
        "sectionName": "canary",
    }
    assert made["spec"] == {
        "targetRefs": [target],
        "mergeType": "StrategicMerge",
        "faultInjection": {"delay": {"fixedDelay": "300ms", "percentage": 40}},
    }


def test_an_abort_of_a_whole_route_has_a_status_and_no_section() -> None:
    case = Case({"httpAbort": {"status": 502, "httpRoute": {"name": "web"}}}, target=ALL)
    _, made = created(case)
    assert "sectionName" not in made["spec"]["targetRefs"][0]
    assert made["spec"]["faultInjection"] == {"abort": {"httpStatus": 502, "percentage": 100}}


@given(st.integers(1, 3_600_000))
def test_every_delay_is_written_as_the_gateway_api_reads_durations(milliseconds: int) -> None:
    fault = Policy(name="p", route="r", rule="", gateways=(), percent=1, delay=milliseconds / 1000)
    text = spec(fault)["faultInjection"]["delay"]["fixedDelay"]
    assert round(duration(text) * 1000) == milliseconds
    assert all(len(part) <= 5 for part in text.replace("ms", " ").replace("s", " ").split())


def test_it_is_silenced_first_and_deleted_when_its_end_is_on_record() -> None:
    receipt, made = created(latency())
    (silence,) = latency().kind.revert(receipt, seen(made))
    assert isinstance(silence, Patch)
    quiet = merged(made, silence.patch)
    assert silent(quiet)
    assert not silent(made)
    assert quiet["spec"]["faultInjection"]["delay"]["fixedDelay"] == "300ms"
    assert SILENCED_AT in quiet["metadata"]["annotations"]
    sure = seen(quiet, evidence={receipt.id: Evidence(active=False, how="Envoy says so")})
    assert latency().kind.revert(receipt, sure) == ()
    recorded = msgspec.structs.replace(receipt, gone=latency().kind.ended(receipt, sure))
    (delete,) = latency().kind.revert(recorded, sure)
    assert isinstance(delete, Delete)
    assert (delete.resource, delete.uid) == (BACKEND_TRAFFIC_POLICIES, "uid-policy")
    assert latency().kind.gone(recorded, seen()).endswith("Envoy says so; it is deleted")


def test_proof_is_envoys_count_of_what_was_done() -> None:
    receipt, made = created(latency())
    for evidence, proof in (
        (Evidence(delayed=7), "Envoy delayed 7 requests of HTTPRoute web"),
        (Evidence(aborted=7), ""),
    ):
        assert latency().kind.proof(receipt, seen(made, evidence={receipt.id: evidence})) == proof


def test_what_it_should_be_and_is_not_is_said() -> None:
    receipt, made = created(latency())
    kind = latency().kind
    assert kind.said(receipt, seen(told(made, ("Accepted", "True")))) == ""
    refused = told(made, ("Accepted", "False"))
    refused["status"]["ancestors"][0]["conditions"][0] |= {"reason": "Conflicted", "message": "another one"}
    assert kind.said(receipt, seen(refused)) == "Gateway edge/public: Conflicted, another one"
    other = policy("loud", faultInjection={"abort": {"httpStatus": 500}})
    assert "shop/loud injects faults at the same Gateway" in kind.said(receipt, seen(made, other))
    assert "kubectl delete backendtrafficpolicy surefoot-" in kind.advice(receipt)


# --- the preflight ------------------------------------------------------------------------------------


def test_a_rule_of_its_own_for_one_version_and_a_route_for_both_have_no_obstacles() -> None:
    assert latency().obstacles(seen()) == []
    assert latency("both", target=ALL).obstacles(seen()) == []
    assert latency("", target=ALL).obstacles(seen()) == []


@pytest.mark.parametrize(
    ("case", "there", "words"),
    [
        (latency(), seen(without=["web"]), "there is no HTTPRoute shop/web"),
        (latency("nobody"), seen(), "has no rule named 'nobody'"),
        (latency(), seen(route(parents=())), "it has no parentRefs"),
        (latency(), seen(route(generation=4)), "does not speak of generation 4"),
        (latency(), seen(route(controller="istio.io/gateway-controller")), "is not Envoy Gateway's: istio.io"),
        (latency(), seen(route(parents=({"kind": "Service", "name": "web"},))), "is no Gateway"),
        (latency(), seen(without=["envoy-public"]), "no ready Envoy pod of Gateway edge/public is seen"),
        (latency(), seen(envoy("other"), without=["envoy-public"]), "no ready Envoy pod of Gateway edge/public"),
        # --- whom it would strike
        (latency("both"), seen(), "web-v1-0, web-v1-1 behind HTTPRoute shop/web would be struck"),
        (latency(target=ALL), seen(), "web-v1-0, web-v1-1 of the target are not behind HTTPRoute shop/web"),
        (latency(target={**ALL, "percent": 50}), seen(), "the target wants a part of them"),
        (latency(), seen(without=["web-canary"]), "Service shop/web-canary, which is not there"),
        (latency(), seen(obj("Service", "web-canary", spec={})), "which selects no pods"),
        (latency(), seen(route({"name": "canary", "backendRefs": [{"name": "web", "namespace": "x"}]})), "another namespace"),
        (latency(), seen(route({"name": "canary", "backendRefs": [{"name": "b", "kind": "Backend"}]})), "which is no Service"),
        # --- other policies
        (latency(), seen(policy(target={"kind": "HTTPRoute", "name": "web"})), "BackendTrafficPolicy shop/theirs is for the same"),
        (
            latency(),
            seen(policy(target={"kind": "HTTPRoute", "name": "web", "sectionName": "canary"})),
            "is for the same route",
        ),
        (latency(), seen(policy(targetRef={"kind": "HTTPRoute", "name": "web"})), "is for the same route"),
        (latency(), seen(policy(targetSelectors=[{"kind": "HTTPRoute"}])), "is for the same route"),
        (
            latency(),
            seen(policy(namespace="ops", targetSelectors=[{"kind": "HTTPRoute", "namespaces": {"from": "All"}}])),
            "is for the same route",
        ),
        (
            latency(),
            seen(told(policy(namespace="x", faultInjection={"delay": {"percentage": 0}}), ("Accepted", "True"))),
            "x/theirs injects faults at the same Gateway",
        ),
        (latency(), seen(policy(namespace="x", faultInjection={"abort": {"httpStatus": 1}})), "x/theirs injects faults"),
        # --- values
        (Case({"httpLatency": {"delay": "2h", "httpRoute": {"name": "web", "rule": "canary"}}}), seen(), "delay must be"),
        (Case({"httpAbort": {"status": 99, "httpRoute": {"name": "web", "rule": "canary"}}}), seen(), "status must be"),
    ],
)  # fmt: skip
def test_what_stands_in_the_way_is_said_and_the_same_refuses_the_receipt(
    case: Case, there: Any, words: str
) -> None:
    obstacles = case.obstacles(there)
    assert any(words in one for one in obstacles), obstacles
    assert case.refused(there) == obstacles[0]


@pytest.mark.parametrize("resource", [BACKEND_TRAFFIC_POLICIES, HTTP_ROUTES])
def test_a_kind_that_cannot_be_seen_is_an_obstacle(resource: Any) -> None:
    there = world(shop(), without=[resource])
    assert len(latency().obstacles(there)) == 1


@pytest.mark.parametrize(
    "other",
    [
        policy(target={"kind": "HTTPRoute", "name": "web", "sectionName": "both"}),
        policy(target={"kind": "HTTPRoute", "name": "other"}),
        policy(target={"kind": "Gateway", "name": "public"}, namespace="edge", retry={}),
        policy(target={"kind": "HTTPRoute", "name": "web"}, namespace="ops"),
        policy(targetSelectors=[{"kind": "HTTPRoute", "matchLabels": {"team": "x"}}]),
        policy(targetSelectors=[{"kind": "HTTPRoute"}], namespace="ops"),
        told(policy(faultInjection={"delay": {}}), gateway="elsewhere"),
    ],
)
def test_policies_that_have_nothing_to_do_with_it_are_no_obstacle(other: Plain) -> None:
    assert latency().obstacles(seen(other)) == []


def test_two_faults_of_one_step_at_one_gateway_are_refused() -> None:
    how = {"httpRoute": {"name": "web", "rule": "canary"}}
    faults = [{"name": "it", "httpLatency": {"delay": "1s", **how}}, {"name": "too", "httpAbort": how}]
    together = latency(steps=[{"faults": faults}])
    assert any("fault too of the same step" in one for one in together.obstacles(seen()))
    apart = latency(steps=[{"faults": [one]} for one in faults])
    assert apart.obstacles(seen()) == []
