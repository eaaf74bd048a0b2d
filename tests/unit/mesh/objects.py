"""Small Kubernetes objects for mesh tests."""

from __future__ import annotations

from typing import Any

Object = dict[str, Any]


def meta(name: str, namespace: str = "shop", **fields: Any) -> Object:
    return {"name": name, "namespace": namespace, **fields}


def service(name: str, *ports: int, namespace: str = "shop", **spec: Any) -> Object:
    return {
        "metadata": meta(name, namespace),
        "spec": {"ports": [{"port": port, "name": f"http-{port}"} for port in ports or (80,)], **spec},
    }


def pod(name: str, *, namespace: str = "shop", owner: str = "", **labels: str) -> Object:
    refs = [{"kind": "ReplicaSet", "name": owner, "controller": True}] if owner else []
    dashed = {key.replace("__", "/").replace("_", "-"): value for key, value in labels.items()}
    return {"metadata": meta(name, namespace, labels=dashed, ownerReferences=refs)}


def endpoint_slice(
    service: str,
    endpoints: dict[str, tuple[str, int]],
    *,
    port: int = 80,
    namespace: str = "shop",
    conditions: Object | None = None,
) -> list[Object]:
    """One slice for each pod, as where pods share an address and differ in port. pod -> (address, port)."""
    return [
        {
            "metadata": meta(f"{service}-{name}", namespace, labels={"kubernetes.io/service-name": service}),
            "addressType": "IPv4",
            "ports": [{"name": f"http-{port}", "port": number, "protocol": "TCP"}],
            "endpoints": [
                {
                    "addresses": [address],
                    "conditions": conditions or {"ready": True},
                    "targetRef": {"kind": "Pod", "name": name, "namespace": namespace},
                }
            ],
        }
        for name, (address, number) in endpoints.items()
    ]


def virtual_service(
    *http: Object, hosts: tuple[str, ...] = ("web",), name: str = "web", **spec: Any
) -> Object:
    return {"metadata": meta(name, generation=1), "spec": {"hosts": list(hosts), "http": list(http), **spec}}


def to(host: str, weight: int | None = None, subset: str = "", port: int = 0) -> Object:
    destination: Object = {"host": host}
    if subset:
        destination["subset"] = subset
    if port:
        destination["port"] = {"number": port}
    return {"destination": destination} | ({} if weight is None else {"weight": weight})


def destination_rule(host: str = "web", *subsets: tuple[str, Object], **policy: Any) -> Object:
    return {
        "metadata": meta(host),
        "spec": {
            "host": host,
            "subsets": [{"name": name, "labels": labels} for name, labels in subsets],
            **({"trafficPolicy": policy} if policy else {}),
        },
    }


def http_fault(
    *, delay: str = "", abort: int = 0, percent: int = 100, cluster: str = "", **fields: Any
) -> Object:
    """Envoy's HTTPFault as our controller writes it."""
    share = {"numerator": percent, "denominator": "HUNDRED"}
    return {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault",
        **({"delay": {"fixed_delay": delay, "percentage": share}} if delay else {}),
        **({"abort": {"http_status": abort, "percentage": share}} if abort else {}),
        **({"upstream_cluster": cluster} if cluster else {}),
        **fields,
    }


def envoy_filter(
    name: str, labels: dict[str, str], *faults: Object, port: int = 0, expires: str = "", **spec: Any
) -> Object:
    """An EnvoyFilter with the faults; those with an upstream_cluster are outbound."""
    router = {"name": "envoy.filters.http.router"}
    chain = {"filter": {"name": "envoy.filters.network.http_connection_manager", "subFilter": router}}
    patches = [
        {
            "applyTo": "HTTP_FILTER",
            "match": {
                "context": "SIDECAR_OUTBOUND" if "upstream_cluster" in fault else "SIDECAR_INBOUND",
                "listener": {"filterChain": chain, **({"portNumber": port} if port else {})},
            },
            "patch": {
                "operation": "INSERT_BEFORE",
                "value": {"name": f"surefoot.fault.{name}.{index}", "typed_config": fault},
            },
        }
        for index, fault in enumerate(faults)
    ]
    annotations = {"surefoot.dev/expires-at": expires} if expires else {}
    return {
        "metadata": meta(name, annotations=annotations, generation=1),
        "spec": {"workloadSelector": {"labels": labels}, "configPatches": patches, **spec},
    }
