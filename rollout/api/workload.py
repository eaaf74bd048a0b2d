"""Views of the core kinds that a release touches: ReplicaSet, Pod, Service."""

from __future__ import annotations

from typing import Any

from rollout.api.meta import LabelSelector, ObjectMeta, View


class ReplicaSetSpec(View, frozen=True):
    replicas: int = 1
    min_ready_seconds: int = 0
    selector: LabelSelector | None = None
    template: dict[str, Any] = {}


class ReplicaSetCondition(View, frozen=True):
    type: str
    status: str
    reason: str = ""
    message: str = ""
    last_transition_time: str | None = None


class ReplicaSetStatus(View, frozen=True):
    replicas: int = 0
    ready_replicas: int = 0
    available_replicas: int = 0
    fully_labeled_replicas: int = 0
    observed_generation: int = 0
    conditions: tuple[ReplicaSetCondition, ...] = ()


class ReplicaSet(View, frozen=True):
    metadata: ObjectMeta
    spec: ReplicaSetSpec = ReplicaSetSpec()
    status: ReplicaSetStatus = ReplicaSetStatus()


class ServiceSpec(View, frozen=True):
    selector: dict[str, str] | None = None


class Service(View, frozen=True):
    metadata: ObjectMeta
    spec: ServiceSpec = ServiceSpec()


class PodCondition(View, frozen=True):
    type: str
    status: str


class PodStatus(View, frozen=True):
    phase: str = ""
    conditions: tuple[PodCondition, ...] | None = None


class Pod(View, frozen=True):
    metadata: ObjectMeta
    status: PodStatus = PodStatus()

    @property
    def ready(self) -> bool:
        return any(c.type == "Ready" and c.status == "True" for c in self.status.conditions or ())
