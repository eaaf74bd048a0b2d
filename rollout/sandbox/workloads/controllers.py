"""The workload controllers, wired: what wakes each, and which cached objects it decides from."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from rollout.api.codec import view
from rollout.api.meta import Key, LabelSelector, Object, key_of, metadata
from rollout.api.resources import (
    DEPLOYMENTS,
    ENDPOINT_SLICES,
    JOBS,
    PDBS,
    PODS,
    REPLICA_SETS,
    SERVICES,
    Resource,
)
from rollout.runtime.clock import Clock
from rollout.runtime.events import Recorder
from rollout.runtime.informer import Informer
from rollout.runtime.kube import Kube
from rollout.runtime.store import Store
from rollout.sandbox.workloads import deployment, disruption, endpointslice, job, replicaset
from rollout.sandbox.workloads.decision import Decision, controller_of
from rollout.sandbox.workloads.driver import INDEXES, Caches, Controller, Driver, Pass, by_label, select


def _selector(obj: Object) -> LabelSelector:
    return view((obj.get("spec") or {}).get("selector") or {}, LabelSelector, path="spec.selector")


def _children(store: Store, owner: Object) -> list[Object]:
    """What an owner controls or may adopt, in a fixed order."""
    meta = metadata(owner)
    labels = _selector(owner)
    loose = [
        obj for obj in store.by("orphan", meta["namespace"]) if labels.matches(metadata(obj).get("labels"))
    ]
    return sorted([*store.owned_by(meta["uid"]), *loose], key=lambda obj: str(metadata(obj)["name"]))


def _owner_or_adopter(owners: Resource, child: Object, caches: Caches) -> Iterable[Key]:
    """The owner of a child; for an orphan all owners of its namespace that would adopt it."""
    namespace = metadata(child).get("namespace", "")
    controller = controller_of(child)
    if controller is not None:
        return [Key(namespace, controller["name"])] if controller.get("kind") == owners.kind else []
    labels = metadata(child).get("labels")
    return [key_of(owner) for owner in caches[owners].list(namespace) if _selector(owner).matches(labels)]


def _decide_replica_set(obj: Object, at: Pass) -> Decision:
    return replicaset.decide(obj, _children(at.caches[PODS], obj), at.now, at.suffix, at.failure)


def _services_of(pod: Object, caches: Caches) -> Iterable[Key]:
    labels = metadata(pod).get("labels") or {}
    for pair in by_label(pod):
        for service in caches[SERVICES].by("selector", pair):
            selector = service["spec"]["selector"]
            if all(labels.get(name) == value for name, value in selector.items()):
                yield key_of(service)


def _service_of(item: Object, _: Caches) -> Iterable[Key]:
    meta = metadata(item)
    name = (meta.get("labels") or {}).get(endpointslice.SERVICE_NAME)
    return [Key(meta.get("namespace", ""), name)] if name else []


def _decide_slices(obj: Object, at: Pass) -> Decision:
    meta = metadata(obj)
    selector = (obj.get("spec") or {}).get("selector") or {}
    pods = select(at.caches[PODS], meta["namespace"], selector) if selector else []
    mine = {endpointslice.SERVICE_NAME: meta["name"], endpointslice.MANAGED_BY: endpointslice.MANAGER}
    slices = select(at.caches[ENDPOINT_SLICES], meta["namespace"], mine)
    slices.sort(key=lambda item: str(metadata(item)["name"]))
    return endpointslice.decide(obj, pods, slices, at.suffix)


def _decide_deployment(obj: Object, at: Pass) -> Decision:
    sets = at.caches[REPLICA_SETS].list(metadata(obj)["namespace"])
    uid = metadata(obj)["uid"]
    mine = [metadata(item)["uid"] for item in sets if (controller_of(item) or {}).get("uid") == uid]
    pods = {item: at.caches[PODS].owned_by(item) for item in mine}
    return deployment.decide(obj, sets, pods, at.now)


def _deployments_of_pod(pod: Object, caches: Caches) -> Iterable[Key]:
    """The Deployment two owners up: one that recreates waits for its old pods to end."""
    meta, controller = metadata(pod), controller_of(pod)
    if controller is None or controller.get("kind") != REPLICA_SETS.kind:
        return ()
    owner = caches[REPLICA_SETS].get(Key(meta["namespace"], controller["name"]))
    return _owner_or_adopter(DEPLOYMENTS, owner, caches) if owner is not None else ()


def _decide_job(obj: Object, at: Pass) -> Decision:
    return job.decide(obj, at.caches[PODS].owned_by(metadata(obj)["uid"]), at.now, at.suffix)


def _owning_job(pod: Object, _: Caches) -> Iterable[Key]:
    controller = controller_of(pod)
    if controller is None or controller.get("kind") != JOBS.kind:
        return ()
    return (Key(metadata(pod)["namespace"], controller["name"]),)


def _decide_budget(obj: Object, at: Pass) -> Decision:
    pods = [pod for pod in at.caches[PODS].list(metadata(obj)["namespace"]) if _covers(obj, pod)]
    return disruption.decide(obj, pods, _scales(pods, at.caches), at.now)


def _scales(pods: Iterable[Object], caches: Caches) -> dict[str, int]:
    """The replicas asked for by the pods' controllers: the ReplicaSet, or the Deployment above it."""
    found: dict[str, int] = {}
    for pod in pods:
        namespace, controller = metadata(pod)["namespace"], controller_of(pod)
        if controller is None or controller.get("kind") != REPLICA_SETS.kind:
            continue
        owner = caches[REPLICA_SETS].get(Key(namespace, controller["name"]))
        above = controller_of(owner) if owner is not None else None
        if above is not None and above.get("kind") == DEPLOYMENTS.kind:
            owner = caches[DEPLOYMENTS].get(Key(namespace, above["name"]))
        if owner is not None:
            found[metadata(owner)["uid"]] = replicaset.wanted(owner)
    return found


def _budgets_of(pod: Object, caches: Caches) -> Iterable[Key]:
    budgets = caches[PDBS].list(metadata(pod).get("namespace", ""))
    return [key_of(budget) for budget in budgets if _covers(budget, pod)]


def _covers(budget: Object, pod: Object) -> bool:
    """An empty selector covers all pods of the namespace, a missing one none."""
    missing = (budget.get("spec") or {}).get("selector") is None
    return not missing and _selector(budget).matches(metadata(pod).get("labels"))


def _budgets_beside(obj: Object, caches: Caches) -> Iterable[Key]:
    """All budgets of a namespace whose scales may have changed."""
    return [key_of(budget) for budget in caches[PDBS].list(metadata(obj).get("namespace", ""))]


REPLICA_SET = Controller(
    "replicaset-controller",
    REPLICA_SETS,
    {PODS: lambda pod, caches: _owner_or_adopter(REPLICA_SETS, pod, caches)},
    _decide_replica_set,
)
ENDPOINT_SLICE = Controller(
    "endpoint-slice-controller",
    SERVICES,
    {PODS: _services_of, ENDPOINT_SLICES: _service_of},
    _decide_slices,
)

DEPLOYMENT = Controller(
    "deployment-controller",
    DEPLOYMENTS,
    {
        REPLICA_SETS: lambda item, caches: _owner_or_adopter(DEPLOYMENTS, item, caches),
        PODS: _deployments_of_pod,
    },
    _decide_deployment,
)
JOB = Controller("job-controller", JOBS, {PODS: _owning_job}, _decide_job)
DISRUPTION = Controller(
    "disruption-controller",
    PDBS,
    {PODS: _budgets_of, REPLICA_SETS: _budgets_beside, DEPLOYMENTS: _budgets_beside},
    _decide_budget,
)

CONTROLLERS: tuple[Controller, ...] = (REPLICA_SET, DEPLOYMENT, JOB, ENDPOINT_SLICE, DISRUPTION)


async def run_workloads(
    kube: Kube,
    clock: Clock,
    *,
    controllers: Sequence[Controller] = CONTROLLERS,
    workers: int = 4,
    events: bool = True,
) -> None:
    """Runs the workload controllers against `kube` until cancelled.

    One cache per resource serves all of them; each has `workers` tasks. `events=False` records no Events.
    """
    resources = {item.resource for item in controllers} | {
        name for item in controllers for name in item.wakes
    }
    informers = {
        resource: Informer(kube, resource, clock=clock, indexes=INDEXES) for resource in sorted(resources)
    }
    caches = {resource: informer.store for resource, informer in informers.items()}
    async with asyncio.TaskGroup() as group:
        for informer in informers.values():
            group.create_task(informer.run())
        for informer in informers.values():
            await informer.wait_synced()
        for controller in controllers:
            recorder = Recorder(kube, clock, component=controller.name) if events else None
            driver = Driver(controller, kube, clock, caches=caches, recorder=recorder, workers=workers)
            driver.subscribe(informers)
            if recorder is not None:
                group.create_task(recorder.run(), name=f"{controller.name} events")
            group.create_task(driver.run(), name=controller.name)
