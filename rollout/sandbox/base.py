"""The objects that every sandbox begins with, as values, and their creation."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from rollout.api.resources import (
    CRDS,
    ENDPOINT_SLICES,
    NAMESPACES,
    SERVICES,
    Resource,
)
from rollout.errors import AlreadyExists, SandboxError
from rollout.runtime.kube import Kube, Object

CRD_DIRECTORIES = (Path(__file__).parent / "crds", Path(__file__).parents[1] / "api" / "crds")
"""What a sandbox understands: Istio's and Gateway API's kinds as far as the mesh serves them, and our own."""

MONITORING = "monitoring"
SYSTEM_NAMESPACES = (MONITORING, "istio-system")
PROMETHEUS = "prometheus"
PROMETHEUS_PORT = 9090
_MANAGED = "surefoot-sandbox"


def read_crds(directories: Iterable[Path]) -> list[Object]:
    """All CustomResourceDefinitions in *.yaml files of `directories`. SandboxError for what cannot be read."""
    found: list[Object] = []
    for directory in directories:
        files = sorted(directory.glob("*.yaml"))
        if not files:
            raise SandboxError(f"{directory} has no *.yaml with CustomResourceDefinitions")
        for file in files:
            try:
                documents = list(yaml.load_all(file.read_bytes(), Loader=_Loader))
            except (OSError, yaml.YAMLError) as error:
                raise SandboxError(f"{file} cannot be read: {error}") from error
            for document in documents:
                if not isinstance(document, Mapping) or document.get("kind") != CRDS.kind:
                    raise SandboxError(f"{file} holds something else than CustomResourceDefinitions")
                found.append(dict(document))
    return found


_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def namespace(name: str) -> Object:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def prometheus_objects(address: str, port: int) -> list[tuple[Resource, Object]]:
    """Service and EndpointSlice by which `prometheus.monitoring:9090` is the server at `address`:`port`."""
    meta = {"name": PROMETHEUS, "namespace": MONITORING}
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {**meta, "labels": {"app.kubernetes.io/managed-by": _MANAGED}},
        "spec": {"ports": [{"name": "http", "port": PROMETHEUS_PORT, "protocol": "TCP"}]},
    }
    piece = {
        "apiVersion": ENDPOINT_SLICES.api_version,
        "kind": "EndpointSlice",
        "metadata": {
            **meta,
            "labels": {
                "kubernetes.io/service-name": PROMETHEUS,
                "endpointslice.kubernetes.io/managed-by": _MANAGED,
            },
        },
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": port, "protocol": "TCP"}],
        "endpoints": [{"addresses": [address], "conditions": {"ready": True}}],
    }
    return [(SERVICES, service), (ENDPOINT_SLICES, piece)]


async def put(kube: Kube, resource: Resource, obj: Object) -> None:
    """Create the object, or bring an existing one (of a sandbox that keeps its data) to this state."""
    meta = obj["metadata"]
    try:
        await kube.create(resource, meta.get("namespace"), obj)
    except AlreadyExists:
        await kube.patch(resource, meta.get("namespace"), meta["name"], obj)


async def create_base(kube: Kube, crds: Iterable[Object]) -> None:
    """The CRDs and system namespaces, all at the same time."""
    async with asyncio.TaskGroup() as group:
        for crd in crds:
            group.create_task(put(kube, CRDS, crd))
        for name in SYSTEM_NAMESPACES:
            group.create_task(put(kube, NAMESPACES, namespace(name)))
