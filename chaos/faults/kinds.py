"""The kinds of fault, by the name of their field. A kind that is not here cannot be asked for."""

from __future__ import annotations

from chaos.faults import http_route, injector, mesh, netem
from chaos.faults.base import Kind, Kinds
from chaos.faults.container_kill import ContainerKilling
from chaos.faults.either import Either
from chaos.faults.http_route import RouteFault
from chaos.faults.mesh import Fill, MeshFault
from chaos.faults.netem import NetworkFault
from chaos.faults.network_policy import PolicyOutage
from chaos.faults.pod_delete import PodDeletion
from chaos.faults.scale_down import ScalingDown

EPHEMERAL = frozenset({"containerKill", "networkLatency", "networkLoss"})
"""The kinds that put a container of ours into others' pods: those of the feature `chaosNetwork`."""
_NO_PROXY = "networkLatency, which needs no mesh"


def kinds(image: str = injector.IMAGE, lease_url: str = "") -> Kinds:
    """All kinds. `image` is what their ephemeral containers run; `lease_url` what network injectors ask for life.

    The manager gives $SUREFOOT_INJECTOR_IMAGE and its own address; without a lease the deadline alone ends a fault.
    """
    return {
        "podDelete": PodDeletion(),
        "containerKill": ContainerKilling(image),
        "httpLatency": _at_the_proxies(mesh.http_latency, _NO_PROXY),
        "httpAbort": _at_the_proxies(mesh.http_abort, "podDelete"),
        "dependencyLatency": MeshFault(
            mesh.dependency_latency, outbound=True, instead=_NO_PROXY + " (hosts)"
        ),
        "dependencyOutage": Either(
            MeshFault(mesh.dependency_outage, outbound=True, instead="method: networkPolicy"),
            PolicyOutage(image),
            asks=lambda fault: (
                fault.dependency_outage is not None and fault.dependency_outage.method == "networkPolicy"
            ),
            mark="addresses",
        ),
        "scaleDown": ScalingDown(),
        "networkLatency": NetworkFault(netem.latency, image, lease_url=lease_url, instead="httpLatency"),
        "networkLoss": NetworkFault(netem.loss, image, lease_url=lease_url, instead="httpAbort"),
    }


def _at_the_proxies(fill: Fill, otherwise: str) -> Kind:
    """By the mesh, or by Envoy Gateway."""
    return Either(
        MeshFault(fill, outbound=False, instead=f"httpRoute, through Envoy Gateway, or {otherwise}"),
        RouteFault(instead=f"no httpRoute, in a mesh, or {otherwise}"),
        asks=http_route.asks,
        mark="route",
    )


KINDS: Kinds = kinds()
