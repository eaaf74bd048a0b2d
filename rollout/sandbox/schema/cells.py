"""The cells of built-in kinds: one function per kind, from an object to its row.

Values are read leniently, since anybody may have written a status: what is absent or odd reads as empty.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from rollout.sandbox.schema.ages import between, since

Object = Mapping[str, Any]
Cells = list[Any]

_NONE = "<none>"
_UNSET = "<unset>"


def _at(value: Any, *keys: str) -> Any:
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _items(value: Any, *keys: str) -> list[Any]:
    return [item for item in _list(value, *keys) if isinstance(item, Mapping)]


def _map(value: Any, *keys: str) -> Mapping[str, Any]:
    found = _at(value, *keys)
    return found if isinstance(found, Mapping) else {}


def _list(value: Any, *keys: str) -> list[Any]:
    found = _at(value, *keys)
    return found if isinstance(found, list) else []


def _number(value: Any, *keys: str) -> int:
    found = _at(value, *keys)
    return found if isinstance(found, int) and not isinstance(found, bool) else 0


def _word(value: Any, *keys: str) -> str:
    found = _at(value, *keys)
    return found if isinstance(found, str) else ""


def _joined(parts: Iterable[Any]) -> str:
    return ",".join(str(part) for part in parts)


def name(obj: Object) -> str:
    return _word(obj, "metadata", "name")


def _age(obj: Object, now: datetime) -> str:
    return since(_at(obj, "metadata", "creationTimestamp"), now)


# -- pods ----------------------------------------------------------------------------------------


def pod(obj: Object, now: datetime) -> Cells:
    statuses = _items(obj, "status", "containerStatuses")
    initial = _items(obj, "status", "initContainerStatuses")
    sidecars = {
        _word(c, "name") for c in _items(obj, "spec", "initContainers") if c.get("restartPolicy") == "Always"
    }
    ready = sum(c.get("ready") is True and _at(c, "state", "running") is not None for c in statuses)
    ready += sum(c.get("ready") is True for c in initial if _word(c, "name") in sidecars)
    initializing = _initializing(obj, initial, sidecars)
    counted = initial if initializing else [c for c in initial if _word(c, "name") in sidecars] + statuses
    gates, conditions = _items(obj, "spec", "readinessGates"), _conditions(obj)
    passed = sum(conditions.get(_word(gate, "conditionType")) == "True" for gate in gates)
    return [
        name(obj),
        f"{ready}/{len(_items(obj, 'spec', 'containers')) + len(sidecars)}",
        _ending(obj) or initializing or _running_reason(obj, statuses),
        _restarts(counted, now),
        _age(obj, now),
        next((_word(ip, "ip") for ip in _items(obj, "status", "podIPs")), "")
        or _word(obj, "status", "podIP")
        or _NONE,
        _word(obj, "spec", "nodeName") or _NONE,
        _word(obj, "status", "nominatedNodeName") or _NONE,
        f"{passed}/{len(gates)}" if gates else _NONE,
    ]


def _conditions(obj: Object) -> dict[str, str]:
    return {_word(c, "type"): _word(c, "status") for c in _items(obj, "status", "conditions")}


def _ending(obj: Object) -> str:
    """What a deleted pod shows; "" for others, and for those that ended before."""
    if not _at(obj, "metadata", "deletionTimestamp"):
        return ""
    if _word(obj, "status", "reason") == "NodeLost":
        return "Unknown"
    return "" if _word(obj, "status", "phase") in {"Succeeded", "Failed"} else "Terminating"


def _initializing(obj: Object, initial: list[Any], sidecars: set[str]) -> str:
    """What keeps the pod from starting its containers, or ""."""
    if _conditions(obj).get("Initialized") == "True":
        return ""
    total = len(_items(obj, "spec", "initContainers"))
    for index, status in enumerate(initial):
        ended, waiting = _at(status, "state", "terminated"), _word(status, "state", "waiting", "reason")
        if ended is not None and _number(ended, "exitCode") == 0:
            continue
        if _word(status, "name") in sidecars and status.get("started") is True:
            continue
        if ended is not None:
            return f"Init:{_ended(ended)}"
        return f"Init:{waiting}" if waiting not in {"", "PodInitializing"} else f"Init:{index}/{total}"
    return ""


def _ended(terminated: Any) -> str:
    signal = _number(terminated, "signal")
    how = f"Signal:{signal}" if signal else f"ExitCode:{_number(terminated, 'exitCode')}"
    return _word(terminated, "reason") or how


def _running_reason(obj: Object, statuses: list[Any]) -> str:
    reason = _word(obj, "status", "reason") or _word(obj, "status", "phase")
    if any(_word(c, "reason") == "SchedulingGated" for c in _items(obj, "status", "conditions")):
        reason = "SchedulingGated"
    running = False
    for status in reversed(statuses):
        ended = _at(status, "state", "terminated")
        if waiting := _word(status, "state", "waiting", "reason"):
            reason = waiting
        elif ended is not None:
            reason = _ended(ended)
        elif status.get("ready") is True and _at(status, "state", "running") is not None:
            running = True
    if reason == "Completed" and running:
        return "Running" if _conditions(obj).get("Ready") == "True" else "NotReady"
    return reason


def _restarts(statuses: list[Any], now: datetime) -> str:
    count = sum(_number(status, "restartCount") for status in statuses)
    last = max((_word(status, "lastState", "terminated", "finishedAt") for status in statuses), default="")
    return f"{count} ({since(last, now)} ago)" if count and last else str(count)


# -- workloads -----------------------------------------------------------------------------------


def replica_set(obj: Object, now: datetime) -> Cells:
    return [
        name(obj),
        _number(obj, "spec", "replicas"),
        _number(obj, "status", "replicas"),
        _number(obj, "status", "readyReplicas"),
        _age(obj, now),
        *_template(obj),
    ]


def deployment(obj: Object, now: datetime) -> Cells:
    return [
        name(obj),
        f"{_number(obj, 'status', 'readyReplicas')}/{_number(obj, 'spec', 'replicas')}",
        _number(obj, "status", "updatedReplicas"),
        _number(obj, "status", "availableReplicas"),
        _age(obj, now),
        *_template(obj),
    ]


_JOB_ENDS = ("Complete", "Failed")
_JOB_MARKS = ("Suspended", "FailureTarget", "SuccessCriteriaMet")


def job(obj: Object, now: datetime) -> Cells:
    conditions = _conditions(obj)
    state = next((mark for mark in _JOB_ENDS if conditions.get(mark) == "True"), "")
    if not state and _at(obj, "metadata", "deletionTimestamp"):
        state = "Terminating"
    state = state or next((mark for mark in _JOB_MARKS if conditions.get(mark) == "True"), "Running")
    done, wanted = _number(obj, "status", "succeeded"), _at(obj, "spec", "completions")
    parallel = _number(obj, "spec", "parallelism")
    goal = str(wanted) if wanted is not None else f"1 of {parallel}" if parallel > 1 else "1"
    took = between(_at(obj, "status", "startTime"), _at(obj, "status", "completionTime"), now)
    return [name(obj), state, f"{done}/{goal}", took, _age(obj, now), *_template(obj)]


def _template(obj: Object) -> Cells:
    containers = _items(obj, "spec", "template", "spec", "containers")
    return [
        _joined(_word(c, "name") for c in containers),
        _joined(_word(c, "image") for c in containers),
        _selector(_at(obj, "spec", "selector")),
    ]


_OPERATORS = {"In": "in", "NotIn": "notin"}


def _selector(selector: Any) -> str:
    """A label selector in its text form; "<none>" when there is none or it is empty."""
    terms = [(key, f"{key}={value}") for key, value in _map(selector, "matchLabels").items()]
    for term in _items(selector, "matchExpressions"):
        key, sign, values = _word(term, "key"), _word(term, "operator"), _list(term, "values")
        if sign in _OPERATORS:
            terms.append((key, f"{key} {_OPERATORS[sign]} ({_joined(sorted(map(str, values)))})"))
        else:
            terms.append((key, key if sign == "Exists" else f"!{key}"))
    return _joined(text for _, text in sorted(terms)) or _NONE


def autoscaler(obj: Object, now: datetime) -> Cells:
    target, least = _at(obj, "spec", "scaleTargetRef"), _at(obj, "spec", "minReplicas")
    return [
        name(obj),
        f"{_word(target, 'kind')}/{_word(target, 'name')}",
        _metrics(_items(obj, "spec", "metrics"), _items(obj, "status", "currentMetrics")),
        _UNSET if least is None else str(least),
        _number(obj, "spec", "maxReplicas"),
        _number(obj, "status", "currentReplicas"),
        _age(obj, now),
    ]


def _metrics(wanted: list[Any], current: list[Any]) -> str:
    if not wanted:
        return _NONE
    texts = []
    for index, metric in enumerate(wanted):
        kind = _word(metric, "type")
        source = kind[:1].lower() + kind[1:]
        now = _at(current[index], source, "current") if index < len(current) else None
        target = _at(metric, source, "target")
        text = f"{_measure(now) or '<unknown>'}/{_measure(target) or '<auto>'}"
        resource = _word(metric, source, "name")
        texts.append(f"{resource}: {text}" if resource else text)
    shown = ", ".join(texts[:2])
    return shown + (f" + {len(texts) - 2} more..." if len(texts) > 2 else "")


def _measure(value: Any) -> str:
    for key, suffix in (("averageUtilization", "%"), ("averageValue", ""), ("value", "")):
        if (amount := _at(value, key)) is not None:
            return f"{amount}{suffix}"
    return ""


def disruption_budget(obj: Object, now: datetime) -> Cells:
    least, most = _at(obj, "spec", "minAvailable"), _at(obj, "spec", "maxUnavailable")
    return [
        name(obj),
        "N/A" if least is None else str(least),
        "N/A" if most is None else str(most),
        _number(obj, "status", "disruptionsAllowed"),
        _age(obj, now),
    ]


# -- networking ----------------------------------------------------------------------------------


def network_policy(obj: Object, now: datetime) -> Cells:
    return [name(obj), _selector(_at(obj, "spec", "podSelector")), _age(obj, now)]


def service(obj: Object, now: datetime) -> Cells:
    spec = _at(obj, "spec")
    addresses = _list(spec, "clusterIPs") or [_word(spec, "clusterIP")]
    selector = _map(spec, "selector")
    return [
        name(obj),
        _word(spec, "type"),
        addresses[0] or _NONE,
        _external(obj),
        _joined(_port(port) for port in _items(spec, "ports")) or _NONE,
        _age(obj, now),
        _joined(f"{key}={selector[key]}" for key in sorted(selector)) or _NONE,
    ]


def _port(port: Any) -> str:
    outside = f":{port['nodePort']}" if _number(port, "nodePort") else ""
    return f"{_number(port, 'port')}{outside}/{_word(port, 'protocol') or 'TCP'}"


def _external(obj: Object) -> str:
    kind, given = _word(obj, "spec", "type"), _list(obj, "spec", "externalIPs")
    if kind == "ExternalName":
        return _word(obj, "spec", "externalName")
    if kind == "LoadBalancer":
        return _joined([*_balanced(obj), *given]) or "<pending>"
    return _joined(given) or _NONE


def _balanced(obj: Object) -> list[str]:
    points = _items(obj, "status", "loadBalancer", "ingress")
    return [address for point in points if (address := _word(point, "ip") or _word(point, "hostname"))]


def ingress(obj: Object, now: datetime) -> Cells:
    hosts = [host for rule in _items(obj, "spec", "rules") if (host := _word(rule, "host"))]
    shown = _joined(hosts[:3]) + (f" + {len(hosts) - 3} more..." if len(hosts) > 3 else "")
    return [
        name(obj),
        _word(obj, "spec", "ingressClassName") or _NONE,
        shown or "*",
        _joined(_balanced(obj)),
        "80, 443" if _items(obj, "spec", "tls") else "80",
        _age(obj, now),
    ]


def endpoint_slice(obj: Object, now: datetime) -> Cells:
    ports = [str(port["port"]) if port.get("port") else "*" for port in _items(obj, "ports")]
    addresses = [address for point in _items(obj, "endpoints") for address in _list(point, "addresses")]
    return [
        name(obj),
        _word(obj, "addressType"),
        _three(ports) or _UNSET,
        _three(addresses) or _UNSET,
        _age(obj, now),
    ]


def _three(parts: list[str]) -> str:
    more = f" + {len(parts) - 3} more..." if len(parts) > 3 else ""
    return _joined(parts[:3]) + more


# -- the rest ------------------------------------------------------------------------------------


def node(obj: Object, now: datetime) -> Cells:
    ready = _conditions(obj).get("Ready")
    states = ["Unknown" if ready is None else "Ready" if ready == "True" else "NotReady"]
    if _at(obj, "spec", "unschedulable") is True:
        states.append("SchedulingDisabled")
    prefix, labels = "node-role.kubernetes.io/", _map(obj, "metadata", "labels")
    roles = {key.removeprefix(prefix) for key in labels if key.startswith(prefix) and key != prefix}
    if role := _word(labels, "kubernetes.io/role"):
        roles.add(role)
    addresses = {_word(a, "type"): _word(a, "address") for a in reversed(_items(obj, "status", "addresses"))}
    info = _at(obj, "status", "nodeInfo")
    return [
        name(obj),
        _joined(states),
        _joined(sorted(roles)) or _NONE,
        _age(obj, now),
        _word(info, "kubeletVersion"),
        addresses.get("InternalIP") or _NONE,
        addresses.get("ExternalIP") or _NONE,
        _word(info, "osImage") or "<unknown>",
        _word(info, "kernelVersion") or "<unknown>",
        _word(info, "containerRuntimeVersion") or "<unknown>",
    ]


def namespace(obj: Object, now: datetime) -> Cells:
    return [name(obj), _word(obj, "status", "phase"), _age(obj, now)]


def config_map(obj: Object, now: datetime) -> Cells:
    return [name(obj), len(_map(obj, "data")) + len(_map(obj, "binaryData")), _age(obj, now)]


def secret(obj: Object, now: datetime) -> Cells:
    return [name(obj), _word(obj, "type"), len(_map(obj, "data")), _age(obj, now)]


def service_account(obj: Object, now: datetime) -> Cells:
    return [name(obj), len(_list(obj, "secrets")), _age(obj, now)]


def lease(obj: Object, now: datetime) -> Cells:
    return [name(obj), _word(obj, "spec", "holderIdentity"), _age(obj, now)]


def definition(obj: Object, _now: datetime) -> Cells:
    return [name(obj), _at(obj, "metadata", "creationTimestamp")]


def event(obj: Object, now: datetime) -> Cells:
    involved, series = _at(obj, "involvedObject"), _at(obj, "series")
    first = since(_at(obj, "firstTimestamp") or _at(obj, "eventTime"), now)
    last = since(_at(obj, "lastTimestamp"), now) if _at(obj, "lastTimestamp") else first
    count = _number(obj, "count") or 1
    if isinstance(series, Mapping):
        last, count = since(_at(series, "lastObservedTime"), now), _number(series, "count")
    target = "/".join(part for part in (_word(involved, "kind").lower(), _word(involved, "name")) if part)
    return [
        last,
        _word(obj, "type"),
        _word(obj, "reason"),
        target,
        _word(involved, "fieldPath"),
        _source(obj),
        _word(obj, "message").strip(),
        first,
        count,
        name(obj),
    ]


def _source(obj: Object) -> str:
    component = _word(obj, "source", "component") or _word(obj, "reportingComponent")
    host = _word(obj, "source", "host") or _word(obj, "reportingInstance")
    return _joined(part for part in (component, host) if part)
