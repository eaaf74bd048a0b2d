"""What a Rollout refers to and is not there: said at once, before any pod starts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rollout.api.codec import view
from rollout.api.rollout import Rollout
from rollout.core.observed import Observed, RouteKey, TemplateKey
from rollout.core.problem import Problem, invalid
from rollout.core.references import references
from rollout.errors import InvalidSpec
from rollout.traffic.base import Router
from rollout.traffic.gateway import GatewayRouter
from rollout.traffic.istio import IstioRouter

_FIX = "create it, or correct the name"


def router_for(rollout: Rollout) -> Router | None:
    """The router that moves this Rollout's traffic, or None when pods or Services do."""
    canary = rollout.spec.strategy.canary
    routing = canary.traffic_routing if canary is not None else None
    if canary is None or routing is None:
        return None
    if routing.istio is not None:
        return IstioRouter(canary, routing.istio, rollout.metadata.namespace)
    return GatewayRouter(canary, rollout) if routing.gateway is not None else None


def route_keys(rollout: Rollout) -> tuple[RouteKey, ...]:
    """The router's objects that a Rollout names."""
    router = router_for(rollout)
    return router.refs() if router is not None else ()


def template_keys(rollout: Rollout) -> tuple[TemplateKey, ...]:
    """The analysis templates that a Rollout names directly."""
    return tuple((ref.cluster_scope, ref.key.name) for ref in references(rollout).templates)


def without_gates(raw: Mapping[str, Any]) -> Rollout | None:
    """The Rollout without steps and analyses, which an abort does not need; None when it cannot be read even so."""
    spec = dict(raw.get("spec") or {})
    strategy = dict(spec.get("strategy") or {})
    for kind, gates in _GATES.items():
        if isinstance(strategy.get(kind), Mapping):
            strategy[kind] = {key: value for key, value in strategy[kind].items() if key not in gates}
    try:
        return view({**raw, "spec": {**spec, "strategy": strategy}}, Rollout)
    except InvalidSpec:
        return None


_GATES = {
    "canary": frozenset({"steps", "analysis"}),
    "blueGreen": frozenset({"prePromotionAnalysis", "postPromotionAnalysis"}),
}


def problems(seen: Observed) -> Iterator[Problem]:
    """What is missing, in the order of the fields that name it."""
    refs = references(seen.rollout)
    for service in refs.services:
        if service.key.name not in seen.services:
            yield invalid(service.path, service.key.name, f'Service "{service.key}" not found', _FIX)
        elif rival := seen.rivals.get(service.key.name):
            rule = f'Service "{service.key}" is managed by another Rollout, "{rival}"'
            yield invalid(service.path, service.key.name, rule, "give each Rollout Services of its own")
    # Neither an abort nor scaling at rest may fail for the lack of a template that they do not use.
    gates_ahead = not seen.rollout.status.abort and not seen.sets.is_stable
    for template in refs.templates if gates_ahead else ():
        key = (template.cluster_scope, template.key.name)
        if key not in seen.templates and key not in seen.broken_templates:
            kind = "ClusterAnalysisTemplate" if template.cluster_scope else "AnalysisTemplate"
            yield invalid(template.path, template.key.name, f'{kind} "{template.key}" not found', _FIX)
    for (cluster, name), broken in seen.broken_templates.items() if gates_ahead else ():
        kind = "ClusterAnalysisTemplate" if cluster else "AnalysisTemplate"
        yield from (Problem(f'{kind} "{name}"', str(one)) for one in broken)
    router = router_for(seen.rollout)
    if router is not None:
        yield from router.problems(seen)
