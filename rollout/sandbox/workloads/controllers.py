"""The workload controllers, wired: what wakes each, and which cached objects it decides from."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from rollout.api.codec import view
from rollout.api.meta import Key, LabelSelector, Object, key_of, metadata
from rollout.api.resources import ENDPOINT_SLICES, PODS, REPLICA_SETS, SERVICES, Resource
from rollout.runtime.clock import Clock
from rollout.runtime.informer import Informer
from rollout.runtime.kube import Kube
from rollout.runtime.store import Store
from rollout.sandbox.workloads import endpointslice, replicaset
from rollout.sandbox.workloads.decision import Decision, controller_of
from rollout.sandbox.workloads.driver import INDEXES, Caches, Controller, Driver, Pass, select
from rollout.sandbox.workloads.events import Recorder


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
    for service in caches[SERVICES].list(metadata(pod).get("namespace", "")):
        selector = (service.get("spec") or {}).get("selector")
        if selector and all(labels.get(name) == value for name, value in selector.items()):
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

CONTROLLERS: tuple[Controller, ...] = (REPLICA_SET, ENDPOINT_SLICE)


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
            recorder = Recorder(kube, clock, controller.name, enabled=events)
            driver = Driver(controller, kube, clock, caches=caches, recorder=recorder, workers=workers)
            driver.subscribe(informers)
            group.create_task(recorder.run(), name=f"{controller.name} events")
            group.create_task(driver.run(), name=controller.name)
