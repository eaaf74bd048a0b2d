"""Where a Rollout's pod template is written: in itself, or in the workload that it refers to."""

from __future__ import annotations

from typing import Any

from rollout.api.meta import metadata
from rollout.api.rollout import Rollout
from rollout.cli.session import Session
from rollout.cli.verbs import ITSELF, Place
from rollout.core.workload import RESOURCES, template_of, template_path
from rollout.errors import NotFound

Object = dict[str, Any]


def place_of(cluster: Session, raw: Object, rollout: Rollout) -> tuple[Object, Place]:
    """The present pod template and its place; the workload is read for it."""
    ref = rollout.spec.workload_ref
    if ref is None:
        return (raw.get("spec") or {}).get("template") or {}, ITSELF
    resource = RESOURCES[ref.kind]
    try:
        obj = cluster.kube.get(resource, cluster.namespace, ref.name)
    except NotFound as error:
        raise NotFound(
            f'{ref.kind} "{ref.name}", which Rollout "{rollout.metadata.name}" takes its pods from, '
            f'not found in namespace "{cluster.namespace}"'
        ) from error
    version = str(metadata(obj).get("resourceVersion") or "")
    place = Place(resource=resource, name=ref.name, template=template_path(ref.kind), version=version)
    return template_of(ref.kind, obj) or {}, place
