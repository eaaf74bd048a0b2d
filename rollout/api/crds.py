"""Our CustomResourceDefinitions, generated from the views and `rollout.api.fields`.

    python -m rollout.api.crds          # writes rollout/api/crds/*.yaml anew
    kubectl apply --server-side -f rollout/api/crds

Names, subresources and columns: study/argo-rollouts.md 0. A pod template is an object whose fields are kept
and not looked into, so that each CRD stays far below the 256 KiB that client-side apply can carry.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rollout.api import analysis, rollout
from rollout.api.fields import INT32, Field, fields_of
from rollout.api.resources import (
    ANALYSIS_RUNS,
    ANALYSIS_TEMPLATES,
    CLUSTER_ANALYSIS_TEMPLATES,
    EXPERIMENTS,
    ROLLOUTS,
    Resource,
)

FOLDER = Path(__file__).with_name("crds")
Json = dict[str, Any]

_KEEP: Json = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
_AGE: Json = {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}


def crds() -> list[Json]:
    """The five definitions of argoproj.io/v1alpha1."""
    return [_rollout(), _analysis_run(), *_templates(), _experiment()]


def filename(crd: Json) -> str:
    """The name of the file that holds the definition, in `FOLDER`."""
    return f"{crd['metadata']['name']}.yaml"


def yaml_of(crd: Json) -> str:
    """The definition as the YAML that is committed."""
    import yaml

    head = "# Generated from rollout/api by `python -m rollout.api.crds`; do not edit.\n"
    return head + yaml.safe_dump(crd, sort_keys=False, width=110, allow_unicode=True)


def schema(field: Field) -> Json:
    """The structural OpenAPI schema of a field."""
    out: Json = {"description": field.description} if field.description else {}
    match field.type:
        case "any":
            out |= _KEEP
        case "object":
            out["type"] = "object"
            if field.required:
                out["required"] = list(field.required)
            if field.open:
                out["x-kubernetes-preserve-unknown-fields"] = True
            out["properties"] = {name: schema(member) for name, member in field.fields.items()}
        case "map":
            out |= {"type": "object", "additionalProperties": schema(_items(field))}
        case "array":
            out |= {"type": "array", "items": schema(_items(field))}
        case "int-or-string":
            out |= {"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}, {"type": "string"}]}
        case _:
            out["type"] = field.type
    limits = {
        "enum": list(field.enum) or None,
        "minimum": field.minimum,
        "maximum": field.maximum,
        "maxItems": field.max_items,
        "pattern": field.pattern or None,
        "format": field.format or (_int_format(field) if field.type == "integer" else None),
    }
    return out | {key: value for key, value in limits.items() if value is not None}


def _items(field: Field) -> Field:
    assert field.items is not None, "arrays and maps have items"
    return field.items


def _int_format(field: Field) -> str:
    return "int32" if field.maximum is not None and field.maximum <= INT32 else "int64"


# --- the kinds ----------------------------------------------------------------------------------------


def _rollout() -> Json:
    spec, status = schema(fields_of(rollout.RolloutSpec)), schema(fields_of(rollout.RolloutStatus))
    properties = spec["properties"]
    properties["selector"]["x-kubernetes-validations"] = [
        {"rule": "self == oldSelf", "message": "selector is immutable; make a new Rollout instead"}
    ]
    strategy = properties["strategy"]
    strategy["x-kubernetes-validations"] = [
        _rule("has(self.canary) != has(self.blueGreen)", "exactly one of canary and blueGreen must be set")
    ]
    canary, blue_green = strategy["properties"]["canary"], strategy["properties"]["blueGreen"]
    canary["x-kubernetes-validations"] = [_differ("canaryService", "stableService")]
    blue_green["x-kubernetes-validations"] = [
        _rule("has(self.activeService) && self.activeService != ''", "activeService must be set"),
        _differ("activeService", "previewService"),
    ]
    step = canary["properties"]["steps"]["items"]
    step["x-kubernetes-validations"] = [
        _rule(f"{_count(step['properties'])} == 1", "a step must have exactly one kind")
    ]
    scale = step["properties"]["setCanaryScale"]
    scale["x-kubernetes-validations"] = [
        _rule(
            "(has(self.weight) ? 1 : 0) + (has(self.replicas) ? 1 : 0) + "
            "(has(self.matchTrafficWeight) && self.matchTrafficWeight ? 1 : 0) == 1",
            "exactly one of weight, replicas and matchTrafficWeight: true must be set",
        )
    ]
    columns = [
        _column("Desired", "integer", ".spec.replicas", "Number of desired pods"),
        _column("Current", "integer", ".status.replicas", "Total number of pods targeted by this rollout"),
        _column("Up-to-date", "integer", ".status.updatedReplicas", "Pods that run the desired template"),
        _column("Available", "integer", ".status.availableReplicas", "Pods that can serve requests"),
        _AGE,
    ]
    subresources = {
        "status": {},
        "scale": {
            "specReplicasPath": ".spec.replicas",
            "statusReplicasPath": ".status.HPAReplicas",
            "labelSelectorPath": ".status.selector",
        },
    }
    return _crd(ROLLOUTS, "ro", spec, status, columns, subresources=subresources)


def _analysis_run() -> Json:
    spec = schema(fields_of(analysis.AnalysisRunSpec))
    status = schema(fields_of(analysis.AnalysisRunStatus))
    return _crd(ANALYSIS_RUNS, "ar", spec, status, [_phase_column(), _AGE])


def _templates() -> list[Json]:
    spec = schema(fields_of(analysis.AnalysisTemplateSpec))
    return [
        _crd(ANALYSIS_TEMPLATES, "at", spec, None, [_AGE]),
        _crd(CLUSTER_ANALYSIS_TEMPLATES, "cat", spec, None, [_AGE]),
    ]


def _experiment() -> Json:
    spec = dict(_KEEP) | {"description": "Not supported yet: Experiments are kept, and not acted on."}
    return _crd(EXPERIMENTS, "exp", spec, dict(_KEEP), [_phase_column(), _AGE])


def _crd(
    resource: Resource,
    short: str,
    spec: Json,
    status: Json | None,
    columns: list[Json],
    *,
    subresources: Json | None = None,
) -> Json:
    top: Json = {
        "apiVersion": {"type": "string"},
        "kind": {"type": "string"},
        "metadata": {"type": "object"},
        "spec": spec,
    }
    if status is not None:
        top["status"] = status
    version: Json = {
        "name": resource.version,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": {"type": "object", "required": ["spec"], "properties": top}},
        "additionalPrinterColumns": columns,
    }
    if subresources is not None:
        version["subresources"] = subresources
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{resource.plural}.{resource.group}"},
        "spec": {
            "group": resource.group,
            "names": {
                "kind": resource.kind,
                "listKind": f"{resource.kind}List",
                "plural": resource.plural,
                "singular": resource.kind.lower(),
                "shortNames": [short],
            },
            "scope": "Namespaced" if resource.namespaced else "Cluster",
            "versions": [version],
        },
    }


# --- small pieces -------------------------------------------------------------------------------------


def _rule(rule: str, message: str) -> Json:
    return {"rule": rule, "message": message}


def _count(properties: Json) -> str:
    """A CEL expression: how many of these fields are set."""
    return " + ".join(f"(has(self.{name}) ? 1 : 0)" for name in properties)


def _differ(one: str, other: str) -> Json:
    both = f"has(self.{one}) && has(self.{other}) && self.{one} != ''"
    return _rule(f"!({both}) || self.{one} != self.{other}", f"{one} and {other} must differ")


def _column(name: str, type: str, path: str, description: str) -> Json:
    return {"name": name, "type": type, "jsonPath": path, "description": description}


def _phase_column() -> Json:
    return {"name": "Status", "type": "string", "jsonPath": ".status.phase"}


def write() -> None:
    """Write the files anew."""
    FOLDER.mkdir(exist_ok=True)
    for crd in crds():
        (FOLDER / filename(crd)).write_text(yaml_of(crd), encoding="utf-8")


if __name__ == "__main__":
    write()
