"""Rules of built-in kinds that their schemas cannot say, in kube-apiserver's words: those that users meet.

Objects are judged after defaulting. Rules about what may not change, the match between selector and template,
and metadata belong to the storage (`strategies.py`, `metadata.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rollout.sandbox.schema import names
from rollout.sandbox.schema.checks import (
    PROTOCOLS,
    Errors,
    Object,
    each,
    items,
    mapping,
    natural,
    one_of,
    port_or_name,
    whole,
)
from rollout.sandbox.schema.correlate import same
from rollout.sandbox.schema.fields import (
    FieldError,
    duplicate,
    forbidden,
    invalid,
    not_supported,
    required,
)
from rollout.sandbox.schema.podspec import pod_spec


def validate(obj: Object, old: Object | None = None) -> list[FieldError]:
    """What is wrong with an object of a built-in kind; [] for other kinds. Never raises.

    With `old`, a spec that did not change is not judged again.
    """
    check = _CHECKS.get((str(obj.get("apiVersion")), str(obj.get("kind"))))
    if check is None:
        return []
    if old is not None and all(same(obj.get(key), old.get(key)) for key in _JUDGED):
        return []
    return list(check(obj))


_JUDGED = ("spec", "data", "binaryData", "ports", "endpoints", "addressType")


def _pod(obj: Object) -> Errors:
    yield from pod_spec(mapping(obj, "spec"), "spec")


# -- workloads -----------------------------------------------------------------------------------


def _template(spec: Object) -> Errors:
    template, path = mapping(spec, "template"), "spec.template"
    yield from names.labels(mapping(template, "metadata").get("labels"), f"{path}.metadata.labels")
    yield from pod_spec(mapping(template, "spec"), f"{path}.spec")


def _selector(selector: Any, path: str) -> Errors:
    """A label selector that may not be empty."""
    labels = mapping(selector, "matchLabels")
    if isinstance(selector, dict) and not labels and not selector.get("matchExpressions"):
        yield invalid(path, selector, "empty selector is invalid for deployment")
    yield from label_selector(selector, path)


def label_selector(selector: Any, path: str) -> Errors:
    """What is wrong with the labels and expressions of a label selector."""
    yield from names.labels(mapping(selector, "matchLabels"), f"{path}.matchLabels")
    for place, term in items(selector, "matchExpressions", path):
        sign, values = term.get("operator"), term.get("values")
        if sign in ("In", "NotIn") and not values:
            yield required(f"{place}.values", "must be specified when `operator` is 'In' or 'NotIn'")
        elif sign in ("Exists", "DoesNotExist") and values:
            yield forbidden(
                f"{place}.values", "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
            )
        elif sign not in ("In", "NotIn", "Exists", "DoesNotExist"):
            yield invalid(f"{place}.operator", sign, "not a valid selector operator")
        yield from each(term.get("key"), names.qualified_name, f"{place}.key")


def _always(spec: Object) -> Errors:
    """Pods of a ReplicaSet are always restarted."""
    policy = mapping(spec, "template", "spec").get("restartPolicy")
    if policy not in ("Always", None):
        yield not_supported("spec.template.spec.restartPolicy", policy, ("Always",))


def _replica_set(obj: Object) -> Errors:
    spec = mapping(obj, "spec")
    yield from natural(spec, "spec", "replicas", "minReadySeconds")
    yield from _selector(spec.get("selector"), "spec.selector")
    yield from _template(spec)
    yield from _always(spec)


def _deployment(obj: Object) -> Errors:
    yield from _replica_set(obj)
    spec = mapping(obj, "spec")
    yield from natural(spec, "spec", "revisionHistoryLimit", "progressDeadlineSeconds")
    deadline, ready = spec.get("progressDeadlineSeconds"), spec.get("minReadySeconds") or 0
    if whole(deadline) and whole(ready) and deadline <= ready:
        yield invalid("spec.progressDeadlineSeconds", deadline, "must be greater than minReadySeconds")
    strategy, rolling = mapping(spec, "strategy"), mapping(spec, "strategy", "rollingUpdate")
    if strategy.get("type") == "Recreate" and rolling:
        yield forbidden(
            "spec.strategy.rollingUpdate", "may not be specified when strategy `type` is 'Recreate'"
        )
    yield from one_of(strategy.get("type"), ("Recreate", "RollingUpdate"), "spec.strategy")
    yield from _surge(rolling)


def _surge(rolling: Object) -> Errors:
    path, zero = "spec.strategy.rollingUpdate", set[str]()
    for key in ("maxUnavailable", "maxSurge"):
        value = rolling.get(key)
        percent = value[:-1] if isinstance(value, str) and value.endswith("%") else None
        if isinstance(value, str) and not (percent and percent.isascii() and percent.isdigit()):
            yield invalid(
                f"{path}.{key}",
                value,
                "a valid percent string must be a numeric string followed by an ending '%' "
                "(e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')",
            )
        elif whole(value) and value < 0:
            yield invalid(f"{path}.{key}", value, "must be greater than or equal to 0")
        elif key == "maxUnavailable" and percent and len(percent) < 9 and int(percent) > 100:
            yield invalid(f"{path}.{key}", value, "must not be greater than 100%")
        if value == 0 or (percent and not percent.strip("0")):
            zero.add(key)
    if len(zero) == 2:
        yield invalid(
            f"{path}.maxUnavailable", rolling["maxUnavailable"], "may not be 0 when `maxSurge` is 0"
        )


def _job(obj: Object) -> Errors:
    spec = mapping(obj, "spec")
    counts = (
        "parallelism",
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
        "ttlSecondsAfterFinished",
    )
    yield from natural(spec, "spec", *counts)
    yield from _template(spec)
    path, policy = "spec.template.spec.restartPolicy", mapping(spec, "template", "spec").get("restartPolicy")
    if policy in ("Always", None):
        yield required(path, 'valid values: "OnFailure", "Never"')


def _autoscaler(obj: Object) -> Errors:
    spec = mapping(obj, "spec")
    least, most = spec.get("minReplicas"), spec.get("maxReplicas")
    if whole(least) and least < 1:
        yield invalid("spec.minReplicas", least, "must be greater than or equal to 1")
    if whole(most) and most < 1:
        yield invalid("spec.maxReplicas", most, "must be greater than 0")
    elif whole(least) and whole(most) and most < least:
        yield invalid("spec.maxReplicas", most, "must be greater than or equal to `minReplicas`")
    target = mapping(spec, "scaleTargetRef")
    for key in ("kind", "name"):
        if not target.get(key):
            yield required(f"spec.scaleTargetRef.{key}")


def _disruption_budget(obj: Object) -> Errors:
    spec = mapping(obj, "spec")
    if spec.get("minAvailable") is not None and spec.get("maxUnavailable") is not None:
        yield invalid("spec", spec, "minAvailable and maxUnavailable cannot be both set")
    yield from natural(spec, "spec", "minAvailable", "maxUnavailable")
    yield from label_selector(spec.get("selector"), "spec.selector")


def _lease(obj: Object) -> Errors:
    spec = mapping(obj, "spec")
    if whole(seconds := spec.get("leaseDurationSeconds")) and seconds <= 0:
        yield invalid("spec.leaseDurationSeconds", seconds, "must be greater than 0")
    yield from natural(spec, "spec", "leaseTransitions")


# -- networking and data -------------------------------------------------------------------------


def _service(obj: Object) -> Errors:
    spec = mapping(obj, "spec")
    kind = spec.get("type")
    yield from one_of(kind, ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort"), "spec.type")
    yield from one_of(spec.get("sessionAffinity"), ("ClientIP", "None"), "spec.sessionAffinity")
    ports = list(items(spec, "ports", "spec"))
    if not ports and kind != "ExternalName" and spec.get("clusterIP") != "None":
        yield required("spec.ports")
    if kind == "ExternalName" and not spec.get("externalName"):
        yield required("spec.externalName")
    taken, seen = set[str](), set[tuple[Any, Any]]()
    for place, port in ports:
        name = port.get("name")
        if not name and len(ports) > 1:
            yield required(f"{place}.name")
        elif name and str(name) in taken:
            yield duplicate(f"{place}.name", name)
        elif name:
            yield from each(name, names.dns_label, f"{place}.name")
        taken.add(str(name))
        if not whole(port.get("port")) or not 1 <= port["port"] <= 65535:
            yield invalid(f"{place}.port", port.get("port", 0), "must be between 1 and 65535, inclusive")
        yield from one_of(port.get("protocol"), PROTOCOLS, f"{place}.protocol")
        yield from port_or_name(port.get("targetPort"), f"{place}.targetPort")
        if kind == "ClusterIP" and port.get("nodePort"):
            yield forbidden(f"{place}.nodePort", "may not be used when `type` is 'ClusterIP'")
        key = (str(port.get("protocol")), str(port.get("port")))
        if key in seen:
            yield duplicate(place, {"protocol": port.get("protocol"), "port": port.get("port")})
        seen.add(key)
    yield from names.labels(spec.get("selector"), "spec.selector")


def _endpoint_slice(obj: Object) -> Errors:
    if not obj.get("addressType"):
        yield required("addressType")
    yield from one_of(obj.get("addressType"), ("FQDN", "IPv4", "IPv6"), "addressType")
    for index, point in enumerate(point for _, point in items(obj, "endpoints", "")):
        if not point.get("addresses"):
            yield required(f"endpoints[{index}].addresses", "must contain at least 1 address")
    for index, port in enumerate(port for _, port in items(obj, "ports", "")):
        yield from one_of(port.get("protocol"), PROTOCOLS, f"ports[{index}].protocol")


def _ingress(obj: Object) -> Errors:
    spec = mapping(obj, "spec")
    if not spec.get("rules") and not spec.get("defaultBackend"):
        yield invalid("spec", spec, "either `defaultBackend` or `rules` must be specified")
    for rule, item in items(spec, "rules", "spec"):
        for place, path in items(mapping(item, "http"), "paths", f"{rule}.http"):
            if not path.get("pathType"):
                yield required(f"{place}.pathType", "pathType must be specified")
            kinds = ("Exact", "ImplementationSpecific", "Prefix")
            yield from one_of(path.get("pathType") or None, kinds, f"{place}.pathType")
            text = path.get("path")
            if path.get("pathType") in ("Exact", "Prefix") and not str(text or "").startswith("/"):
                yield invalid(f"{place}.path", text or "", "must be an absolute path")


def _network_policy(obj: Object) -> Errors:
    spec = mapping(obj, "spec")
    yield from label_selector(spec.get("podSelector"), "spec.podSelector")
    for index, kind in enumerate(spec.get("policyTypes") or ()):
        yield from one_of(kind, ("Egress", "Ingress"), f"spec.policyTypes[{index}]")
    for way, peers in (("ingress", "from"), ("egress", "to")):
        for place, rule in items(spec, way, "spec"):
            for at, port in items(rule, "ports", place):
                yield from one_of(port.get("protocol"), PROTOCOLS, f"{at}.protocol")
            for at, peer in items(rule, peers, place):
                if not peer:
                    yield required(at, "must specify a peer")
                if "ipBlock" in peer and len(peer) > 1:
                    yield forbidden(at, "may not specify both ipBlock and another peer")


_MAX_DATA = 1024 * 1024


def _data(obj: Object) -> Errors:
    size = 0
    for field in ("data", "binaryData"):
        for key, value in mapping(obj, field).items():
            yield from each(key, names.config_key, f"{field}[{key}]")
            size += len(str(value).encode("utf-8", "replace"))
    if size > _MAX_DATA:
        where = "" if obj.get("kind") == "ConfigMap" else "data"
        yield FieldError("FieldValueTooLong", where, f"Too long: may not be more than {_MAX_DATA} bytes")


_CHECKS: dict[tuple[str, str], Callable[[Object], Errors]] = {
    ("v1", "ConfigMap"): _data,
    ("v1", "Pod"): _pod,
    ("v1", "Secret"): _data,
    ("v1", "Service"): _service,
    ("apps/v1", "Deployment"): _deployment,
    ("apps/v1", "ReplicaSet"): _replica_set,
    ("autoscaling/v2", "HorizontalPodAutoscaler"): _autoscaler,
    ("batch/v1", "Job"): _job,
    ("coordination.k8s.io/v1", "Lease"): _lease,
    ("discovery.k8s.io/v1", "EndpointSlice"): _endpoint_slice,
    ("networking.k8s.io/v1", "Ingress"): _ingress,
    ("networking.k8s.io/v1", "NetworkPolicy"): _network_policy,
    ("policy/v1", "PodDisruptionBudget"): _disruption_budget,
}
