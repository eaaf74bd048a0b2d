"""What the mesh says in status, and what wakes it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from rollout.api.resources import PODS, SERVICES, VIRTUAL_SERVICES
from rollout.sandbox.mesh import http_route
from rollout.sandbox.mesh.status import is_live, reconciled
from rollout.sandbox.mesh.watching import concerns
from tests.unit.mesh.objects import Object, pod, service, virtual_service

T0, T1 = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)


def with_status(obj: Object, status: Any) -> Object:
    return {**obj, "status": status}


def test_a_generation_that_is_live_says_so_and_an_older_one_does_not_count():
    vs = virtual_service()
    live = with_status(vs, reconciled(vs, refused="", problems=[], now=T0))
    assert is_live(live)
    assert not is_live(vs)
    newer = {**live, "metadata": {**live["metadata"], "generation": 2}}
    assert not is_live(newer)


def test_a_refused_generation_is_not_live_and_says_why():
    vs = virtual_service()
    status = reconciled(vs, refused="bad regex", problems=["spec.tls: no"], now=T0)
    assert not is_live(with_status(vs, status))
    assert [(item["type"], item["status"], item["message"]) for item in status["conditions"]] == [
        ("Reconciled", "False", "bad regex"),
        ("SurefootSupported", "False", "spec.tls: no"),
    ]


def test_conditions_keep_the_time_of_their_last_change_and_those_of_others_stay():
    vs = virtual_service()
    first = reconciled(vs, refused="", problems=[], now=T0)
    first["conditions"].append({"type": "Other", "status": "True"})
    again = reconciled(with_status(vs, first), refused="", problems=[], now=T1)
    assert {item["type"] for item in again["conditions"]} == {"Reconciled", "Other"}
    assert again["conditions"][-1]["lastTransitionTime"] == "2026-01-01T00:00:00Z"


def test_an_http_route_is_accepted_by_each_parent_and_tells_missing_backends():
    route = {
        "metadata": {"name": "r", "namespace": "shop", "generation": 3},
        "spec": {"parentRefs": [{"name": "gw"}]},
        "status": {"parents": [{"controllerName": "other", "parentRef": {"name": "x"}}]},
    }
    status = http_route.status(route, [("BackendNotFound", "no web")], [], T0)
    other, ours = status["parents"]
    assert other["controllerName"] == "other"
    assert ours["parentRef"] == {"name": "gw"}
    accepted, resolved = ours["conditions"]
    assert (accepted["status"], accepted["observedGeneration"]) == ("True", 3)
    assert (resolved["status"], resolved["reason"], resolved["message"]) == (
        "False",
        "BackendNotFound",
        "no web",
    )
    assert http_route.status({**route, "status": status}, [("BackendNotFound", "no web")], [], T1) == status


def test_only_what_rendering_reads_wakes_the_mesh():
    one = pod("a", app="x")
    assert not concerns(PODS, one, {**one, "status": {"phase": "Running"}})
    assert concerns(PODS, one, pod("a", app="y"))
    assert concerns(PODS, None, one)
    assert concerns(SERVICES, service("web"), service("web", 81))
    vs = virtual_service()
    assert not concerns(VIRTUAL_SERVICES, vs, with_status(vs, {"observedGeneration": 1}))
