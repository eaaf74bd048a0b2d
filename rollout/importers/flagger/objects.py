"""The Services and the VirtualService that Flagger made, as objects that the user owns from now on."""

from __future__ import annotations

from typing import Any

from rollout.importers.report import Reader

Json = dict[str, Any]
_COPIED = ("match", "rewrite", "timeout", "retries", "headers", "corsPolicy")


def services(reader: Reader, name: str, namespace: str, labels: dict[str, str]) -> list[Json]:
    """The apex Service (stable), and the canary's."""
    spec = ("spec", "service")
    port = reader.whole(*spec, "port", default=80)
    entry: Json = {"name": reader.text(*spec, "portName", default="http"), "port": port}
    target = reader.get(*spec, "targetPort", default=port)
    entry["targetPort"] = target
    if protocol := reader.text(*spec, "appProtocol"):
        entry["appProtocol"] = protocol
    if reader.get(*spec, "portDiscovery"):
        reader.drop(*spec, "portDiscovery", why="add further ports to the Services by hand")
    if reader.get(*spec, "headless"):
        raise reader.refuse((*spec, "headless"), "a headless Service has no address to shift traffic behind")
    reader.drop(*spec, "trafficDistribution", why="add it to the Services by hand")
    reader.ignore(*spec, "name", why="kept as the Services' name")
    reader.ignore(*spec, "primary", why="there is no primary Service any more")
    reader.drop(*spec, "unmanagedMetadata", why="ours writes only the selector of a Service")
    out = []
    for full, about in ((name, "apex"), (f"{name}-canary", "canary")):
        meta: Json = {"name": full, "namespace": namespace}
        for field in ("labels", "annotations"):
            if extra := reader.mapping(*spec, about, field):
                meta[field] = extra
        body = {"selector": dict(labels), "ports": [entry]}
        out.append({"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": body})
    return out


def virtual_service(reader: Reader, name: str, namespace: str) -> Json:
    """What Flagger wrote from `service.*`, now the user's; its weights are the Rollout's."""
    spec = ("spec", "service")
    route: Json = {"name": "primary"}
    for field in _COPIED:
        if (value := reader.get(*spec, field)) is not None:
            route[field] = value
    for field in ("gatewayRefs", "backends", "meshName", "mirror", "backendTimeout"):
        reader.drop(*spec, field, why="is not of Istio")
    if reader.get(*spec, "delegation"):
        raise reader.refuse((*spec, "delegation"), "a delegate VirtualService must be written by hand")
    if reader.get(*spec, "trafficPolicy") is not None:
        reader.drop(*spec, "trafficPolicy", why="write a DestinationRule for each of the two Services")
    route["route"] = [
        {"destination": {"host": name}, "weight": 100},
        {"destination": {"host": f"{name}-canary"}, "weight": 0},
    ]
    hosts = list(dict.fromkeys([*reader.texts(*spec, "hosts"), name]))
    body: Json = {"hosts": hosts}
    if gateways := reader.texts(*spec, "gateways"):
        body["gateways"] = gateways
        if "mesh" not in gateways:
            reader.info(
                (*spec, "gateways"), "without `mesh` callers inside the mesh are not shifted, as with Flagger"
            )
    body["http"] = [route]
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": name, "namespace": namespace},
        "spec": body,
    }
