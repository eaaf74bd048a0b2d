"""What a Rollout refers to by name: the objects that must exist before anything of it can move."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from rollout.api.meta import Key
from rollout.api.rollout import Rollout, RolloutAnalysis


class VirtualServiceRef(msgspec.Struct, frozen=True):
    """A VirtualService and the http routes in it that must exist; no routes: it must have exactly one."""

    path: str
    key: Key
    routes: tuple[str, ...] = ()


class DestinationRuleRef(msgspec.Struct, frozen=True):
    """A DestinationRule and its subsets as (field, name): both must exist."""

    path: str
    key: Key
    subsets: tuple[tuple[str, str], ...]


class HTTPRouteRef(msgspec.Struct, frozen=True):
    """An HTTPRoute and the names of the rules in it that must exist; none: some rule must have both Services."""

    path: str
    key: Key
    rules: tuple[str, ...] = ()


class ServiceRef(msgspec.Struct, frozen=True):
    path: str
    key: Key


class TemplateRef(msgspec.Struct, frozen=True):
    """An AnalysisTemplate, or a ClusterAnalysisTemplate (whose key has no namespace)."""

    path: str
    key: Key
    cluster_scope: bool = False


class Refs(msgspec.Struct, frozen=True):
    """Everything a Rollout names, each with the path of the field that names it."""

    services: tuple[ServiceRef, ...] = ()
    virtual_services: tuple[VirtualServiceRef, ...] = ()
    destination_rules: tuple[DestinationRuleRef, ...] = ()
    http_routes: tuple[HTTPRouteRef, ...] = ()
    templates: tuple[TemplateRef, ...] = ()


def references(rollout: Rollout) -> Refs:
    """The names in a valid Rollout, in the order of its fields."""
    namespace = rollout.metadata.namespace
    return Refs(
        services=tuple(ServiceRef(path, Key(namespace, name)) for path, name in _services(rollout)),
        virtual_services=tuple(_virtual_services(rollout)),
        destination_rules=tuple(_destination_rules(rollout)),
        http_routes=tuple(http_routes(rollout)),
        templates=tuple(ref for path, one in analyses(rollout) for ref in _templates(namespace, path, one)),
    )


def analyses(rollout: Rollout) -> Iterator[tuple[str, RolloutAnalysis]]:
    """Every analysis of the spec, with its path."""
    canary, blue_green = rollout.spec.strategy.canary, rollout.spec.strategy.blue_green
    found: list[tuple[str, RolloutAnalysis | None]] = []
    if canary is not None:
        path = "spec.strategy.canary"
        found = [(f"{path}.steps[{i}].analysis", step.analysis) for i, step in enumerate(canary.steps)]
        found.append((f"{path}.analysis", canary.analysis))
    if blue_green is not None:
        path = "spec.strategy.blueGreen"
        found += [
            (f"{path}.prePromotionAnalysis", blue_green.pre_promotion_analysis),
            (f"{path}.postPromotionAnalysis", blue_green.post_promotion_analysis),
        ]
    return ((path, one) for path, one in found if one is not None)


def _services(rollout: Rollout) -> Iterator[tuple[str, str]]:
    canary, blue_green = rollout.spec.strategy.canary, rollout.spec.strategy.blue_green
    named: list[tuple[str, str]] = []
    if canary is not None:
        named += [
            ("canary.canaryService", canary.canary_service),
            ("canary.stableService", canary.stable_service),
        ]
    if blue_green is not None:
        named += [
            ("blueGreen.activeService", blue_green.active_service),
            ("blueGreen.previewService", blue_green.preview_service),
        ]
    return ((f"spec.strategy.{path}", name) for path, name in named if name)


_ISTIO = "spec.strategy.canary.trafficRouting.istio"


def _virtual_services(rollout: Rollout) -> Iterator[VirtualServiceRef]:
    canary = rollout.spec.strategy.canary
    istio = canary.traffic_routing.istio if canary and canary.traffic_routing else None
    if istio is None:
        return
    named = [(f"{_ISTIO}.virtualService", istio.virtual_service)] if istio.virtual_service else []
    named += [(f"{_ISTIO}.virtualServices[{i}]", one) for i, one in enumerate(istio.virtual_services)]
    for path, one in named:
        yield VirtualServiceRef(path, _key(one.name, rollout.metadata.namespace), one.routes)


def _destination_rules(rollout: Rollout) -> Iterator[DestinationRuleRef]:
    canary = rollout.spec.strategy.canary
    istio = canary.traffic_routing.istio if canary and canary.traffic_routing else None
    if istio is not None and (rule := istio.destination_rule):
        subsets = (
            ("canarySubsetName", rule.canary_subset_name),
            ("stableSubsetName", rule.stable_subset_name),
        )
        key = _key(rule.name, rollout.metadata.namespace)
        yield DestinationRuleRef(f"{_ISTIO}.destinationRule", key, subsets)


def http_routes(rollout: Rollout) -> Iterator[HTTPRouteRef]:
    """The HTTPRoutes that a Rollout names, each with the path of the object that names it."""
    canary = rollout.spec.strategy.canary
    named = canary.traffic_routing.gateway if canary and canary.traffic_routing else None
    if named is None:
        return
    path, gateway = named
    home = gateway.namespace or rollout.metadata.namespace
    if gateway.http_route:
        yield HTTPRouteRef(f"{path}.httpRoute", Key(home, gateway.http_route))
    for index, one in enumerate(gateway.http_routes):
        yield HTTPRouteRef(f"{path}.httpRoutes[{index}]", Key(one.namespace or home, one.name), one.rules)


def _templates(namespace: str, path: str, analysis: RolloutAnalysis) -> Iterator[TemplateRef]:
    for index, one in enumerate(analysis.templates):
        key = Key("" if one.cluster_scope else namespace, one.template_name)
        yield TemplateRef(f"{path}.templates[{index}].templateName", key, one.cluster_scope)


def _key(name: str, namespace: str) -> Key:
    before, slash, bare = name.partition("/")
    return Key(before, bare) if slash else Key(namespace, name)
