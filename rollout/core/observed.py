"""The snapshot that a decision is made from, classified once.

`Observed` is what the caches hold about one Rollout and everything it names, at one moment. `Sets` tells
which ReplicaSet is the new revision, which is stable, and which are older; nobody else asks that question.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import cached_property
from typing import Any

import msgspec

from rollout.api.analysis import AnalysisRun, AnalysisTemplate
from rollout.api.meta import Key, time_of
from rollout.api.resources import Resource
from rollout.api.rollout import (
    DESIRED_REPLICAS,
    HASH_LABEL,
    PROVED,
    REVISION,
    SCALE_DOWN_DEADLINE,
    Rollout,
)
from rollout.api.workload import Pod, ReplicaSet, Service
from rollout.core import template
from rollout.core.problem import Problem
from rollout.core.workload import Workload

# A reference to an analysis template: (is cluster-scoped, name).
TemplateKey = tuple[bool, str]
RouteKey = tuple[Resource, Key]


class Observed(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """Everything known about one Rollout at `now`. `raw` is the Rollout as it came over the wire.

    `replica_sets` and `runs` are those controlled by this Rollout; `services`, `routes` and `templates` those
    it refers to and that exist; `broken_templates` what is wrong with those that cannot be used. `pods` are its pods, filled only while a restart is under way. `rivals` says
    which of its Services another Rollout has in hand (Service name -> Rollout name). `workload` is what
    `spec.workloadRef` names; its template is filled into `rollout` and `raw` already.
    """

    now: datetime
    rollout: Rollout
    raw: Mapping[str, Any]
    replica_sets: tuple[ReplicaSet, ...] = ()
    runs: tuple[AnalysisRun, ...] = ()
    services: Mapping[str, Service] = {}
    routes: Mapping[RouteKey, Mapping[str, Any]] = {}
    templates: Mapping[TemplateKey, AnalysisTemplate] = {}
    pods: tuple[Pod, ...] = ()
    broken_templates: Mapping[TemplateKey, tuple[Problem, ...]] = {}
    rivals: Mapping[str, str] = {}
    workload: Workload | None = None

    @cached_property
    def sets(self) -> Sets:
        return classify(self)

    def told_apart(self, sets: Sets) -> Observed:
        """The same snapshot whose ReplicaSets were classified before, by templates that are not in it."""
        known = msgspec.structs.replace(self)
        known.__dict__["sets"] = sets
        return known

    @property
    def key(self) -> Key:
        return self.rollout.metadata.key

    def run(self, name: str) -> AnalysisRun | None:
        return next((run for run in self.runs if run.metadata.name == name), None)


class Sets(msgspec.Struct, frozen=True, kw_only=True):
    """The ReplicaSets by role.

    `hash` is the new revision's pod-template hash (of the existing set, or of the one to be made), `revision`
    its number. `new` and `stable` may be the same set, or None. `older` are all the rest, newest first.
    """

    hash: str
    collision_count: int | None
    revision: int
    new: ReplicaSet | None
    stable: ReplicaSet | None
    older: tuple[ReplicaSet, ...]

    @property
    def all(self) -> tuple[ReplicaSet, ...]:
        named = [one for one in (self.new, self.stable) if one is not None]
        if len(named) == 2 and named[0].metadata.uid == named[1].metadata.uid:
            named.pop()
        return (*named, *self.older)

    @property
    def is_stable(self) -> bool:
        """Whether the wanted template is the stable one already."""
        return (
            self.new is not None
            and self.stable is not None
            and self.new.metadata.uid == self.stable.metadata.uid
        )

    def by_hash(self, pod_hash: str) -> ReplicaSet | None:
        return next((one for one in self.all if hash_label(one) == pod_hash), None) if pod_hash else None


def classify(seen: Observed) -> Sets:
    """Tell the new, the stable and the older ReplicaSets apart."""
    rollout = seen.rollout
    newest_first = sorted(seen.replica_sets, key=lambda one: (-revision_of(one), one.metadata.name))
    alike = [one for one in newest_first if template.equivalent(rollout.spec.template, one.spec.template)]
    # Several can be alike after a change of hash: the one that serves, else the one at work, else the oldest.
    status = rollout.status
    new = min(
        alike,
        key=lambda one: (
            hash_label(one) != status.stable_rs,
            hash_label(one) != status.current_pod_hash,
            one.metadata.creation_timestamp,
        ),
        default=None,
    )
    collisions = rollout.status.collision_count
    if new is not None:
        wanted_hash = hash_label(new)
    else:
        taken = {hash_label(one) for one in newest_first}
        wanted_hash = template.template_hash(rollout.spec.template, collisions)
        while wanted_hash in taken:
            collisions = (collisions or 0) + 1
            wanted_hash = template.template_hash(rollout.spec.template, collisions)
    stable_hash = rollout.status.stable_rs
    stable = (
        next((one for one in newest_first if hash_label(one) == stable_hash), None) if stable_hash else None
    )
    highest = max((revision_of(one) for one in newest_first if one is not new), default=0)
    return Sets(
        hash=wanted_hash,
        collision_count=collisions,
        revision=max(highest + 1, revision_of(new)) if new is not None else highest + 1,
        new=new,
        stable=stable,
        older=tuple(one for one in newest_first if one is not new and one is not stable),
    )


def hash_label(one: ReplicaSet | None) -> str:
    """The pod-template hash of a ReplicaSet, "" for None."""
    return one.metadata.label(HASH_LABEL) if one is not None else ""


def revision_of(one: ReplicaSet | None) -> int:
    text = one.metadata.annotation(REVISION) if one is not None else ""
    return int(text) if text.isdecimal() and len(text) < 19 else 0


def wanted(one: ReplicaSet | None) -> int:
    """The replicas that a ReplicaSet's spec asks for, 0 for None."""
    return one.spec.replicas if one is not None else 0


def available(one: ReplicaSet | None) -> int:
    """Available pods that the set will keep: what it has, but never more than it asks for."""
    return min(one.status.available_replicas, one.spec.replicas) if one is not None else 0


def saturated(one: ReplicaSet | None, replicas: int) -> bool:
    """Whether the set has (at least) so many available pods, and its controller has seen its spec."""
    return one is not None and settled(one) and one.spec.replicas >= replicas and available(one) >= replicas


def settled(one: ReplicaSet) -> bool:
    """Whether the ReplicaSet controller has acted on the latest spec."""
    return one.status.observed_generation >= one.metadata.generation


def scale_down_deadline(one: ReplicaSet) -> datetime | None:
    text = one.metadata.annotation(SCALE_DOWN_DEADLINE)
    try:
        return time_of(text)
    except ValueError:
        return None


def was_stable(one: ReplicaSet | None) -> bool:
    """Whether the set's version is known to have been the stable one."""
    return one is not None and one.metadata.annotation(PROVED) == "true"


def desired_annotation(one: ReplicaSet) -> str:
    return one.metadata.annotation(DESIRED_REPLICAS)
