"""What kube-apiserver fills in for built-in kinds when a field is absent.

Each default is documented at its field (`kubectl explain`). Functions work on a copy that is theirs.
What the server sets whatever the client says (initial status, cluster IPs, a job's selector) are not defaults:
the storage's strategies do that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from rollout.sandbox.schema.fields import clone
from rollout.sandbox.schema.quantity import canonical

Object = dict[str, Any]


def defaults(obj: Object) -> Object:
    """`obj` of a built-in kind with its defaults; other kinds come back as they are. Idempotent."""
    fill = _FILLERS.get((str(obj.get("apiVersion")), str(obj.get("kind"))))
    if fill is None:
        return obj
    result: Object = {
        key: value if key in {"metadata", "status"} else clone(value) for key, value in obj.items()
    }
    fill(result)
    return result


def _set(target: Object, **values: Any) -> None:
    for key, value in values.items():
        if target.get(key) is None:
            target[key] = value


def _part(target: Object, key: str) -> Object:
    """The object at `key`, made when absent. A value of another type stays, for validation to refuse."""
    if target.get(key) is None:
        target[key] = {}
    part = target[key]
    return part if isinstance(part, dict) else {}


def _objects(target: Object, *keys: str) -> Iterator[Object]:
    """The objects in the lists at `keys`."""
    for key in keys:
        items = target.get(key)
        for item in items if isinstance(items, list) else ():
            if isinstance(item, dict):
                yield item


# -- pods ----------------------------------------------------------------------------------------


def _pod(obj: Object) -> None:
    spec = _part(obj, "spec")
    pod_spec(spec)
    _set(spec, enableServiceLinks=True)
    for container in _objects(spec, "containers", "initContainers"):
        resources = _part(container, "resources")
        limits = resources.get("limits")
        for name, amount in limits.items() if isinstance(limits, dict) else ():
            _set(_part(resources, "requests"), **{name: amount})


def pod_spec(spec: Object) -> None:
    """Fill in a pod spec (also that of a template), in place."""
    _set(
        spec,
        dnsPolicy="ClusterFirst",
        restartPolicy="Always",
        securityContext={},
        terminationGracePeriodSeconds=30,
        schedulerName="default-scheduler",
    )
    if isinstance(grace := spec["terminationGracePeriodSeconds"], int) and grace < 0:
        spec["terminationGracePeriodSeconds"] = 1
    account = spec.get("serviceAccountName") or spec.get("serviceAccount")
    if account:
        _set(spec, serviceAccountName=account, serviceAccount=account)
    for container in _objects(spec, "containers", "initContainers", "ephemeralContainers"):
        _container(container, host_network=spec.get("hostNetwork") is True)
    for volume in _objects(spec, "volumes"):
        _volume(volume)


def _container(container: Object, *, host_network: bool) -> None:
    _set(
        container,
        imagePullPolicy=pull_policy(str(container.get("image") or "")),
        terminationMessagePath="/dev/termination-log",
        terminationMessagePolicy="File",
        resources={},
    )
    resources = _part(container, "resources")
    for amounts in (resources.get("limits"), resources.get("requests")):
        if isinstance(amounts, dict):
            amounts.update({name: _amount(value) for name, value in amounts.items()})
    for port in _objects(container, "ports"):
        _set(port, protocol="TCP")
        if host_network and "containerPort" in port:
            _set(port, hostPort=port["containerPort"])
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        if isinstance(probe := container.get(name), dict):
            _set(probe, timeoutSeconds=1, periodSeconds=10, successThreshold=1, failureThreshold=3)
            _handler(probe)
    lifecycle = _part(container, "lifecycle") if "lifecycle" in container else {}
    for name in ("postStart", "preStop"):
        if isinstance(hook := lifecycle.get(name), dict):
            _handler(hook)
    for variable in _objects(container, "env"):
        source = variable.get("valueFrom")
        if isinstance(source, dict) and isinstance(source.get("fieldRef"), dict):
            _set(source["fieldRef"], apiVersion="v1")


def _amount(value: Any) -> Any:
    """A quantity as the server stores it; what is none stays, for validation to refuse."""
    try:
        return canonical(value) if isinstance(value, (str, int, float)) else value
    except ValueError:
        return value


def _handler(handler: Object) -> None:
    if isinstance(get := handler.get("httpGet"), dict):
        _set(get, path="/", scheme="HTTP")
    if isinstance(grpc := handler.get("grpc"), dict):
        _set(grpc, service="")


def pull_policy(image: str) -> str:
    """Always for images without a tag or digest, or with the tag latest; else IfNotPresent."""
    if "@" in image:
        return "IfNotPresent"
    tag = image.rpartition("/")[2].partition(":")[2]
    return "Always" if tag in {"", "latest"} else "IfNotPresent"


_MODE = 0o644


def _volume(volume: Object) -> None:
    sources = volume.keys() - {"name"}
    if not sources:
        volume["emptyDir"] = {}
    for name in ("secret", "configMap", "downwardAPI", "projected"):
        if isinstance(source := volume.get(name), dict):
            _set(source, defaultMode=_MODE)
    for file in _objects(_part(volume, "downwardAPI") if "downwardAPI" in volume else {}, "items"):
        if isinstance(file.get("fieldRef"), dict):
            _set(file["fieldRef"], apiVersion="v1")
    if isinstance(host := volume.get("hostPath"), dict):
        _set(host, type="")
    for source in _objects(_part(volume, "projected") if "projected" in volume else {}, "sources"):
        if isinstance(token := source.get("serviceAccountToken"), dict):
            _set(token, expirationSeconds=3600)


# -- workloads -----------------------------------------------------------------------------------


def _template(spec: Object) -> None:
    pod_spec(_part(_part(spec, "template"), "spec"))


def _deployment(obj: Object) -> None:
    spec = _part(obj, "spec")
    _set(spec, replicas=1, revisionHistoryLimit=10, progressDeadlineSeconds=600)
    strategy = _part(spec, "strategy")
    _set(strategy, type="RollingUpdate")
    if strategy.get("type") == "RollingUpdate":
        _set(_part(strategy, "rollingUpdate"), maxSurge="25%", maxUnavailable="25%")
    _template(spec)


def _replica_set(obj: Object) -> None:
    spec = _part(obj, "spec")
    _set(spec, replicas=1)
    _template(spec)


def _job(obj: Object) -> None:
    spec = _part(obj, "spec")
    if spec.get("completions") is None and spec.get("parallelism") is None:
        spec["completions"] = 1
    failure = "Failed" if spec.get("podFailurePolicy") else "TerminatingOrFailed"
    _set(
        spec,
        parallelism=1,
        backoffLimit=2**31 - 1 if spec.get("backoffLimitPerIndex") is not None else 6,
        completionMode="NonIndexed",
        suspend=False,
        podReplacementPolicy=failure,
        manualSelector=False,
    )
    _template(spec)


def _autoscaler(obj: Object) -> None:
    spec = _part(obj, "spec")
    utilization = {"type": "Utilization", "averageUtilization": 80}
    _set(
        spec,
        minReplicas=1,
        metrics=[{"type": "Resource", "resource": {"name": "cpu", "target": utilization}}],
    )


# -- the rest ------------------------------------------------------------------------------------


def _service(obj: Object) -> None:
    spec = _part(obj, "spec")
    _set(spec, type="ClusterIP", sessionAffinity="None")
    for port in _objects(spec, "ports"):
        _set(port, protocol="TCP", targetPort=port.get("port"))
    if spec.get("sessionAffinity") == "ClientIP":
        _set(_part(_part(spec, "sessionAffinityConfig"), "clientIP"), timeoutSeconds=10800)
    if spec.get("type") != "ExternalName":
        _set(spec, internalTrafficPolicy="Cluster")
    if spec.get("type") in ("NodePort", "LoadBalancer"):
        _set(spec, externalTrafficPolicy="Cluster")
    if spec.get("type") == "LoadBalancer":
        _set(spec, allocateLoadBalancerNodePorts=True)


def _network_policy(obj: Object) -> None:
    """Without policyTypes a policy is about ingress, and about egress if it has rules for it."""
    spec = _part(obj, "spec")
    _set(spec, policyTypes=["Ingress", "Egress"] if spec.get("egress") else ["Ingress"])
    for rule in _objects(spec, "ingress", "egress"):
        for port in _objects(rule, "ports"):
            _set(port, protocol="TCP")


def _endpoint_slice(obj: Object) -> None:
    for port in _objects(obj, "ports"):
        _set(port, name="", protocol="TCP")


def _secret(obj: Object) -> None:
    _set(obj, type="Opaque")


_FILLERS: dict[tuple[str, str], Callable[[Object], None]] = {
    ("v1", "Pod"): _pod,
    ("v1", "PodTemplate"): _template,
    ("v1", "Secret"): _secret,
    ("v1", "Service"): _service,
    ("apps/v1", "Deployment"): _deployment,
    ("apps/v1", "ReplicaSet"): _replica_set,
    ("autoscaling/v2", "HorizontalPodAutoscaler"): _autoscaler,
    ("batch/v1", "Job"): _job,
    ("discovery.k8s.io/v1", "EndpointSlice"): _endpoint_slice,
    ("networking.k8s.io/v1", "NetworkPolicy"): _network_policy,
}
