"""Rollouts and runs as the API server would give them."""

from __future__ import annotations

import copy
from typing import Any

T0 = "2026-01-05T09:00:00Z"
T1 = "2026-01-05T09:01:00Z"
T2 = "2026-01-05T09:02:00Z"
HASH, STABLE = "abc", "old"
ADDRESS = "http://user:pw@prometheus.monitoring:9090/"
QUERY = 'sum(rate(http_requests_total{app="web"}[1m]))'


def condition(type: str, status: str, reason: str = "", message: str = "", at: str = T0) -> dict[str, Any]:
    return {
        "type": type, "status": status, "reason": reason, "message": message,
        "lastUpdateTime": at, "lastTransitionTime": at,
    }  # fmt: skip


def rollout(*, annotations: dict[str, str] | None = None, **status: Any) -> dict[str, Any]:
    """In the middle of a release of revision 2, unless `status` says otherwise."""
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Rollout",
        "metadata": {
            "name": "web", "namespace": "prod", "uid": "u-1", "generation": 2, "labels": {"app": "web"},
            "annotations": {"rollout.argoproj.io/revision": "2", **(annotations or {})},
        },
        "spec": {
            "strategy": {"canary": {"steps": [{"setWeight": 20}, {"pause": {}}, {"setWeight": 50}]}},
            "template": {"spec": {"containers": [{"name": "web", "image": "registry.io/shop/web:v2"}]}},
        },
        "status": {
            "observedGeneration": "2", "currentPodHash": HASH, "stableRS": STABLE, "phase": "Progressing",
            "currentStepIndex": 0,
            "conditions": [
                condition("Progressing", "True", "ReplicaSetUpdated"), condition("Completed", "False")
            ],
            **status,
        },
    }  # fmt: skip


def aborted(**more: Any) -> dict[str, Any]:
    why = "Rollout aborted update to revision 2: metric success-rate is Failed"
    return rollout(
        abort=True, abortedAt=T1, phase="Degraded",
        conditions=[condition("Progressing", "False", "RolloutAborted", why, T1), condition("Completed", "False")],
        canary={"weights": {"canary": {"weight": 0}, "stable": {"weight": 100}}},
        **more,
    )  # fmt: skip


def completed(at: str = T2, revision: str = "2", **more: Any) -> dict[str, Any]:
    found = rollout(
        phase="Healthy", stableRS=HASH, currentStepIndex=3,
        conditions=[condition("Progressing", "True", "NewReplicaSetAvailable"), condition("Completed", "True", at=at)],
        **more,
    )  # fmt: skip
    found["metadata"]["annotations"]["rollout.argoproj.io/revision"] = revision
    return found


def analysis(phase: str = "Failed", type: str = "Step", **more: Any) -> dict[str, Any]:
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "AnalysisRun",
        "metadata": {
            "name": "web-abc-2-1", "namespace": "prod", "uid": "u-2", "generation": 1,
            "labels": {"rollout-type": type, "rollouts-pod-template-hash": HASH},
            "ownerReferences": [{"kind": "Rollout", "name": "web", "uid": "u-1", "controller": True}],
        },
        "spec": {
            "metrics": [
                {
                    "name": "success-rate", "successCondition": "result[0] >= 0.95",
                    "provider": {"prometheus": {"address": ADDRESS, "query": QUERY}},
                }
            ]
        },
        "status": {
            "phase": phase, "message": f"metric success-rate is {phase}", "startedAt": T0, "completedAt": T1,
            "metricResults": [
                {
                    "name": "success-rate", "phase": phase,
                    "measurements": [
                        {"phase": "Successful", "value": "[0.99]"},
                        {
                            "phase": phase, "value": "[0.42]",
                            "metadata": {"ResolvedPrometheusQuery": QUERY, "address": ADDRESS},
                        },
                    ],
                }
            ],
            **more,
        },
    }  # fmt: skip


def changed(obj: dict[str, Any], **status: Any) -> dict[str, Any]:
    found = copy.deepcopy(obj)
    found["status"] |= status
    return found
