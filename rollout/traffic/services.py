"""Services as the binding between a name and the pods of one revision."""

from __future__ import annotations

from rollout.api.rollout import HASH_LABEL
from rollout.core.actions import PointService
from rollout.core.observed import Observed


def selected_hash(seen: Observed, name: str) -> str:
    """The pod-template hash that the Service selects; "" when it is absent or not bound."""
    service = seen.services.get(name) if name else None
    return (service.spec.selector or {}).get(HASH_LABEL, "") if service is not None else ""


def point(seen: Observed, name: str, pod_hash: str) -> tuple[PointService, ...]:
    """Bind the Service to `pod_hash`; () when it is so already, or when there is nothing to bind."""
    service = seen.services.get(name) if name else None
    if service is None or not pod_hash or selected_hash(seen, name) == pod_hash:
        return ()
    return (
        PointService(
            name=name,
            resource_version=service.metadata.resource_version,
            hash=pod_hash,
            owner=seen.rollout.metadata.name,
        ),
    )
