"""Server-side apply: who owns what, conflicts, force, status."""

from __future__ import annotations

from typing import Any

from tests.conformance.exchanges.furniture import (
    CONFIG_MAPS,
    DEPLOYMENTS,
    SERVICES,
    WIDGETS,
    config_map,
    deployment,
    meta,
    widget,
)
from tests.conformance.exchanges.play import Play, case

SETTINGS = f"{CONFIG_MAPS}/settings"


def typed(kind: str, body: dict[str, Any], api_version: str = "v1") -> dict[str, Any]:
    return {"apiVersion": api_version, "kind": kind, **body}


def settings(**data: str) -> dict[str, Any]:
    return typed("ConfigMap", config_map(**data))


@case
def apply_creates_and_then_changes_nothing(play: Play) -> None:
    play.apply(SETTINGS, settings(a="1"))
    play.apply(SETTINGS, settings(a="1"))
    play.apply(SETTINGS, settings(a="2"))


@case
def apply_removes_what_its_manager_no_longer_names(play: Play) -> None:
    play.apply(SETTINGS, settings(a="1", b="2"))
    play.patch(SETTINGS, {"data": {"c": "3"}}, kept=False)
    play.apply(SETTINGS, settings(a="1"))


@case
def apply_of_anothers_field_is_a_conflict_unless_forced(play: Play) -> None:
    play.apply(SETTINGS, settings(a="1", b="1"))
    play.apply(SETTINGS, settings(a="2"), manager="other")
    play.apply(SETTINGS, settings(a="2", b="2"), manager="other")
    play.apply(SETTINGS, settings(a="1"), manager="other")
    play.apply(SETTINGS, settings(a="2"), manager="other", force="true")
    play.apply(SETTINGS, settings(b="1"))


@case
def apply_conflicts_with_those_who_update(play: Play) -> None:
    play.post(CONFIG_MAPS, config_map(a="1"), fieldManager="writer")
    play.apply(SETTINGS, settings(a="2"))
    play.patch(SETTINGS, {"data": {"a": "3"}}, fieldManager="second")
    play.apply(SETTINGS, settings(a="2"))


@case
def apply_merges_lists_by_their_keys(play: Play) -> None:
    one = typed("Deployment", deployment(), "apps/v1")
    play.apply(f"{DEPLOYMENTS}/web", one)
    side = {"name": "side", "image": "s:1", "ports": [{"containerPort": 81}]}
    mine = typed("Deployment", meta("web"), "apps/v1") | {
        "spec": {"template": {"spec": {"containers": [side]}}}
    }
    play.apply(f"{DEPLOYMENTS}/web", mine, manager="other")
    play.apply(f"{DEPLOYMENTS}/web", one)
    play.apply(f"{DEPLOYMENTS}/web", typed("Deployment", meta("web"), "apps/v1"), manager="other")


@case
def apply_of_a_service_merges_its_ports(play: Play) -> None:
    ports = [{"port": 80, "protocol": "TCP", "name": "a"}]
    one = typed("Service", meta("web")) | {"spec": {"ports": ports, "selector": {"app": "web"}}}
    play.apply(f"{SERVICES}/web", one)
    two = typed("Service", meta("web")) | {"spec": {"selector": {"version": "2"}}}
    play.apply(f"{SERVICES}/web", two, manager="other")


@case
def apply_of_a_custom_resource_knows_its_maps_and_sets(play: Play) -> None:
    play.apply(f"{WIDGETS}/first", widget(steps=[{"name": "a"}], tags=["x"], plain=[1]))
    other = widget(steps=[{"name": "b", "weight": 5}], tags=["w"])
    play.apply(f"{WIDGETS}/first", other, manager="other")
    play.apply(f"{WIDGETS}/first", widget(plain=[2]), manager="other")
    play.apply(f"{WIDGETS}/first", widget(tags=["x"]))


@case
def apply_of_status_owns_status_only(play: Play) -> None:
    play.make(WIDGETS, widget())
    status = {"status": {"phase": "Ready"}}
    play.apply(f"{WIDGETS}/first/status", widget(size=9) | status, manager="controller")
    play.apply(f"{WIDGETS}/first", widget() | {"status": {"phase": "Other"}}, force="true")
    play.get(f"{WIDGETS}/first")


@case
def apply_that_makes_no_sense_is_refused(play: Play) -> None:
    play.patch(SETTINGS, settings(), "application/apply-patch+yaml")
    play.apply(SETTINGS, {"data": {}})
    play.apply(SETTINGS, settings() | {"metadata": {"name": "other"}})
    play.apply(SETTINGS, typed("Secret", meta("settings")))
    play.apply(SETTINGS, settings() | {"metadata": {"name": "settings", "managedFields": [{"manager": "x"}]}})
    play.apply(f"{CONFIG_MAPS}/settings/status", settings())
    play.apply(SETTINGS, settings() | {"nonsense": 1})
    play.apply("/api/v1/namespaces/nowhere-at-all/configmaps/settings", settings())


@case
def apply_dry_runs_and_preconditions(play: Play) -> None:
    play.apply(SETTINGS, settings(), dryRun="All")
    play.get(SETTINGS)
    made = play.apply(SETTINGS, settings())
    versioned = settings(a="2")
    versioned["metadata"]["resourceVersion"] = made.meta["resourceVersion"]
    play.apply(SETTINGS, versioned)
    versioned["data"]["a"] = "3"
    play.apply(SETTINGS, versioned)


@case
def managed_fields_can_be_cleared(play: Play) -> None:
    play.apply(SETTINGS, settings())
    play.patch(SETTINGS, {"metadata": {"managedFields": [{}]}})
    play.patch(SETTINGS, {"data": {"b": "2"}}, fieldManager="writer")
    play.apply(SETTINGS, settings(a="1"))
