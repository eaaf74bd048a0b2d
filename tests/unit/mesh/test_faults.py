"""EnvoyFilters as values: what is understood, where it stands in Envoy, what is counted."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.api.meta import Key, timestamp
from rollout.sandbox.mesh.envoy_filter import expired
from rollout.sandbox.mesh.evidence import Counts, Ledger, Seen, fault_status, is_active
from rollout.sandbox.mesh.injection import Placement, uid_of
from rollout.sandbox.mesh.model import Snapshot
from rollout.sandbox.mesh.names import caller_token, callers_regex
from rollout.sandbox.mesh.render import MESH_ROUTES, Rendered, render
from tests.unit.mesh.objects import (
    Object,
    endpoint_slice,
    envoy_filter,
    http_fault,
    pod,
    service,
    to,
    virtual_service,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CANARY = {"version": "canary"}
WEB = "outbound|80||web.shop.svc.cluster.local"
UP = {"stable": ("127.1.0.1", 8080), "canary": ("127.1.0.2", 8080)}


def rendered(*filters: Object, **more: Any) -> Rendered:
    pods = tuple(pod(name, owner=f"web-{name}", app="web", version=name) for name in UP)
    pieces = tuple(endpoint_slice("web", UP))
    return render(
        Snapshot(services=(service("web"),), pods=pods, endpoint_slices=pieces, envoy_filters=filters, **more)
    )


def named(obj: Object, uid: str) -> Object:
    obj["metadata"]["uid"] = uid
    return obj


def addresses(found: Rendered, cluster: str = WEB) -> list[Object]:
    [group] = found.clusters[cluster].resource["load_assignment"]["endpoints"]
    return [one["endpoint"]["address"] for one in group["lb_endpoints"]]


def the_listener(found: Rendered, key: str = "slow") -> str:
    [name] = found.faults[Key("shop", key)].listeners
    return name


def manager(found: Rendered, name: str) -> Object:
    [chain] = found.sidecars[name].listener["filter_chains"]
    return chain["filters"][0]["typed_config"]


def test_without_faults_nothing_of_them_is_there():
    found = rendered()
    assert (found.sidecars, found.faults) == ({}, {})
    assert not [name for name in found.clusters if name.startswith(("inbound", "sidecar"))]


def test_only_the_selected_pods_endpoint_is_led_through_its_listener():
    found = rendered(envoy_filter("slow", CANARY, http_fault(delay="0.3s")))
    name = the_listener(found)
    assert addresses(found) == [
        {"socket_address": {"address": "127.1.0.1", "port_value": 8080}},
        {"envoy_internal_address": {"server_listener_name": name}},
    ]
    filters = manager(found, name)["http_filters"]
    assert [one["name"] for one in filters] == ["surefoot.fault.slow.0", "envoy.filters.http.router"]
    assert filters[0]["typed_config"]["delay"]["fixed_delay"] == "0.3s"
    assert found.sidecars[name].clusters == ("inbound|8080||127.1.0.2",)
    assert addresses(found, "inbound|8080||127.1.0.2") == [
        {"socket_address": {"address": "127.1.0.2", "port_value": 8080}}
    ]
    assert found.faults[Key("shop", "slow")].pods == 1


def test_the_endpoint_keeps_its_identity_for_the_telemetry():
    plain = rendered().clusters[WEB].resource["load_assignment"]["endpoints"][0]["lb_endpoints"]
    through = rendered(envoy_filter("slow", CANARY, http_fault(delay="1s"))).clusters[WEB].resource
    faulty = through["load_assignment"]["endpoints"][0]["lb_endpoints"]
    assert [one["metadata"] for one in plain] == [one["metadata"] for one in faulty]


@pytest.mark.parametrize(
    "fault",
    [
        envoy_filter("slow", CANARY, http_fault(delay="1s", percent=0)),
        envoy_filter("slow", CANARY, http_fault(delay="1s"), port=9090),
        envoy_filter("slow", {"version": "none"}, http_fault(delay="1s")),
        {
            **envoy_filter("slow", CANARY, http_fault(delay="1s")),
            "metadata": {"name": "slow", "namespace": "x"},
        },
    ],
    ids=["0 %", "another port", "no such pod", "another namespace"],
)
def test_what_hits_nobody_changes_nothing(fault: Object):
    found = rendered(fault)
    assert found.clusters == rendered().clusters
    assert found.sidecars == {}
    [placement] = found.faults.values()
    assert not placement.listeners


def test_a_changed_fault_is_another_listener_and_the_same_fault_the_same():
    one = the_listener(rendered(envoy_filter("slow", CANARY, http_fault(delay="1s"))))
    same = the_listener(rendered(envoy_filter("slow", CANARY, http_fault(delay="1s"))))
    other = the_listener(rendered(envoy_filter("slow", CANARY, http_fault(delay="2s"))))
    assert one == same != other


def test_several_faults_of_a_pod_stand_one_behind_the_other():
    a = named(envoy_filter("a", CANARY, http_fault(delay="1s")), "uid-a")
    b = named(envoy_filter("b", {"app": "web"}, http_fault(abort=503)), "uid-b")
    found = rendered(a, b)
    [inner] = found.faults[Key("shop", "a")].listeners
    outer = {
        name
        for name in found.faults[Key("shop", "b")].listeners
        if found.sidecars[name].clusters[0] == f"sidecar|{inner}"
    }
    assert len(outer) == 1
    assert {uid_of(name) for name in found.sidecars} == {"uid-a", "uid-b"}
    assert addresses(found)[1] == {"envoy_internal_address": {"server_listener_name": outer.pop()}}


# --- outbound ---------------------------------------------------------------------------------------


def web_host(found: Rendered) -> Object:
    return next(
        host for host in found.routes[MESH_ROUTES]["virtual_hosts"] if host["name"].startswith("web.shop")
    )


def test_calls_of_selected_pods_are_handed_to_their_own_sidecar():
    found = rendered(envoy_filter("slow", CANARY, http_fault(delay="1s", cluster=WEB)))
    first, second = web_host(found)["routes"]
    name = the_listener(found)
    assert first["route"]["cluster"] == f"sidecar|{name}"
    regex = first["match"]["headers"][0]["string_match"]["safe_regex"]["regex"]
    assert re.fullmatch(regex, caller_token("shop", "canary"))
    for other in (caller_token("shop"), caller_token("shop", "stable"), caller_token("other", "canary")):
        assert not re.fullmatch(regex, other)
    assert second == web_host(rendered())["routes"][0]
    inside = manager(found, name)["route_config"]["virtual_hosts"]
    assert second in inside[0]["routes"]
    assert addresses(found) == addresses(rendered())


def test_a_cluster_that_no_route_leads_to_is_no_reason_to_touch_anything():
    found = rendered(envoy_filter("slow", CANARY, http_fault(delay="1s", cluster="outbound|80||db.shop")))
    assert found.routes == rendered().routes
    assert found.faults[Key("shop", "slow")].pods == 1


def test_of_two_faults_for_the_same_calls_the_younger_is_refused():
    old = named(envoy_filter("old", CANARY, http_fault(delay="1s", cluster=WEB)), "u1")
    young = named(envoy_filter("young", {"app": "web"}, http_fault(abort=503, cluster=WEB)), "u2")
    old["metadata"]["creationTimestamp"], young["metadata"]["creationTimestamp"] = "2026-01-01", "2026-01-02"
    found = rendered(young, old)
    assert {uid_of(name) for name in found.sidecars} == {"u1"}
    [problem] = found.problems_of("EnvoyFilter", Key("shop", "young"))
    assert problem.whole
    assert "EnvoyFilter shop/old is older" in problem.message


def test_a_virtual_services_own_fault_is_not_mixed_with_ours():
    vs = virtual_service(
        {"route": [to("web")], "fault": {"abort": {"httpStatus": 500, "percentage": {"value": 1}}}}
    )
    fault = envoy_filter("slow", CANARY, http_fault(delay="1s", cluster=WEB))
    [problem] = rendered(fault, virtual_services=(vs,)).problems_of("EnvoyFilter", Key("shop", "slow"))
    assert "a VirtualService has a fault of its own" in problem.message


# --- what is not understood -----------------------------------------------------------------------------


def change(path: str, value: Any) -> Object:
    obj = envoy_filter("slow", CANARY, http_fault(delay="1s"))
    at: Any = obj
    *parts, last = path.split(".")
    for part in parts:
        at = at[int(part)] if part.isdigit() else at[part]
    at[last] = value
    return obj


CONFIG = "spec.configPatches.0.patch.value.typed_config"


@pytest.mark.parametrize(
    ("path", "value", "where"),
    [
        ("spec.priority", 3, "priority"),
        ("spec.configPatches.0.applyTo", "CLUSTER", "spec.configPatches[0].applyTo"),
        ("spec.configPatches.0.match.context", "GATEWAY", "spec.configPatches[0].match.context"),
        ("spec.configPatches.0.patch.operation", "MERGE", "spec.configPatches[0].patch.operation"),
        (f"{CONFIG}.@type", "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua", "@type"),
        (f"{CONFIG}.delay.fixed_delay", "1 hour", "fixed_delay"),
        (f"{CONFIG}.delay.percentage", {"numerator": -1}, "numerator"),
        (f"{CONFIG}.delay", None, "needs delay or abort"),
        (f"{CONFIG}.response_rate_limit", {}, "response_rate_limit"),
        (f"{CONFIG}.upstream_cluster", "x", "upstream_cluster"),
        ("metadata.annotations", {"surefoot.dev/expires-at": "soon"}, "surefoot.dev/expires-at"),
        ("metadata.annotations", {"surefoot.dev/expires-at": "2026-13-01T00:00:00Z"}, "RFC 3339"),
    ],
)
def test_what_is_not_understood_is_named_and_nothing_is_served(path: str, value: Any, where: str):
    obj = change(path, value)
    found = rendered(obj)
    [problem] = found.problems_of("EnvoyFilter", Key("shop", "slow"))
    assert where in str(problem)
    assert problem.whole
    assert found.clusters == rendered().clusters


def test_an_object_has_expired_from_the_very_moment():
    obj = envoy_filter("slow", CANARY, expires=timestamp(NOW))
    assert expired(obj, NOW)
    assert not expired(obj, NOW - timedelta(microseconds=1))
    assert not expired(envoy_filter("slow", CANARY), NOW)


# --- callers --------------------------------------------------------------------------------------------

NAMES = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True)


@given(NAMES, NAMES, NAMES)
def test_a_callers_namespace_is_told_whatever_its_password(namespace: str, other: str, name: str):
    regex = callers_regex(namespace)
    assert re.fullmatch(regex, caller_token(namespace))
    assert re.fullmatch(regex, caller_token(namespace, name))
    assert bool(re.fullmatch(regex, caller_token(other, name))) is (other == namespace)
    assert not re.fullmatch(regex, caller_token(f"{namespace}{other}"))


# --- counting -------------------------------------------------------------------------------------------

A, B = "fault-u-" + "a" * 16, "fault-u-" + "b" * 16


def test_sums_survive_listeners_and_restarts_of_envoy():
    ledger = Ledger()
    ledger.open("u", {})
    ledger.begin(A, Counts())
    ledger.begin(B, Counts(delayed=5))  # the numbers of an earlier life that Envoy still remembers
    ledger.take(
        {A: Counts(delayed=3, aborted=1), B: Counts(delayed=7), "fault-u-" + "c" * 16: Counts(delayed=99)}
    )
    assert ledger.sums("u") == (5, 1)
    ledger.end(A, Counts(delayed=4, aborted=1))
    ledger.take({A: Counts(delayed=4, aborted=1)})
    assert ledger.sums("u") == (6, 1)
    ledger.begin(A, Counts(delayed=4, aborted=1))
    ledger.take({A: Counts(delayed=6, aborted=1)})
    assert ledger.sums("u") == (8, 1)
    ledger.take({A: Counts(delayed=1), B: Counts()})
    assert ledger.sums("u") == (9, 1)


def test_sums_go_on_from_what_was_told_before_and_objects_do_not_mix():
    ledger = Ledger()
    ledger.open("u", {"status": {"surefoot": {"delayed": 10, "aborted": 2}}})
    ledger.open("v", {})
    ledger.begin(A, Counts())
    ledger.take({A: Counts(delayed=1)})
    assert (ledger.sums("u"), ledger.sums("v")) == ((11, 2), (0, 0))
    ledger.keep(["v"])
    assert ledger.sums("u") == (0, 0)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), max_size=30))
def test_a_sum_never_falls_and_misses_nothing_whenever_a_listener_comes_and_goes(
    steps: list[tuple[bool, int]],
):
    """Envoy counts `more` requests at each step; at some the listener ends and comes again."""
    ledger, counter, total = Ledger(), 0, 0
    ledger.open("u", {})
    ledger.begin(A, Counts())
    for again, more in steps:
        counter, total = counter + more, total + more
        ledger.take({A: Counts(delayed=counter)})
        if again:
            ledger.end(A, Counts(delayed=counter))
            counter = 0 if more % 2 else counter  # Envoy forgets the counter, or not
            ledger.begin(A, Counts(delayed=counter))
        assert ledger.sums("u") == (total, 0)


def test_active_is_what_envoy_runs_or_still_holds():
    placed = Placement("u", frozenset({A}), 1)
    assert is_active(placed, Seen({}, frozenset({A, "mesh"})))
    assert not is_active(placed, Seen({}, frozenset({"mesh"})))
    assert not is_active(Placement("u"), Seen({A: Counts(delayed=9)}, frozenset({A})))
    assert is_active(Placement("u"), Seen({A: Counts(held=1)}, frozenset({A})))
    assert not is_active(Placement("v"), Seen({A: Counts(held=1)}, frozenset({A})))


def test_the_status_changes_only_when_something_else_than_the_time_did():
    obj = envoy_filter("slow", CANARY, http_fault(delay="1s"))
    placed = Placement("u", frozenset({A}), 1)

    def told(obj: Object, sums: tuple[int, int], now: datetime) -> Object:
        return fault_status(obj, placed, active=True, sums=sums, reasons=(), expired=False, now=now)

    first = told(obj, (1, 0), NOW)
    assert first["surefoot"] == {"active": True, "delayed": 1, "aborted": 0, "pods": 1, "at": timestamp(NOW)}
    obj = {**obj, "status": first}
    assert told(obj, (1, 0), NOW + timedelta(hours=1)) == first
    assert told(obj, (2, 0), NOW + timedelta(hours=1))["surefoot"]["at"] != first["surefoot"]["at"]
