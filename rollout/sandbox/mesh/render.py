"""Snapshot -> the whole of Envoy's dynamic configuration. Pure.

Two route configurations:

- `mesh`, for callers that use Envoy as their HTTP proxy: every Service under all spellings of its name
  (short names by the caller's namespace), shaped by the VirtualServices bound to `mesh` and by HTTPRoutes
  whose parent is a Service; and the other hosts of such VirtualServices.
- `gateway`, by Host header alone (a port in it is ignored): VirtualServices bound to any gateway and
  HTTPRoutes attached to any Gateway; then, as a convenience that a cluster does not have, every Service
  by its qualified name, as the mesh serves it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from rollout.api.meta import Key, key_of, metadata
from rollout.sandbox.mesh import actions, http_route, shapes, virtual_service
from rollout.sandbox.mesh.clusters import Cluster, clusters, hash_policy
from rollout.sandbox.mesh.envoy_filter import faults
from rollout.sandbox.mesh.injection import HEADERS, Injection, Placement, Sidecar
from rollout.sandbox.mesh.match import from_namespace
from rollout.sandbox.mesh.model import Object, Problem, Problems, Service, ServicePort, Snapshot, World
from rollout.sandbox.mesh.names import DEFAULT_NAMESPACE, Host, cluster_name
from rollout.sandbox.mesh.protobuf import Resource, typed
from rollout.sandbox.mesh.virtual_service import MESH, Place, gateways_of

MESH_ROUTES = "mesh"
GATEWAY_ROUTES = "gateway"


class Rendered(msgspec.Struct, frozen=True):
    """Envoy's resources, what could not be rendered, and the HTTPRoute references that name nothing."""

    routes: dict[str, Resource]
    clusters: dict[str, Cluster]
    problems: tuple[Problem, ...]
    unresolved: dict[Key, list[tuple[str, str]]]
    sidecars: dict[str, Sidecar]
    faults: dict[Key, Placement]
    """Where the faults of each EnvoyFilter stand."""

    def problems_of(self, kind: str, key: Key) -> list[Problem]:
        return [problem for problem in self.problems if problem.kind == kind and problem.key == key]


def render(snapshot: Snapshot) -> Rendered:
    """Everything Envoy needs to serve `snapshot`; equal snapshots give equal values."""
    snapshot, reports = _well_formed(snapshot)
    world = World(snapshot)
    wanted, fault_reports = faults(snapshot.envoy_filters)
    injection = Injection(wanted, world)
    known, rule_reports = clusters(world, injection.address)
    reports += [*rule_reports, *fault_reports]
    builder = _Routes(world, snapshot, reports)
    mesh = builder.mesh()
    routes = {
        MESH_ROUTES: {**mesh, "virtual_hosts": injection.redirect(mesh["virtual_hosts"])},
        GATEWAY_ROUTES: builder.gateway(),
    }
    problems = {problem for report in reports for problem in report.found} | set(injection.problems)
    unresolved = {key_of(route): http_route.unresolved(route, world) for route in snapshot.http_routes}
    return Rendered(
        routes,
        known | injection.clusters,
        tuple(sorted(problems)),
        unresolved,
        injection.sidecars,
        injection.placements(),
    )


_SHAPES: dict[str, tuple[str, type[shapes.Shape]]] = {
    "virtual_services": ("VirtualService", shapes.VirtualService),
    "destination_rules": ("DestinationRule", shapes.DestinationRule),
    "http_routes": ("HTTPRoute", shapes.HttpRoute),
}


def _well_formed(snapshot: Snapshot) -> tuple[Snapshot, list[Problems]]:
    """The snapshot without policy objects whose fields are of other types than they should be."""
    reports: list[Problems] = []
    kept: dict[str, tuple[Object, ...]] = {}
    for field, (kind, shape) in _SHAPES.items():
        objects = getattr(snapshot, field)
        wrong = {id(obj): found for obj in objects if (found := shapes.misfit(obj, shape))}
        kept[field] = tuple(obj for obj in objects if id(obj) not in wrong)
        for obj in objects:
            if found := wrong.get(id(obj)):
                report = Problems(kind, obj)
                report.add(found[0], f"{found[1]}; nothing of this object is served", whole=True)
                reports.append(report)
    return msgspec.structs.replace(snapshot, **kept), reports


class VirtualHosts:
    """Virtual hosts in order; the first to claim a domain keeps it, as Envoy refuses it twice."""

    def __init__(self) -> None:
        self.found: list[Resource] = []
        self._taken: set[str] = set()

    def add(self, name: str, domains: Iterable[str], routes: list[Resource]) -> None:
        free = [domain for domain in dict.fromkeys(domains) if domain not in self._taken]
        if free:
            self._taken.update(free)
            self.found.append({"name": name, "domains": free, "routes": routes})


class _Routes:
    def __init__(self, world: World, snapshot: Snapshot, reports: list[Problems]) -> None:
        self.world = world
        self._reports = reports
        self._virtual_services = sorted(snapshot.virtual_services, key=_age)
        self._http_routes = sorted(snapshot.http_routes, key=_age)
        self._bound = [vs for vs in self._virtual_services if MESH in gateways_of(vs)]
        self._shaped = self._by_service()
        self._parents: dict[Host, list[tuple[Object, int | None]]] = {}
        for route in self._http_routes:
            for host, number in http_route.service_parents(route):
                self._parents.setdefault(host, []).append((route, number))
        self._rendered: dict[tuple[Host, int], list[Resource]] = {}
        for vs in self._virtual_services:
            virtual_service.check(vs, self._report("VirtualService", vs))

    def _by_service(self) -> dict[Host, Object]:
        """The VirtualService that shapes each Service's calls inside the mesh: of several, the oldest."""
        found: dict[Host, Object] = {}
        for vs in self._bound:
            for text in (vs.get("spec") or {}).get("hosts") or ():
                service = self.world.service(str(text), key_of(vs).namespace)
                if service:
                    found.setdefault(service.host, vs)
        return found

    def _report(self, kind: str, obj: Object) -> Problems:
        report = Problems(kind, obj)
        self._reports.append(report)
        return report

    def mesh(self) -> Resource:
        hosts = VirtualHosts()
        short: dict[tuple[str, int, bool], list[tuple[str, list[Resource]]]] = {}
        for service in sorted(self.world.services.values(), key=lambda service: service.host):
            for port in service.ports:
                routes = self._service_routes(service, port)
                bare = service.bare_port == port.number
                domains = _domains(service.host.qualified, port.number, bare=bare)
                hosts.add(f"{service.host.fqdn}:{port.number}", domains, routes)
                short.setdefault((service.host.name, port.number, bare), []).append(
                    (service.host.namespace, routes)
                )
        self._short_names(hosts, short)
        for vs in self._bound:
            for text in (vs.get("spec") or {}).get("hosts") or ():
                self._other_host(hosts, vs, str(text))
        hosts.add(
            "nowhere",
            ["*"],
            [_answer(502, "surefoot sandbox: no Service or VirtualService answers to this host name\n")],
        )
        return _configuration(MESH_ROUTES, hosts)

    def _short_names(
        self, hosts: VirtualHosts, short: dict[tuple[str, int, bool], list[tuple[str, list[Resource]]]]
    ) -> None:
        """`http://web/` means the web of the caller's namespace, told by its proxy URL."""
        merged: dict[str, list[tuple[str, list[Resource]]]] = {}
        for (name, number, bare), entries in sorted(short.items(), key=lambda item: item[0]):
            for domain in _domains((name,), number, bare=bare):
                merged.setdefault(domain, []).extend(entries)
        for domain, entries in sorted(merged.items()):
            routes: list[Resource] = []
            for namespace, own in sorted(entries, key=lambda entry: entry[0]):
                routes += [_only_from(namespace, route) for route in own]
            there = ", ".join(sorted({namespace for namespace, _ in entries}))
            name = domain.split(":")[0]
            text = (
                f"surefoot sandbox: there is no Service {name} in the caller's namespace, which is the user part of "
                f"HTTP_PROXY ({DEFAULT_NAMESPACE} if it has none). It exists in: {there}; say {name}.NAMESPACE\n"
            )
            hosts.add(f"short:{domain}", [domain], [*routes, _answer(502, text)])

    def _service_routes(self, service: Service, port: ServicePort) -> list[Resource]:
        """What calls to a Service's port inside the mesh do; rendered once, used by both configurations."""
        at = (service.host, port.number)
        if at not in self._rendered:
            self._rendered[at] = self._render_service(service, port)
        return self._rendered[at]

    def _render_service(self, service: Service, port: ServicePort) -> list[Resource]:
        if vs := self._shaped.get(service.host):
            place = Place(frozenset({MESH}), port.number)
            return virtual_service.routes(vs, self.world, place, self._report("VirtualService", vs))
        ranked = [
            pair
            for route, number in self._parents.get(service.host, ())
            if number in {None, port.number}
            for pair in http_route.routes(route, self._report("HTTPRoute", route))
        ]
        if ranked:
            return [body for _, body in sorted(ranked, key=lambda pair: pair[0])]
        return [_plain(self.world, service, port)]

    def _other_host(self, hosts: VirtualHosts, vs: Object, text: str) -> None:
        """A host of a mesh VirtualService that is not a known Service."""
        namespace = key_of(vs).namespace
        if self.world.service(text, namespace):
            return
        report = self._report("VirtualService", vs)
        if "." not in text and text != "*":
            report.add(
                "spec.hosts", f"there is no Service {text} in namespace {namespace}; nothing is routed"
            )
            return
        place = Place(frozenset({MESH}))
        domains = [text] if "*" in text else [text, f"{text}:*"]
        hosts.add(text, domains, virtual_service.routes(vs, self.world, place, report))

    def gateway(self) -> Resource:
        merged: dict[str, list[Resource]] = {}
        for vs in self._virtual_services:
            gateways = gateways_of(vs) - {MESH}
            if not gateways:
                continue
            report = self._report("VirtualService", vs)
            routes = virtual_service.routes(vs, self.world, Place(gateways), report)
            for text in (vs.get("spec") or {}).get("hosts") or ():
                for domain in self._gateway_domains(str(text), key_of(vs).namespace):
                    merged.setdefault(domain, []).extend(routes)
        for hostname, ranked in self._gateway_http_routes().items():
            routes = [body for _, body in sorted(ranked, key=lambda pair: pair[0])]
            merged.setdefault(hostname, []).extend(routes)
        hosts = VirtualHosts()
        for domain, routes in sorted(merged.items()):
            hosts.add(domain, [domain], routes)
        for service in sorted(self.world.services.values(), key=lambda service: service.host):
            port = service.port(service.bare_port)
            if port:
                hosts.add(service.host.fqdn, service.host.qualified, self._service_routes(service, port))
        hosts.add(
            "nowhere",
            ["*"],
            [
                _answer(
                    404, "surefoot sandbox: no VirtualService, HTTPRoute or Service answers to this host\n"
                )
            ],
        )
        return _configuration(GATEWAY_ROUTES, hosts) | {"ignore_port_in_host_matching": True}

    def _gateway_http_routes(self) -> dict[str, list[http_route.Ranked]]:
        found: dict[str, list[http_route.Ranked]] = {}
        for route in self._http_routes:
            if http_route.at_gateway(route):
                ranked = http_route.routes(route, self._report("HTTPRoute", route))
                for hostname in http_route.hostnames(route):
                    found.setdefault(hostname, []).extend(ranked)
        return found

    def _gateway_domains(self, text: str, namespace: str) -> tuple[str, ...]:
        service = self.world.service(text, namespace)
        return tuple(dict.fromkeys((text, *service.host.qualified))) if service else (text,)


def _age(obj: Object) -> tuple[str, Key]:
    return str(metadata(obj).get("creationTimestamp") or ""), key_of(obj)


def _domains(names: Iterable[str], port: int, *, bare: bool) -> list[str]:
    return [domain for name in names for domain in ([name, f"{name}:{port}"] if bare else [f"{name}:{port}"])]


def _only_from(namespace: str, route: Resource) -> Resource:
    """The route for callers of one namespace; those that do not say where they are count as `default`."""
    condition = from_namespace(namespace, or_unknown=namespace == DEFAULT_NAMESPACE)
    match = route["match"]
    return {**route, "match": match | {"headers": [*match.get("headers", ()), condition]}}


def _plain(world: World, service: Service, port: ServicePort) -> Resource:
    """A Service that nothing shapes: its endpoints, Istio's default retries, no timeout."""
    action: Resource = {
        "cluster": cluster_name(service.host.fqdn, port.number),
        "timeout": "0s",
        **actions.retry_policy(),
    }
    if policy := hash_policy(world, service.host.fqdn):
        action["hash_policy"] = policy
    return {"name": "default", "match": {"prefix": "/"}, "route": action}


def _answer(status: int, text: str) -> Resource:
    return {
        "name": "nowhere",
        "match": {"prefix": "/"},
        "direct_response": {"status": status, "body": {"inline_string": text}},
    }


def _configuration(name: str, hosts: VirtualHosts) -> Resource:
    body: dict[str, Any] = {
        "name": name,
        "virtual_hosts": hosts.found,
        **HEADERS,
        "max_direct_response_body_size_bytes": 65536,
    }
    return typed("config.route.v3.RouteConfiguration", **body)


__all__ = ["GATEWAY_ROUTES", "MESH_ROUTES", "Host", "Rendered", "VirtualHosts", "render"]
