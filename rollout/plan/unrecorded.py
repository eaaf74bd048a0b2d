"""What is said of a Rollout whose decisions may not be recorded: it stands still, and says so.

Nothing goes forward that could not be explained afterwards. Going home is never held up: an abort is carried out
without a record (docs/decisions/007-forbidden.md).
"""

from __future__ import annotations

from datetime import datetime

import msgspec

from rollout.api.features import lacking
from rollout.api.meta import timestamp
from rollout.api.resources import DECISION_RECORDS
from rollout.api.rollout import Condition, RolloutStatus
from rollout.core import conditions
from rollout.core.actions import Event

CONDITION = "DecisionsRecorded"
FORBIDDEN = "DecisionsForbidden"


def forbidden(status: RolloutStatus, why: str, now: datetime) -> tuple[RolloutStatus, tuple[Event, ...]]:
    """The status that says that the next decision waits for a right, and the Event when that is news."""
    message = (
        f"{lacking('keep', DECISION_RECORDS)}; until then nothing goes forward, and an abort goes home. "
        f"To do without records switch features.decisions off. The server said: {why}"
    )
    moment = timestamp(now)
    told = Condition(
        type=CONDITION,
        status="False",
        reason=FORBIDDEN,
        message=message,
        last_update_time=moment,
        last_transition_time=moment,
    )
    known = conditions.find(status.conditions, CONDITION) is not None
    after = msgspec.structs.replace(
        status,
        conditions=conditions.put(status.conditions, told),
        phase="Degraded",
        message=f"{FORBIDDEN}: {message}",
    )
    return after, () if known else (Event(reason=FORBIDDEN, message=message, warning=True),)


def recorded(status: RolloutStatus) -> RolloutStatus:
    """The status without the complaint."""
    if conditions.find(status.conditions, CONDITION) is None:
        return status
    return msgspec.structs.replace(status, conditions=conditions.without(status.conditions, CONDITION))
