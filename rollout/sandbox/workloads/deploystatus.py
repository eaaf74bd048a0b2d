"""A Deployment's status: counts, and the conditions Available, Progressing and ReplicaFailure. Pure.

`kubectl rollout status` reads: observedGeneration, updatedReplicas, replicas, availableReplicas, and the
reason ProgressDeadlineExceeded of the condition Progressing.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec

from rollout.api.meta import Object, metadata, time_of, timestamp
from rollout.sandbox.workloads import pods as facts
from rollout.sandbox.workloads.replicaset import wanted

DEFAULT_DEADLINE_SECONDS = 600
NO_DEADLINE = 2**31 - 1
"""math.MaxInt32 as progressDeadlineSeconds means none."""


class Progress(msgspec.Struct, frozen=True):
    """The counts over a Deployment's ReplicaSets; `created` names the new one if this pass creates it."""

    new_name: str
    created: str
    planned: int
    replicas: int
    updated: int
    ready: int
    available: int
    failure: dict[str, Any] | None = None

    def complete(self, deployment: Object, status: Mapping[str, Any]) -> bool:
        """Whether all pods are of the new template and available."""
        replicas = wanted(deployment)
        return (
            bool(self.new_name)
            and not self.created
            and self.updated == replicas
            and self.replicas == replicas
            and self.available == replicas
            and int(status.get("observedGeneration") or 0) >= int(metadata(deployment).get("generation") or 0)
        )


def next_status(
    deployment: Object, progress: Progress, max_unavailable: int, now: datetime, collisions: int = 0
) -> dict[str, Any]:
    counts = {
        "replicas": progress.replicas,
        "updatedReplicas": progress.updated,
        "readyReplicas": progress.ready,
        "availableReplicas": progress.available,
        "unavailableReplicas": max(0, progress.planned - progress.available),
    }
    status: dict[str, Any] = {
        "observedGeneration": metadata(deployment).get("generation", 0),
        **{name: count for name, count in counts.items() if count},
        **({"collisionCount": collisions} if collisions else {}),
    }
    enough = progress.available >= wanted(deployment) - max_unavailable
    available = (
        ("True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
        if enough
        else ("False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
    )
    conditions = [_condition(deployment, "Available", *available, now=now)]
    if progressing := _progressing(deployment, progress, status, now):
        conditions.append(progressing)
    if progress.failure:
        failed = (progress.failure["status"], progress.failure["reason"], progress.failure["message"])
        conditions.append(_condition(deployment, "ReplicaFailure", *failed, now=now))
    ours = {"Available", "Progressing", "ReplicaFailure"}
    others = [item for item in facts.status(deployment).get("conditions") or () if item["type"] not in ours]
    return {**status, "conditions": [*conditions, *others]}


def progress_wait(deployment: Object, status: Mapping[str, Any], now: datetime) -> float | None:
    """Seconds until the progress deadline has to be looked at; None when it does not run."""
    told = next((item for item in status["conditions"] if item["type"] == "Progressing"), None)
    deadline = _deadline(deployment)
    if (
        told is None
        or deadline is None
        or told["status"] != "True"
        or told["reason"] == "NewReplicaSetAvailable"
    ):
        return None
    since = time_of(told["lastUpdateTime"])
    assert since is not None
    return max(0.0, (since + timedelta(seconds=deadline) - now).total_seconds()) + 1


def _deadline(deployment: Object) -> int | None:
    value = facts.spec(deployment).get("progressDeadlineSeconds")
    seconds = DEFAULT_DEADLINE_SECONDS if value is None else int(value)
    return None if seconds >= NO_DEADLINE else seconds


def _progressing(
    deployment: Object, progress: Progress, status: Mapping[str, Any], now: datetime
) -> dict[str, Any] | None:
    before = facts.condition(deployment, "Progressing")
    if facts.spec(deployment).get("paused"):
        return _condition(
            deployment, "Progressing", "Unknown", "DeploymentPaused", "Deployment is paused", now=now
        )
    name = progress.new_name
    if progress.created:
        text = f'Created new replica set "{name}"'
        return _condition(
            deployment, "Progressing", "True", "NewReplicaSetCreated", text, now=now, renew=True
        )
    if before is not None and before["reason"] == "DeploymentPaused":
        return _condition(
            deployment, "Progressing", "Unknown", "DeploymentResumed", "Deployment is resumed", now=now
        )
    return _moving(deployment, progress, status, before, now)


def _moving(
    deployment: Object,
    progress: Progress,
    status: Mapping[str, Any],
    before: Mapping[str, Any] | None,
    now: datetime,
) -> dict[str, Any] | None:
    name = progress.new_name
    if (
        before is not None
        and before["reason"] == "NewReplicaSetAvailable"
        and progress.replicas == progress.updated
    ):
        # Done is done: a pod that fails later is no failed roll-out.
        return dict(before)
    if progress.complete(deployment, status):
        text = f'ReplicaSet "{name}" has successfully progressed.'
        return _condition(
            deployment, "Progressing", "True", "NewReplicaSetAvailable", text, now=now, renew=True
        )
    if _moved(deployment, progress):
        text = f'ReplicaSet "{name}" is progressing.'
        return _condition(deployment, "Progressing", "True", "ReplicaSetUpdated", text, now=now, renew=True)
    if before is None:
        text = f'Found new replica set "{name}"'
        return (
            _condition(deployment, "Progressing", "True", "FoundNewReplicaSet", text, now=now)
            if name
            else None
        )
    deadline, since = _deadline(deployment), time_of(before.get("lastUpdateTime"))
    if deadline is not None and since is not None and (now - since).total_seconds() >= deadline:
        text = f'ReplicaSet "{name}" has timed out progressing.'
        return _condition(deployment, "Progressing", "False", "ProgressDeadlineExceeded", text, now=now)
    return dict(before)


def _moved(deployment: Object, progress: Progress) -> bool:
    """More new, ready or available pods than before, or fewer old ones."""
    before = facts.status(deployment)

    def count(name: str) -> int:
        return int(before.get(name) or 0)

    return (
        progress.updated > count("updatedReplicas")
        or progress.replicas - progress.updated < count("replicas") - count("updatedReplicas")
        or progress.ready > count("readyReplicas")
        or progress.available > count("availableReplicas")
    )


def _condition(
    deployment: Object,
    type: str,
    status: str,
    reason: str,
    message: str,
    *,
    now: datetime,
    renew: bool = False,
) -> dict[str, Any]:
    """`renew` moves lastUpdateTime although nothing else changes: something went on."""
    before = facts.condition(deployment, type) or {}
    if not renew and (before.get("status"), before.get("reason")) == (status, reason):
        return dict(before)
    same = before.get("status") == status
    return {
        "type": type,
        "status": status,
        "reason": reason,
        "message": message,
        "lastUpdateTime": timestamp(now),
        "lastTransitionTime": before.get("lastTransitionTime") if same else timestamp(now),
    }
