"""Istio as two dictionaries: what is read, what is patched, and what is wrong, in words."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from rollout.api.codec import view
from rollout.api.meta import Key
from rollout.api.resources import DESTINATION_RULES, VIRTUAL_SERVICES
from rollout.api.rollout import HASH_LABEL, MANAGED_BY, Rollout
from rollout.core.observed import Observed
from rollout.plan.references import router_for
from rollout.traffic.base import Live

NOW = datetime(2026, 1, 5, tzinfo=UTC)


def route(stable: int, canary: int, *, name: str = "primary", host: str = "web") -> dict[str, Any]:
    return {
        "name": name,
        "route": [
            {"destination": {"host": host, "subset": "stable"}, "weight": stable},
            {"destination": {"host": host, "subset": "canary"}, "weight": canary},
        ],
    }


def seen(
    *routes: dict[str, Any], names: tuple[str, ...] = ("primary",), vs: str = "web", labels: Any = None
) -> Observed:
    istio = {
        "virtualService": {"name": vs, "routes": list(names)},
        "destinationRule": {"name": "web", "canarySubsetName": "canary", "stableSubsetName": "stable"},
    }
    raw = {
        "metadata": {"name": "web", "namespace": "prod"},
        "spec": {"strategy": {"canary": {"trafficRouting": {"istio": istio}}}},
    }
    namespace, _, bare = vs.rpartition("/")
    key = Key(namespace or "prod", bare)
    meta = {"name": bare, "namespace": key.namespace, "resourceVersion": "7"}
    subsets = [{"name": "stable", "labels": {HASH_LABEL: "old"}}, {"name": "canary", "labels": labels}]
    objects = {
        (VIRTUAL_SERVICES, key): {"metadata": meta, "spec": {"http": list(routes)}},
        (DESTINATION_RULES, Key("prod", "web")): {
            "metadata": {
                "name": "web",
                "namespace": "prod",
                "resourceVersion": "9",
                "annotations": {"a": "b"},
            },
            "spec": {"subsets": subsets},
        },
    }
    return Observed(now=NOW, rollout=view(raw, Rollout), raw=raw, routes=objects)


def test_what_is_live_is_read_back_over_all_routes() -> None:
    one = seen(
        route(80, 20), route(60, 40, name="other"), names=("primary", "other"), labels={HASH_LABEL: "new"}
    )
    router = router_for(one.rollout)
    assert router is not None
    assert router.problems(one) == []
    assert router.live(one) == Live(low=20, high=40, canary_hash="new", stable_hash="old")


@pytest.mark.parametrize("vs", ["web", "mesh/web"])
def test_a_weight_is_one_patch_of_the_routes_that_differ(vs: str) -> None:
    one = seen(
        route(100, 0), route(80, 20, name="b"), route(100, 0, name="not ours"), names=("primary", "b"), vs=vs
    )
    router = router_for(one.rollout)
    assert router is not None
    (patch,) = router.set_weight(one, 20)
    assert (patch.namespace, patch.weight) == ("mesh" if "/" in vs else "prod", 20)
    assert patch.operations == (
        {"op": "test", "path": "/metadata/resourceVersion", "value": "7"},
        {"op": "add", "path": "/metadata/annotations", "value": {MANAGED_BY: "web"}},
        {"op": "add", "path": "/spec/http/0/route/1/weight", "value": 20},
        {"op": "add", "path": "/spec/http/0/route/0/weight", "value": 80},
    )
    assert router.set_weight(seen(route(80, 20), vs=vs), 20) == ()


def test_binding_writes_the_labels_of_the_subsets_that_differ() -> None:
    one = seen(route(100, 0))
    router = router_for(one.rollout)
    assert router is not None
    (patch,) = router.retarget(one, "new", "old")
    escaped = MANAGED_BY.replace("/", "~1")
    assert patch.operations == (
        {"op": "test", "path": "/metadata/resourceVersion", "value": "9"},
        {"op": "add", "path": f"/metadata/annotations/{escaped}", "value": "web"},
        {"op": "add", "path": "/spec/subsets/1/labels", "value": {HASH_LABEL: "new"}},
    )
    assert router.retarget(seen(route(100, 0), labels={HASH_LABEL: "new"}), "new", "old") == ()
    assert router.retarget(one, "", "") == ()


@pytest.mark.parametrize(
    ("observed", "sentence"),
    [
        (seen(route(100, 0), names=("gone",)), 'has no http route of this name; it has "primary"'),
        (seen(route(100, 0), route(100, 0, name="b"), names=()), "has 2 http routes"),
        (seen(route(50, 20)), "must be whole numbers that sum to 100"),
        (
            seen({"name": "primary", "route": [{"destination": {"host": "x"}}]}),
            'has no destination with subset "canary"',
        ),
    ],
)
def test_what_is_wrong_is_said(observed: Observed, sentence: str) -> None:
    router = router_for(observed.rollout)
    assert router is not None
    assert sentence in " / ".join(map(str, router.problems(observed)))
