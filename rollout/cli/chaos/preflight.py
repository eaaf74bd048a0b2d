"""`rollout chaos preflight`: what the controller would say before it begins a run, asked of the same functions."""

from __future__ import annotations

import msgspec

from chaos.controller.caches import SHARED, WORLD, bare
from chaos.faults.kinds import KINDS
from chaos.faults.targets import pods_meant
from chaos.observed import Observed, World
from chaos.plan.admission import admit
from chaos.plan.switch import engaged
from rollout.api.analysis import AnalysisTemplate
from rollout.api.chaos import ChaosRun, ChaosSwitch
from rollout.api.codec import view
from rollout.api.meta import Key, key_of
from rollout.api.resources import (
    ANALYSIS_RUNS,
    ANALYSIS_TEMPLATES,
    CHAOS_RUNS,
    CHAOS_SWITCHES,
    CLUSTER_ANALYSIS_TEMPLATES,
    CONFIG_MAPS,
    Resource,
)
from rollout.cli.chaos.shape import kind_of
from rollout.cli.session import Session
from rollout.core.validate_analysis import validate_template
from rollout.errors import Forbidden, InvalidSpec, NotFound
from rollout.runtime.kube import Object

SEED = 0
"""Which pods would be chosen is not told, only whether some can be."""
MESH_CONFIG = Key("istio-system", "istio")


class Finding(msgspec.Struct, frozen=True, rename="camel"):
    """One obstacle: the fault, why, and what to use instead."""

    fault: str
    reason: str
    instead: str


class FaultCheck(msgspec.Struct, frozen=True, rename="camel"):
    """One fault of the run, and how many pods its target means now."""

    fault: str
    kind: str
    pods: int


class Preflight(msgspec.Struct, frozen=True, rename="camel"):
    """What a run could do here and now.

    `missing` is what it lacks besides (consent, pods, the switch), `waiting` what of other runs it would wait for.
    """

    schema_version: int
    faults: tuple[FaultCheck, ...]
    obstacles: tuple[Finding, ...]
    missing: str
    waiting: str

    @property
    def possible(self) -> bool:
        """Whether it could begin."""
        return not self.obstacles and not self.missing

    def lines(self) -> list[str]:
        """For people."""
        said = []
        for one in self.faults:
            own = [found for found in self.obstacles if found.fault == one.fault]
            pods = f"{one.pods} pod{'' if one.pods == 1 else 's'}"
            said.append(
                f"{'✖' if own or not one.pods else '✔'} {one.fault} ({one.kind}): its target means {pods}"
            )
            for found in own:
                said.append(f"    {found.reason}")
                if found.instead:
                    said.append(f"    instead: {found.instead}")
        if self.missing:
            said.append(f"✖ it would not begin: {self.missing}")
        if self.waiting:
            said.append(f"◌ it would wait: {self.waiting}")
        return said


def preflight(cluster: Session, obj: Object) -> Preflight:
    """Ask the cluster what the run needs to know, and judge."""
    run = view({**obj, "metadata": {"name": "preflight", **obj["metadata"]}}, ChaosRun)
    return judged(_observed(cluster, run, obj))


def judged(seen: Observed) -> Preflight:
    """What stands in the way of the run. Pure."""
    run = seen.run
    faults = [fault for step in run.spec.steps for fault in step.faults]
    obstacles = tuple(
        Finding(fault.name, one.reason, one.instead)
        for fault in faults
        for one in KINDS[kind_of(fault)].obstacles(fault, run, seen.world)
    )
    admission = admit(seen, KINDS, SEED)
    missing = "" if admission.preflight else admission.missing
    return Preflight(
        schema_version=1,
        faults=tuple(
            FaultCheck(one.name, kind_of(one), len(pods_meant(one, run, seen.world))) for one in faults
        ),
        obstacles=obstacles,
        missing="; ".join(filter(None, [engaged(seen.switches), missing])),
        waiting=admission.waiting,
    )


def _observed(cluster: Session, run: ChaosRun, raw: Object) -> Observed:
    switches = [view(one, ChaosSwitch) for one in _list(cluster, CHAOS_SWITCHES) or ()]
    return Observed(
        world=World(now=cluster.clock.now(), objects=_objects(cluster)),
        run=run,
        raw=raw,
        others=tuple(_others(cluster)),
        templates=_templates(cluster),
        switches=tuple(switches),
    )


def _objects(cluster: Session) -> dict[Resource, dict[Key, Object]]:
    """What the controller's caches would hold; what the server does not serve is absent."""
    found = {}
    for resource in (*WORLD, *SHARED):
        if resource is not ANALYSIS_RUNS and (objects := _list(cluster, resource)) is not None:
            found[resource] = {key_of(one): one for one in objects}
    try:
        config = cluster.kube.get(CONFIG_MAPS, MESH_CONFIG.namespace, MESH_CONFIG.name)
    except (NotFound, Forbidden):
        return found
    return found | {CONFIG_MAPS: {MESH_CONFIG: config}}


def _list(cluster: Session, resource: Resource) -> list[Object] | None:
    """All of the cluster, or of our namespace where more is forbidden; None when it is not served."""
    try:
        try:
            return cluster.all(resource, None)
        except Forbidden:
            if not resource.namespaced:
                raise
            return cluster.all(resource, cluster.namespace)
    except NotFound:
        return None


def _others(cluster: Session) -> list[ChaosRun]:
    found = []
    for raw in _list(cluster, CHAOS_RUNS) or ():
        try:
            found.append(view(raw, ChaosRun))
        except InvalidSpec:
            found.append(bare(raw))
    return [one for one in found if not one.completed]


def _templates(cluster: Session) -> dict[tuple[bool, str], AnalysisTemplate]:
    """The valid templates that probes may name."""
    own = cluster.all(ANALYSIS_TEMPLATES, cluster.namespace)
    shared = _list(cluster, CLUSTER_ANALYSIS_TEMPLATES) or []
    return {
        (scope, raw["metadata"]["name"]): view(raw, AnalysisTemplate)
        for scope, raws in ((False, own), (True, shared))
        for raw in raws
        if not validate_template(raw)
    }
