"""The kinds of fault, by the name of their field. A kind that is not here cannot be asked for."""

from __future__ import annotations

from chaos.faults import injector, mesh, netem
from chaos.faults.base import Kinds
from chaos.faults.container_kill import ContainerKilling
from chaos.faults.either import Either
from chaos.faults.mesh import MeshFault
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
        "httpLatency": MeshFault(mesh.http_latency, outbound=False, instead=_NO_PROXY),
        "httpAbort": MeshFault(mesh.http_abort, outbound=False, instead="podDelete"),
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


KINDS: Kinds = kinds()
