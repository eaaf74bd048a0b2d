"""What the mesh writes into the status of the objects it serves. Pure.

VirtualServices and DestinationRules get Istio's own contract: `status.observedGeneration` and condition
`Reconciled`, true once every proxy (here: the one Envoy) uses that generation. A controller that moves
weights can wait for it instead of guessing. HTTPRoutes get `status.parents` as Gateway API asks.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from rollout.api.meta import Object, metadata, timestamp

RECONCILED = "Reconciled"
SUPPORTED = "SurefootSupported"


LIVE = ("Live", "1/1 proxies up to date")


def reconciled(
    obj: Object, *, refused: str, problems: Sequence[str], now: datetime, said: tuple[str, str] = LIVE
) -> dict[str, Any]:
    """The status of an object of Istio's.

    `refused`: why Envoy does not use this generation ("" if it does); `problems`: fields that the
    sandbox's mesh does not serve; `said`: reason and message when it is used. Conditions of others are kept.
    """
    live = ("False", "Refused", refused) if refused else ("True", *said)
    conditions = [_condition(obj, RECONCILED, live, now)]
    if problems:
        conditions.append(_condition(obj, SUPPORTED, ("False", "NotSupported", "; ".join(problems)), now))
    ours = {RECONCILED, SUPPORTED}
    others = [dict(item) for item in _conditions(obj) if item.get("type") not in ours]
    return {"observedGeneration": metadata(obj).get("generation") or 1, "conditions": others + conditions}


def is_live(obj: Object) -> bool:
    """Whether the mesh says that it uses the present generation of the object."""
    generation = (obj.get("status") or {}).get("observedGeneration")
    return str(generation) == str(metadata(obj).get("generation") or 1) and any(
        item.get("type") == RECONCILED and item.get("status") == "True" for item in _conditions(obj)
    )


def _conditions(obj: Object) -> Sequence[Object]:
    return (obj.get("status") or {}).get("conditions") or ()


def _condition(obj: Object, kind: str, said: tuple[str, str, str], now: datetime) -> dict[str, Any]:
    value, reason, message = said
    old = next((item for item in _conditions(obj) if item.get("type") == kind), {})
    since = old.get("lastTransitionTime") if old.get("status") == value else None
    return {
        "type": kind,
        "status": value,
        "reason": reason,
        "message": message,
        "lastTransitionTime": since or timestamp(now),
    }
