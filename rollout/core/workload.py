"""`spec.workloadRef`: a Rollout whose pod template is read from a Deployment, a ReplicaSet or a PodTemplate.

The template (and the selector, where the Rollout has none) is filled in for every decision, in memory only: nothing of
it is ever written into the Rollout (study/argo-rollouts.md 1.1).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from rollout.api.codec import view
from rollout.api.resources import DEPLOYMENTS, POD_TEMPLATES, REPLICA_SETS, Resource
from rollout.api.rollout import WorkloadRef
from rollout.api.workload import ReplicaSet
from rollout.core.problem import Problem, invalid
from rollout.core.template import without_hash
from rollout.core.validate_pods import selector_problems, template_problems
from rollout.errors import InvalidSpec

Object = Mapping[str, Any]

RESOURCES: dict[str, Resource] = {
    "Deployment": DEPLOYMENTS,
    "ReplicaSet": REPLICA_SETS,
    "PodTemplate": POD_TEMPLATES,
}
# The label by which a Deployment tells its ReplicaSets apart: no part of what the pods are.
_DEPLOYMENTS_HASH = "pod-template-hash"


class Workload(msgspec.Struct, frozen=True, kw_only=True):
    """The workload as far as a plan looks at it. `replicas` are the pods that its own spec asks for."""

    kind: str
    name: str
    resource_version: str = ""
    generation: int = 0
    replicas: int = 0
    deleting: bool = False

    @property
    def resource(self) -> Resource:
        return RESOURCES[self.kind]


def ref_of(raw: Object) -> WorkloadRef | None:
    """The reference of a Rollout as it came; None when there is none, or when it cannot be read (said elsewhere)."""
    spec = raw.get("spec")
    given = spec.get("workloadRef") if isinstance(spec, Mapping) else None
    if not isinstance(given, Mapping) or spec is None or spec.get("template"):
        return None
    try:
        return view(given, WorkloadRef)
    except InvalidSpec:
        return None


def workload_of(ref: WorkloadRef, obj: Object) -> Workload:
    meta, replicas = obj.get("metadata") or {}, (obj.get("spec") or {}).get("replicas", 1)
    return Workload(
        kind=ref.kind,
        name=ref.name,
        resource_version=str(meta.get("resourceVersion") or ""),
        generation=int(meta.get("generation") or 0),
        replicas=0 if ref.kind == "PodTemplate" else int(replicas or 0),
        deleting=bool(meta.get("deletionTimestamp")),
    )


def template_path(kind: str) -> str:
    """Where a workload of this kind has its pod template, as a JSON pointer."""
    return "/template" if kind == "PodTemplate" else "/spec/template"


def template_of(kind: str, obj: Object) -> Any:
    """The workload's pod template as it came."""
    owner = obj if kind == "PodTemplate" else obj.get("spec") or {}
    return owner.get("template")


def problems(ref: WorkloadRef, namespace: str, raw: Object, obj: Object | None) -> list[Problem]:
    """What keeps the workload `obj` (None: not found) from giving the Rollout `raw` its pods."""
    name = f"{namespace}/{ref.name}" if namespace else ref.name
    if obj is None:
        return [
            invalid(
                "spec.workloadRef.name",
                ref.name,
                f'{ref.kind} "{name}" not found',
                "create it, or correct the name",
            )
        ]
    where = f'{ref.kind} "{name}": {template_path(ref.kind)[1:].replace("/", ".")}'
    if ref.kind != "PodTemplate" and not isinstance(obj.get("spec") or {}, Mapping):
        return [Problem(where, "there is no pod template")]
    found = list(template_problems({"template": template_of(ref.kind, obj)}, where))
    if found or not isinstance(template_of(ref.kind, obj), Mapping):
        return found or [Problem(where, "there is no pod template")]
    spec = filled(raw, ref, obj)["spec"]
    for problem in selector_problems(spec):
        path = problem.path.replace("spec.template", where, 1)
        found.append(msgspec.structs.replace(problem, path=path))
    return found


def filled(raw: Object, ref: WorkloadRef, obj: Object) -> dict[str, Any]:
    """The Rollout with the workload's template, and with its selector where it has none of its own.

    A PodTemplate has no selector: there it is all labels of the template.
    """
    template = template_of(ref.kind, obj)
    selector = (obj.get("spec") or {}).get("selector") if ref.kind != "PodTemplate" else None
    if ref.kind == "ReplicaSet":
        template = _without_label(template, "metadata", "labels")
        selector = _without_label({"selector": selector or {}}, "selector", "matchLabels")["selector"]
    if not selector:
        selector = {"matchLabels": dict((template.get("metadata") or {}).get("labels") or {})}
    return _with(raw, template, selector)


def remembered(raw: Object, last: ReplicaSet | None) -> Object:
    """The Rollout with the template that it wanted last, for an abort while its workload is away."""
    if last is None:
        return raw
    template = without_hash(last.spec.template)
    return _with(raw, template, {"matchLabels": dict((template.get("metadata") or {}).get("labels") or {})})


def _with(raw: Object, template: Any, selector: Object) -> dict[str, Any]:
    spec = raw.get("spec") or {}
    return {**raw, "spec": {**spec, "template": template, "selector": spec.get("selector") or selector}}


def _without_label(owner: Any, field: str, labels: str) -> dict[str, Any]:
    """`owner` whose `field`.`labels` lack the label of the Deployment that the ReplicaSet belongs to."""
    inner = owner.get(field) or {}
    left = {key: value for key, value in (inner.get(labels) or {}).items() if key != _DEPLOYMENTS_HASH}
    return {**owner, field: {**inner, labels: left}}
