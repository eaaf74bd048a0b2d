"""Releases beside the real kube-controller-manager: a Deployment that a Rollout replaces, an autoscaler, Jobs, and what
the garbage collector takes when a Rollout is deleted.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rollout.api.meta import metadata
from rollout.api.resources import (
    ANALYSIS_RUNS,
    DECISION_RECORDS,
    DEPLOYMENTS,
    HPAS,
    JOBS,
    PODS,
    REPLICA_SETS,
    ROLLOUTS,
)
from rollout.runtime.kube import Object
from tests.cluster import ours
from tests.cluster.ground.cluster import Cluster
from tests.cluster.ground.examples import container
from tests.cluster.releases import APP, Load, Releases, rollout, stage, template
from tests.sandbox.release_support import GATE, pause, service

pytestmark = pytest.mark.cluster
CANARY = {"canary": {"maxSurge": 1, "maxUnavailable": 0, "steps": [{"setWeight": 50}, pause("1s")]}}


@pytest.fixture(scope="module")
def prepared(own_cluster: Cluster) -> Iterator[Cluster]:
    with ours.prepared(own_cluster, "demo"):
        yield own_cluster


def replicas(releases: Releases) -> int:
    """The pods that the Deployment still asks for."""
    return int(releases.find(DEPLOYMENTS)["spec"]["replicas"])


async def test_a_rollout_takes_the_place_of_a_deployment_and_is_released_through_it_without_losing_a_request(
    prepared: Cluster, namespace: str, tmp_path: Path
) -> None:
    taking_over = rollout(CANARY, version="v1")
    spec = taking_over["spec"]
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": APP},
        "spec": {name: spec.pop(name) for name in ("replicas", "selector", "template")},
    }
    ref = {"apiVersion": "apps/v1", "kind": "Deployment", "name": APP, "scaleDown": "progressively"}
    spec["workloadRef"] = ref
    async with stage(prepared, namespace, tmp_path, more=(DEPLOYMENTS,)) as releases:
        await releases.create(service(), deployment)
        await releases.until(
            lambda: (releases.find(DEPLOYMENTS).get("status") or {}).get("readyReplicas") == 2,
            "the Deployment is ready",
        )
        await releases.seen.complete()
        async with Load(f"http://{releases.address(APP)}/").running() as load:
            await load.begun("v1")
            await releases.create(taking_over)
            await releases.phase("Healthy")
            await releases.until(lambda: replicas(releases) == 0, "the Deployment has no pods")
            assert releases.sizes() == {"v1": 2}
            patch = {"spec": {"template": template("v2")}}
            await releases.kube.patch(DEPLOYMENTS, namespace, APP, patch)
            await releases.until(lambda: releases.sizes() == {"v1": 0, "v2": 2}, "v2 is released")
            await releases.phase("Healthy", step=2)
            await load.answered_by("v2")
        assert load.lost == {}
        assert replicas(releases) == 0
        seen = releases.status()["workloadObservedGeneration"]
        assert seen == str(metadata(releases.find(DEPLOYMENTS))["generation"])
        await releases.seen.complete()
        assert releases.seen.broken() == []


def autoscaler(least: int, most: int) -> Object:
    target = {"apiVersion": ROLLOUTS.api_version, "kind": ROLLOUTS.kind, "name": APP}
    metric = {
        "type": "Resource",
        "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}},
    }
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": APP},
        "spec": {
            "scaleTargetRef": target,
            "minReplicas": least,
            "maxReplicas": most,
            "metrics": [metric],
        },
    }


async def test_an_autoscaler_scales_a_rollout_by_its_scale_subresource(
    prepared: Cluster, namespace: str, tmp_path: Path
) -> None:
    async with stage(prepared, namespace, tmp_path, more=(HPAS,)) as releases:
        await releases.create(service(), rollout(CANARY, version="v1", replicas=1))
        await releases.phase("Healthy")
        # Nothing measures pods here: what the autoscaler does by itself are its bounds.
        await releases.create(autoscaler(3, 4))
        await releases.until(lambda: releases.sizes() == {"v1": 3}, "three pods are wanted")
        await releases.until(lambda: releases.status().get("HPAReplicas") == 3, "three pods are told")
        await releases.until(
            lambda: (releases.find(HPAS).get("status") or {}).get("currentReplicas") == 3,
            "the autoscaler sees three pods",
        )
        await releases.kube.patch(HPAS, namespace, APP, {"spec": {"minReplicas": 1, "maxReplicas": 2}})
        await releases.until(lambda: releases.sizes() == {"v1": 2}, "two pods are wanted")
        await releases.phase("Healthy")
        assert releases.find(ROLLOUTS)["spec"]["replicas"] == 2
        conditions = {one["type"]: one["status"] for one in releases.find(HPAS)["status"]["conditions"]}
        assert conditions["AbleToScale"] == "True"


def job_gate() -> Object:
    """The AnalysisTemplate `gate`: a Job that ends well."""
    # Jobs of analyses do not run as root, which this image would.
    measuring = container("echo measured", securityContext={"runAsUser": 65534})
    pod = {"restartPolicy": "Never", "containers": [measuring]}
    metric = {"name": "by-job", "provider": {"job": {"spec": {"backoffLimit": 0, "template": {"spec": pod}}}}}
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "AnalysisTemplate",
        "metadata": {"name": "gate"},
        "spec": {"metrics": [metric]},
    }


async def test_a_job_measures_and_with_the_rollout_the_garbage_collector_takes_all_that_was_made_for_it(
    prepared: Cluster, namespace: str, tmp_path: Path
) -> None:
    strategy = {"canary": {"maxSurge": 1, "maxUnavailable": 0, "steps": [{"analysis": GATE}]}}
    made = (REPLICA_SETS, ANALYSIS_RUNS, DECISION_RECORDS, JOBS, PODS)
    async with stage(prepared, namespace, tmp_path, more=(JOBS, PODS)) as releases:
        await releases.create(job_gate(), rollout(strategy, version="v1", replicas=1))
        await releases.phase("Healthy")
        await releases.release("v2")
        await releases.phase("Healthy", step=1)
        await releases.until(lambda: releases.sizes() == {"v1": 0, "v2": 1}, "v2 is released")
        [run] = releases.runs()
        [result] = run["status"]["metricResults"]
        assert (result["phase"], result["successful"]) == ("Successful", 1)
        await releases.seen.complete()
        ever = {one.resource for one in releases.seen.happenings}
        assert set(made) <= ever
        await releases.kube.delete(ROLLOUTS, namespace, APP)
        await releases.until(
            lambda: not any(releases.seen.store[kind] for kind in made), "nothing of the Rollout is left"
        )
        assert releases.seen.broken() == []


def stuck(name: str, **container_fields: object) -> Object:
    """An AnalysisRun of one Job whose container the kubelet will never make."""
    pod = {"restartPolicy": "Never", "containers": [container("echo measured", **container_fields)]}
    metric = {
        "name": "by-job",
        "consecutiveErrorLimit": 0,
        "provider": {"job": {"spec": {"backoffLimit": 0, "template": {"spec": pod}}}},
    }
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "AnalysisRun",
        "metadata": {"name": name},
        "spec": {"metrics": [metric]},
    }


async def test_a_job_that_can_never_start_is_answered_with_the_kubelets_reason_and_what_to_do(
    prepared: Cluster, namespace: str, tmp_path: Path
) -> None:
    prepared.kubectl("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
    async with stage(prepared, namespace, tmp_path, more=(JOBS, PODS)) as releases:
        await releases.create(stuck("root"), stuck("nowhere", image="nowhere/nothing:v1"))

        def measurement(name: str) -> Object:
            status = releases.find(ANALYSIS_RUNS, name).get("status") or {}
            found = [one for result in status.get("metricResults") or () for one in result["measurements"]]
            return found[0] if found else {}

        async def answered(name: str) -> tuple[str, str]:
            await releases.until(lambda: bool(measurement(name).get("finishedAt")), f"{name} has its answer")
            return measurement(name)["phase"], measurement(name)["message"]

        phase, message = await answered("root")
        assert phase == "Error", message
        assert "container main: CreateContainerConfigError: container has runAsNonRoot" in message
        assert "securityContext.runAsUser: 65534" in message
        phase, message = await answered("nowhere")
        assert phase == "Inconclusive", message
        assert "container main: ErrImageNeverPull: " in message
        await releases.until(
            lambda: not releases.seen.store[JOBS] and not releases.seen.store[PODS], "their Jobs are gone"
        )
