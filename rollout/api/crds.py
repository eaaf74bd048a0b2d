"""Our CustomResourceDefinitions, generated from the views and `rollout.api.fields`.

    python -m rollout.api.crds          # writes rollout/api/crds/*.yaml anew
    kubectl apply --server-side -f rollout/api/crds

Names, subresources and columns: study/argo-rollouts.md 0. A pod template is an object whose fields are kept
and not looked into, so that each CRD stays far below the 256 KiB that client-side apply can carry.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rollout.api import analysis, chaos, decisions, rollout
from rollout.api.fields import INT32, Field, fields_of
from rollout.api.resources import (
    ANALYSIS_RUNS,
    ANALYSIS_TEMPLATES,
    CHAOS_RUNS,
    CHAOS_SCHEDULES,
    CHAOS_SWITCHES,
    CHAOS_TEMPLATES,
    CLUSTER_ANALYSIS_TEMPLATES,
    DECISION_RECORDS,
    EXPERIMENTS,
    ROLLOUTS,
    Resource,
)

FOLDER = Path(__file__).with_name("crds")
Json = dict[str, Any]

_KEEP: Json = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
_AGE: Json = {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}


def crds() -> list[Json]:
    """The five definitions of argoproj.io/v1alpha1 and the five of surefoot.dev/v1alpha1."""
    argo = [_rollout(), _analysis_run(), *_templates(), _experiment()]
    return [*argo, _decision_record(), _chaos_run(), _chaos_template(), _chaos_schedule(), _chaos_switch()]


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
    spec["x-kubernetes-validations"] = [
        _rule(
            "!(has(self.template) && has(self.workloadRef))",
            "only one of template and workloadRef may be set",
        )
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


def _decision_record() -> Json:
    """It has neither spec nor status: nobody wishes anything in it, and nothing is done because of it."""
    crd = _crd(DECISION_RECORDS, "dec", {}, None, [_AGE])
    top: Json = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    own = schema(fields_of(decisions.DecisionRecord))["properties"]
    del top["required"], top["properties"]["spec"]
    for name in ("decisions", "specs"):
        # Each is written once and whole. Otherwise the server keeps account of who wrote which of its fields, in as
        # many bytes as the decisions themselves, and works through all of it at every write.
        each = own[name].get("additionalProperties", own[name])
        each["x-kubernetes-map-type"] = "atomic"
        top["properties"][name] = own[name]
    return crd


# --- chaos --------------------------------------------------------------------------------------------

_FROZEN = (
    "target",
    "steps",
    "probes",
    "stopConditions",
    "args",
    "limits",
    "duration",
    "ramp",
    "dryRun",
    "seed",
)
"""What of a ChaosRun's spec stays as it was made; the rest (abort, ...) may be said later."""


def _chaos_run() -> Json:
    spec = schema(fields_of(chaos.ChaosRunSpec))
    properties = spec["properties"]
    _guard_run(properties)
    frozen = "a ChaosRun is one execution: make a new one to change this"
    spec["x-kubernetes-validations"] = [
        _rule(f"has(self.{name}) == has(oldSelf.{name})", f"{name}: {frozen}") for name in _FROZEN
    ]
    for name in _FROZEN:
        properties[name].setdefault("x-kubernetes-validations", []).append(_rule("self == oldSelf", frozen))
    columns = [
        _text("Phase", ".status.phase"),
        _text("Verdict", ".status.verdict"),
        _AGE,
        _text("Message", ".status.message") | {"priority": 1},
    ]
    status = schema(fields_of(chaos.ChaosRunStatus))
    return _crd(CHAOS_RUNS, "chaos", spec, status, columns, subresources={"status": {}})


def _chaos_template() -> Json:
    """Its spec may hold placeholders where numbers are wanted, so nobody looks into it before they are filled."""
    return _crd(CHAOS_TEMPLATES, "chaost", dict(_KEEP), None, [_AGE])


def _chaos_schedule() -> Json:
    spec = schema(fields_of(chaos.ChaosScheduleSpec))
    properties = spec["properties"]
    properties["run"]["x-kubernetes-validations"] = [
        _rule(
            "(has(self.templateName) && self.templateName != '') != has(self.spec)",
            "exactly one of templateName and spec must be set",
        )
    ]
    for name in ("preChecks", "postChecks"):
        _guard_probe(properties[name]["items"])
    columns = [
        _text("Schedule", ".spec.schedule"),
        _text("Zone", ".spec.timeZone"),
        {"name": "Suspend", "type": "boolean", "jsonPath": ".spec.suspend"},
        _text("Active", ".status.active"),
        _text("Verdict", ".status.lastVerdict"),
        {"name": "Last", "type": "date", "jsonPath": ".status.lastScheduleTime"},
        _AGE,
    ]
    status = schema(fields_of(chaos.ChaosScheduleStatus))
    return _crd(CHAOS_SCHEDULES, "chaoss", spec, status, columns, subresources={"status": {}})


def _chaos_switch() -> Json:
    spec, status = schema(fields_of(chaos.ChaosSwitchSpec)), schema(fields_of(chaos.ChaosSwitchStatus))
    columns = [
        {"name": "Engaged", "type": "boolean", "jsonPath": ".spec.engaged"},
        {"name": "Active", "type": "integer", "jsonPath": ".status.runsActive"},
        _AGE,
        _text("Reason", ".spec.reason"),
    ]
    return _crd(CHAOS_SWITCHES, "chaossw", spec, status, columns, subresources={"status": {}})


def _guard_run(properties: Json) -> None:
    """The rules that hold inside the spec of a run."""
    fault = properties["steps"]["items"]["properties"]["faults"]["items"]
    kinds = {name: fault["properties"][name] for name in chaos.FAULT_KINDS}
    fault["x-kubernetes-validations"] = [_rule(f"{_count(kinds)} == 1", "a fault must have exactly one kind")]
    fault["properties"]["scaleDown"]["x-kubernetes-validations"] = [
        _rule("has(self.replicas) != has(self.percent)", "exactly one of replicas and percent must be set")
    ]
    for target in (properties["target"], fault["properties"]["target"]):
        target["x-kubernetes-validations"] = [
            _rule("!(has(self.count) && has(self.percent))", "count and percent exclude each other")
        ]
    _guard_probe(properties["probes"]["items"])


def _guard_probe(probe: Json) -> None:
    probe["x-kubernetes-validations"] = [
        _rule(
            "has(self.provider) != has(self.templateRef)",
            "exactly one of provider and templateRef must be set",
        )
    ]


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


def _text(name: str, path: str) -> Json:
    return {"name": name, "type": "string", "jsonPath": path}


def _phase_column() -> Json:
    return {"name": "Status", "type": "string", "jsonPath": ".status.phase"}


def write() -> None:
    """Write the files anew."""
    FOLDER.mkdir(exist_ok=True)
    for crd in crds():
        (FOLDER / filename(crd)).write_text(yaml_of(crd), encoding="utf-8")


if __name__ == "__main__":
    write()
