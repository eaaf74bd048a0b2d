"""The pod's own verbs, as decisions: eviction under disruption budgets, binding to a node, ephemeral containers.

Contract: https://kubernetes.io/docs/concepts/scheduling-eviction/api-eviction/,
https://kubernetes.io/docs/tasks/run-application/configure-pdb/ and
https://kubernetes.io/docs/concepts/workloads/pods/ephemeral-containers/.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from rollout.api.meta import LabelSelector
from rollout.api.resources import PODS
from rollout.errors import Conflict, Throttled, Unclassified
from rollout.sandbox.schema.fields import FieldError, forbidden, required
from rollout.sandbox.storage import refusals

Object = dict[str, Any]

_RETRY_SECONDS = 10
_MAX_DISRUPTED_PODS = 2000


def budget_after(pod: Object, budgets: Iterable[Object], now: str) -> Object | None:
    """The disruption budget with this eviction counted, or None when none has a say in it.

    Throttled when the budget does not allow it at the moment; ApiError when several budgets select the pod.
    """
    if _needs_no_budget(pod):
        return None
    selecting = [budget for budget in budgets if _selects(budget, pod)]
    if not selecting:
        return None
    if len(selecting) > 1:
        raise Unclassified(
            "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
        )
    return _counted(selecting[0], pod, now)


def _needs_no_budget(pod: Object) -> bool:
    """A pod that runs nothing (any more, or yet) disrupts nothing."""
    phase = (pod.get("status") or {}).get("phase")
    return phase in {"Succeeded", "Failed", "Pending"} or bool(pod["metadata"].get("deletionTimestamp"))


def _selects(budget: Object, pod: Object) -> bool:
    selector = (budget.get("spec") or {}).get("selector")
    if selector is None:
        return False
    return msgspec.convert(selector, LabelSelector).matches(pod["metadata"].get("labels"))


def _counted(budget: Object, pod: Object, now: str) -> Object | None:
    meta, status = budget["metadata"], budget.get("status") or {}
    healthy, desired = status.get("currentHealthy", 0), status.get("desiredHealthy", 0)
    if not _is_ready(pod):
        policy = (budget.get("spec") or {}).get("unhealthyPodEvictionPolicy", "IfHealthyBudget")
        if policy == "AlwaysAllow" or (desired > 0 and healthy >= desired):
            return None
    if status.get("observedGeneration", 0) < meta.get("generation", 0):
        raise _refused(f"The disruption budget {meta['name']} is still being processed by the server.", "")
    allowed = status.get("disruptionsAllowed", 0)
    if allowed < 0:
        raise refusals.forbidden(PODS, pod["metadata"]["name"], "pdb disruptions allowed is negative")
    if len(status.get("disruptedPods") or ()) > _MAX_DISRUPTED_PODS:
        raise refusals.forbidden(
            PODS,
            pod["metadata"]["name"],
            "DisruptedPods map too big - too many evictions not confirmed by PDB controller",
        )
    if allowed == 0:
        why = f"The disruption budget {meta['name']} needs {desired} healthy pods and has {healthy} currently"
        raise _refused("", why)
    disrupted = {**(status.get("disruptedPods") or {}), pod["metadata"]["name"]: now}
    return {
        **budget,
        "status": {**status, "disruptionsAllowed": allowed - 1, "disruptedPods": disrupted},
    }


def _is_ready(pod: Object) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)


def _refused(processing: str, violated: str) -> Throttled:
    cause = {"reason": "DisruptionBudget", "message": processing or violated}
    details: Object = {"causes": [cause]}
    if processing:
        details["retryAfterSeconds"] = _RETRY_SECONDS
    return Throttled(
        "Cannot evict pod as it would violate the pod's disruption budget.",
        details,
        after=float(_RETRY_SECONDS) if processing else None,
    )


def marked_for_eviction(pod: Object, now: str) -> Object:
    """`pod` with the condition that says who ended it."""
    return with_condition(pod, "DisruptionTarget", "EvictionByEvictionAPI", "Eviction API: evicting", now)


def _not_bound(name: str, why: str) -> Conflict:
    message = f'Operation cannot be fulfilled on pods/binding "{name}": {why}'
    return Conflict(message, {"name": name, "kind": "pods/binding"})


def bound(pod: Object, node: str, now: str) -> Object:
    """`pod` on `node`. Conflict when it has one already, or is being deleted."""
    meta, spec = pod["metadata"], pod.get("spec") or {}
    if not node:
        raise refusals.invalid(PODS, meta["name"], [required("target.name")])
    if meta.get("deletionTimestamp"):
        why = f"pod {meta['name']} is being deleted, cannot be assigned to a host"
        raise _not_bound(meta["name"], why)
    if spec.get("nodeName"):
        why = f'pod {meta["name"]} is already assigned to node "{spec["nodeName"]}"'
        raise _not_bound(meta["name"], why)
    placed = {**pod, "spec": {**spec, "nodeName": node}}
    return with_condition(placed, "PodScheduled", "", "", now)


EPHEMERAL = "ephemeralcontainers"
"""The subresource through which a pod gets ephemeral containers."""


def with_ephemeral(pod: Object, source: Object) -> Object:
    """`pod` with the ephemeral containers of `source`: nothing else is written through the subresource."""
    spec = {key: value for key, value in (pod.get("spec") or {}).items() if key != "ephemeralContainers"}
    wanted = (source.get("spec") or {}).get("ephemeralContainers")
    return {**pod, "spec": spec | ({"ephemeralContainers": wanted} if wanted else {})}


def ephemeral_errors(new: Object, old: Object | None) -> list[FieldError]:
    """They can only be added: what is there may neither change nor go."""
    path = "spec.ephemeralContainers"
    wanted = {one["name"]: one for one in _ephemeral(new)}
    errors = []
    for before in _ephemeral(old or {}):
        name = before["name"]
        if name not in wanted:
            errors.append(forbidden(path, f'existing ephemeral containers "{name}" may not be removed\n'))
        elif wanted[name] != before:
            errors.append(forbidden(path, f'existing ephemeral containers "{name}" may not be changed\n'))
    return errors


def _ephemeral(pod: Object) -> Iterable[Object]:
    return (pod.get("spec") or {}).get("ephemeralContainers") or ()


def with_condition(pod: Object, type: str, reason: str, message: str, now: str) -> Object:
    """`pod` with a condition of this type, True since `now`; `pod` itself when it is True already."""
    status = pod.get("status") or {}
    conditions = status.get("conditions") or ()
    if any(c.get("type") == type and c.get("status") == "True" for c in conditions):
        return pod
    others = [c for c in conditions if c.get("type") != type]
    condition = {"type": type, "status": "True", "lastProbeTime": None, "lastTransitionTime": now}
    if reason:
        condition |= {"reason": reason, "message": message}
    return {**pod, "status": {**status, "conditions": [*others, condition]}}
