"""Conditions of a Rollout: set, keep, and the times that tell when they changed."""

from __future__ import annotations

from typing import Literal

import msgspec

from rollout.api.rollout import Condition

Status = Literal["True", "False", "Unknown"]


def find(conditions: tuple[Condition, ...], type: str) -> Condition | None:
    return next((one for one in conditions if one.type == type), None)


def put(conditions: tuple[Condition, ...], new: Condition) -> tuple[Condition, ...]:
    """The conditions with `new` in its place.

    An equal status and reason keep the old times (a message alone may change); an equal status keeps
    lastTransitionTime. `new` carries the present moment in both times.
    """
    old = find(conditions, new.type)
    if old is None:
        return (*conditions, new)
    if old.status == new.status and old.reason == new.reason:
        new = msgspec.structs.replace(
            new, last_update_time=old.last_update_time, last_transition_time=old.last_transition_time
        )
    elif old.status == new.status:
        new = msgspec.structs.replace(new, last_transition_time=old.last_transition_time)
    return tuple(new if one.type == new.type else one for one in conditions)


def touch(conditions: tuple[Condition, ...], type: str, moment: str) -> tuple[Condition, ...]:
    """The conditions with lastUpdateTime of one of them moved on: there was progress."""
    return tuple(
        msgspec.structs.replace(one, last_update_time=moment) if one.type == type else one
        for one in conditions
    )


def without(conditions: tuple[Condition, ...], type: str) -> tuple[Condition, ...]:
    return tuple(one for one in conditions if one.type != type)
