"""The fields of an API type, read off its view: one table for the CRDs and for the validator.

The views say which fields we act on. To them `UNSUPPORTED` adds what the Argo Rollouts API also knows
(study/argo-rollouts.md 1.1-1.6): those fields are in the CRDs, so that an API server does not prune them before
the controller can refuse them. A field in neither is unknown.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, Literal

import msgspec
from msgspec import inspect

from rollout.api import analysis, chaos, rollout
from rollout.api.meta import ObjectMeta, OwnerReference

INT32 = 2**31 - 1
INT64 = 2**63 - 1

Type = Literal["object", "map", "array", "string", "integer", "number", "boolean", "int-or-string", "any"]


class Field(msgspec.Struct, frozen=True, kw_only=True):
    """What may stand in one place of an object.

    `fields` and `required` belong to "object", `items` to "array" and "map" (its values). "any" is an object that
    is not looked into. `supported` is False for fields that we know and refuse; `open` objects may have fields
    that are not listed.
    """

    type: Type
    nullable: bool = False
    fields: Mapping[str, Field] = {}
    required: tuple[str, ...] = ()
    items: Field | None = None
    enum: tuple[str, ...] = ()
    minimum: int | None = None
    maximum: int | None = None
    max_items: int | None = None
    pattern: str = ""
    format: str = ""
    supported: bool = True
    open: bool = False
    description: str = ""


MAX_STEPS = 256
PERCENT_PATTERN = "^[0-9]{1,9}%$"
_Facts = Mapping[str, Any]
_NONE: _Facts = {}
_PERCENT: _Facts = {"minimum": 1, "maximum": 100}
_PORT: _Facts = {"maximum": 65_535}
_STATUS: _Facts = {"minimum": 200, "maximum": 599}

# All integers of this API are counts, seconds or weights: 0 to 2^31-1 where nothing else is said here.
_FACTS: dict[tuple[type, str], _Facts] = {
    (rollout.Step, "setWeight"): {"maximum": 100},
    (rollout.SetCanaryScale, "weight"): {"maximum": 100},
    (rollout.PauseStep, "duration"): {"minimum": 0},
    (rollout.CanaryStrategy, "steps"): {"max_items": MAX_STEPS},
    (rollout.CanaryStrategy, "maxSurge"): {"minimum": 0, "pattern": PERCENT_PATTERN},
    (rollout.CanaryStrategy, "maxUnavailable"): {"minimum": 0, "pattern": PERCENT_PATTERN},
    (rollout.BlueGreenStrategy, "maxUnavailable"): {"minimum": 0, "pattern": PERCENT_PATTERN},
    (rollout.RolloutSpec, "restartAt"): {"format": "date-time"},
    (analysis.MeasurementRetention, "limit"): {"minimum": 1},
    (analysis.ArgValueFrom, "podTemplateHashValue"): {"enum": ("Stable", "Latest")},
    (ObjectMeta, "generation"): {"maximum": INT64},
    (chaos.Target, "count"): {"minimum": 1},
    (chaos.Target, "percent"): _PERCENT,
    (chaos.Target, "podNames"): {"max_items": 256},
    (chaos.HttpLatency, "percent"): _PERCENT,
    (chaos.HttpLatency, "port"): _PORT,
    (chaos.HttpAbort, "percent"): _PERCENT,
    (chaos.HttpAbort, "port"): _PORT,
    (chaos.HttpAbort, "status"): _STATUS,
    (chaos.DependencyLatency, "percent"): _PERCENT,
    (chaos.DependencyLatency, "port"): _PORT,
    (chaos.DependencyOutage, "port"): _PORT,
    (chaos.DependencyOutage, "status"): _STATUS,
    (chaos.ScaleDown, "percent"): _PERCENT,
    (chaos.NetworkLatency, "correlation"): {"maximum": 100},
    (chaos.NetworkLatency, "rate"): {"minimum": 1},
    (chaos.NetworkLatency, "hosts"): {"max_items": 64},
    (chaos.NetworkLatency, "ports"): {"max_items": 64},
    (chaos.NetworkLoss, "percent"): _PERCENT,
    (chaos.NetworkLoss, "correlation"): {"maximum": 100},
    (chaos.NetworkLoss, "rate"): {"minimum": 1},
    (chaos.NetworkLoss, "hosts"): {"max_items": 64},
    (chaos.NetworkLoss, "ports"): {"max_items": 64},
    (chaos.ChaosStep, "faults"): {"max_items": 16},
    (chaos.Probe, "attempts"): {"minimum": 1, "maximum": 100},
    (chaos.Limits, "maxPercent"): _PERCENT,
    (chaos.Limits, "maxPods"): {"minimum": 1},
    (chaos.ChaosRunSpec, "steps"): {"max_items": 32},
    (chaos.ChaosRunSpec, "probes"): {"max_items": 32},
    (chaos.ChaosRunSpec, "stopConditions"): {"max_items": 16},
    (chaos.ChaosRunSpec, "startAt"): {"format": "date-time"},
    (chaos.ChaosScheduleSpec, "everyWeeks"): {"minimum": 1, "maximum": 53},
    (chaos.ChaosScheduleSpec, "preChecks"): {"max_items": 32},
    (chaos.ChaosScheduleSpec, "postChecks"): {"max_items": 32},
    (chaos.ChaosScheduleSpec, "windows"): {"max_items": 32},
    (chaos.ChaosScheduleSpec, "exclude"): {"max_items": 256},
    (chaos.Caps, "percentPerNamespace"): {"maximum": 100},
}

_OBJECT, _LIST, _BOOLEAN = (
    Field(type="any"),
    Field(type="array", items=Field(type="any")),
    Field(type="boolean"),
)
_STRING, _INTEGER = Field(type="string"), Field(type="integer", minimum=0, maximum=INT32)

# Fields of the Argo Rollouts API that we refuse ("not supported yet"), by the view they would be in.
UNSUPPORTED: dict[type, dict[str, Field]] = {
    rollout.CanaryStrategy: {
        "antiAffinity": _OBJECT,
        "canaryMetadata": _OBJECT,
        "stableMetadata": _OBJECT,
        "dynamicStableScale": _BOOLEAN,
        "pingPong": _OBJECT,
        "replicaProgressThreshold": _OBJECT,
    },
    rollout.Step: {
        "experiment": _OBJECT,
        "setHeaderRoute": _OBJECT,
        "setMirrorRoute": _OBJECT,
        "plugin": _OBJECT,
    },
    rollout.TrafficRouting: {
        "nginx": _OBJECT,
        "alb": _OBJECT,
        "smi": _OBJECT,
        "ambassador": _OBJECT,
        "traefik": _OBJECT,
        "apisix": _OBJECT,
        "appMesh": _OBJECT,
        "managedRoutes": _LIST,
        "maxTrafficWeight": _INTEGER,
    },
    rollout.GatewayRouting: {
        "grpcRoute": _STRING,
        "grpcRoutes": _LIST,
        "tcpRoute": _STRING,
        "tcpRoutes": _LIST,
        "tlsRoute": _STRING,
        "tlsRoutes": _LIST,
        "configMap": _STRING,
    },
    rollout.GatewayHTTPRoute: {"useHeaderRoutes": _BOOLEAN},
    rollout.IstioVirtualService: {"tlsRoutes": _LIST, "tcpRoutes": _LIST},
    rollout.IstioDestinationRule: {"additionalSubsetNames": Field(type="array", items=_STRING)},
    rollout.BlueGreenStrategy: {
        "antiAffinity": _OBJECT,
        "previewMetadata": _OBJECT,
        "activeMetadata": _OBJECT,
    },
    rollout.RolloutAnalysis: {"analysisRunMetadata": _OBJECT},
    rollout.BackgroundAnalysis: {"analysisRunMetadata": _OBJECT},
}

# Status fields of the same API that we do not write, kept for those who move over from Argo Rollouts.
_FOREIGN_STATUS: dict[type, dict[str, Field]] = {
    rollout.RolloutStatus: {
        "alb": _OBJECT,
        "albs": _LIST,
        "duration": _OBJECT,
    },
    rollout.CanaryStatus: {
        "currentExperiment": _STRING,
        "stablePingPong": _STRING,
        "stepPluginStatuses": _LIST,
    },
    rollout.Weights: {"additional": _LIST},
}


@cache
def fields_of(view: type) -> Field:
    """The fields of an object that `view` is a view of."""
    return _field(inspect.type_info(view))


def _field(info: inspect.Type, facts: _Facts = _NONE) -> Field:
    match info:
        case inspect.UnionType(types=types):
            return _union([one for one in types if not isinstance(one, inspect.NoneType)], types, facts)
        case inspect.StructType():
            return _object(info)
        case inspect.DictType(value_type=inspect.AnyType()) | inspect.AnyType():
            return Field(type="any")
        case inspect.DictType(value_type=value):
            return Field(type="map", items=_field(value))
        case inspect.VarTupleType(item_type=item):
            return Field(type="array", items=_field(item), **facts)
        case inspect.LiteralType(values=values):
            return Field(type="string", enum=tuple(str(value) for value in values))
        case inspect.IntType():
            return Field(type="integer", **({"minimum": 0, "maximum": INT32} | dict(facts)))
        case inspect.StrType():
            return Field(type="string", **facts)
        case inspect.BoolType():
            return Field(type="boolean")
        case inspect.FloatType():
            return Field(type="number")
        case _:
            raise TypeError(f"a view cannot have a field of type {info}")


def _union(types: list[inspect.Type], given: tuple[inspect.Type, ...], facts: _Facts) -> Field:
    if len(types) == 2 and {type(one) for one in types} == {inspect.IntType, inspect.StrType}:
        field = Field(type="int-or-string", **facts)
    elif len(types) == 1:
        field = _field(types[0], facts)
    else:
        raise TypeError(f"a view cannot have a field that is one of {types}")
    return msgspec.structs.replace(field, nullable=len(types) < len(given))


def _object(info: inspect.StructType) -> Field:
    fields = {
        one.encode_name: _field(one.type, _FACTS.get((info.cls, one.encode_name), _NONE))
        for one in info.fields
    }
    fields |= {
        name: msgspec.structs.replace(
            field, supported=False, nullable=True, description="Not supported yet: it is refused."
        )
        for name, field in UNSUPPORTED.get(info.cls, {}).items()
    }
    fields |= _FOREIGN_STATUS.get(info.cls, {})
    return Field(
        type="object",
        fields=fields,
        required=tuple(one.encode_name for one in info.fields if one.required),
        open=info.cls in (ObjectMeta, OwnerReference),
        description=" ".join((info.cls.__dict__.get("__doc__") or "").split()),
    )
