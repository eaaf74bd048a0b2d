"""What the mesh sees: a snapshot of API objects, indexed once so that rendering only looks up.

Nothing here is Envoy's; everything is Kubernetes' and Istio's meaning of the objects.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from rollout.api.meta import Key, key_of, metadata
from rollout.sandbox.mesh.names import Host, service_host
from rollout.sandbox.workloads.endpointslice import container_port

Object = Mapping[str, Any]


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """The objects that one rendering is made from (plain dicts, read-only)."""

    services: tuple[Object, ...] = ()
    endpoint_slices: tuple[Object, ...] = ()
    pods: tuple[Object, ...] = ()
    virtual_services: tuple[Object, ...] = ()
    destination_rules: tuple[Object, ...] = ()
    http_routes: tuple[Object, ...] = ()
    envoy_filters: tuple[Object, ...] = ()


class Problem(msgspec.Struct, frozen=True, order=True):
    """Something in an object that the mesh does not do. `path` is a field path inside the object; `whole`
    means that nothing of the object is served because of it."""

    kind: str
    key: Key
    path: str
    message: str
    whole: bool = False

    def __str__(self) -> str:
        return f"{self.kind} {self.key}: {self.path}: {self.message}"


class Problems:
    """Collects problems of one object while it is rendered, so that no field is dropped silently."""

    def __init__(self, kind: str, obj: Object) -> None:
        self.kind = kind
        self.key = key_of(obj)
        self.found: list[Problem] = []

    def add(self, path: str, message: str, *, whole: bool = False) -> None:
        self.found.append(Problem(self.kind, self.key, path, message, whole))

    def unsupported(self, body: Mapping[str, Any], known: Iterable[str], path: str, kept: str) -> None:
        """Report every field of `body` outside `known`; `kept` says what happens instead."""
        for name in sorted(set(body) - set(known)):
            self.add(f"{path}.{name}" if path else name, f"not supported by the sandbox's mesh; {kept}")


class ServicePort(msgspec.Struct, frozen=True):
    number: int
    name: str = ""
    http2: bool = False


class Service(msgspec.Struct, frozen=True):
    host: Host
    ports: tuple[ServicePort, ...]

    def port(self, number: int) -> ServicePort | None:
        return next((port for port in self.ports if port.number == number), None)

    @property
    def bare_port(self) -> int:
        """The port that the name without a port means: 80, or the first where there is no 80."""
        return 80 if self.port(80) else self.ports[0].number


class Endpoint(msgspec.Struct, frozen=True):
    """One address behind a Service's port, and the pod it belongs to (labels {} where there is none).

    `container_port` is what the pod calls `port`: another number where the sandbox cannot serve the pod's own."""

    address: str
    port: int
    pod: str = ""
    namespace: str = ""
    workload: str = ""
    labels: Mapping[str, str] = {}
    container_port: int = 0

    @property
    def sort_key(self) -> tuple[str, int]:
        return self.address, self.port


class World:
    """The index over a snapshot."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.services = {
            service.host: service for service in map(_service, snapshot.services) if service is not None
        }
        self.pods = {key_of(pod): pod for pod in snapshot.pods}
        self._slices: dict[Host, list[Object]] = {}
        for piece in snapshot.endpoint_slices:
            owner = (metadata(piece).get("labels") or {}).get("kubernetes.io/service-name")
            if owner:
                self._slices.setdefault(Host(key_of(piece).namespace, owner), []).append(piece)
        self.rules = _rules(snapshot.destination_rules)

    def service(self, text: str, namespace: str) -> Service | None:
        """The known Service that `text` names when written in `namespace`."""
        host = service_host(text, namespace)
        return self.services.get(host) if host else None

    def endpoints(self, host: Host, port: ServicePort) -> tuple[Endpoint, ...]:
        """The addresses that may get new requests: ready, and not terminating."""
        found = {
            endpoint.sort_key: endpoint
            for piece in self._slices.get(host, ())
            for endpoint in self._slice_endpoints(piece, port)
        }
        return tuple(found[key] for key in sorted(found))

    def _slice_endpoints(self, piece: Object, port: ServicePort) -> Iterable[Endpoint]:
        numbers = [
            entry["port"]
            for entry in piece.get("ports") or ()
            if (entry.get("name") or "") == port.name and entry.get("port")
        ]
        for number in numbers[:1]:
            for entry in piece.get("endpoints") or ():
                conditions = entry.get("conditions") or {}
                if conditions.get("ready") is False:
                    continue
                for address in entry.get("addresses") or ():
                    yield self._endpoint(piece, entry, address, number)

    def _endpoint(self, piece: Object, entry: Object, address: str, number: int) -> Endpoint:
        target = entry.get("targetRef") or {}
        namespace = target.get("namespace") or key_of(piece).namespace
        pod = self.pods.get(Key(namespace, target.get("name") or ""))
        if pod is None:
            return Endpoint(address, number, target.get("name") or "", namespace)
        labels = metadata(pod).get("labels") or {}
        ours = container_port(pod, number)
        return Endpoint(address, number, key_of(pod).name, namespace, workload_of(pod), labels, ours)


HASH_LABELS = ("rollouts-pod-template-hash", "pod-template-hash")


def template_hash(labels: Mapping[str, str]) -> str:
    """The pod template's hash by which one version of a workload can be asked about; "" if none."""
    return next((labels[name] for name in HASH_LABELS if labels.get(name)), "")


def workload_of(pod: Object) -> str:
    """The workload's name as Istio tells it: the ReplicaSet's owner (its name without the hash), the
    controlling object of other pods, or the pod itself."""
    meta = metadata(pod)
    owner: Object = next((ref for ref in meta.get("ownerReferences") or () if ref.get("controller")), {})
    name = str(owner.get("name") or meta.get("name") or "")
    suffix = template_hash(meta.get("labels") or {})
    if owner.get("kind") == "ReplicaSet" and suffix:
        return name.removesuffix(f"-{suffix}")
    return name


def _service(obj: Object) -> Service | None:
    """None for what the mesh cannot serve: ExternalName, and Services without a TCP port."""
    spec = obj.get("spec") or {}
    if spec.get("type") == "ExternalName":
        return None
    ports = tuple(
        ServicePort(int(port["port"]), port.get("name") or "", _is_http2(port))
        for port in spec.get("ports") or ()
        if (port.get("protocol") or "TCP") == "TCP"
    )
    key = key_of(obj)
    return Service(Host(key.namespace, key.name), ports) if ports else None


def _is_http2(port: Object) -> bool:
    """Istio's protocol selection by appProtocol, then by the port's name prefix."""
    protocol = str(port.get("appProtocol") or str(port.get("name") or "").split("-")[0]).lower()
    return protocol in {"grpc", "http2", "h2c", "kubernetes.io/h2c"}


def _rules(objects: Iterable[Object]) -> dict[str, Object]:
    """DestinationRules by full host. Two for one host: the one in the Service's own namespace, then the
    oldest wins."""
    chosen: dict[str, tuple[tuple[bool, str, str], Object]] = {}
    for obj in objects:
        key = key_of(obj)
        text = str((obj.get("spec") or {}).get("host") or "")
        host = service_host(text, key.namespace)
        full = host.fqdn if host else text
        away = host is not None and host.namespace != key.namespace
        rank = (away, str(metadata(obj).get("creationTimestamp") or ""), str(key))
        if full and (full not in chosen or rank < chosen[full][0]):
            chosen[full] = (rank, obj)
    return {full: obj for full, (_, obj) in chosen.items()}
