"""Gateway API: weights of the two Services in the rules of HTTPRoutes.

https://gateway-api.sigs.k8s.io/reference/spec/ (HTTPRouteRule, BackendRef, RouteParentStatus). The routes are the
user's: both Services must stand in a rule before anything starts, and of a rule only the weights of these two are
written, as a JSON patch that tests the version and the names it was computed from. Weights there are proportions
(1 where nothing is written); ours always sum to 100.

A weight counts when every parent of the route (its Gateways, or Services in a mesh) says for this generation that
the route is Accepted and that its references are resolved. A parent that says nothing is not serving the route.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from rollout.api.meta import Key
from rollout.api.resources import HTTP_ROUTES
from rollout.api.rollout import CanaryStrategy, Rollout
from rollout.core.actions import PatchRoute
from rollout.core.observed import Observed, RouteKey
from rollout.core.problem import Problem, invalid
from rollout.core.references import HTTPRouteRef, http_routes
from rollout.core.served import unserved
from rollout.traffic.base import Live
from rollout.traffic.patches import add, listed, patch_route
from rollout.traffic.services import selected_hash

Object = Mapping[str, Any]


class _Split(msgspec.Struct, frozen=True):
    """One rule of ours: where our two backendRefs stand in it, and what they weigh."""

    rule: int
    canary: int
    stable: int
    canary_weight: int
    stable_weight: int

    @property
    def percent(self) -> tuple[int, int]:
        """The canary's share of the two, rounded down and up."""
        total = self.canary_weight + self.stable_weight
        if not total:
            return 0, 0  # nobody is served until a weight is set
        return 100 * self.canary_weight // total, -(-100 * self.canary_weight // total)


class GatewayRouter:
    """The Router of `trafficRouting.gatewayAPI`, and of Argo's plugin for the same."""

    def __init__(self, strategy: CanaryStrategy, rollout: Rollout) -> None:
        self._canary = strategy.canary_service
        self._stable = strategy.stable_service
        self._namespace = rollout.metadata.namespace
        self._named = tuple(http_routes(rollout))

    def refs(self) -> tuple[RouteKey, ...]:
        return tuple((HTTP_ROUTES, one.key) for one in self._named)

    def problems(self, seen: Observed) -> list[Problem]:
        return [problem for one in self._named for problem in self._route_problems(seen, one)]

    def live(self, seen: Observed) -> Live:
        shares = [split.percent for one in self._named for split in self._splits(seen, one)]
        return Live(
            low=min((low for low, _ in shares), default=0),
            high=max((high for _, high in shares), default=0),
            canary_hash=selected_hash(seen, self._canary),
            stable_hash=selected_hash(seen, self._stable),
            settled=not self.waits(seen),
        )

    def waits(self, seen: Observed) -> str:
        """Which HTTPRoute does not work yet, and why; "" when all do."""
        for key in self.refs():
            if why := unserved(seen.routes[key]):
                return f'HTTPRoute "{key[1]}" is not served yet: {why}'
        return ""

    def set_weight(self, seen: Observed, weight: int) -> tuple[PatchRoute, ...]:
        patches = []
        for one in self._named:
            operations: list[dict[str, Any]] = []
            for split in self._splits(seen, one):
                if (split.canary_weight, split.stable_weight) != (weight, 100 - weight):
                    at = f"/spec/rules/{split.rule}/backendRefs"
                    operations += [
                        {"op": "test", "path": f"{at}/{split.canary}/name", "value": self._canary},
                        {"op": "test", "path": f"{at}/{split.stable}/name", "value": self._stable},
                        add(f"{at}/{split.canary}/weight", weight),
                        add(f"{at}/{split.stable}/weight", 100 - weight),
                    ]
            if operations:
                patches.append(patch_route(seen, HTTP_ROUTES, one.key, operations, weight=weight))
        return tuple(patches)

    def retarget(self, seen: Observed, canary_hash: str, stable_hash: str) -> tuple[PatchRoute, ...]:  # noqa: ARG002
        return ()  # the Services bind the backends to pods

    def _splits(self, seen: Observed, one: HTTPRouteRef) -> Iterator[_Split]:
        """Our rules in an HTTPRoute that `problems` has found in order."""
        for index, rule in self._ours(seen.routes[HTTP_ROUTES, one.key], one):
            canary, stable = (self._position(rule, service, one.key) for service in self._services)
            if canary is not None and stable is not None:
                entries = rule["backendRefs"]
                yield _Split(index, canary, stable, _weight(entries[canary]), _weight(entries[stable]))

    @property
    def _services(self) -> tuple[str, str]:
        return self._canary, self._stable

    def _ours(self, route: Object, one: HTTPRouteRef) -> Iterator[tuple[int, Object]]:
        """The rules that are named; without names, those that have both Services."""
        for index, rule in enumerate(_rules(route)):
            if one.rules:
                if rule.get("name") in one.rules:
                    yield index, rule
            elif all(self._position(rule, service, one.key) is not None for service in self._services):
                yield index, rule

    def _position(self, rule: Object, service: str, key: Key) -> int | None:
        """The place of a Service among the backendRefs of a rule."""
        return next((index for index, one in enumerate(_backends(rule)) if self._is(one, service, key)), None)

    def _is(self, backend: Object, service: str, key: Key) -> bool:
        # Only in files can a Rollout be without a namespace: then any will do.
        return (
            backend.get("name") == service
            and (backend.get("kind") or "Service") == "Service"
            and not backend.get("group")
            and self._namespace in ("", backend.get("namespace") or key.namespace)
        )

    def _route_problems(self, seen: Observed, one: HTTPRouteRef) -> Iterator[Problem]:
        route = seen.routes.get((HTTP_ROUTES, one.key))
        if route is None:
            absent = f'HTTPRoute "{one.key}" not found'
            yield invalid(one.path, one.key.name, absent, "create it, or correct the name")
            return
        names = [str(rule.get("name") or "") for rule in _rules(route)]
        for missing in [name for name in one.rules if name not in names]:
            yield invalid(
                f"{one.path}.rules",
                missing,
                f'HTTPRoute "{one.key}" has no rule of this name; it has {listed(list(filter(None, names)))}',
                "name the rule in the HTTPRoute, or correct the name here",
            )
        ours = list(self._ours(route, one))
        if not one.rules and not ours:
            yield invalid(
                one.path,
                one.key.name,
                f'no rule of HTTPRoute "{one.key}" has backendRefs to both Service "{self._canary}" '
                f'and Service "{self._stable}"',
                "add what is missing to a rule (weight 0 for the canary, 100 for stable)",
            )
        for index, rule in ours:
            yield from self._rule_problems(one, index, rule)

    def _rule_problems(self, one: HTTPRouteRef, index: int, rule: Object) -> Iterator[Problem]:
        shown = f'rule {index} ("{rule["name"]}")' if rule.get("name") else f"rule {index}"
        shown = f'{shown} of HTTPRoute "{one.key}"'
        places = {service: self._position(rule, service, one.key) for service in self._services}
        for service in [service for service, place in places.items() if place is None]:
            yield invalid(
                one.path,
                one.key.name,
                f'{shown} has no backendRef to Service "{service}"',
                "add it (weight 0 for the canary, 100 for stable)",
            )
        for place, backend in enumerate(_backends(rule)):
            weight = backend.get("weight", 1)
            if not isinstance(weight, int) or isinstance(weight, bool) or weight < 0:
                yield invalid(one.path, weight, f"the weights of {shown} must be whole numbers, 0 or more")
            elif weight and place not in places.values():
                yield invalid(
                    one.path,
                    backend.get("name"),
                    f"{shown} sends requests to a third backend, so that weights would be no percentages",
                    "give it weight 0, or a rule of its own",
                )


def _rules(route: Object) -> list[Object]:
    rules = (route.get("spec") or {}).get("rules") or ()
    return [one if isinstance(one, Mapping) else {} for one in rules]


def _backends(rule: Object) -> list[Object]:
    return [one if isinstance(one, Mapping) else {} for one in rule.get("backendRefs") or ()]


def _weight(backend: Object) -> int:
    return int(backend.get("weight", 1))
