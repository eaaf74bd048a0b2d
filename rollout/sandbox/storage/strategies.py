"""What kube-apiserver does for single built-in kinds beyond their schemas: initial status, allocated
addresses, immutable fields, graceful deletion. A kind without an entry here has none of it.

A strategy is a pure function of (new, old, context); it returns a new object and never changes its arguments.
"""

from __future__ import annotations

import base64
import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from rollout.api.meta import LabelSelector
from rollout.api.resources import CRDS
from rollout.errors import ApiError
from rollout.sandbox.schema.fields import FieldError, forbidden, invalid
from rollout.sandbox.storage import crds
from rollout.sandbox.storage.registry import Served

Object = dict[str, Any]
Prepare = Callable[[Object, Object | None, "Context"], Object]
Check = Callable[[Object, Object | None], list[FieldError]]


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """What a strategy may look at: the time (RFC 3339), addresses in use and their range."""

    service_range: str
    addresses_in_use: Callable[[], Iterable[str]]
    now: str


class Strategy(msgspec.Struct, frozen=True, kw_only=True):
    """`read`: what decoding makes of the client's words, still his; `prepare`: what the server adds; `check`: what may
    not be."""

    read: Callable[[Object], Object] | None = None
    prepare: Prepare | None = None
    check: Check | None = None


def strategy_of(served: Served) -> Strategy:
    return _STRATEGIES.get(served.bucket, _NONE) if served.builtin else _NONE


def _spec(obj: Mapping[str, Any]) -> Mapping[str, Any]:
    return obj.get("spec") or {}


# Pods


def _prepare_pod(new: Object, old: Object | None, _: Context) -> Object:
    if old is not None:
        return new
    return {**new, "status": {"phase": "Pending", "qosClass": _qos_class(_spec(new))}}


def _qos_class(spec: Mapping[str, Any]) -> str:
    """https://kubernetes.io/docs/concepts/workloads/pods/pod-qos/"""
    containers = [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]
    guaranteed, any_set = bool(containers), False
    for container in containers:
        resources = container.get("resources") or {}
        limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
        any_set = any_set or bool(limits) or bool(requests)
        for name in ("cpu", "memory"):
            if name not in limits or requests.get(name, limits[name]) != limits[name]:
                guaranteed = False
    if guaranteed:
        return "Guaranteed"
    return "Burstable" if any_set else "BestEffort"


_POD_MUTABLE = (
    "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
    "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)


def _check_pod(new: Object, old: Object | None) -> list[FieldError]:
    if old is None:
        given = _spec(new).get("ephemeralContainers")
        return [forbidden("spec.ephemeralContainers", "cannot be set on create")] if given else []
    if _spec(new) == _spec(old):
        return []
    before, after = _spec(old).get(_GRACE), _spec(new).get(_GRACE)
    graced = before == after or (isinstance(before, int) and before < 0 and after == 1)
    if not graced or _frozen_part(_spec(new)) != _frozen_part(_spec(old)):
        return [forbidden("spec", _POD_MUTABLE)]
    return []


_GRACE = "terminationGracePeriodSeconds"


def _frozen_part(spec: Mapping[str, Any]) -> Object:
    free = {"activeDeadlineSeconds", "tolerations", _GRACE}
    frozen = {key: value for key, value in spec.items() if key not in free}
    for field in ("containers", "initContainers"):
        if field in frozen:
            frozen[field] = [
                {key: value for key, value in container.items() if key != "image"}
                for container in frozen[field]
            ]
    return frozen


# Workloads: an immutable selector that matches the template


def _check_selector(new: Object, old: Object | None) -> list[FieldError]:
    spec = _spec(new)
    selector = spec.get("selector")
    if old is not None and selector != _spec(old).get("selector"):
        return [invalid("spec.selector", selector, "field is immutable")]
    labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels") or {}
    if selector is not None and not _selects(selector, labels):
        return [
            invalid("spec.template.metadata.labels", labels, "`selector` does not match template `labels`")
        ]
    return []


def _selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    return msgspec.convert(selector, LabelSelector).matches(labels)


_COUNTED = ("replicas", "updatedReplicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas")


def _check_workload(new: Object, old: Object | None) -> list[FieldError]:
    return _check_selector(new, old) + (_status_errors(new) if old is not None else [])


def _status_errors(new: Object) -> list[FieldError]:
    """No count exceeds the one that it is part of."""
    status = new.get("status") or {}
    counts = {name: status.get(name) or 0 for name in _COUNTED}
    errors = [
        invalid(f"status.{name}", status[name], "must be greater than or equal to 0")
        for name in (*_COUNTED, "observedGeneration")
        if (status.get(name) or 0) < 0
    ]
    errors += [
        invalid(f"status.{name}", counts[name], "cannot be greater than status.replicas")
        for name in _COUNTED[1:]
        if counts[name] > counts["replicas"]
        and (name != "fullyLabeledReplicas" or new["kind"] == "ReplicaSet")
    ]
    if counts["availableReplicas"] > counts["readyReplicas"]:
        errors.append(
            invalid(
                "status.availableReplicas",
                counts["availableReplicas"],
                "cannot be greater than readyReplicas",
            )
        )
    return errors


def _check_job(new: Object, old: Object | None) -> list[FieldError]:
    if old is None:
        return []
    return [
        invalid(f"spec.{field}", _spec(new).get(field), "field is immutable")
        for field in ("selector", "template", "completions", "completionMode")
        if _spec(new).get(field) != _spec(old).get(field)
    ]


def _prepare_job(new: Object, old: Object | None, _: Context) -> Object:
    """A job's pods are told apart by the job's uid (https://kubernetes.io/docs/concepts/workloads/controllers/job/)."""
    spec = _spec(new)
    if old is not None or spec.get("manualSelector") or spec.get("selector"):
        return new
    uid, name = new["metadata"]["uid"], new["metadata"]["name"]
    template = spec.get("template") or {}
    meta = template.get("metadata") or {}
    labels = {
        **(meta.get("labels") or {}),
        "batch.kubernetes.io/controller-uid": uid,
        "batch.kubernetes.io/job-name": name,
        "controller-uid": uid,
        "job-name": name,
    }
    selector = {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}
    own = new["metadata"].get("labels") or meta.get("labels") or labels
    new = {**new, "metadata": {**new["metadata"], "labels": own}}
    template = {**template, "metadata": {**meta, "labels": labels}}
    return {**new, "spec": {**spec, "selector": selector, "template": template}}


# Services: a cluster IP for life


def _prepare_service(new: Object, old: Object | None, context: Context) -> Object:
    spec = dict(_spec(new))
    if spec["type"] == "ExternalName":
        return {**new, "spec": spec}
    before = _spec(old) if old is not None else {}
    if not spec.get("clusterIP"):
        spec["clusterIP"] = before.get("clusterIP") or _free_address(new, context)
    spec["clusterIPs"] = spec.get("clusterIPs") or [spec["clusterIP"]]
    spec["ipFamilies"] = spec.get("ipFamilies") or ["IPv4"]
    spec["ipFamilyPolicy"] = spec.get("ipFamilyPolicy") or "SingleStack"
    return {**new, "spec": spec}


def _free_address(new: Object, context: Context) -> str:
    used = set(context.addresses_in_use())
    for address in ipaddress.ip_network(context.service_range).hosts():
        if (text := str(address)) not in used:
            return text
    raise ApiError(
        f'Internal error occurred: failed to allocate IP for "{new["metadata"]["name"]}": range is full'
    )


def _check_service(new: Object, old: Object | None) -> list[FieldError]:
    spec, before = _spec(new), _spec(old or {})
    if spec.get("type") == "ExternalName":
        return []
    if before.get("clusterIP") and spec.get("clusterIP") != before["clusterIP"]:
        return [invalid("spec.clusterIPs[0]", spec.get("clusterIPs") or [], "may not change once set")]
    address = spec.get("clusterIP")
    if address not in {"None", None, ""}:
        try:
            ipaddress.ip_address(str(address))
        except ValueError:
            return [
                invalid(
                    "spec.clusterIPs[0]",
                    address,
                    "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
                )
            ]
    return []


# Namespaces


def _read_namespace(new: Object) -> Object:
    meta = new["metadata"]
    labels = {**(meta.get("labels") or {}), "kubernetes.io/metadata.name": meta["name"]}
    return {**new, "metadata": {**meta, "labels": labels}}


def _prepare_namespace(new: Object, old: Object | None, _: Context) -> Object:
    if old is None:
        finalizers = list(dict.fromkeys([*(_spec(new).get("finalizers") or ()), "kubernetes"]))
        return {**new, "spec": {**_spec(new), "finalizers": finalizers}, "status": {"phase": "Active"}}
    return new


# Secrets and ConfigMaps


def _read_secret(new: Object) -> Object:
    text = new.get("stringData") or {}
    new = {key: value for key, value in new.items() if key != "stringData"}
    if text:
        encoded = {key: base64.b64encode(value.encode()).decode() for key, value in text.items()}
        new["data"] = {**(new.get("data") or {}), **encoded}
    return new


def _check_secret(new: Object, old: Object | None) -> list[FieldError]:
    errors = _check_immutable_data(new, old)
    if old is not None and new.get("type") != old.get("type"):
        errors.append(invalid("type", new.get("type"), "field is immutable"))
    return errors


def _check_config_map(new: Object, old: Object | None) -> list[FieldError]:
    data, binary = new.get("data") or {}, new.get("binaryData") or {}
    doubled = [
        invalid(f"data[{key}]", key, "duplicate of key present in binaryData")
        for key in data
        if key in binary
    ]
    return doubled + _check_immutable_data(new, old)


def _check_budget(new: Object, _: Object | None) -> list[FieldError]:
    spec = _spec(new)
    wrong = (
        "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', "
    )
    return [
        invalid(f"spec.{field}", spec[field], f"{wrong}regex used for validation is '[0-9]+%')")
        for field in ("minAvailable", "maxUnavailable")
        if isinstance(spec.get(field), str) and not re.fullmatch("[0-9]+%", spec[field])
    ]


def _check_immutable_data(new: Object, old: Object | None) -> list[FieldError]:
    """https://kubernetes.io/docs/concepts/configuration/configmap/#configmap-immutable"""
    if old is None or not old.get("immutable"):
        return []
    errors = []
    if not new.get("immutable"):
        errors.append(forbidden("immutable", "field is immutable when `immutable` is set"))
    return errors + [
        forbidden(field, "field is immutable when `immutable` is set")
        for field in ("data", "binaryData")
        if new.get(field) != old.get(field)
    ]


# CustomResourceDefinitions


def _prepare_crd(new: Object, _: Object | None, context: Context) -> Object:
    # an invalid one is refused right after this, so its status does not matter
    return new if crds.check(new, None) else crds.with_status(new, context.now)


# The status that an object is born with

_BORN_WITH: dict[tuple[str, str], Object] = {
    ("", "services"): {"loadBalancer": {}},
    ("networking.k8s.io", "ingresses"): {"loadBalancer": {}},
    ("apps", "replicasets"): {"replicas": 0},
    ("autoscaling", "horizontalpodautoscalers"): {"desiredReplicas": 0},
    ("policy", "poddisruptionbudgets"): {
        "currentHealthy": 0,
        "desiredHealthy": 0,
        "disruptionsAllowed": 0,
        "expectedPods": 0,
    },
}
_BRINGS_ITS_STATUS = {("", "nodes")}


def initial_status(served: Served, new: Object) -> Object:
    """`new` with the status that its kind starts with: what a client says about it on create does not count."""
    if not served.has_status or served.bucket in _BRINGS_ITS_STATUS:
        return new
    without = {key: value for key, value in new.items() if key != "status"}
    return {**without, "status": _BORN_WITH.get(served.bucket, {})} if served.builtin else without


_NONE = Strategy()
_STRATEGIES: dict[tuple[str, str], Strategy] = {
    ("", "pods"): Strategy(prepare=_prepare_pod, check=_check_pod),
    ("", "services"): Strategy(prepare=_prepare_service, check=_check_service),
    ("", "namespaces"): Strategy(read=_read_namespace, prepare=_prepare_namespace),
    ("", "secrets"): Strategy(read=_read_secret, check=_check_secret),
    ("", "configmaps"): Strategy(check=_check_config_map),
    ("policy", "poddisruptionbudgets"): Strategy(check=_check_budget),
    ("apps", "replicasets"): Strategy(check=_check_workload),
    ("apps", "deployments"): Strategy(check=_check_workload),
    ("batch", "jobs"): Strategy(prepare=_prepare_job, check=_check_job),
    (CRDS.group, CRDS.plural): Strategy(read=crds.with_defaults, prepare=_prepare_crd, check=crds.check),
}
