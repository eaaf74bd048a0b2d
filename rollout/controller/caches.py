"""The caches of the step controller, and the snapshots that are taken from them."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import TypeVar

from chaos.plan.switch import releases_held
from rollout.api.analysis import AnalysisRun, AnalysisTemplate
from rollout.api.chaos import ChaosSwitch
from rollout.api.codec import view
from rollout.api.features import FEATURES, feature_of, left_out
from rollout.api.meta import Key, key_of, metadata
from rollout.api.resources import (
    ANALYSIS_RUNS,
    ANALYSIS_TEMPLATES,
    CHAOS_SWITCHES,
    CLUSTER_ANALYSIS_TEMPLATES,
    DEPLOYMENTS,
    DESTINATION_RULES,
    HTTP_ROUTES,
    PODS,
    REPLICA_SETS,
    ROLLOUTS,
    SERVICES,
    VIRTUAL_SERVICES,
    Resource,
)
from rollout.api.rollout import HASH_LABEL, MANAGED_BY, Rollout
from rollout.api.workload import Pod, ReplicaSet, Service
from rollout.core.observed import Observed, RouteKey, TemplateKey
from rollout.core.problem import Problem, invalid
from rollout.core.references import references
from rollout.core.validate_analysis import validate_template
from rollout.core.workload import Workload, ref_of
from rollout.errors import InvalidSpec
from rollout.plan.references import route_keys, template_keys
from rollout.runtime.clock import Clock
from rollout.runtime.informer import Informer
from rollout.runtime.kube import Kube, Object

# A reference in the index of Rollouts: "plural.group/namespace/name".
REFERS = "refers"

MAX_VALIDATED = 10_000

Child = TypeVar("Child", ReplicaSet, AnalysisRun)


class Caches:
    """Informers of everything that a Rollout is decided from."""

    def __init__(
        self,
        kube: Kube,
        clock: Clock,
        namespaces: Sequence[str] = (),
        features: Collection[str] = FEATURES,
    ) -> None:
        self._kube = kube
        self._validated: dict[str, tuple[str, tuple[Problem, ...]]] = {}

        def informer(
            resource: Resource, labels: str = "", *, optional: bool = False, forgo: bool = False
        ) -> Informer:
            scope = namespaces if resource.namespaced else ()
            indexes = {REFERS: _refers} if resource is ROLLOUTS else None
            feature = feature_of(resource)
            return Informer(
                kube,
                resource,
                clock=clock,
                namespaces=scope,
                labels=labels,
                optional=optional,
                forgo=forgo,
                left_out="" if feature in ("core", *features) else left_out(feature),
                indexes=indexes,
            )

        self.informers: dict[Resource, Informer] = {
            ROLLOUTS: informer(ROLLOUTS),
            REPLICA_SETS: informer(REPLICA_SETS, HASH_LABEL),
            SERVICES: informer(SERVICES),
            ANALYSIS_RUNS: informer(ANALYSIS_RUNS),
            ANALYSIS_TEMPLATES: informer(ANALYSIS_TEMPLATES),
            CLUSTER_ANALYSIS_TEMPLATES: informer(CLUSTER_ANALYSIS_TEMPLATES),
            VIRTUAL_SERVICES: informer(VIRTUAL_SERVICES, optional=True, forgo=True),
            DESTINATION_RULES: informer(DESTINATION_RULES, optional=True, forgo=True),
            HTTP_ROUTES: informer(HTTP_ROUTES, optional=True, forgo=True),
            # Whoever may not see the switches must not act as if they were off.
            CHAOS_SWITCHES: informer(CHAOS_SWITCHES, optional=True),
            DEPLOYMENTS: informer(DEPLOYMENTS),
        }
        # Deployments are followed from the first Rollout on that reads its pods from one.
        self._deployments_wanted = asyncio.Event()
        self.informers[ROLLOUTS].on_change(self._rollout_changed)

    async def run(self) -> None:
        """Follow the server until cancelled."""
        async with asyncio.TaskGroup() as group:
            for one in self.needed:
                group.create_task(one.run())
            await self._deployments_wanted.wait()
            await self.informers[DEPLOYMENTS].run()

    @property
    def needed(self) -> tuple[Informer, ...]:
        """The caches that no Rollout can be decided without. Deployments are asked for one by one at need."""
        return tuple(one for resource, one in self.informers.items() if resource is not DEPLOYMENTS)

    def silent(self, seconds: float) -> list[str]:
        """The resources whose watches have not said anything for so long, unless they said why.

        What the server forbids is no stall: a fresh process would be told the same.
        """
        needed = set(self.needed)
        return [
            str(resource)
            for resource, one in self.informers.items()
            if one.age() > seconds and one.state != "not granted" and (one in needed or not one.problem)
        ]

    def unseen(self, rollout: Rollout) -> tuple[Problem, ...]:
        """The router's objects that a Rollout names and that we cannot see at all: not granted, or left out."""
        lacks = {}
        for resource, _ in route_keys(rollout):
            one = self.informers[resource]
            if one.lack and not one.served:
                lacks[str(resource)] = one.lack
        path = "spec.strategy.canary.trafficRouting"
        return tuple(invalid(path, name, lack, "let the controller see them") for name, lack in lacks.items())

    def _rollout_changed(self, _old: Object | None, new: Object | None) -> None:
        ref = ref_of(new) if new is not None else None
        if ref is not None and ref.kind == DEPLOYMENTS.kind:
            self._deployments_wanted.set()

    def get(self, resource: Resource, key: Key) -> Object | None:
        return self.informers[resource].store.get(key)

    def rollouts(self) -> Sequence[Key]:
        return self.informers[ROLLOUTS].store.keys()

    def held(self) -> str:
        """Why no new version may begin now; "" when it may."""
        return releases_held(view(one, ChaosSwitch) for one in self.informers[CHAOS_SWITCHES].store)

    def referring_to(self, resource: Resource, key: Key) -> Iterable[Key]:
        """The Rollouts that name this object."""
        return [key_of(obj) for obj in self.informers[ROLLOUTS].store.by(REFERS, _reference(resource, key))]

    async def observe(
        self, raw: Object, rollout: Rollout, now: datetime, workload: Workload | None = None
    ) -> Observed:
        """The snapshot of one Rollout (with the template of its workload). Pods are read from the server, and only during a restart."""
        namespace, uid = rollout.metadata.namespace, rollout.metadata.uid
        restarting = rollout.spec.restart_at and rollout.spec.restart_at != rollout.status.restarted_at
        templates, broken = self._templates(namespace, rollout)
        return Observed(
            now=now,
            rollout=rollout,
            raw=raw,
            replica_sets=tuple(self.owned(REPLICA_SETS, uid, ReplicaSet)),
            runs=tuple(self.owned(ANALYSIS_RUNS, uid, AnalysisRun)),
            services=self._services(rollout),
            rivals=self._rivals(rollout),
            routes=self._routes(rollout),
            templates=templates,
            broken_templates=broken,
            pods=await self._pods(namespace, uid) if restarting else (),
            workload=workload,
        )

    def owned(self, resource: Resource, uid: str, kind: type[Child]) -> list[Child]:
        """What the object with this uid controls."""
        children = [view(obj, kind) for obj in self.informers[resource].store.owned_by(uid)]
        return [child for child in children if child.metadata.controlled_by(uid)]

    def _services(self, rollout: Rollout) -> dict[str, Service]:
        found = {}
        for ref in references(rollout).services:
            if (obj := self.get(SERVICES, ref.key)) is not None:
                found[ref.key.name] = view(obj, Service)
        return found

    def _rivals(self, rollout: Rollout) -> dict[str, str]:
        """The Services of this Rollout that another one which still names them has taken first."""
        found: dict[str, str] = {}
        for ref in references(rollout).services:
            owner = (metadata(self.get(SERVICES, ref.key) or {}).get("annotations") or {}).get(MANAGED_BY)
            if owner and owner != rollout.metadata.name:
                named_by = {key.name for key in self.referring_to(SERVICES, ref.key)}
                found |= {ref.key.name: owner} if owner in named_by else {}
        return found

    def _routes(self, rollout: Rollout) -> dict[RouteKey, Object]:
        return {
            (resource, key): obj
            for resource, key in route_keys(rollout)
            if (obj := self.get(resource, key)) is not None
        }

    def _templates(
        self, namespace: str, rollout: Rollout
    ) -> tuple[dict[TemplateKey, AnalysisTemplate], dict[TemplateKey, tuple[Problem, ...]]]:
        """The templates that the Rollout names and those that these name in turn; and the broken ones among them."""
        found: dict[TemplateKey, AnalysisTemplate] = {}
        broken: dict[TemplateKey, tuple[Problem, ...]] = {}
        ahead = list(template_keys(rollout))
        while ahead:
            cluster, name = key = ahead.pop()
            resource = CLUSTER_ANALYSIS_TEMPLATES if cluster else ANALYSIS_TEMPLATES
            obj = self.get(resource, Key("" if cluster else namespace, name))
            if key in found or key in broken or obj is None:
                continue
            if problems := self._template_problems(obj):
                broken[key] = problems
                continue
            template = found[key] = view(obj, AnalysisTemplate)
            ahead += [(ref.cluster_scope, ref.template_name) for ref in template.spec.templates]
        return found, broken

    def _template_problems(self, obj: Object) -> tuple[Problem, ...]:
        """What `validate_template` says; asked once per version of the object."""
        version, uid = str(metadata(obj).get("resourceVersion")), str(metadata(obj).get("uid"))
        known = self._validated.get(uid)
        if known is None or known[0] != version:
            if len(self._validated) > MAX_VALIDATED:
                self._validated.clear()  # of templates that are long gone
            known = self._validated[uid] = (version, tuple(validate_template(obj)))
        return known[1]

    async def _pods(self, namespace: str, uid: str) -> tuple[Pod, ...]:
        sets = {one.metadata.uid for one in self.owned(REPLICA_SETS, uid, ReplicaSet)}
        page = await self._kube.list(PODS, namespace, labels=HASH_LABEL)
        pods = [view(obj, Pod) for obj in page.items]
        return tuple(pod for pod in pods if any(pod.metadata.controlled_by(one) for one in sets))


def _reference(resource: Resource, key: Key) -> str:
    return f"{resource}/{key}"


def _refers(obj: Object) -> list[str]:
    """What a Rollout names, for the index. An undecodable Rollout names nothing."""
    try:
        rollout = view(obj, Rollout)
    except InvalidSpec:
        return []
    refs = references(rollout)
    names = []
    if (ref := rollout.spec.workload_ref) is not None and ref.kind == DEPLOYMENTS.kind:
        names.append(_reference(DEPLOYMENTS, Key(rollout.metadata.namespace, ref.name)))
    names += [_reference(SERVICES, ref.key) for ref in refs.services]
    names += [_reference(resource, key) for resource, key in route_keys(rollout)]
    for template in refs.templates:
        resource = CLUSTER_ANALYSIS_TEMPLATES if template.cluster_scope else ANALYSIS_TEMPLATES
        names.append(_reference(resource, template.key))
    return names
