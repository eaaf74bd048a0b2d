"""EndpointSlices: the addresses behind every Service that has a selector.

Semantics: https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/ . Pods whose named
target ports have different numbers stand in different slices, as there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from rollout.api.meta import Object, metadata
from rollout.api.resources import ENDPOINT_SLICES
from rollout.sandbox.workloads import pods as facts
from rollout.sandbox.workloads.decision import (
    Action,
    Create,
    Decision,
    Delete,
    Patch,
    Suffix,
    controller_reference,
)

SERVICE_NAME = "kubernetes.io/service-name"
MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
MANAGER = "endpointslice-controller.k8s.io"
HEADLESS = "service.kubernetes.io/headless"
MAX_ENDPOINTS = 100

PORTS_ANNOTATION = "sandbox.surefoot.dev/ports"
"""Where all pods share 127.0.0.1 (macOS), the node agent tells here which local port stands for which
container port: a JSON object such as {"8080": 49321}."""

Ports = tuple[tuple[tuple[str, Any], ...], ...]
"""The ports of a slice in a form that can be a key: one tuple of (field, value) per port."""


def decide(service: Object, pods: Sequence[Object], slices: Sequence[Object], suffix: Suffix) -> Decision:
    """What to do about the slices of one Service.

    `pods` are those of its namespace that its selector matches, `slices` the ones this controller keeps
    for it. A Service without a selector, or of type ExternalName, keeps its hand-made slices.
    """
    spec = facts.spec(service)
    if not spec.get("selector") or spec.get("type") == "ExternalName" or facts.is_terminating(service):
        return Decision()
    wanted = _by_ports(service, pods)
    # A Service without pods still has one empty slice, so that clients can tell "none" from "unknown".
    wanted = wanted or {_ports(service, None): []}
    actions: list[Action] = []
    for ports, endpoints in wanted.items():
        mine = [item for item in slices if slice_ports(item) == ports]
        actions += _fill(service, ports, endpoints, mine, suffix)
    actions += [_delete(item) for item in slices if slice_ports(item) not in wanted]
    return Decision(tuple(actions))


def endpoint(service: Object, pod: Object) -> dict[str, Any]:
    """The endpoint that stands for `pod`: ready only while it serves and is not being deleted."""
    serving, terminating = facts.is_ready(pod), facts.is_terminating(pod)
    always = bool(facts.spec(service).get("publishNotReadyAddresses"))
    meta = metadata(pod)
    node = facts.spec(pod).get("nodeName")
    return {
        "addresses": [facts.status(pod)["podIP"]],
        "conditions": {
            "ready": always or (serving and not terminating),
            "serving": serving,
            "terminating": terminating,
        },
        **({"nodeName": node} if node else {}),
        "targetRef": {
            "kind": "Pod",
            "name": meta["name"],
            "namespace": meta.get("namespace", ""),
            "uid": meta["uid"],
        },
    }


def slice_ports(item: Object) -> Ports:
    return tuple(tuple(sorted(port.items())) for port in item.get("ports") or ())


def _by_ports(service: Object, pods: Sequence[Object]) -> dict[Ports, list[dict[str, Any]]]:
    groups: dict[Ports, list[dict[str, Any]]] = {}
    for pod in sorted(pods, key=lambda pod: metadata(pod)["name"]):
        if facts.is_finished(pod) or not facts.status(pod).get("podIP"):
            continue
        groups.setdefault(_ports(service, pod), []).append(endpoint(service, pod))
    return groups


def _ports(service: Object, pod: Object | None) -> Ports:
    found = []
    for port in facts.spec(service).get("ports") or ():
        number = _number(port, pod)
        if number is None:
            continue
        protocol = port.get("appProtocol")
        fields = {
            "name": port.get("name") or "",
            "port": number,
            "protocol": port.get("protocol") or "TCP",
            **({"appProtocol": protocol} if protocol else {}),
        }
        found.append(tuple(sorted(fields.items())))
    return tuple(found)


def _number(port: Mapping[str, Any], pod: Object | None) -> int | None:
    """The number a Service port leads to in this pod; None for a name the pod does not have."""
    target = port.get("targetPort") or port["port"]
    if isinstance(target, str) and not target.isdigit():
        if pod is None:
            return None
        protocol = port.get("protocol") or "TCP"
        for container in facts.spec(pod).get("containers") or ():
            for own in container.get("ports") or ():
                if own.get("name") == target and (own.get("protocol") or "TCP") == protocol:
                    return local_port(pod, int(own["containerPort"]))
        return None
    return local_port(pod, int(target)) if pod is not None else int(target)


def local_port(pod: Object, number: int) -> int:
    """The port on which container port `number` is really served (see PORTS_ANNOTATION)."""
    text = (metadata(pod).get("annotations") or {}).get(PORTS_ANNOTATION)
    if not text:
        return number
    told = msgspec.json.decode(text, type=dict[str, int])
    return told.get(str(number), number)


def container_port(pod: Object, local: int) -> int:
    """The container port that is really served on `local`: the way back of `local_port`."""
    text = (metadata(pod).get("annotations") or {}).get(PORTS_ANNOTATION)
    told = msgspec.json.decode(text, type=dict[str, int]) if text else {}
    return next((int(number) for number, served in told.items() if served == local), local)


def _fill(
    service: Object,
    ports: Ports,
    endpoints: Sequence[dict[str, Any]],
    mine: Sequence[Object],
    suffix: Suffix,
) -> list[Action]:
    """Endpoints stay in the slice where they are; new ones fill free places, then new slices."""
    by_uid = {item["targetRef"]["uid"]: item for item in endpoints}
    contents: list[list[dict[str, Any]]] = []
    for item in mine:
        uids = [(old.get("targetRef") or {}).get("uid", "") for old in item.get("endpoints") or ()]
        contents.append([by_uid.pop(uid) for uid in uids if uid in by_uid])
    fresh = list(by_uid.values())
    for content in contents:
        room = MAX_ENDPOINTS - len(content)
        content += fresh[:room]
        fresh = fresh[room:]
    actions: list[Action] = []
    for position, (item, content) in enumerate(zip(mine, contents, strict=True)):
        if not content and (position > 0 or any(contents)):
            actions.append(_delete(item))
        else:
            actions += _update(service, item, content)
    if fresh or not mine:
        for start in range(0, max(len(fresh), 1), MAX_ENDPOINTS):
            content = fresh[start : start + MAX_ENDPOINTS]
            actions.append(
                Create(ENDPOINT_SLICES, _slice(service, ports, content, suffix()), None, "FailedToCreate")
            )
    return actions


def _labels(service: Object) -> dict[str, str]:
    meta = metadata(service)
    headless = {HEADLESS: ""} if facts.spec(service).get("clusterIP") == "None" else {}
    return {**(meta.get("labels") or {}), SERVICE_NAME: meta["name"], MANAGED_BY: MANAGER, **headless}


def _slice(service: Object, ports: Ports, endpoints: list[dict[str, Any]], suffix: str) -> dict[str, Any]:
    meta = metadata(service)
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": f"{meta['name'][:57]}-{suffix}",
            "generateName": f"{meta['name']}-",
            "namespace": meta.get("namespace", ""),
            "labels": _labels(service),
            "ownerReferences": [controller_reference(service)],
        },
        "addressType": "IPv4",
        "endpoints": endpoints,
        "ports": [dict(port) for port in ports],
    }


def _update(service: Object, item: Object, endpoints: list[dict[str, Any]]) -> list[Action]:
    meta = metadata(item)
    changes: dict[str, Any] = {}
    if list(item.get("endpoints") or ()) != endpoints:
        changes["endpoints"] = endpoints
    before, labels = meta.get("labels") or {}, _labels(service)
    if before != labels:
        gone = dict.fromkeys(before.keys() - labels.keys())
        changes["metadata"] = {"labels": {**gone, **labels}}
    if not changes:
        return []
    changes["metadata"] = {**changes.get("metadata", {}), "resourceVersion": meta.get("resourceVersion")}
    return [Patch(ENDPOINT_SLICES, meta.get("namespace", ""), meta["name"], changes)]


def _delete(item: Object) -> Delete:
    meta = metadata(item)
    return Delete(ENDPOINT_SLICES, meta.get("namespace", ""), meta["name"], meta["uid"])
