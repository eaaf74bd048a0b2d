"""What a Rollout refers to, and what is missing of it: said at once, before any pod starts."""

from __future__ import annotations

from collections.abc import Iterator

from rollout.api.rollout import Rollout, RolloutAnalysis
from rollout.core.observed import Observed, RouteKey, TemplateKey
from rollout.core.problem import Problem, invalid
from rollout.traffic.base import Router
from rollout.traffic.istio import IstioRouter


def router_for(rollout: Rollout) -> Router | None:
    """The router that moves this Rollout's traffic, or None when pods or Services do."""
    canary = rollout.spec.strategy.canary
    if canary is None or canary.traffic_routing is None or canary.traffic_routing.istio is None:
        return None
    return IstioRouter(canary, canary.traffic_routing.istio, rollout.metadata.namespace)


def router_of(seen: Observed) -> Router | None:
    return router_for(seen.rollout)


def service_fields(rollout: Rollout) -> dict[str, str]:
    """The Services that a Rollout names: field path -> name."""
    strategy, fields = rollout.spec.strategy, {}
    if strategy.canary is not None:
        fields["spec.strategy.canary.canaryService"] = strategy.canary.canary_service
        fields["spec.strategy.canary.stableService"] = strategy.canary.stable_service
    if strategy.blue_green is not None:
        fields["spec.strategy.blueGreen.activeService"] = strategy.blue_green.active_service
        fields["spec.strategy.blueGreen.previewService"] = strategy.blue_green.preview_service
    return {path: name for path, name in fields.items() if name}


def analyses(rollout: Rollout) -> dict[str, RolloutAnalysis]:
    """The analyses that a Rollout names: field path -> analysis."""
    strategy, found = rollout.spec.strategy, {}
    if strategy.canary is not None:
        if strategy.canary.analysis is not None:
            found["spec.strategy.canary.analysis"] = strategy.canary.analysis
        for index, step in enumerate(strategy.canary.steps):
            if step.analysis is not None:
                found[f"spec.strategy.canary.steps[{index}].analysis"] = step.analysis
    if strategy.blue_green is not None:
        for field, analysis in (
            ("prePromotionAnalysis", strategy.blue_green.pre_promotion_analysis),
            ("postPromotionAnalysis", strategy.blue_green.post_promotion_analysis),
        ):
            if analysis is not None:
                found[f"spec.strategy.blueGreen.{field}"] = analysis
    return found


def template_keys(rollout: Rollout) -> frozenset[TemplateKey]:
    """The analysis templates that a Rollout names directly."""
    return frozenset(
        (ref.cluster_scope, ref.template_name) for one in analyses(rollout).values() for ref in one.templates
    )


def route_keys(rollout: Rollout) -> tuple[RouteKey, ...]:
    router = router_for(rollout)
    return router.refs() if router is not None else ()


def problems(seen: Observed) -> Iterator[Problem]:
    """What the Rollout refers to and is not there."""
    namespace = seen.rollout.metadata.namespace
    for path, name in service_fields(seen.rollout).items():
        if name not in seen.services:
            rule = f'Service "{namespace}/{name}" not found'
            yield invalid(path, name, rule, "create it, or correct the name")
    for path, analysis in analyses(seen.rollout).items():
        for index, ref in enumerate(analysis.templates):
            if (ref.cluster_scope, ref.template_name) not in seen.templates:
                kind = "ClusterAnalysisTemplate" if ref.cluster_scope else "AnalysisTemplate"
                where = ref.template_name if ref.cluster_scope else f"{namespace}/{ref.template_name}"
                yield invalid(
                    f"{path}.templates[{index}].templateName",
                    ref.template_name,
                    f'{kind} "{where}" not found',
                    "create it, or correct the name",
                )
    router = router_of(seen)
    if router is not None:
        yield from router.problems(seen)
