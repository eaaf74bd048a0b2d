"""The provider `kubernetes`, a probe: which objects of the run's namespace are there, and in what condition.

value in the conditions: `{count, ready, names}`. `ready` are those that satisfy `condition` or `expression`; where neither
is given, ready Pods, available Deployments and healthy Rollouts, and of other kinds none. Without conditions of the metric's
own the operation decides: present (at least minCount, or 1, are there), absent (none is there), condition (at least
minCount, or else all and at least 1, are ready). Only lists are asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from analysis.providers.asking import short
from analysis.providers.base import Reading
from rollout.api import resources
from rollout.api.analysis import Metric, Phase
from rollout.api.meta import metadata
from rollout.api.resources import Resource
from rollout.core import expr
from rollout.core.checks import whole
from rollout.errors import ApiError, ProviderError
from rollout.runtime.kube import Kube, Object

MAX_OBJECTS = 500
MAX_NAMES = 50
_KNOWN = {
    (one.group, one.kind): one
    for one in vars(resources).values()
    if isinstance(one, Resource) and one.namespaced
}


class Kubernetes:
    """Looks into the API through `kube`."""

    def __init__(self, kube: Kube) -> None:
        self._kube = kube

    def within(self, namespace: str) -> Looking:
        return Looking(self._kube, namespace)


class Looking:
    """Looks into one namespace of the API."""

    def __init__(self, kube: Kube, namespace: str) -> None:
        self._kube = kube
        self._namespace = namespace

    def asked(self, metric: Metric) -> dict[str, str]:
        body = metric.provider["kubernetes"]
        whom = body.get("name") or body.get("labelSelector") or "all"
        return {"objects": f"{body['op']} {resource_of(body)} {whom}"}

    async def measure(self, metric: Metric, secrets: Mapping[str, str], now: datetime) -> Reading:
        body = metric.provider["kubernetes"]
        resource = resource_of(body)
        if (resource.group, resource.plural) == ("", "secrets"):
            raise ProviderError("metrics may not look at Secrets")
        try:
            page = await self._kube.list(
                resource,
                self._namespace,
                labels=str(body.get("labelSelector") or ""),
                fields=f"metadata.name={body['name']}" if body.get("name") else "",
                limit=MAX_OBJECTS,
            )
        except ApiError as error:
            raise ProviderError(f"{resource}: {short(error.message)}") from None
        if page.continue_token:
            raise ProviderError(
                f"there are more than {MAX_OBJECTS} {resource}; write a narrower labelSelector"
            )
        return read(body, page.items, now)


def resource_of(body: Mapping[str, Any]) -> Resource:
    """The resource of a kind. One that we do not know has the version "v1" and the plural that Kubernetes would guess."""
    group, kind = str(body.get("group") or ""), str(body["kind"])
    known = _KNOWN.get((group, kind))
    version = str(body.get("version") or (known.version if known else "v1"))
    plural = str(body.get("plural") or (known.plural if known else _guessed(kind)))
    return Resource(group, version, plural, kind)


def _guessed(kind: str) -> str:
    """`UnsafeGuessKindToResource` of apimachinery: lower case, with English endings."""
    name = kind.lower()
    if name.endswith("s"):
        return f"{name}es"
    return f"{name[:-1]}ies" if name.endswith("y") else f"{name}s"


def read(body: Mapping[str, Any], objects: Sequence[Object], now: datetime) -> Reading:
    """The value of what was found, and what the operation says of it."""
    here = [one for one in objects if not metadata(one).get("deletionTimestamp")]
    ready = [one for one in here if holds(body, one, now)]
    wanted = whole(body.get("minCount"))
    names = [str(metadata(one).get("name")) for one in objects]
    match body["op"]:
        case "present":
            good = len(objects) >= (wanted or 1)
        case "absent":
            good = not objects
        case _:
            good = len(ready) >= (wanted or max(1, len(objects)))
    said = f"{len(objects)} there, {len(ready)} ready"
    if names and body["op"] == "absent":
        said = f"{said}: {', '.join(names[:5])}"
    phase: Phase = "Successful" if good else "Failed"
    value = {"count": len(objects), "ready": len(ready), "names": names}
    record = {**value, "names": names[:MAX_NAMES]}
    return Reading(value, phase=phase, message=f"{body['op']}: {said}", record=record)


def holds(body: Mapping[str, Any], obj: Object, now: datetime) -> bool:
    """Whether an object is in the condition that is asked for. ProviderError when that cannot be said."""
    if (source := body.get("expression")) is not None:
        try:
            return expr.compile(source).evaluate_bool({"object": obj}, now)
        except expr.ExprError as error:
            raise ProviderError(f"expression on {metadata(obj).get('name')}: {error.sentence}") from None
    status = obj.get("status") or {}
    if (condition := body.get("condition")) is not None:
        return _condition(status, str(condition["type"])) == str(condition.get("status", "True"))
    match str(body.get("group") or ""), body["kind"]:
        case ("", "Pod"):
            return _condition(status, "Ready") == "True"
        case ("apps", "Deployment"):
            return _observed(obj) and _condition(status, "Available") == "True"
        case ("argoproj.io", "Rollout"):
            return _observed(obj) and str(status.get("phase")) == "Healthy"
        case _:
            return False


def _condition(status: Mapping[str, Any], type: str) -> str:
    conditions = status.get("conditions")
    found = conditions if isinstance(conditions, list) else []
    return next((str(one.get("status")) for one in found if one.get("type") == type), "")


def _observed(obj: Object) -> bool:
    """Whether its controller has seen the present spec."""
    seen = (obj.get("status") or {}).get("observedGeneration")
    return str(seen) == str(metadata(obj).get("generation"))
