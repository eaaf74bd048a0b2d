"""Releases of the demo's application in a namespace of a cluster, with `rollout controller run` on this machine.

The controller has the rights of the chart: it is the service account that the chart has made, by a token of it.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from rollout.api.codec import view
from rollout.api.decisions import DecisionRecord
from rollout.api.meta import Key, metadata
from rollout.api.resources import (
    ANALYSIS_RUNS,
    DECISION_RECORDS,
    REPLICA_SETS,
    ROLLOUTS,
    SERVICES,
    Resource,
)
from rollout.api.rollout import HASH_LABEL
from rollout.runtime.client import HttpKube
from rollout.runtime.config import load
from rollout.runtime.kube import Object
from tests.cluster import ours
from tests.cluster.control_plane import ENDS_WITH_PARENT
from tests.cluster.ground.api import AnyCluster
from tests.cluster.recording import PATIENCE, Recording
from tests.flow import Flow
from tests.sandbox.release_support import APP, Said, command, resource_of

ROOT = Path(__file__).parents[2]
IMAGE = "web-frontend:v2"
"""The demo's application, one that makes no errors."""
RATE = 25.0
"""Requests per second of a loader."""
DRAIN, GRACE = 30, 60
"""Seconds that a pod goes on serving after SIGTERM: a slow kube-proxy still sends it requests. And until SIGKILL."""


class Controller:
    """`rollout controller run` as a process that can be killed and started again (`tests.cluster.forked`)."""

    def __init__(self, kubeconfig: Path, folder: Path, *options: str, **environment: str) -> None:
        # Without election: nobody stands by, and the one before is known to be dead.
        self._options = ("--kubeconfig", str(kubeconfig), "--no-leader-election", *options)
        self._log, self._environment = folder / "controller.log", environment
        self._pid = 0
        self.starts = 0

    def kill(self) -> None:
        """kill -9."""
        if self._pid:
            os.kill(self._pid, signal.SIGKILL)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Controller]:
        """Started, and started again at once as often as it is killed; killed at the end of the block."""
        plain = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
        with self._log.open("ab") as log:
            parent = await asyncio.create_subprocess_exec(
                *ENDS_WITH_PARENT, sys.executable, "-m", "tests.cluster.forked", *self._options,
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=log, cwd=ROOT,
                env=plain | self._environment,
            )  # fmt: skip
        keeper = asyncio.create_task(self._keep(parent))
        try:
            yield self
        finally:
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)
            parent.kill()
            await parent.wait()
            sys.stdout.write(self.said())

    async def _keep(self, parent: asyncio.subprocess.Process) -> None:
        assert parent.stdin is not None
        assert parent.stdout is not None
        while True:
            parent.stdin.write(b"start\n")
            self._pid = int(await parent.stdout.readline())
            self.starts += 1
            code = int(await parent.stdout.readline())
            self._pid = 0
            if code != -signal.SIGKILL:
                await asyncio.sleep(1)  # it ended by itself: what it said is in its log

    def said(self) -> str:
        """The end of its log."""
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-40:])


class Load(Flow):
    """Requests to an address of the cluster, each by a connection of its own.

    `answers` counts versions; `lost` counts the reasons why a request was not answered with 200.
    """

    patience = PATIENCE

    def __init__(self, url: str, host: str = "", rate: float = RATE) -> None:
        super().__init__(url, host, rate)

    def _connected(self) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(force_close=True)
        return aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=60))

    async def _request(self) -> str:
        # A request that was sent before `begun` may fail long after it: it counts where it began.
        answers, lost = self.answers, self.lost
        try:
            async with self._session.get(self._url, headers=self._headers) as answer:
                await answer.read()
                version = answer.headers.get("x-version", "")
                if answer.status != 200 or not version:
                    lost[f"HTTP {answer.status} by {version or 'nobody'}"] += 1
                else:
                    answers[version] += 1
                return version
        except (aiohttp.ClientError, TimeoutError) as error:
            lost[f"{type(error).__name__}: {error}"] += 1
            return ""


class Releases:
    """One namespace: what is applied there, what is seen there."""

    def __init__(self, kube: HttpKube, kubeconfig: Path, namespace: str, recording: Recording) -> None:
        self.kube, self.kubeconfig, self.namespace, self.seen = kube, kubeconfig, namespace, recording

    # --- acting ---

    async def create(self, *objects: Object) -> None:
        for obj in objects:
            resource = resource_of(obj)
            wanted = {**obj, "metadata": {**obj["metadata"], "namespace": self.namespace}}
            await self.kube.create(resource, self.namespace, wanted)

    async def release(self, version: str, image: str = IMAGE, name: str = APP) -> None:
        """Pods of that image, which call themselves this version; returns when we have heard of it ourselves."""
        patch = {"spec": {"template": template(version, image, name)}}
        wanted = metadata(await self.kube.patch(ROLLOUTS, self.namespace, name, patch))["generation"]
        await self.until(
            lambda: metadata(self.find(ROLLOUTS, name))["generation"] >= wanted, f"{version} is heard of"
        )

    async def rollout(self, *arguments: str) -> Said:
        """`rollout ARGUMENTS -n NAMESPACE`, as a person types it."""
        return await command(*arguments, "-n", self.namespace, KUBECONFIG=str(self.kubeconfig))

    async def promote(self, name: str = APP) -> None:
        """A person goes on with what the Rollout has paused at."""
        self.seen.promoted.append(self.find(ROLLOUTS, name))
        said = await self.rollout("promote", name)
        assert said.code == 0, said

    # --- looking ---

    def find(self, resource: Resource, name: str = APP) -> Object:
        """The object as it was heard of last; {} if there is none."""
        return self.seen.store[resource].get(Key(self.namespace, name), {})

    def status(self, name: str = APP) -> Object:
        return self.find(ROLLOUTS, name).get("status") or {}

    def sizes(self) -> dict[str, int]:
        """Version -> wanted pods, by the Rollouts' ReplicaSets."""
        found: dict[str, int] = {}
        for one in self.seen.store[REPLICA_SETS].values():
            if ROLLOUTS.kind not in {each["kind"] for each in metadata(one).get("ownerReferences", ())}:
                continue
            environment = one["spec"]["template"]["spec"]["containers"][0].get("env") or ()
            version = next((each["value"] for each in environment if each["name"] == "VERSION"), "")
            assert version not in found, f"two ReplicaSets of version {version}"
            found[version] = int(one["spec"]["replicas"])
        return found

    def runs(self) -> list[Object]:
        return sorted(self.seen.store[ANALYSIS_RUNS].values(), key=lambda one: metadata(one)["name"])

    def decisions(self, name: str = APP) -> list[tuple[str, str]]:
        """(kind, hash) of each decision on record, oldest first."""
        record = self.find(DECISION_RECORDS, name)
        found = view(record, DecisionRecord).in_order() if record else []
        return [(one.kind, one.after.hash) for _, one in found]

    def selector(self, service: str) -> str:
        """The pod-template hash that a Service selects."""
        return str((self.find(SERVICES, service)["spec"].get("selector") or {}).get(HASH_LABEL, ""))

    def address(self, service: str) -> str:
        """A Service's address in the cluster."""
        return str(self.find(SERVICES, service)["spec"]["clusterIP"])

    async def phase(self, phase: str, name: str = APP, *, step: int = 0) -> None:
        """Waits until the Rollout is in a phase, at `step` or later, and its status speaks of its latest spec."""

        def holds() -> bool:
            generation = str((self.find(ROLLOUTS, name).get("metadata") or {}).get("generation"))
            status = self.status(name)
            told = status.get("observedGeneration") == generation and status.get("phase") == phase
            return told and int(status.get("currentStepIndex") or 0) >= step

        await self.until(holds, f"{name} is {phase} at step {step}")

    async def until(self, holds: Any, what: str, seconds: float = PATIENCE) -> None:
        await self.seen.until(holds, what, seconds, self.told)

    def told(self) -> str:
        runs = [one.get("status") for one in self.runs()]
        return f"status {json.dumps(self.status())}, sizes {self.sizes()}, runs {runs}"


@asynccontextmanager
async def stage(
    cluster: AnyCluster,
    namespace: str,
    folder: Path,
    *options: str,
    more: Sequence[Resource] = (),
    **environment: str,
) -> AsyncIterator[Releases]:
    """The namespace, watched, with a controller on this machine that has the chart's rights."""
    config = ours.kubeconfig(cluster, folder)
    controller = Controller(config, folder, "--namespaces", namespace, *options, **environment)
    async with releases_in(cluster, namespace, *more) as releases, controller.running():
        yield releases
        assert controller.starts == 1, "the controller ended by itself"


@asynccontextmanager
async def releases_in(cluster: AnyCluster, namespace: str, *more: Resource) -> AsyncIterator[Releases]:
    """The namespace, watched; `more` are kinds that its releases need beside their own."""
    kube = HttpKube(load(kubeconfig=str(cluster.kubeconfig)))
    try:
        async with Recording(kube, namespace, *more).running() as recording:
            yield Releases(kube, cluster.kubeconfig, namespace, recording)
    finally:
        await kube.close()


# --- objects --------------------------------------------------------------------------------------------


def template(version: str, image: str = IMAGE, name: str = APP) -> Object:
    """A pod of the demo's application that calls itself `version`."""
    container = {
        "name": "app",
        "image": image,
        "imagePullPolicy": "Never",
        "env": [
            {"name": "VERSION", "value": version},
            {"name": "DRAIN_SECONDS", "value": str(DRAIN)},
            {"name": "LATENCY_MS", "value": "0"},
        ],
        "ports": [{"name": "http", "containerPort": 8080}],
        # A pod that is slow to answer on a busy machine stays Ready.
        "readinessProbe": {
            "httpGet": {"path": "/ready", "port": "http"},
            "periodSeconds": 1,
            "timeoutSeconds": 10,
            "failureThreshold": 10,
        },
    }
    spec = {"terminationGracePeriodSeconds": GRACE, "containers": [container]}
    return {"metadata": {"labels": {"app": name}}, "spec": spec}


def rollout(
    strategy: Object, *, version: str, image: str = IMAGE, replicas: int = 2, name: str = APP, **spec: Any
) -> Object:
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Rollout",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": template(version, image, name),
            "strategy": strategy,
            **spec,
        },
    }


def answers(url: str) -> Object:
    """An AnalysisTemplate, `gate`: that URL answers with 200, as often as it is asked."""
    provider = {"web": {"url": url, "jsonPath": "{$.status}", "timeoutSeconds": 30}}
    metric = {
        "name": "answers",
        "interval": "1s",
        "count": 2,
        "successCondition": "result == 200",
        "provider": provider,
    }
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "AnalysisTemplate",
        "metadata": {"name": "gate"},
        "spec": {"metrics": [metric]},
    }
