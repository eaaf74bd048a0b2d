"""The record of what was told: one ConfigMap of the controller's, whose keys are computed. Pure.

| key | value |
|---|---|
| `since` | nothing from before this moment is told |
| `told-KEY` | when it was told; after a space `failed`, or `before` (it had happened before anybody subscribed) |
| `open-KEY` | an incident is open since then |
| `thread-KEY` | since when, and what later messages of the group need to join it |

Keys are only ever set or taken away, never counted up, so writes of two controllers add up instead of fighting. It is
bounded: what is older than the horizon and not evident in any object goes, and beyond LIMIT the oldest go, with
`since` moved on so that they cannot be told again. Why it is here and not on the objects: docs/decisions/008-notifications.md.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime

from rollout.api.meta import time_of, timestamp
from rollout.notify.due import HORIZON, key_of

RECORD_NAME = "surefoot-notifications-told"
SINCE = "since"
TOLD, OPEN, THREAD = "told-", "open-", "thread-"
LIMIT = 8000
"""Entries of about 60 bytes each; the API server keeps at most 1 MiB in one object."""

Change = dict[str, str | None]
"""A merge patch of the record's data."""


def told(key: str, now: datetime, how: str = "") -> Change:
    return {f"{TOLD}{key}": f"{timestamp(now)} {how}".strip()}


def incident(incident_key: str, destination: str) -> str:
    return f"{OPEN}{key_of(incident_key, destination)}"


def thread(group: str, destination: str) -> str:
    return f"{THREAD}{key_of(group, destination)}"


def thread_of(value: str) -> str:
    return value.partition(" ")[2]


def pruned(data: Mapping[str, str], now: datetime, evident: Collection[str]) -> Change:
    """What can be forgotten. `evident` are the keys of messages that objects still give rise to."""
    old = timestamp(now - HORIZON)
    change: Change = {
        name: None
        for name, value in data.items()
        if name.startswith((TOLD, THREAD)) and value < old and name.removeprefix(TOLD) not in evident
    }
    left = sorted((value, name) for name, value in data.items() if name != SINCE and name not in change)
    if beyond := left[: max(0, len(left) - LIMIT)]:
        change |= {name: None for _, name in beyond}
        change[SINCE] = max(beyond[-1][0].partition(" ")[0], data.get(SINCE, ""))
    return change


def since_of(value: str) -> datetime | None:
    """The moment that the entry SINCE names; None where there is none that can be read."""
    try:
        return time_of(value)
    except ValueError:
        return None
