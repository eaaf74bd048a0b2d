"""The record of decisions: written before what was decided is done."""

from __future__ import annotations

from typing import Any

from rollout.api.meta import metadata
from rollout.api.resources import DECISION_RECORDS
from rollout.errors import AlreadyExists, Conflict
from rollout.runtime.kube import Kube, Object


async def record(body: dict[str, Any], kube: Kube) -> Object:
    """Create the record, or patch the version of it that `body` names. The record as it is afterwards.

    Raises Conflict when somebody else has written it: what was decided may be in it already.
    """
    meta = metadata(body)
    namespace, name = meta["namespace"], meta["name"]
    if meta.get("resourceVersion"):
        return await kube.patch(DECISION_RECORDS, namespace, name, body)
    try:
        return await kube.create(DECISION_RECORDS, namespace, body)
    except AlreadyExists as error:
        raise Conflict(error.message, error.details) from error
