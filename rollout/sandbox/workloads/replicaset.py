"""ReplicaSet: as many active pods as `spec.replicas` says.

Semantics: https://kubernetes.io/docs/concepts/workloads/controllers/replicaset/ ; the order in which
pods are given up is that of "Scaling a ReplicaSet" there. With one node in the sandbox, the criterion
"pods doubled up on one node first" is the same for all pods and left out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cmp_to_key
from typing import Any

from rollout.api.codec import view
from rollout.api.meta import LabelSelector, Object, metadata, timestamp
from rollout.api.resources import PODS, REPLICA_SETS
from rollout.sandbox.workloads import pods as facts
from rollout.sandbox.workloads.decision import (
    Action,
    Create,
    Decision,
    Delete,
    Note,
    Suffix,
    claim,
    controller_reference,
    soonest,
    status_patch,
)

BURST = 500
"""At most so many pods are created or deleted in one pass (kube-controller-manager's BurstReplicas)."""


def decide(
    replica_set: Object, candidates: Sequence[Object], now: datetime, suffix: Suffix, failure: str = ""
) -> Decision:
    """What to do about one ReplicaSet.

    `candidates` are the pods of its namespace that it controls or that its selector matches, `failure`
    the error of the pass before ("" for none): it becomes the condition ReplicaFailure.
    """
    spec = facts.spec(replica_set)
    selector = view(spec.get("selector") or {}, LabelSelector, path="spec.selector")
    active = [pod for pod in candidates if facts.is_active(pod)]
    claimed = claim(PODS, replica_set, active, lambda pod: selector.matches(metadata(pod).get("labels")))
    changes: list[Action] = list(claimed.patches)
    if not facts.is_terminating(replica_set):
        changes += _scale(replica_set, claimed.owned, now, suffix)
    minimum = int(spec.get("minReadySeconds") or 0)
    waits = [facts.available_in(pod, minimum, now) for pod in claimed.owned]
    status = next_status(replica_set, claimed.owned, now, failure)
    # Status first: it tells what was observed, and is written even when a creation fails.
    actions = (*status_patch(REPLICA_SETS, replica_set, status), *changes)
    return Decision(actions, soonest(*(wait for wait in waits if wait)))


def wanted(replica_set: Object) -> int:
    value = facts.spec(replica_set).get("replicas")
    return 1 if value is None else int(value)


def _scale(replica_set: Object, owned: Sequence[Object], now: datetime, suffix: Suffix) -> list[Action]:
    missing = wanted(replica_set) - len(owned)
    if missing >= 0:
        return [_create(replica_set, suffix()) for _ in range(min(missing, BURST))]
    return [_delete(pod) for pod in deletion_order(owned, now)[: min(-missing, BURST)]]


def _create(replica_set: Object, suffix: str) -> Create:
    name = f"{metadata(replica_set)['name'][:57]}-{suffix}"
    pod = pod_from_template(facts.spec(replica_set)["template"], replica_set, name)
    return Create(PODS, pod, Note("SuccessfulCreate", f"Created pod: {name}"))


def pod_from_template(template: Mapping[str, Any], owner: Object, name: str) -> dict[str, Any]:
    """The pod that `template` describes, controlled by `owner`."""
    meta = template.get("metadata") or {}
    kept = {field: meta[field] for field in ("labels", "annotations", "finalizers") if meta.get(field)}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": metadata(owner).get("namespace", ""),
            **({"generateName": name[: name.rindex("-") + 1]} if "-" in name else {}),
            **kept,
            "ownerReferences": [controller_reference(owner)],
        },
        "spec": template.get("spec") or {},
    }


def _delete(pod: Object) -> Delete:
    meta = metadata(pod)
    return Delete(
        PODS,
        meta.get("namespace", ""),
        meta["name"],
        meta["uid"],
        Note("SuccessfulDelete", f"Deleted pod: {meta['name']}"),
    )


_PHASES = {"Pending": 0, "Unknown": 1, "Running": 2}


def deletion_order(owned: Sequence[Object], now: datetime) -> list[Object]:
    """The pods in the order in which they are given up, the least useful first."""

    def compare(a: Object, b: Object) -> int:
        return _compare(a, b, now)

    return sorted(owned, key=cmp_to_key(compare))


def _compare(a: Object, b: Object, now: datetime) -> int:
    plain = _usefulness(a), _usefulness(b)
    if plain[0] != plain[1]:
        return -1 if plain[0] < plain[1] else 1
    if facts.is_ready(a) and (order := _younger_first(facts.ready_since(a), facts.ready_since(b), now)):
        return order
    if facts.restarts(a) != facts.restarts(b):
        return -1 if facts.restarts(a) > facts.restarts(b) else 1
    if order := _younger_first(facts.created(a), facts.created(b), now):
        return order
    # Equal within a power of two of age: by uid, which is as good as chance and the same every time.
    ids = str(metadata(a).get("uid")), str(metadata(b).get("uid"))
    return (ids[0] > ids[1]) - (ids[0] < ids[1])


def _usefulness(pod: Object) -> tuple[bool, int, bool, int]:
    assigned = bool(facts.spec(pod).get("nodeName"))
    return assigned, _PHASES.get(facts.phase(pod), 2), facts.is_ready(pod), facts.deletion_cost(pod)


def _younger_first(a: datetime | None, b: datetime | None, now: datetime) -> int:
    """Compare ages on a logarithmic scale (KEP-2185), so that old pods are not all given up in order."""
    ranks = _age_rank(a, now), _age_rank(b, now)
    return (ranks[0] > ranks[1]) - (ranks[0] < ranks[1])


def _age_rank(moment: datetime | None, now: datetime) -> int:
    seconds = (now - moment).total_seconds() if moment else 0.0
    return int(math.log2(seconds * 1e9)) if seconds > 0 else -1


def next_status(
    replica_set: Object, owned: Sequence[Object], now: datetime, failure: str = ""
) -> dict[str, Any]:
    """The status of a ReplicaSet whose active pods are `owned`."""
    spec = facts.spec(replica_set)
    minimum = int(spec.get("minReadySeconds") or 0)
    template = (spec.get("template") or {}).get("metadata") or {}
    labels = template.get("labels") or {}
    counts = {
        "fullyLabeledReplicas": sum(_has(pod, labels) for pod in owned),
        "readyReplicas": sum(facts.is_ready(pod) for pod in owned),
        "availableReplicas": sum(facts.available_in(pod, minimum, now) == 0 for pod in owned),
    }
    before = replica_set.get("status") or {}
    others = [item for item in before.get("conditions") or () if item.get("type") != "ReplicaFailure"]
    conditions = [*others, *_failure(replica_set, failure, now)]
    return {
        # Kubernetes leaves zero counts and an empty list out, except `replicas`.
        "replicas": len(owned),
        **{name: count for name, count in counts.items() if count},
        "observedGeneration": metadata(replica_set).get("generation", 0),
        **({"conditions": conditions} if conditions else {}),
    }


def _has(pod: Object, labels: Mapping[str, str]) -> bool:
    have = metadata(pod).get("labels") or {}
    return all(have.get(name) == value for name, value in labels.items())


def _failure(replica_set: Object, failure: str, now: datetime) -> list[Mapping[str, Any]]:
    if not failure:
        return []
    before = facts.condition(replica_set, "ReplicaFailure")
    if before and before.get("message") == failure:
        return [before]
    return [
        {
            "type": "ReplicaFailure",
            "status": "True",
            "reason": "FailedCreate",
            "message": failure,
            "lastTransitionTime": timestamp(now),
        }
    ]
