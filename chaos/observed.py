"""What a chaos plan is decided from: one frozen snapshot of the caches, and `now`.

Objects are plain dicts as they came over the wire (read-only); the plan reads what it needs through views.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import msgspec

from rollout.api.analysis import AnalysisRun, AnalysisTemplate
from rollout.api.chaos import ChaosRun, ChaosSwitch
from rollout.api.meta import Key, Object, key_of
from rollout.api.resources import Resource


class Evidence(msgspec.Struct, frozen=True):
    """What the data plane says of a mesh fault. Counters only grow; `active` False: known to have no effect any more.

    None where nobody could tell.
    """

    delayed: int | None = None
    aborted: int | None = None
    active: bool | None = None
    expired: bool = False
    """Whether the lease of the fault's object, as it was last seen, is over."""
    partial: bool = False
    """Whether the counts began after the fault (whoever counted was started again): an earlier look may know more."""
    settling: bool = False
    """Whether all proxies answer, and that will soon tell whether it is `active`: nobody need guess meanwhile."""
    how: str = ""
    """Who says so of `active`, and how far that goes."""


class World(msgspec.Struct, frozen=True):
    """The cluster as faults see it. `objects` has what the caches hold, by resource and key.

    A resource that the API server does not serve (no Istio) is absent from `objects`: that is what preflight reads.
    `evidence` is by receipt id.
    """

    now: datetime
    objects: Mapping[Resource, Mapping[Key, Object]]
    evidence: Mapping[str, Evidence] = {}

    def get(self, resource: Resource, namespace: str, name: str) -> Object | None:
        return self.objects.get(resource, {}).get(Key(namespace, name))

    def serves(self, resource: Resource) -> bool:
        return resource in self.objects

    def of(self, resource: Resource, namespace: str = "") -> Iterable[Object]:
        """All objects of a resource, of one namespace if given."""
        found = self.objects.get(resource, {}).values()
        return (one for one in found if not namespace or key_of(one).namespace == namespace)


class Observed(msgspec.Struct, frozen=True):
    """One ChaosRun and its world. `others` are all other ChaosRuns of the cluster that have not completed.

    `runs` are the AnalysisRuns that the run owns (its probes), `templates` the AnalysisTemplates that probes name.
    """

    world: World
    run: ChaosRun
    raw: Mapping[str, Any]
    others: tuple[ChaosRun, ...] = ()
    runs: tuple[AnalysisRun, ...] = ()
    templates: Mapping[tuple[bool, str], AnalysisTemplate] = {}
    switches: tuple[ChaosSwitch, ...] = ()

    @property
    def now(self) -> datetime:
        return self.world.now
