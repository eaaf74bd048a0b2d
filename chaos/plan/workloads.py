"""What stands above pods: who controls them, how many of them are ready, and whether that is all that should be."""

from __future__ import annotations

from chaos.faults.pods import alive, ready, spec
from chaos.faults.targets import WORKLOADS, controller_of
from chaos.observed import World
from rollout.api.meta import Object, key_of, metadata
from rollout.api.resources import PODS


def owner_name(pod: Object) -> str:
    """What controls the pod, as "ReplicaSet/web-1"; "Pod/name" for a pod that nothing controls."""
    for ref in metadata(pod).get("ownerReferences") or ():
        if ref.get("controller"):
            return f"{ref.get('kind')}/{ref.get('name')}"
    return f"Pod/{key_of(pod).name}"


def root_name(pod: Object, world: World) -> str:
    """What is at the top above the pod: its Rollout or Deployment, or whatever controls it."""
    return _highest(owner_name(pod), pod, world)


def top(namespace: str, owner: str, world: World) -> str:
    """What is at the top above what controls a pod (as `owner_name` says it); itself when nothing is."""
    kind, _, name = owner.partition("/")
    obj = world.get(WORKLOADS[kind], namespace, name) if kind in WORKLOADS else None
    return _highest(owner, obj, world) if obj is not None else owner


def _highest(name: str, obj: Object, world: World) -> str:
    """The last of those who control `obj`, one above the other; `name` when nobody that we know does."""
    while (above := controller_of(obj, world)) is not None:
        resource, obj = above
        name = f"{resource.kind}/{key_of(obj).name}"
    return name


def replicas_of(namespace: str, root: str, world: World) -> int:
    """How many pods the workload is to have; 0 when that is not known."""
    kind, _, name = root.partition("/")
    obj = world.get(WORKLOADS[kind], namespace, name) if kind in WORKLOADS else None
    replicas = spec(obj).get("replicas") if obj is not None else 0
    return 1 if replicas is None else int(replicas)


def ready_of(namespace: str, owner: str, world: World) -> list[Object]:
    """The ready pods that `owner` (as `owner_name` says it) controls."""
    return [pod for pod in world.of(PODS, namespace) if ready(pod) and owner_name(pod) == owner]


def ready_below(namespace: str, root: str, world: World) -> list[Object]:
    """The ready pods below `root` (as `root_name` says it)."""
    return [pod for pod in world.of(PODS, namespace) if ready(pod) and root_name(pod, world) == root]


def missing(namespace: str, owner: str, world: World) -> str:
    """What is waited for until the owner, and all above it, have all their pods ready again; "" when they have."""
    kind, _, name = owner.partition("/")
    resource = WORKLOADS.get(kind)
    if resource is None:
        return _missing_unknown(namespace, owner, world)
    obj = world.get(resource, namespace, name)
    if obj is None:
        return f"{owner} is not there any more"
    if said := _short(owner, obj, len(ready_of(namespace, owner, world))):
        return said
    above = controller_of(obj, world)
    while above is not None:
        resource, obj = above
        root = f"{resource.kind}/{key_of(obj).name}"
        if said := _short(root, obj, len(ready_below(namespace, root, world))):
            return said
        above = controller_of(obj, world)
    return ""


def _short(name: str, obj: Object, ready_pods: int) -> str:
    replicas = spec(obj).get("replicas")
    wanted = 1 if replicas is None else int(replicas)
    return f"{name}: {ready_pods} of {wanted} pods are ready" if ready_pods < wanted else ""


def _missing_unknown(namespace: str, owner: str, world: World) -> str:
    """For what controls pods in ways that we do not know (a DaemonSet), and for pods by themselves: all it has."""
    living = [pod for pod in world.of(PODS, namespace) if alive(pod) and owner_name(pod) == owner]
    if not living:
        return f"{owner} has no pod"
    waiting = [key_of(pod).name for pod in living if not ready(pod)]
    return f"{owner}: {', '.join(waiting)} not ready" if waiting else ""
