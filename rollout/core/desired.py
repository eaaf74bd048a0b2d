"""What a strategy wants the world to be. `rollout.core.diff` finds the way there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from rollout.core.actions import Action


class Traffic(msgspec.Struct, frozen=True):
    """The wanted state of a router: canary weight in percent, and what the two destinations select."""

    weight: int
    canary_hash: str
    stable_hash: str


class Desired(msgspec.Struct, frozen=True, kw_only=True):
    """A wanted world.

    `create` is the object of a ReplicaSet that does not exist yet. `replicas` and `deadlines` are by
    pod-template hash: how many pods each set should have, and its scale-down deadline (API timestamp, or
    None for "no deadline"); sets that are not named stay as they are. `services` says which hash each
    Service selects, `traffic` what the router does (None without one). `start` are AnalysisRuns that should
    exist; `terminate` and `retire` name runs. `chores` are actions that no traffic depends on.
    """

    create: dict[str, Any] | None = None
    replicas: Mapping[str, int] = {}
    deadlines: Mapping[str, str | None] = {}
    services: Mapping[str, str] = {}
    traffic: Traffic | None = None
    start: tuple[dict[str, Any], ...] = ()
    terminate: tuple[str, ...] = ()
    retire: tuple[str, ...] = ()
    chores: tuple[Action, ...] = ()
