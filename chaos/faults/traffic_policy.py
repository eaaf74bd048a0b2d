"""Envoy Gateway's BackendTrafficPolicy, as values: ours, which injects a fault into a route, and other people's.

Format: https://gateway.envoyproxy.io/docs/api/extension_types/#backendtrafficpolicyspec. Of several policies with one
target the oldest is in force and the others are not Accepted. One for a rule stands in the place of one for its route,
and that in the place of one for the Gateway, unless it says `mergeType`: ours does, so that what somebody has set for
all routes of a Gateway (retries, timeouts, limits) stays in force beside the fault.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rollout.api.codec import view
from rollout.api.meta import LabelSelector, Object, View, key_of, metadata
from rollout.api.resources import HTTP_ROUTES

GATEWAY = "Gateway"


class Policy(View, frozen=True):
    """One fault of a route, complete: it is a receipt's undo data, and any state of its policy follows from it.

    `rule` "" = all rules of `route`; `gateways` are those that take its requests, as "namespace/name"; `delay` in
    seconds and `status` of an abort exclude each other; `percent` of the requests are struck.
    """

    name: str
    route: str
    rule: str
    gateways: tuple[str, ...]
    percent: int
    delay: float = 0.0
    status: int = 0


def spec(fault: Policy) -> dict[str, Any]:
    """The policy's spec while the fault is active; with `percent=0` while it is being undone."""
    target = {"group": HTTP_ROUTES.group, "kind": HTTP_ROUTES.kind, "name": fault.route}
    if fault.rule:
        target["sectionName"] = fault.rule
    if fault.delay:
        injected: dict[str, Any] = {"delay": {"fixedDelay": _duration(fault.delay)}}
    else:
        injected = {"abort": {"httpStatus": fault.status}}
    for one in injected.values():
        one["percentage"] = fault.percent
    return {"targetRefs": [target], "mergeType": "StrategicMerge", "faultInjection": injected}


def silent(policy: Object) -> bool:
    """Whether the policy injects no fault into any request: all its percentages are 0."""
    return all(one.get("percentage", 100) == 0 for one in _injected(policy))


def injects(policy: Object) -> bool:
    """Whether the policy is about faults at all. Its percentages are not asked: they may change at any moment."""
    return bool(list(_injected(policy)))


def ancestors(policy: Object) -> Iterator[tuple[str, Mapping[str, Mapping[str, Any]]]]:
    """Who says something of the policy's present generation: a Gateway ("namespace/name"), its conditions by type."""
    generation, home = metadata(policy).get("generation"), key_of(policy).namespace
    for entry in (policy.get("status") or {}).get("ancestors") or ():
        ref = entry.get("ancestorRef") or {}
        if ref.get("kind", GATEWAY) == GATEWAY:
            told = {
                str(one.get("type")): one
                for one in entry.get("conditions") or ()
                if one.get("observedGeneration") == generation
            }
            yield f"{ref.get('namespace') or home}/{ref.get('name')}", told


def accepted(policy: Object, gateways: tuple[str, ...]) -> bool:
    """Whether each of these Gateways has accepted the policy's present generation, and no other says no."""
    told = list(ancestors(policy))
    yes = {name for name, each in told if (each.get("Accepted") or {}).get("status") == "True"}
    no = [name for name, each in told if (each.get("Accepted") or {}).get("status") == "False"]
    return set(gateways) <= yes and not no


def refused(policy: Object) -> str:
    """Why the policy is not, or not everywhere, in force, by the words of a Gateway; "" when none says so."""
    for name, told in ancestors(policy):
        no, over = told.get("Accepted") or {}, told.get("Overridden") or {}
        for one in (no if no.get("status") == "False" else {}, over if over.get("status") == "True" else {}):
            if one:
                return f"Gateway {name}: {one.get('reason')}, {one.get('message')}"
    return ""


def at(policy: Object, gateways: tuple[str, ...]) -> bool:
    """Whether the policy is, or may be, in force at one of these Gateways. One that nobody speaks of yet may be."""
    known = {name for name, _ in ancestors(policy)}
    return not known or bool(known & set(gateways))


def aims_at(policy: Object, route: Object, rule: str) -> bool:
    """Whether the policy is for this route, or for the rule of it ("": any), so that it and ours exclude each other.

    Policies for two different rules do not.
    """
    body, home = policy.get("spec") or {}, key_of(route)
    refs = [one for one in (body.get("targetRef"), *(body.get("targetRefs") or ())) if one]
    if key_of(policy).namespace == home.namespace:
        for ref in refs:
            if (ref.get("kind"), ref.get("name")) == (HTTP_ROUTES.kind, home.name):
                other = ref.get("sectionName") or ""
                if not (rule and other) or rule == other:
                    return True
    return any(_selects(one, policy, route) for one in body.get("targetSelectors") or ())


def _selects(selector: Mapping[str, Any], policy: Object, route: Object) -> bool:
    here = key_of(policy).namespace == key_of(route).namespace
    elsewhere = (selector.get("namespaces") or {}).get("from", "Same") != "Same"
    if selector.get("kind") != HTTP_ROUTES.kind or not (here or elsewhere):
        return False
    terms = {name: selector[name] for name in ("matchLabels", "matchExpressions") if selector.get(name)}
    return view(terms, LabelSelector).matches(metadata(route).get("labels"))


def _injected(policy: Object) -> Iterator[Mapping[str, Any]]:
    injection = (policy.get("spec") or {}).get("faultInjection") or {}
    return (injection[part] for part in ("delay", "abort") if injection.get(part))


def _duration(seconds: float) -> str:
    """As the Gateway API writes durations (GEP-2257): no fractions, at most five digits of a unit."""
    whole, rest = divmod(round(seconds * 1000), 1000)
    return (f"{whole}s" if whole else "") + (f"{rest}ms" if rest else "")
