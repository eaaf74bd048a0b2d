"""A canary in the middle of its steps, as it comes over the wire: Rollout, ReplicaSets, pods and runs."""

from datetime import UTC, datetime
from typing import Any

from tests.unit.validate.examples import blue_green as blue_green_manifest
from tests.unit.validate.examples import canary as canary_manifest

NOW = datetime(2026, 11, 21, 12, 10, tzinfo=UTC)
STARTED = "2026-11-21T12:00:00Z"
HASH = "rollouts-pod-template-hash"
STABLE, CANARY = "5f6d8c7b9", "7bf9d4c8d"


def owner(kind: str, name: str, uid: str) -> list[dict[str, Any]]:
    version = "apps/v1" if kind == "ReplicaSet" else "argoproj.io/v1alpha1"
    return [{"apiVersion": version, "kind": kind, "name": name, "uid": uid, "controller": True}]


def rollout(**status: Any) -> dict[str, Any]:
    """web-frontend at step 1 of 11, weight 10, paused for 30 s unless `status` says otherwise."""
    obj = canary_manifest()
    obj["metadata"] |= {
        "uid": "u-rollout",
        "generation": 2,
        "resourceVersion": "100",
        "creationTimestamp": "2026-11-21T11:00:00Z",
        "annotations": {"rollout.argoproj.io/revision": "2"},
    }
    obj["status"] = {
        "phase": "Paused",
        "message": "CanaryPauseStep",
        "observedGeneration": "2",
        "currentPodHash": CANARY,
        "stableRS": STABLE,
        "currentStepIndex": 1,
        "controllerPause": True,
        "pauseConditions": [{"reason": "CanaryPauseStep", "startTime": STARTED}],
        "replicas": 11,
        "updatedReplicas": 1,
        "readyReplicas": 11,
        "availableReplicas": 11,
        "conditions": [{"type": "Available", "status": "True", "reason": "AvailableReason"}],
        "canary": {
            "weights": {
                "canary": {"weight": 10, "podTemplateHash": CANARY},
                "stable": {"weight": 90, "podTemplateHash": STABLE},
            }
        },
        **status,
    }
    return obj


def healthy() -> dict[str, Any]:
    """The same release when it is over."""
    return rollout(
        phase="Healthy",
        message="",
        stableRS=CANARY,
        currentStepIndex=11,
        controllerPause=False,
        pauseConditions=[],
        updatedReplicas=10,
        replicas=10,
    )


def waiting_for_person(**status: Any) -> dict[str, Any]:
    """Paused at a step without a duration."""
    obj = rollout(**status)
    obj["spec"]["strategy"]["canary"]["steps"][1] = {"pause": {}}
    return obj


def replica_set(
    pod_hash: str, revision: int, replicas: int, image: str, **annotations: str
) -> dict[str, Any]:
    name = f"web-frontend-{pod_hash}"
    labels = {"app": "web-frontend", HASH: pod_hash}
    template = canary_manifest()["spec"]["template"]
    template["metadata"]["labels"] = labels
    template["spec"]["containers"][0]["image"] = image
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": name,
            "namespace": "frontend-team-web-prod",
            "uid": f"u-{pod_hash}",
            "labels": labels,
            "annotations": {"rollout.argoproj.io/revision": str(revision), **annotations},
            "creationTimestamp": "2026-11-21T11:00:00Z" if revision == 1 else STARTED,
            "ownerReferences": owner("Rollout", "web-frontend", "u-rollout"),
        },
        "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template},
        "status": {"replicas": replicas, "readyReplicas": replicas, "availableReplicas": replicas},
    }


def pod(pod_hash: str, suffix: str, **status: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"web-frontend-{pod_hash}-{suffix}",
            "namespace": "frontend-team-web-prod",
            "uid": f"u-{suffix}",
            "labels": {"app": "web-frontend", HASH: pod_hash},
            "creationTimestamp": STARTED,
            "ownerReferences": owner("ReplicaSet", f"web-frontend-{pod_hash}", f"u-{pod_hash}"),
        },
        "spec": {"containers": [{"name": "web-frontend", "image": "web-frontend:v2"}]},
        "status": {
            "phase": "Running",
            "containerStatuses": [
                {
                    "name": "web-frontend",
                    "ready": True,
                    "restartCount": 0,
                    "image": "web-frontend:v2",
                    "imageID": "x",
                }
            ],
            **status,
        },
    }


def run(name: str, revision: int, phase: str, **counts: int) -> dict[str, Any]:
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "AnalysisRun",
        "metadata": {
            "name": name,
            "namespace": "frontend-team-web-prod",
            "uid": f"u-{name}",
            "labels": {HASH: CANARY},
            "annotations": {"rollout.argoproj.io/revision": str(revision)},
            "creationTimestamp": STARTED,
            "ownerReferences": owner("Rollout", "web-frontend", "u-rollout"),
        },
        "spec": {"metrics": []},
        "status": {"phase": phase, "metricResults": [{"name": "success-rate", **counts}]},
    }


def replica_sets() -> list[dict[str, Any]]:
    return [replica_set(STABLE, 1, 10, "web-frontend:v1"), replica_set(CANARY, 2, 1, "web-frontend:v2")]


def pods() -> list[dict[str, Any]]:
    return [pod(CANARY, "x2z9k"), *(pod(STABLE, f"aaaa{i}") for i in range(2))]


def blue_green(**status: Any) -> dict[str, Any]:
    """myapp-bluegreen before its promotion, waiting for a person."""
    obj = blue_green_manifest()
    obj["metadata"] |= {"uid": "u-bg", "generation": 3, "resourceVersion": "7", "creationTimestamp": STARTED}
    obj["status"] = {
        "phase": "Paused",
        "message": "BlueGreenPause",
        "observedGeneration": "3",
        "currentPodHash": "new",
        "stableRS": "old",
        "controllerPause": True,
        "pauseConditions": [{"reason": "BlueGreenPause", "startTime": STARTED}],
        "blueGreen": {"activeSelector": "old", "previewSelector": "new"},
        "conditions": [{"type": "Available", "status": "True"}],
        **status,
    }
    return obj
