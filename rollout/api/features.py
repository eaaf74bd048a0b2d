"""The features that an operator can leave out, by the names of charts/surefoot (`features.*`), and whose role grants what.

One ClusterRole of the chart belongs to each feature; what has no feature here is in the role `core`, which every
controller has. `tests/chart/test_roles.py` compares this with the rendered roles.
"""

from __future__ import annotations

from typing import Literal, get_args

from rollout.api.resources import (
    BACKEND_TRAFFIC_POLICIES,
    CHAOS_RUNS,
    CHAOS_SCHEDULES,
    CHAOS_TEMPLATES,
    CONFIG_MAPS,
    DECISION_RECORDS,
    DEPLOYMENTS,
    DESTINATION_RULES,
    ENDPOINT_SLICES,
    ENVOY_FILTERS,
    HPAS,
    HTTP_ROUTES,
    NAMESPACES,
    NETWORK_POLICIES,
    NODES,
    PDBS,
    PODS,
    STATEFUL_SETS,
    VIRTUAL_SERVICES,
    Resource,
)

Feature = Literal[
    "core",
    "decisions",
    "workloadRef",
    "istio",
    "gateway",
    "events",
    "jobs",
    "secrets",
    "loadTest",
    "chaos",
    "chaosNetwork",
]
FEATURES: tuple[Feature, ...] = get_args(Feature)
"""All of them. `core` cannot be left out."""

Provider = Literal["prometheus", "web", "http", "kubernetes", "job", "cmd", "loadTest", "chaos"]
PROVIDERS: tuple[Provider, ...] = get_args(Provider)
"""What an analysis can measure with (`analysis.providers.registry`)."""
NEEDS: dict[str, Feature] = {"job": "jobs", "cmd": "jobs", "loadTest": "loadTest", "chaos": "chaos"}
"""The feature without which a provider cannot work."""

FOLLOWED: dict[Resource, Feature] = {
    DECISION_RECORDS: "decisions",
    DEPLOYMENTS: "workloadRef",
    VIRTUAL_SERVICES: "istio",
    DESTINATION_RULES: "istio",
    HTTP_ROUTES: "gateway",
    **dict.fromkeys(
        (
            CHAOS_RUNS,
            CHAOS_TEMPLATES,
            CHAOS_SCHEDULES,
            NAMESPACES,
            NODES,
            PODS,
            STATEFUL_SETS,
            PDBS,
            HPAS,
            ENDPOINT_SLICES,
            ENVOY_FILTERS,
            BACKEND_TRAFFIC_POLICIES,
            NETWORK_POLICIES,
            CONFIG_MAPS,
        ),
        "chaos",
    ),
}
"""Whose role lets this be listed and watched; `core` for what is not here."""


def feature_of(resource: Resource) -> Feature:
    """The feature by whose role the controller may list and watch a resource."""
    return FOLLOWED.get(resource, "core")


def lacking(verb: str, resource: Resource) -> str:
    """What to say when the API server forbids it: the verb, the resource, and the role that would allow it."""
    role = feature_of(resource)
    switch = "which the chart always makes" if role in ("core", "decisions") else f"of features.{role}"
    where = f"{switch} (docs/install.md, Rights)"
    return f"the controller may not {verb} {resource}; the role {role!r} grants it, {where}"


def left_out(feature: str) -> str:
    """What to say of something that belongs to a feature which the operator has switched off."""
    return f"the controller runs without the feature {feature!r} (features of its configuration)"
