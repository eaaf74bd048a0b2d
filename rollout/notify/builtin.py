"""Triggers and templates that are there without being written down: one of each for every reason.

So a user needs a service and a subscription, nothing else. The texts are the occurrences' own sentences; what a
service can show beside a text (facts, evidence, links) it takes from the message itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from rollout.notify.occurrences import REASONS, trigger_of

T = TypeVar("T")
MESSAGE = "{{.event.message}}"


def template_of(reason: str) -> str:
    """The name of a reason's template: the trigger's without `on-`, as users know it."""
    return trigger_of(reason).removeprefix("on-")


def templates(make: Callable[[str], T]) -> dict[str, T]:
    return {template_of(reason): make(MESSAGE) for reason in REASONS}


def triggers(make: Callable[[str, tuple[str, ...]], T]) -> dict[str, tuple[T, ...]]:
    return {trigger_of(reason): (make("", (template_of(reason),)),) for reason in REASONS}
