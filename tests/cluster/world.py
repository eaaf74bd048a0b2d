"""A namespace of a real cluster, for tests of releases: what is applied there, and what is seen there."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

from rollout.api.resources import ANALYSIS_RUNS, REPLICA_SETS, ROLLOUTS, Resource
from rollout.runtime.client import HttpKube
from rollout.runtime.config import load
from rollout.runtime.kube import Object
from tests.cluster.ground.cluster import Cluster
from tests.sandbox.release_support import APP, World

IMAGE = "web-frontend"
"""The demo's application (`python -m tools.images demo`); its tags are its versions."""
PATIENCE = 300.0


class PatientWorld(World):
    """A namespace of a cluster, whose pods take their time on a busy machine. There is no Istio."""

    KINDS = (ROLLOUTS, REPLICA_SETS, ANALYSIS_RUNS)

    async def until(self, holds: Callable[[], bool], what: str, seconds: float = PATIENCE) -> None:
        await super().until(holds, what, seconds)

    async def release(self, tag: str) -> None:
        said = await self.rollout("set", "image", APP, f"{APP}={IMAGE}:{tag}")
        assert said.code == 0, said


@asynccontextmanager
async def world_in(cluster: Cluster, namespace: str, *more: Resource) -> AsyncIterator[PatientWorld]:
    """The namespace, watched; `more` are kinds that not every cluster has."""

    class Here(PatientWorld):
        KINDS = (*PatientWorld.KINDS, *more)

    kube = HttpKube(load(kubeconfig=str(cluster.kubeconfig)))
    ground: Any = SimpleNamespace(sandbox=SimpleNamespace(kubeconfig=str(cluster.kubeconfig)))
    try:
        async with Here(ground, kube, namespace).watching() as world:
            assert isinstance(world, Here)
            yield world
    finally:
        await kube.close()


def pod_template(image: str, name: str) -> Object:
    """A pod of the demo's application. It goes on serving while Envoy learns that it ends."""
    probe = {"httpGet": {"path": "/ready", "port": "http"}, "periodSeconds": 1}
    container = {
        "name": APP,
        "image": image,
        "env": [{"name": "DRAIN_SECONDS", "value": "10"}, {"name": "LATENCY_MS", "value": "0"}],
        "ports": [{"name": "http", "containerPort": 8080}],
        # A pod that is slow to answer on a busy machine stays Ready.
        "readinessProbe": {**probe, "timeoutSeconds": 10, "failureThreshold": 10},
    }
    spec = {"terminationGracePeriodSeconds": 40, "containers": [container]}
    return {"metadata": {"labels": {"app": name}}, "spec": spec}
