"""What chaos may do to the world: a closed union of frozen values, compared with ==.

`rollout.effects.chaos` carries them out with one match statement. Names of what is created are computed from the
receipt, so "already exists" (and ours, by run uid) means done; whatever is undone may be undone again.
"""

from __future__ import annotations

from typing import Any

import msgspec

from rollout.api.resources import Resource


class Value(msgspec.Struct, frozen=True, kw_only=True):
    """Base of the actions. `receipt` says for whose sake; "" for the run's own business."""

    receipt: str = ""


class RemovePod(Value, frozen=True):
    """A pod goes away: evicted (so that disruption budgets hold), or deleted. Only the pod with this uid."""

    namespace: str
    name: str
    uid: str
    evict: bool
    grace_seconds: int | None = None


class Create(Value, frozen=True):
    """An object that a fault or a run needs (EnvoyFilter, NetworkPolicy, AnalysisRun)."""

    resource: Resource
    object: dict[str, Any]


class Patch(Value, frozen=True):
    """A merge patch of an object that we made. `resource_version` "" = whatever is there: for renewals and reverts."""

    resource: Resource
    namespace: str
    name: str
    patch: dict[str, Any]
    resource_version: str = ""
    status: bool = False


class Delete(Value, frozen=True):
    """Away with an object that we made, if it is still the one with this uid ("" = any). Gone already is as good."""

    resource: Resource
    namespace: str
    name: str
    uid: str = ""


class Scale(Value, frozen=True):
    """spec.replicas of somebody's workload, through the scale subresource, if it still is `expected`."""

    resource: Resource
    namespace: str
    name: str
    replicas: int
    expected: int
    uid: str


class AddEphemeralContainer(Value, frozen=True):
    """An ephemeral container in a running pod (pods/ephemeralcontainers), unless one of its name is there."""

    namespace: str
    name: str
    uid: str
    container: dict[str, Any]


class SetFinalizer(Value, frozen=True):
    """Put our finalizer on the run, or take it off."""

    present: bool
    resource_version: str


Action = RemovePod | Create | Patch | Delete | Scale | AddEphemeralContainer | SetFinalizer


class Trouble(msgspec.Struct, frozen=True):
    """An action that was not carried out, or of which nobody knows. `refused`: the world said "not now" (a disruption
    budget), which is no error; otherwise `message` is the API's own."""

    action: Action
    message: str
    refused: bool = False


class Event(msgspec.Struct, frozen=True):
    """A Kubernetes Event about the run, sent after the status that it tells of was saved."""

    reason: str
    message: str
    warning: bool = False
