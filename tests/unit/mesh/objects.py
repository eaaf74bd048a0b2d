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
