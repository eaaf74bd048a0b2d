"""The caches of the chaos controllers, and the snapshots that are taken from them.

The chaos kinds themselves are followed always; what faults need to see of the cluster (all pods, among others) only
from the first ChaosRun on: who only releases pays nothing for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from chaos.observed import Evidence, Observed, World
from rollout.api.analysis import AnalysisRun, AnalysisTemplate
from rollout.api.chaos import ChaosRun, ChaosRunStatus, ChaosSwitch
from rollout.api.codec import view
from rollout.api.meta import Key, ObjectMeta, metadata
from rollout.api.resources import (
    ANALYSIS_RUNS,
    ANALYSIS_TEMPLATES,
    BACKEND_TRAFFIC_POLICIES,
    CHAOS_RUNS,
    CHAOS_SCHEDULES,
    CHAOS_SWITCHES,
    CHAOS_TEMPLATES,
    CLUSTER_ANALYSIS_TEMPLATES,
    CONFIG_MAPS,
    DEPLOYMENTS,
    DESTINATION_RULES,
    ENDPOINT_SLICES,
    ENVOY_FILTERS,
    HPAS,
    HTTP_ROUTES,
    NAMESPACES,
    NETWORK_POLICIES,
    NODES,
    PDBS,
    PODS,
    REPLICA_SETS,
    ROLLOUTS,
    SERVICES,
    STATEFUL_SETS,
    VIRTUAL_SERVICES,
    Resource,
)
from rollout.core.validate_analysis import validate_template
from rollout.errors import Forbidden, InvalidSpec
from rollout.runtime.clock import Clock
from rollout.runtime.informer import Informer, strip, wait_synced
from rollout.runtime.kube import Kube, Object

KINDS = (CHAOS_RUNS, CHAOS_TEMPLATES, CHAOS_SCHEDULES, CHAOS_SWITCHES)
SHARED = (
    ANALYSIS_RUNS,
    ANALYSIS_TEMPLATES,
    CLUSTER_ANALYSIS_TEMPLATES,
    ROLLOUTS,
    SERVICES,
    VIRTUAL_SERVICES,
    DESTINATION_RULES,
    HTTP_ROUTES,
)
"""What the step controller follows anyway."""
WORLD = (
    NAMESPACES,
    NODES,
    PODS,
    REPLICA_SETS,
    DEPLOYMENTS,
    STATEFUL_SETS,
    PDBS,
    HPAS,
    ENDPOINT_SLICES,
    ENVOY_FILTERS,
    BACKEND_TRAFFIC_POLICIES,
    NETWORK_POLICIES,
)
WORLD_SECONDS = 0.1
"""How often it is looked at whether the world has come."""


class Caches:
    """Informers of the chaos kinds and of what faults see. `shared` are run by whoever made them."""

    def __init__(
        self,
        kube: Kube,
        clock: Clock,
        namespaces: Sequence[str] = (),
        *,
        shared: Mapping[Resource, Informer] | None = None,
    ) -> None:
        self._clock = clock

        def own(resource: Resource) -> Informer:
            # Without sight of the runs nothing is done. A world that may not be seen is not an empty one: no fault in
            # it is gone. And whoever may not see a switch must not act as if it were off.
            forgo = resource in (CHAOS_RUNS, CHAOS_TEMPLATES, CHAOS_SCHEDULES)
            return Informer(
                kube,
                resource,
                clock=clock,
                namespaces=namespaces if resource.namespaced else (),
                optional=True,
                forgo=forgo,
                # managedFields say who asked for the run.
                transform=(lambda obj: obj) if resource is CHAOS_RUNS else strip,
            )

        given = shared or {}
        self.informers: dict[Resource, Informer] = {
            resource: given[resource] if resource in given else own(resource)
            for resource in (*KINDS, *SHARED)
        }
        self._always = [self.informers[one] for one in (*KINDS, *SHARED) if one not in given]
        mesh_config = Informer(
            kube,
            CONFIG_MAPS,
            clock=clock,
            namespaces=("istio-system",),
            fields="metadata.name=istio",
            optional=True,
        )
        self._world = {**{resource: own(resource) for resource in WORLD}, CONFIG_MAPS: mesh_config}
        self.informers |= self._world
        self._wanted = asyncio.Event()
        self.informers[CHAOS_RUNS].on_change(self._run_changed)

    async def run(self) -> None:
        """Follow the server until cancelled."""
        async with asyncio.TaskGroup() as group:
            for one in self._always:
                group.create_task(one.run())
            await self._wanted.wait()
            for one in self._world.values():
                group.create_task(one.run())

    async def wait_kinds(self) -> None:
        """Until the chaos kinds and what is shared are there."""
        await wait_synced(*(self.informers[one] for one in (*KINDS, *SHARED)))

    async def wait_world(self) -> None:
        """Until all that a run is decided from is there. Forbidden when a part of it may not be seen."""
        while waiting := [one for one in self._world.values() if not one.synced()]:
            if lacks := [one.lack for one in waiting if one.lack]:
                raise Forbidden("; ".join(lacks))
            await self._clock.sleep(WORLD_SECONDS)

    @property
    def following(self) -> Iterable[Informer]:
        """The caches of its own that are at work now: for metrics and health."""
        return [*self._always, *(self._world.values() if self._wanted.is_set() else ())]

    def runs(self) -> Sequence[Key]:
        return self.informers[CHAOS_RUNS].store.keys()

    def get(self, resource: Resource, key: Key) -> Object | None:
        return self.informers[resource].store.get(key)

    # --- snapshots --------------------------------------------------------------------------------

    def objects(self) -> Mapping[Resource, Mapping[Key, Object]]:
        """What the cluster holds now; resources that it does not serve are absent."""
        return {
            resource: one.store.snapshot()
            for resource, one in self.informers.items()
            if one.served and resource not in KINDS
        }

    def observe(
        self,
        raw: Object,
        run: ChaosRun,
        now: datetime,
        objects: Mapping[Resource, Mapping[Key, Object]],
        evidence: Mapping[str, Evidence],
    ) -> Observed:
        """The snapshot of one run."""
        uid = run.metadata.uid
        owned = self.informers[ANALYSIS_RUNS].store.owned_by(uid)
        return Observed(
            world=World(now=now, objects=objects, evidence=evidence),
            run=run,
            raw=raw,
            others=tuple(self._others(uid)),
            runs=tuple(view(one, AnalysisRun) for one in owned),
            templates=self._templates(run),
            switches=tuple(view(one, ChaosSwitch) for one in self.informers[CHAOS_SWITCHES].store),
        )

    def _others(self, uid: str) -> Iterable[ChaosRun]:
        for raw in self.informers[CHAOS_RUNS].store:
            if metadata(raw).get("uid") == uid or (raw.get("status") or {}).get("phase") == "Completed":
                continue
            try:
                yield view(raw, ChaosRun)
            except InvalidSpec:
                yield bare(raw)  # it still takes its place in the caps

    def _templates(self, run: ChaosRun) -> dict[tuple[bool, str], AnalysisTemplate]:
        """The valid templates that the probes name, and those that these name in turn."""
        found: dict[tuple[bool, str], AnalysisTemplate] = {}
        refs = [probe.template_ref for probe in run.spec.probes if probe.template_ref is not None]
        ahead = [(ref.cluster_scope, ref.name) for ref in refs]
        while ahead:
            cluster, name = key = ahead.pop()
            resource = CLUSTER_ANALYSIS_TEMPLATES if cluster else ANALYSIS_TEMPLATES
            obj = self.get(resource, Key("" if cluster else run.metadata.namespace, name))
            if key in found or obj is None or validate_template(obj):
                continue
            found[key] = template = view(obj, AnalysisTemplate)
            ahead += [(ref.cluster_scope, ref.template_name) for ref in template.spec.templates]
        return found

    def _run_changed(self, _: Object | None, new: Object | None) -> None:
        if new is not None and (new.get("status") or {}).get("phase") != "Completed":
            self._wanted.set()


def bare(raw: Object) -> ChaosRun:
    """A run that cannot be read: enough of it to undo what it has done, and to say so."""
    meta = {name: value for name, value in metadata(raw).items() if name != "managedFields"}
    try:
        status = view(raw.get("status") or {}, ChaosRunStatus)
    except InvalidSpec:
        status = ChaosRunStatus()
    return ChaosRun(metadata=view(meta, ObjectMeta), status=status)
