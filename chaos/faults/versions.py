"""The version of a workload that a pod belongs to, and the labels that select exactly its pods.

A mesh fault or a NetworkPolicy strikes by labels. Those of the pod's ReplicaSet name one version (they hold the
pod-template hash); those of a StatefulSet name all its pods.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from chaos.faults.pods import alive, ready, spec
from chaos.faults.targets import controller_of
from chaos.observed import World
from rollout.api.chaos import Victim
from rollout.api.meta import Object, key_of, metadata
from rollout.api.resources import PODS


class Version(msgspec.Struct, frozen=True):
    """All living pods that one set of labels selects, and their owner."""

    owner: Victim
    pods: tuple[Object, ...]

    def whole(self, uids: Iterable[str]) -> bool:
        """Whether these are all of its pods; those that are not ready serve nobody and need not be among them."""
        return {uid_of(pod) for pod in self.pods if ready(pod)} <= set(uids)


def version_of(pod: Object, world: World) -> Version | str:
    """The pod's version; or, as text, why no labels stand for it."""
    where = f"pod {key_of(pod)}"
    owner = controller_of(pod, world)
    if owner is None:
        return f"{where} belongs to no ReplicaSet or StatefulSet, so no labels stand for its version"
    resource, obj = owner
    selector = spec(obj).get("selector") or {}
    labels = selector.get("matchLabels") or {}
    name = f"{resource.kind} {key_of(obj)}"
    if selector.get("matchExpressions") or not labels:
        return f"{name} selects its pods by expressions; a mesh fault and a NetworkPolicy of ours need plain labels"
    namespace = key_of(obj).namespace
    selected = [one for one in world.of(PODS, namespace) if alive(one) and _selects(labels, one)]
    strangers = sorted(key_of(one).name for one in selected if not _owned(one, obj))
    if strangers:
        return f"the labels of {name} also select {', '.join(strangers[:3])}, which it does not own"
    victim = Victim(
        kind=resource.kind,
        namespace=namespace,
        name=key_of(obj).name,
        uid=uid_of(obj),
        labels=dict(labels),
    )
    return Version(victim, tuple(sorted(selected, key=key_of)))


def uid_of(obj: Object) -> str:
    uid: str = metadata(obj).get("uid") or ""
    return uid


def _selects(labels: dict[str, str], pod: Object) -> bool:
    have = metadata(pod).get("labels") or {}
    return all(have.get(name) == value for name, value in labels.items())


def _owned(pod: Object, owner: Object) -> bool:
    references = metadata(pod).get("ownerReferences") or ()
    return any(ref.get("controller") and ref.get("uid") == uid_of(owner) for ref in references)
