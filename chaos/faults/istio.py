"""Whether a cluster's Istio lets a mesh fault act, and lets us see that it did."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from chaos.faults.base import Obstacle
from chaos.faults.pods import named, spec
from chaos.observed import World
from rollout.api.chaos import Fault
from rollout.api.meta import Object, key_of, metadata
from rollout.api.resources import CONFIG_MAPS, VIRTUAL_SERVICES

PROXY = "istio-proxy"
STATISTIC = "fault"
"""What a pod's statistics settings must name: by default Istio's proxies keep no counters of the fault filter
(https://istio.io/latest/docs/ops/configuration/telemetry/envoy-stats/)."""
_ANNOTATIONS = (
    "proxy.istio.io/config",
    "sidecar.istio.io/statsInclusionPrefixes",
    "sidecar.istio.io/statsInclusionRegexps",
    "sidecar.istio.io/statsInclusionSuffixes",
)
COUNTING = (
    "the pod annotation proxy.istio.io/config: "
    '\'{"proxyStatsMatcher": {"inclusionRegexps": [".*fault.*"]}}\', or the same in the mesh\'s defaultConfig'
)


def obstacles(
    fault: Fault, world: World, pods: Sequence[Object], *, outbound: bool, instead: str
) -> list[Obstacle]:
    """What Istio lacks for a mesh fault on these pods."""
    found: list[Obstacle] = []
    if outside := [pod for pod in pods if not in_mesh(pod)]:
        reason = f"{_names(outside)} have no {PROXY} sidecar, so no proxy sees their requests"
        found.append(Obstacle(fault.name, reason, f"put them into the mesh, or {instead}"))
    if not _counted_everywhere(world) and (
        mute := [pod for pod in pods if in_mesh(pod) and not counted(pod)]
    ):
        reason = (
            f"the proxies of {_names(mute)} keep no counters of the fault filter: nothing could be proved"
        )
        found.append(Obstacle(fault.name, reason, COUNTING))
    if outbound:
        homes = {key_of(pod).namespace for pod in pods}
        if others := [
            one for one in world.of(VIRTUAL_SERVICES) if key_of(one).namespace in homes and _faulty(one)
        ]:
            reason = f"{_names(others)} inject faults of their own, whose counters cannot be told from ours"
            found.append(Obstacle(fault.name, reason, "remove `fault` from them meanwhile"))
    return found


def in_mesh(pod: Object) -> bool:
    """Whether the pod has Istio's proxy, as a container or as a sidecar among its init containers."""
    return any(named(spec(pod).get(where), PROXY) for where in ("containers", "initContainers"))


def counted(pod: Object) -> bool:
    annotations = metadata(pod).get("annotations") or {}
    return any(STATISTIC in annotations.get(name, "") for name in _ANNOTATIONS)


def _counted_everywhere(world: World) -> bool:
    mesh = world.get(CONFIG_MAPS, "istio-system", "istio") or {}
    return STATISTIC in ((mesh.get("data") or {}).get("mesh") or "").partition("proxyStatsMatcher")[2]


def _faulty(virtual_service: Object) -> bool:
    return any(route.get("fault") for route in spec(virtual_service).get("http") or ())


def _names(objects: Iterable[Object]) -> str:
    names = sorted(str(key_of(obj)) for obj in objects)
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
