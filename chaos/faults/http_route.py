"""httpLatency and httpAbort through Envoy Gateway: faults in the Gateway's proxies, for the requests of one HTTPRoute.

A policy strikes whatever comes through a route, or a named rule of it, whichever pods answer. So the author names the
route, and the run's target must mean the pods behind it, all of them and no others: limits, consent and locks are about
those. To strike one version alone, give it a rule or a route of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from chaos.faults import receipts, traffic_policy, whole
from chaos.faults.base import Context, Obstacle, Refusal
from chaos.faults.leased import Leased, check, delay_of
from chaos.faults.pods import alive, ready
from chaos.faults.targets import pods_meant
from chaos.faults.traffic_policy import GATEWAY, Policy
from chaos.faults.versions import uid_of
from chaos.observed import World
from rollout.api.chaos import ChaosRun, Fault, HttpAbort, HttpLatency, Receipt, RouteRef, Victim
from rollout.api.codec import plain, view
from rollout.api.meta import Object, key_of, metadata
from rollout.api.resources import BACKEND_TRAFFIC_POLICIES, HTTP_ROUTES, PODS, SERVICES
from rollout.core.served import parents, told, unserved

CONTROLLER = "gateway.envoyproxy.io/"
"""With what the names of Envoy Gateway's controllers begin."""
OWNER = "gateway.envoyproxy.io/owning-gateway-"
"""With `name` and `namespace`: the labels by which Envoy Gateway's proxies say whose they are."""
ALL = "a target that means all pods behind it, with percent: 100, or a rule of their own for the pods (httpRoute.rule)"


def asks(fault: Fault) -> bool:
    """Whether the fault is to be done through Envoy Gateway."""
    return _how(fault).http_route is not None


def proxies(gateways: Sequence[str], world: World) -> list[Object]:
    """The living Envoy pods of these Gateways ("namespace/name"), as far as the controller sees their namespaces."""
    return [pod for pod in world.of(PODS) if alive(pod) and _serves(pod) in gateways]


def rivals(own: str, gateways: Sequence[str], world: World) -> list[str]:
    """Other policies with faults that are, or may be, at these Gateways: Envoy counts theirs and ours together."""
    return sorted(
        str(key_of(one))
        for one in world.of(BACKEND_TRAFFIC_POLICIES)
        if key_of(one).name != own and traffic_policy.injects(one) and traffic_policy.at(one, tuple(gateways))
    )


class RouteFault(Leased):
    """`instead` is what to use where there is no Envoy Gateway."""

    resource = BACKEND_TRAFFIC_POLICIES

    def __init__(self, *, instead: str) -> None:
        self._instead = instead

    def victims(self, context: Context, pods: Sequence[Victim], world: World) -> Sequence[Victim]:
        namespace, ref = _home(context.fault, context.run), _ref(context.fault)
        route = world.get(HTTP_ROUTES, namespace, ref.name)
        uid = uid_of(route) if route is not None else ""
        return (Victim(kind=HTTP_ROUTES.kind, namespace=namespace, name=ref.name, uid=uid),)

    def receipt(self, context: Context, victim: Victim, world: World) -> Receipt | Refusal:
        # What was true when the run was let in may have changed since.
        for found in self.obstacles(context.fault, context.run, world):
            return Refusal(found.reason)
        route = world.get(HTTP_ROUTES, victim.namespace, victim.name)
        assert route is not None
        id = receipts.receipt_id(context, victim)
        made = _policy(context.fault, receipts.object_name(id), _gateways(route))
        return receipts.receipt(context, victim, plain(made))

    def spec(self, receipt: Receipt, *, silent: bool) -> dict[str, Any]:
        undo = view(receipt.undo, Policy)
        return traffic_policy.spec(msgspec.structs.replace(undo, percent=0) if silent else undo)

    def silent(self, made: Object) -> bool:
        return traffic_policy.silent(made)

    def said(self, receipt: Receipt, world: World) -> str:
        """Why Envoy Gateway does not use the policy; and why nothing can be proved while another one is beside it."""
        made = self._made(receipt, world)
        if made is None:
            return ""
        undo = view(receipt.undo, Policy)
        if others := rivals(undo.name, undo.gateways, world):
            return (
                f"{', '.join(others)} injects faults at the same Gateway: its counts cannot be told from ours"
            )
        return traffic_policy.refused(made)

    def obstacles(self, fault: Fault, run: ChaosRun, world: World) -> tuple[Obstacle, ...]:
        if not world.serves(BACKEND_TRAFFIC_POLICIES):
            reason = "this cluster serves no BackendTrafficPolicy (gateway.envoyproxy.io/v1alpha1): no Envoy Gateway"
            return (Obstacle(fault.name, reason, self._instead),)
        if not world.serves(HTTP_ROUTES):
            reason = "HTTPRoutes cannot be seen: not served, not granted, or the feature gateway is left out"
            return (Obstacle(fault.name, reason, self._instead),)
        found = [
            Obstacle(fault.name, reason, instead) for reason, instead in self._in_the_way(fault, run, world)
        ]
        try:
            _policy(fault, "preflight", ())
        except ValueError as error:
            found.append(Obstacle(fault.name, str(error), "another value"))
        return tuple(found)

    def _in_the_way(self, fault: Fault, run: ChaosRun, world: World) -> Iterator[tuple[str, str]]:
        """(what, what instead) of the route, of the Gateways, of other policies, of the pods."""
        ref, home = _ref(fault), _home(fault, run)
        route = world.get(HTTP_ROUTES, home, ref.name)
        if route is None:
            yield f"there is no HTTPRoute {home}/{ref.name}", "the name of one"
            return
        rules = _rules(route, ref.rule)
        if not rules:
            names = ", ".join(str(one["name"]) for one in _rules(route, "") if one.get("name")) or "none"
            yield (
                f"HTTPRoute {key_of(route)} has no rule named {ref.rule!r}",
                f"one of its named rules: {names}",
            )
            return
        if said := _unserved(route):
            yield f"HTTPRoute {key_of(route)}: {said}", self._instead
            return
        gateways = _gateways(route)
        seen = {_serves(pod) for pod in proxies(gateways, world) if ready(pod)}
        for unseen in sorted(set(gateways) - seen):
            reason = f"no ready Envoy pod of Gateway {unseen} is seen, so nothing could be proved"
            yield (
                reason,
                "a controller that follows the namespace of the proxies; merged Gateways are not known",
            )
        yield from _policies(fault, run, route, gateways, world)
        yield from _pods(fault, run, route, rules, world)


# --- the route ------------------------------------------------------------------------------------------


def _unserved(route: Object) -> str:
    """Why the route's requests do not all come through Envoy Gateway."""
    if why := unserved(route):
        return why
    for parent in parents(route):
        if parent.kind != GATEWAY:
            return f'its parent {parent.kind} "{parent.name}" is no Gateway'
        if strange := [one for one in told(route)[parent] if not _controller(one).startswith(CONTROLLER)]:
            return f'Gateway "{parent.name}" is not Envoy Gateway\'s: {_controller(strange[0])} serves it'
    return ""


def _controller(entry: Object) -> str:
    return str(entry.get("controllerName") or "")


def _gateways(route: Object) -> tuple[str, ...]:
    return tuple(dict.fromkeys(f"{one.namespace}/{one.name}" for one in parents(route)))


def _serves(pod: Object) -> str:
    """The Gateway whose proxy the pod is; "/" for other pods."""
    labels = metadata(pod).get("labels") or {}
    return f"{labels.get(OWNER + 'namespace', '')}/{labels.get(OWNER + 'name', '')}"


def _rules(route: Object, name: str) -> list[Object]:
    found = (route.get("spec") or {}).get("rules") or ()
    return [one for one in found if not name or one.get("name") == name]


# --- other policies -------------------------------------------------------------------------------------


def _policies(
    fault: Fault, run: ChaosRun, route: Object, gateways: Sequence[str], world: World
) -> Iterator[tuple[str, str]]:
    for one in world.of(BACKEND_TRAFFIC_POLICIES):
        if traffic_policy.aims_at(one, route, _ref(fault).rule):
            reason = f"BackendTrafficPolicy {key_of(one)} is for the same route: Envoy Gateway heeds one of the two"
            yield reason, "another rule, or no policy but those of the Gateway meanwhile"
    if others := rivals("", gateways, world):
        reason = (
            f"{', '.join(others)} injects faults at the same Gateway: its counts could not be told from ours"
        )
        yield reason, "remove its faultInjection, or wait until it is over"
    for other in _beside(fault, run):
        theirs = world.get(HTTP_ROUTES, _home(other, run), _ref(other).name)
        if theirs is not None and set(_gateways(theirs)) & set(gateways):
            reason = f"fault {other.name} of the same step is at the same Gateway: their counts could not be told apart"
            yield reason, "a step of its own"


def _beside(fault: Fault, run: ChaosRun) -> Iterator[Fault]:
    for step in run.spec.steps:
        if any(one.name == fault.name for one in step.faults):
            http = [one for one in step.faults if one.http_latency is not None or one.http_abort is not None]
            yield from (one for one in http if one.name != fault.name and asks(one))


# --- the pods behind it ---------------------------------------------------------------------------------


def _pods(
    fault: Fault, run: ChaosRun, route: Object, rules: Iterable[Object], world: World
) -> Iterator[tuple[str, str]]:
    """Why the target is not what the rules lead to."""
    behind: dict[str, str] = {}
    home = key_of(route).namespace
    for backend in _backends(rules):
        shown = f"{backend.get('kind') or 'Service'} {backend.get('namespace') or home}/{backend.get('name')}"
        service = _service(backend, home, world)
        if isinstance(service, str):
            yield (
                f"HTTPRoute {key_of(route)} leads to {shown}, {service}",
                "a rule without it (httpRoute.rule)",
            )
            return
        behind |= {uid_of(pod): key_of(pod).name for pod in _selected(service, world)}
    meant = {uid_of(pod): pod for pod in pods_meant(fault, run, world)}
    if strangers := sorted(name for uid, name in behind.items() if uid not in meant):
        yield (
            f"{_few(strangers)} behind HTTPRoute {key_of(route)} would be struck, and the target does not mean them",
            ALL,
        )
    there = {uid: key_of(pod).name for uid, pod in meant.items() if ready(pod)}
    if missed := sorted(name for uid, name in there.items() if uid not in behind):
        reason = (
            f"{_few(missed)} of the target are not behind HTTPRoute {key_of(route)}, and would not be struck"
        )
        yield reason, "a target that means the pods behind it alone, or another route"
    if whole.wanted(receipts.target_of(fault, run), len(there)) < len(there):
        yield "this fault strikes all pods behind a route, and the target wants a part of them", ALL


def _backends(rules: Iterable[Object]) -> Iterator[Object]:
    """All that the rules lead to, whatever it weighs: weights change."""
    return (one for rule in rules for one in rule.get("backendRefs") or ())


def _service(backend: Object, home: str, world: World) -> Object | str:
    """The Service that a backendRef means; or, as text, why the pods behind it are not known."""
    if (backend.get("group") or "", backend.get("kind") or "Service") != ("", "Service"):
        return "which is no Service"
    if (backend.get("namespace") or home) != home:
        return "which is of another namespace"
    service = world.get(SERVICES, home, str(backend.get("name")))
    if service is None:
        return "which is not there"
    if not (service.get("spec") or {}).get("selector"):
        return "which selects no pods"
    return service


def _selected(service: Object, world: World) -> Iterator[Object]:
    wanted = (service["spec"]["selector"]).items()
    for pod in world.of(PODS, key_of(service).namespace):
        if ready(pod) and wanted <= (metadata(pod).get("labels") or {}).items():
            yield pod


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


# --- the fault ------------------------------------------------------------------------------------------


def _how(fault: Fault) -> HttpLatency | HttpAbort:
    how = fault.http_latency or fault.http_abort
    assert how is not None
    return how


def _ref(fault: Fault) -> RouteRef:
    ref = _how(fault).http_route
    assert ref is not None
    return ref


def _home(fault: Fault, run: ChaosRun) -> str:
    return receipts.target_of(fault, run).namespace or run.metadata.namespace


def _policy(fault: Fault, name: str, gateways: tuple[str, ...]) -> Policy:
    """The fault complete. ValueError says which value is wrong."""
    how, ref = _how(fault), _ref(fault)
    empty = Policy(name=name, route=ref.name, rule=ref.rule, gateways=gateways, percent=how.percent)
    if isinstance(how, HttpLatency):
        made = msgspec.structs.replace(empty, delay=delay_of(how.delay))
    else:
        made = msgspec.structs.replace(empty, status=how.status)
    check(made.percent, made.status)
    return made
