"""Gateway API as values: what is read from HTTPRoutes, what is patched, what is waited for, and what is wrong."""

from __future__ import annotations

from copy import deepcopy
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.api.codec import view
from rollout.api.meta import Key
from rollout.api.resources import HTTP_ROUTES
from rollout.api.rollout import HASH_LABEL, MANAGED_BY, Rollout
from rollout.api.workload import Service
from rollout.core.observed import Observed
from rollout.core.references import references
from rollout.core.served import unserved
from rollout.plan.references import route_keys, router_for
from rollout.sandbox.schema.patches import json_patch
from rollout.traffic.base import Live
from rollout.traffic.gateway import GatewayRouter

NOW = datetime(2026, 1, 5, tzinfo=UTC)
GATEWAY = {"name": "door"}
ROUTING = "spec.strategy.canary.trafficRouting"
PLUGIN = "argoproj-labs/gatewayAPI"


def backend(name: str, weight: int | None = None, **more: Any) -> dict[str, Any]:
    return {"name": name, "port": 80, **({} if weight is None else {"weight": weight}), **more}


def rule(stable: int | None, canary: int | None, *others: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"backendRefs": [backend("web-stable", stable), backend("web-canary", canary), *others], **more}


def said(
    generation: int = 3, *, ref: Any = None, accepted: str = "True", resolved: str = "True", **more: Any
) -> dict[str, Any]:
    """An entry of `status.parents`."""
    return {
        "parentRef": ref or {"group": "gateway.networking.k8s.io", "kind": "Gateway", **GATEWAY},
        "controllerName": "example.com/gateway",
        "conditions": [
            {"type": kind, "status": status, "reason": f"{kind}Why", "observedGeneration": generation}
            for kind, status in {"Accepted": accepted, "ResolvedRefs": resolved, **more}.items()
        ],
    }


def route(
    *rules: dict[str, Any],
    name: str = "web",
    namespace: str = "prod",
    parents: Any = (GATEWAY,),
    status: Any = None,
) -> dict[str, Any]:
    meta = {"name": name, "namespace": namespace, "resourceVersion": "7", "generation": 3}
    entries = [said(ref=dict(one)) for one in parents] if status is None else status
    spec = {"parentRefs": list(parents), "rules": list(rules)}
    return {"metadata": meta, "spec": spec, "status": {"parents": entries}}


def service(name: str, pod_hash: str) -> Service:
    return view({"metadata": {"name": name}, "spec": {"selector": {HASH_LABEL: pod_hash}}}, Service)


def seen(*routes: dict[str, Any], routing: Any = None) -> Observed:
    strategy = {
        "canaryService": "web-canary",
        "stableService": "web-stable",
        "trafficRouting": routing or {"gatewayAPI": {"httpRoute": "web"}},
    }
    raw = {"metadata": {"name": "web", "namespace": "prod"}, "spec": {"strategy": {"canary": strategy}}}
    found = {(HTTP_ROUTES, Key(one["metadata"]["namespace"], one["metadata"]["name"])): one for one in routes}
    services = {"web-stable": service("web-stable", "old"), "web-canary": service("web-canary", "new")}
    return Observed(now=NOW, rollout=view(raw, Rollout), raw=raw, routes=found, services=services)


def router(one: Observed) -> GatewayRouter:
    found = router_for(one.rollout)
    assert isinstance(found, GatewayRouter)
    return found


def several(**more: Any) -> Any:
    return {"gatewayAPI": {"httpRoutes": [{"name": "web", **more}]}}


# --- what is read -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("routing", "keys"),
    [
        ({"gatewayAPI": {"httpRoute": "a"}}, ["prod/a"]),
        ({"gatewayAPI": {"httpRoute": "a", "namespace": "infra"}}, ["infra/a"]),
        (
            {
                "gatewayAPI": {
                    "namespace": "infra",
                    "httpRoutes": [{"name": "a"}, {"name": "b", "namespace": "c"}],
                }
            },
            ["infra/a", "c/b"],
        ),
        ({"plugins": {PLUGIN: {"httpRoute": "a", "namespace": "infra"}}}, ["infra/a"]),
        ({"plugins": {PLUGIN: {"httpRoutes": [{"name": "a"}, {"name": "b"}]}}}, ["prod/a", "prod/b"]),
    ],
)
def test_routes_are_named_natively_or_as_for_argos_plugin(routing: Any, keys: list[str]) -> None:
    one = seen(routing=routing)
    assert [str(key) for _, key in route_keys(one.rollout)] == keys
    assert [str(ref.key) for ref in references(one.rollout).http_routes] == keys


def test_what_is_live_is_read_back_over_all_rules_and_routes() -> None:
    routing = {"gatewayAPI": {"httpRoutes": [{"name": "web"}, {"name": "admin"}]}}
    one = seen(route(rule(80, 20), rule(60, 40)), route(rule(90, 10), name="admin"), routing=routing)
    assert router(one).problems(one) == []
    assert router(one).live(one) == Live(low=10, high=40, canary_hash="new", stable_hash="old")


@pytest.mark.parametrize(
    ("stable", "canary", "low", "high"),
    [(100, 0, 0, 0), (None, None, 50, 50), (1, 0, 0, 0), (9, 1, 10, 10), (2, 1, 33, 34), (0, 7, 100, 100), (0, 0, 0, 0)],
)  # fmt: skip
def test_weights_are_read_as_the_proportions_that_they_are(
    stable: Any, canary: Any, low: int, high: int
) -> None:
    one = seen(route(rule(stable, canary)))
    live = router(one).live(one)
    assert (live.low, live.high) == (low, high)
    assert live.at(low) is (low == high)


def test_only_backends_that_are_our_services_in_our_namespace_count() -> None:
    foreign = {"backendRefs": [backend("web-stable", 1), backend("web-canary", 1)]}
    one = seen(route(foreign, namespace="infra"), routing=several(namespace="infra"))
    assert "has backendRefs to both" in str(router(one).problems(one)[0])
    ours = {
        "backendRefs": [
            backend("web-canary", 0, kind="ServiceImport", group="multicluster.x-k8s.io"),
            backend("web-stable", 70, namespace="prod"),
            backend("web-canary", 30, namespace="prod", kind="Service", group=""),
        ]
    }
    one = seen(route(ours, namespace="infra"), routing=several(namespace="infra"))
    assert router(one).problems(one) == []
    assert router(one).live(one).high == 30


# --- what is written --------------------------------------------------------------------------------


def test_a_weight_is_one_patch_of_the_rules_that_differ_and_tests_what_was_read() -> None:
    preview = {
        "matches": [{"headers": [{"name": "x", "value": "y"}]}],
        "backendRefs": [backend("web-canary")],
    }
    one = seen(route(rule(100, 0), preview, rule(80, 20), rule(None, None)))
    (patch,) = router(one).set_weight(one, 20)
    assert (patch.resource, patch.namespace, patch.name, patch.weight) == (HTTP_ROUTES, "prod", "web", 20)
    expected: list[dict[str, Any]] = [
        {"op": "test", "path": "/metadata/resourceVersion", "value": "7"},
        {"op": "add", "path": "/metadata/annotations", "value": {MANAGED_BY: "web"}},
    ]
    for index in (0, 3):
        at = f"/spec/rules/{index}/backendRefs"
        expected += [
            {"op": "test", "path": f"{at}/1/name", "value": "web-canary"},
            {"op": "test", "path": f"{at}/0/name", "value": "web-stable"},
            {"op": "add", "path": f"{at}/1/weight", "value": 20},
            {"op": "add", "path": f"{at}/0/weight", "value": 80},
        ]
    assert list(patch.operations) == expected


def test_nothing_is_written_when_it_is_so_already_and_services_bind_the_pods() -> None:
    one = seen(route(rule(80, 20)))
    assert router(one).set_weight(one, 20) == ()
    assert router(one).retarget(one, "new", "old") == ()


def test_only_the_rules_that_are_named_are_ours() -> None:
    rules = (rule(100, 0, name="shop"), rule(100, 0, name="admin"))
    one = seen(route(*rules), routing=several(rules=["shop"]))
    (patch,) = router(one).set_weight(one, 50)
    assert {op["path"] for op in patch.operations if "/spec/" in op["path"]} == {
        f"/spec/rules/0/backendRefs/{place}/{field}" for place in (0, 1) for field in ("name", "weight")
    }


WEIGHTS = st.one_of(st.none(), st.integers(0, 1_000_000))
OTHERS = st.lists(st.sampled_from(["else", "more"]).map(lambda name: backend(name, 0)), max_size=2)
OURS = st.builds(
    lambda stable, canary, others, order, timeout: {
        "backendRefs": order.sample(
            [backend("web-stable", stable), backend("web-canary", canary), *others], 2 + len(others)
        ),
        "timeouts": {"request": timeout},
    },
    WEIGHTS, WEIGHTS, OTHERS, st.randoms(use_true_random=False), st.sampled_from(["1s", "7s"]),
)  # fmt: skip
FOREIGN = st.sampled_from(
    [
        {"backendRefs": [backend("web-stable", 3)], "name": "stable only"},
        {"backendRefs": [backend("other", 1), backend("another")]},
        {"filters": [{"type": "RequestRedirect", "requestRedirect": {"statusCode": 301}}]},
    ]
)


@given(st.lists(st.one_of(OURS, FOREIGN), min_size=1, max_size=5), OURS, st.integers(0, 100))
def test_whatever_was_there_our_weights_sum_to_100_and_nothing_else_is_touched(
    rules: list[Any], sure: Any, weight: int
) -> None:
    before = route(*rules, sure)
    one = seen(before)
    assert router(one).problems(one) == []
    kept = deepcopy(before)
    (patch,) = router(one).set_weight(one, weight) or (None,)
    result = json_patch(before, list(patch.operations)) if patch is not None else before
    assert before == kept, "what the cache holds is never written to"
    after = seen(result)
    assert router(after).live(after).at(weight)
    assert router(after).set_weight(after, weight) == ()
    for old, new in zip(before["spec"]["rules"], result["spec"]["rules"], strict=True):
        names = [ref["name"] for ref in new.get("backendRefs", ())]
        if {"web-stable", "web-canary"} <= set(names):
            assert sum(ref["weight"] for ref in new["backendRefs"]) == 100
            assert [_without_weight(ref) for ref in new["backendRefs"]] == [
                _without_weight(ref) for ref in old["backendRefs"]
            ]
            old = {**old, "backendRefs": new["backendRefs"]}
        assert new == old
    assert {**result, "spec": 0, "metadata": 0} == {**before, "spec": 0, "metadata": 0}
    assert {key: value for key, value in result["metadata"].items() if key != "annotations"} == before[
        "metadata"
    ]


def _without_weight(ref: dict[str, Any]) -> dict[str, Any]:
    ours = ref["name"] in ("web-stable", "web-canary")
    return {key: value for key, value in ref.items() if not (ours and key == "weight")}


# --- what is waited for -----------------------------------------------------------------------------

SERVICE = {"group": "", "kind": "Service", "name": "web"}


@pytest.mark.parametrize(
    ("parents", "status", "words"),
    [
        ((GATEWAY,), [said()], ""),
        ((GATEWAY,), [said(4)], ""),
        ((SERVICE,), [said(ref=SERVICE)], ""),
        (({**GATEWAY, "namespace": "prod", "sectionName": "http"},), [said(ref={**GATEWAY, "sectionName": "http"})], ""),
        ((GATEWAY,), [said(), said(ref={"name": "left over"}, accepted="False")], ""),
        ((GATEWAY,), [], 'Gateway "door" says nothing of it'),
        ((GATEWAY, {"name": "second"}), [said()], 'Gateway "second" says nothing of it'),
        ((GATEWAY,), [said(ref={**GATEWAY, "namespace": "other"})], "says nothing of it"),
        ((GATEWAY,), [said(ref={**GATEWAY, "sectionName": "http"})], "says nothing of it"),
        ((SERVICE,), [said(ref={"name": "web"})], 'Service "web" says nothing of it'),
        ((), [], "no parentRefs"),
        ((GATEWAY,), [said(2)], "Accepted does not speak of generation 3 yet"),
        ((GATEWAY,), [said(accepted="False")], "not Accepted: AcceptedWhy"),
        ((GATEWAY,), [said(accepted="Unknown")], "not Accepted"),
        ((GATEWAY,), [said(resolved="False")], "not ResolvedRefs: ResolvedRefsWhy"),
        ((GATEWAY,), [said(), said(resolved="False")], "not ResolvedRefs"),
        ((GATEWAY,), [said(PartiallyInvalid="True")], "PartiallyInvalid"),
        ((GATEWAY,), [said(PartiallyInvalid="False")], ""),
        ((GATEWAY,), [{"parentRef": GATEWAY, "conditions": []}], "has no condition Accepted"),
        ((GATEWAY,), [{"parentRef": GATEWAY, "conditions": said()["conditions"][:1]}], "no condition ResolvedRefs"),
        (
            (GATEWAY,),
            [{"parentRef": GATEWAY, "conditions": [{"type": "Accepted", "status": "True"}]}],
            "Accepted does not speak of generation 3",
        ),
    ],
)  # fmt: skip
def test_a_route_is_served_when_every_parent_says_so_for_this_generation(
    parents: Any, status: Any, words: str
) -> None:
    one = route(rule(100, 0), parents=parents, status=status)
    assert words in unserved(one)
    assert (unserved(one) == "") is (words == "")
    observed = seen(one)
    assert router(observed).live(observed).settled is (words == "")
    assert words in router(observed).waits(observed)


def test_a_route_that_nobody_has_ever_looked_at_is_not_served() -> None:
    one = route(rule(100, 0))
    del one["status"]
    assert "says nothing of it; see that it exists" in unserved(one)


# --- what is wrong ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("observed", "path", "sentence"),
    [
        (seen(), "gatewayAPI.httpRoute", 'HTTPRoute "prod/web" not found; create it'),
        (
            seen(routing={"plugins": {PLUGIN: {"httpRoute": "web"}}}),
            f"plugins.{PLUGIN}.httpRoute",
            'HTTPRoute "prod/web" not found',
        ),
        (
            seen(route(rule(100, 0, name="shop"), rule(100, 0)), routing=several(rules=["gone"])),
            "gatewayAPI.httpRoutes[0].rules",
            'has no rule of this name; it has "shop"',
        ),
        (
            seen(route({"backendRefs": [backend("web-stable")]})),
            "gatewayAPI.httpRoute",
            'no rule of HTTPRoute "prod/web" has backendRefs to both Service "web-canary" and Service "web-stable"',
        ),
        (
            seen(route({"name": "shop", "backendRefs": [backend("web-stable")]}), routing=several(rules=["shop"])),
            "gatewayAPI.httpRoutes[0]",
            'rule 0 ("shop") of HTTPRoute "prod/web" has no backendRef to Service "web-canary"; add it',
        ),
        (seen(route(rule(90, 10, backend("third")))), "gatewayAPI.httpRoute", "to a third backend"),
        (seen(route(rule(90, 10, backend("web-canary", 5)))), "gatewayAPI.httpRoute", "to a third backend"),
        (seen(route(rule(-1, 10))), "gatewayAPI.httpRoute", "must be whole numbers, 0 or more"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_at_its_place(observed: Observed, path: str, sentence: str) -> None:
    (problem,) = router(observed).problems(observed)
    assert problem.path == f"{ROUTING}.{path}"
    assert sentence in problem.message


def test_a_third_backend_without_weight_is_left_alone() -> None:
    one = seen(route(rule(100, 0, backend("third", 0))))
    assert router(one).problems(one) == []
