"""Istio: route weights in VirtualServices, and subset labels in a DestinationRule.

Two forms (study/argo-rollouts.md 1.5): host-level, where the canary's and the stable Service are the two
destinations and their selectors bind them to pods; and subset-level, where two subsets of a DestinationRule
are, and their labels bind them. Lists in these objects are atomic, so every write is a JSON patch that tests
the resourceVersion it was computed from: other writers' changes are never lost.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from rollout.api.meta import Key, metadata
from rollout.api.resources import DESTINATION_RULES, VIRTUAL_SERVICES
from rollout.api.rollout import HASH_LABEL, CanaryStrategy, IstioRouting, IstioVirtualService
from rollout.core.actions import PatchRoute
from rollout.core.observed import Observed, RouteKey
from rollout.core.problem import Problem, invalid
from rollout.traffic.base import Live
from rollout.traffic.patches import add, listed, patch_route
from rollout.traffic.services import selected_hash

_PATH = "spec.strategy.canary.trafficRouting.istio"
Object = Mapping[str, Any]


class _Split(msgspec.Struct, frozen=True):
    """One http route of ours: where its two destinations stand and what they weigh."""

    route: int
    canary: int
    stable: int
    weight: int


class IstioRouter:
    """The Router of `spec.strategy.canary.trafficRouting.istio`, for a Rollout in `namespace`."""

    def __init__(self, strategy: CanaryStrategy, istio: IstioRouting, namespace: str) -> None:
        self._strategy = strategy
        self._istio = istio
        self._namespace = namespace

    def refs(self) -> tuple[RouteKey, ...]:
        services = [(VIRTUAL_SERVICES, self._key(one.name)) for one in self._istio.all_virtual_services]
        rule = self._istio.destination_rule
        return (*services, *([(DESTINATION_RULES, self._key(rule.name))] if rule else []))

    def problems(self, seen: Observed) -> list[Problem]:
        return [*self._service_problems(seen), *self._rule_problems(seen)]

    def live(self, seen: Observed) -> Live:
        weights = [
            split.weight
            for reference in self._istio.all_virtual_services
            for split in self._splits(seen, reference)
        ]
        return Live(
            low=min(weights, default=0),
            high=max(weights, default=0),
            canary_hash=self._bound(seen, canary=True),
            stable_hash=self._bound(seen, canary=False),
            settled=all(_is_live(seen.routes[key]) for key in self.refs()),
        )

    def waits(self, seen: Observed) -> str:  # noqa: ARG002
        return ""  # a mesh that tells when it is live does so within moments

    def set_weight(self, seen: Observed, weight: int) -> tuple[PatchRoute, ...]:
        patches = []
        for reference in self._istio.all_virtual_services:
            key = self._key(reference.name)
            operations: list[dict[str, Any]] = []
            for split in self._splits(seen, reference):
                if split.weight != weight:
                    at = f"/spec/http/{split.route}/route"
                    operations += [
                        add(f"{at}/{split.canary}/weight", weight),
                        add(f"{at}/{split.stable}/weight", 100 - weight),
                    ]
            if operations:
                patches.append(patch_route(seen, VIRTUAL_SERVICES, key, operations, weight=weight))
        return tuple(patches)

    def retarget(self, seen: Observed, canary_hash: str, stable_hash: str) -> tuple[PatchRoute, ...]:
        rule = self._istio.destination_rule
        if rule is None:
            return ()
        key = self._key(rule.name)
        operations: list[dict[str, Any]] = []
        wanted = {rule.canary_subset_name: canary_hash, rule.stable_subset_name: stable_hash}
        for index, subset in enumerate(_subsets(seen.routes[DESTINATION_RULES, key])):
            pod_hash = wanted.get(subset.get("name", ""))
            labels = subset.get("labels")
            if not pod_hash or (labels or {}).get(HASH_LABEL) == pod_hash:
                continue
            at = f"/spec/subsets/{index}/labels"
            if not labels:
                operations.append(add(at, {HASH_LABEL: pod_hash}))
            else:
                operations.append(add(f"{at}/{HASH_LABEL}", pod_hash))
        binds = (canary_hash, stable_hash)
        return (patch_route(seen, DESTINATION_RULES, key, operations, binds=binds),) if operations else ()

    def _key(self, name: str) -> Key:
        namespace, slash, bare = name.partition("/")
        return Key(namespace, bare) if slash else Key(self._namespace, name)

    def _bound(self, seen: Observed, *, canary: bool) -> str:
        rule = self._istio.destination_rule
        if rule is None:
            name = self._strategy.canary_service if canary else self._strategy.stable_service
            return selected_hash(seen, name)
        wanted = rule.canary_subset_name if canary else rule.stable_subset_name
        for subset in _subsets(seen.routes[DESTINATION_RULES, self._key(rule.name)]):
            if subset.get("name") == wanted:
                return str((subset.get("labels") or {}).get(HASH_LABEL, ""))
        return ""

    def _splits(self, seen: Observed, reference: IstioVirtualService) -> Iterator[_Split]:
        """Our routes in a VirtualService that `problems` has found in order."""
        for index, route in _http_routes(seen.routes[VIRTUAL_SERVICES, self._key(reference.name)]):
            if reference.routes and route.get("name") not in reference.routes:
                continue
            canary, stable = self._position(route, canary=True), self._position(route, canary=False)
            if canary is not None and stable is not None:
                weight = route["route"][canary].get("weight") or 0
                yield _Split(index, canary, stable, int(weight))

    def _position(self, route: Object, *, canary: bool) -> int | None:
        return next(
            (
                index
                for index, entry in enumerate(route.get("route") or [])
                if self._is_ours(entry.get("destination") or {}, canary=canary)
            ),
            None,
        )

    def _is_ours(self, destination: Object, *, canary: bool) -> bool:
        rule = self._istio.destination_rule
        if rule is not None:
            wanted = rule.canary_subset_name if canary else rule.stable_subset_name
            return bool(destination.get("subset") == wanted)
        name = self._strategy.canary_service if canary else self._strategy.stable_service
        host = str(destination.get("host", ""))
        return bool(name) and host in _host_forms(name, self._namespace)

    def _destination_name(self, *, canary: bool) -> str:
        rule = self._istio.destination_rule
        if rule is not None:
            return f'subset "{rule.canary_subset_name if canary else rule.stable_subset_name}"'
        return f'host "{self._strategy.canary_service if canary else self._strategy.stable_service}"'

    def _service_problems(self, seen: Observed) -> Iterator[Problem]:
        for reference in self._istio.all_virtual_services:
            path, key = f"{_PATH}.virtualService.name", self._key(reference.name)
            obj = seen.routes.get((VIRTUAL_SERVICES, key))
            if obj is None:
                yield invalid(
                    path,
                    reference.name,
                    f'VirtualService "{key}" not found',
                    "create it, or correct the name",
                )
                continue
            routes = dict(_http_routes(obj))
            names = [route.get("name", "") for route in routes.values()]
            for missing in [name for name in reference.routes if name not in names]:
                yield invalid(
                    f"{_PATH}.virtualService.routes",
                    missing,
                    f'VirtualService "{key}" has no http route of this name; it has {listed(names)}',
                    "name the route in the VirtualService, or correct the name here",
                )
            if not reference.routes and len(routes) != 1:
                yield invalid(
                    f"{_PATH}.virtualService.routes",
                    [],
                    f'VirtualService "{key}" has {len(routes)} http routes, so the ones to move must be named',
                    f"list some of {listed(names)}",
                )
                continue
            for route in routes.values():
                if not reference.routes or route.get("name") in reference.routes:
                    yield from self._route_problems(path, key, route)

    def _route_problems(self, path: str, key: Key, route: Object) -> Iterator[Problem]:
        shown = f'route "{route.get("name", "")}" of VirtualService "{key}"'
        for canary in (True, False):
            if self._position(route, canary=canary) is None:
                yield invalid(
                    path,
                    str(key),
                    f"{shown} has no destination with {self._destination_name(canary=canary)}",
                    "add it (weight 0 for the canary, 100 for stable)",
                )
        entries = route.get("route") or []
        if len(entries) > 2:
            yield invalid(
                path, str(key), f"{shown} has {len(entries)} destinations; weight is moved between two"
            )
        weights = [entry.get("weight") or 0 for entry in entries]
        if not all(isinstance(weight, int) and weight >= 0 for weight in weights) or (
            len(entries) == 2 and sum(weights) not in (0, 100)
        ):
            yield invalid(path, weights, f"the weights of {shown} must be whole numbers that sum to 100")

    def _rule_problems(self, seen: Observed) -> Iterator[Problem]:
        rule = self._istio.destination_rule
        if rule is None:
            return
        key = self._key(rule.name)
        obj = seen.routes.get((DESTINATION_RULES, key))
        if obj is None:
            yield invalid(
                f"{_PATH}.destinationRule.name",
                rule.name,
                f'DestinationRule "{key}" not found',
                "create it, or correct the name",
            )
            return
        names = [subset.get("name", "") for subset in _subsets(obj)]
        for field, name in (
            ("canarySubsetName", rule.canary_subset_name),
            ("stableSubsetName", rule.stable_subset_name),
        ):
            if name not in names:
                yield invalid(
                    f"{_PATH}.destinationRule.{field}",
                    name,
                    f'DestinationRule "{key}" has no subset of this name; it has {listed(names)}',
                    "add the subset, or correct the name",
                )


def _is_live(obj: Object) -> bool:
    """Whether the mesh says that it works by this generation; True where it says nothing at all.

    With status distribution on, Istio (and the sandbox's mesh) writes `status.observedGeneration` and the
    condition Reconciled when the proxies have the configuration: https://istio.io/latest/docs/reference/config/analysis/
    """
    status = obj.get("status")
    if not isinstance(status, Mapping) or "observedGeneration" not in status:
        return True
    told = str(status["observedGeneration"])  # a 64-bit integer may come as a string
    reconciled = [
        one.get("status")
        for one in status.get("conditions") or []
        if isinstance(one, Mapping) and one.get("type") == "Reconciled"
    ]
    generation = int(metadata(obj).get("generation") or 0)
    return told.isdecimal() and int(told) >= generation and reconciled == ["True"]


def _http_routes(obj: Object) -> Iterator[tuple[int, Object]]:
    """The http routes that carry destinations, with their place in the list."""
    for index, route in enumerate((obj.get("spec") or {}).get("http") or []):
        if isinstance(route, Mapping) and route.get("route"):
            yield index, route


def _subsets(obj: Object) -> list[Object]:
    return [one for one in (obj.get("spec") or {}).get("subsets") or [] if isinstance(one, Mapping)]


def _host_forms(service: str, namespace: str) -> tuple[str, ...]:
    """The spellings of a Service as an Istio host."""
    full = f"{service}.{namespace}"
    return service, full, f"{full}.svc", f"{full}.svc.cluster.local"
