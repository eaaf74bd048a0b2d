from __future__ import annotations

from typing import Any

import pytest

from chaos.reap import clear, left, main, reap
from rollout.api.chaos import EXPIRES_AT, RECEIPT, RUN_LABEL, RUN_UID, SILENCED_AT
from rollout.api.resources import (
    BACKEND_TRAFFIC_POLICIES,
    CHAOS_RUNS,
    ENVOY_FILTERS,
    NETWORK_POLICIES,
    Resource,
)
from rollout.errors import Forbidden, NotFound
from rollout.runtime.kube import ListPage
from tests.unit.chaos.faults.cluster import NOW


class Server:
    """The three lists that a reaper reads, and what it deletes."""

    def __init__(self, objects: dict[Resource, list[dict[str, Any]]]) -> None:
        self.objects = objects
        self.deleted: list[tuple[Resource, str, str, str]] = []
        self.vanish = False
        self.forbidden = ""
        self.hidden: Resource | None = None
        self.namespaces: tuple[str, ...] = ()
        """Where the reaper may look; () = everywhere."""

    async def list(self, resource: Resource, namespace: str | None = None, *, labels: str = "") -> ListPage:
        if resource is self.hidden:
            raise Forbidden(f"no {resource.plural} for you")
        if resource not in self.objects:
            raise NotFound("the server could not find the requested resource")
        assert labels == ("" if resource is CHAOS_RUNS else RUN_LABEL)
        if self.namespaces and namespace not in self.namespaces:
            raise Forbidden(f"no, not in {namespace or 'all namespaces'}")
        found = [one for one in self.objects[resource] if namespace in (None, one["metadata"]["namespace"])]
        return ListPage(found, "1")

    async def delete(self, resource: Resource, namespace: str, name: str, *, uid: str) -> None:
        if name == self.forbidden:
            raise Forbidden("no")
        if self.vanish:
            raise NotFound("gone already")
        self.deleted.append((resource, namespace, name, uid))


class Clock:
    def now(self) -> Any:
        return NOW


def made(name: str, expires: str, run: str = "uid-run") -> dict[str, Any]:
    return {
        "metadata": {
            "namespace": "shop",
            "name": name,
            "uid": f"uid-{name}",
            "creationTimestamp": "2026-11-21T11:00:00Z",
            "labels": {RUN_LABEL: "run", RUN_UID: run},
            "annotations": {RECEIPT: f"receipt-{name}", EXPIRES_AT: expires},
        }
    }


RUN = {"metadata": {"name": "run", "namespace": "shop", "uid": "uid-run"}, "status": {"phase": "Injecting"}}
OLD, NEW = "2026-11-21T11:59:00Z", "2026-11-21T12:00:20Z"


async def reaped(server: Server) -> list[str]:
    return [f"{delete.name}: {why}" for delete, why in await reap(server, Clock())]  # type: ignore[arg-type]


async def test_what_is_expired_is_deleted_and_what_is_not_stays() -> None:
    server = Server(
        {
            ENVOY_FILTERS: [made("old", OLD), made("new", NEW)],
            BACKEND_TRAFFIC_POLICIES: [made("route", OLD), made("kept", NEW)],
            NETWORK_POLICIES: [made("policy", OLD)],
            CHAOS_RUNS: [RUN],
        }
    )
    assert await reaped(server) == [f"{one}: its lease is over" for one in ("old", "route", "policy")]
    assert server.deleted == [
        (ENVOY_FILTERS, "shop", "old", "uid-old"),
        (BACKEND_TRAFFIC_POLICIES, "shop", "route", "uid-route"),
        (NETWORK_POLICIES, "shop", "policy", "uid-policy"),
    ]


async def test_what_nobody_owns_any_more_is_deleted() -> None:
    server = Server(
        {ENVOY_FILTERS: [made("orphan", NEW, run="gone")], NETWORK_POLICIES: [], CHAOS_RUNS: [RUN]}
    )
    assert await reaped(server) == ["orphan: its run is gone"]


async def test_in_some_namespaces_only_these_are_looked_at_and_another_ones_run_is_not_called_gone() -> None:
    elsewhere = made("elsewhere", OLD)
    elsewhere["metadata"]["namespace"] = "web"
    others = [made("old", OLD), made("others", NEW, run="in a namespace that we do not see"), elsewhere]
    server = Server({ENVOY_FILTERS: others, NETWORK_POLICIES: [], CHAOS_RUNS: [RUN]})
    server.namespaces = ("shop",)
    found, refused = await left(server, server.namespaces)  # type: ignore[arg-type]
    assert refused is None
    done = await clear(server, Clock(), found, server.namespaces)  # type: ignore[arg-type]
    assert [f"{delete.name}: {why}" for delete, why in done] == ["old: its lease is over"]
    with pytest.raises(Forbidden):
        await reaped(server)


async def test_what_somebody_is_undoing_is_left_to_them_for_a_while() -> None:
    undone = made("undone", OLD)
    for since, stays in (("2026-11-21T11:59:50Z", True), ("2026-11-21T11:59:40Z", False)):
        undone["metadata"]["annotations"][SILENCED_AT] = since
        server = Server({ENVOY_FILTERS: [undone], NETWORK_POLICIES: [], CHAOS_RUNS: [RUN]})
        assert await reaped(server) == ([] if stays else ["undone: its lease is over"])


async def test_what_cannot_be_deleted_keeps_nothing_else_from_it() -> None:
    server = Server(
        {ENVOY_FILTERS: [made("a", OLD), made("b", OLD)], NETWORK_POLICIES: [], CHAOS_RUNS: [RUN]}
    )
    server.forbidden = "a"
    with pytest.raises(Forbidden):
        await reaped(server)
    assert [name for _, _, name, _ in server.deleted] == ["b"]


async def test_a_run_that_cannot_be_read_still_has_its_objects() -> None:
    broken = RUN | {"spec": {"steps": "none"}}
    server = Server({ENVOY_FILTERS: [made("new", NEW)], NETWORK_POLICIES: [], CHAOS_RUNS: [broken]})
    assert await reaped(server) == []


async def test_without_istio_the_policies_are_still_reaped() -> None:
    server = Server({NETWORK_POLICIES: [made("policy", OLD)], CHAOS_RUNS: [RUN]})
    assert await reaped(server) == ["policy: its lease is over"]


async def test_what_has_gone_meanwhile_is_no_error() -> None:
    server = Server({ENVOY_FILTERS: [made("old", OLD)], NETWORK_POLICIES: [], CHAOS_RUNS: [RUN]})
    server.vanish = True
    assert await reaped(server) == ["old: its lease is over"]


async def test_outside_a_cluster_it_wants_to_be_told_which_one(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    assert await main([]) == 2
    assert "--context" in capsys.readouterr().err
    assert await main(["--every", "soon"]) == 2


async def test_a_kind_that_may_not_be_read_is_said_and_keeps_nothing_else_from_being_deleted() -> None:
    server = Server({NETWORK_POLICIES: [made("policy", OLD)], CHAOS_RUNS: [RUN]})
    server.hidden = ENVOY_FILTERS
    with pytest.raises(Forbidden, match="no envoyfilters for you"):
        await reaped(server)
    assert server.deleted == [(NETWORK_POLICIES, "shop", "policy", "uid-policy")]
