"""The whole cluster with the real kubectl: API server, workload controllers, node agent, processes."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from rollout.runtime import config
from rollout.runtime.client import HttpKube
from rollout.runtime.clock import SystemClock
from rollout.sandbox.http.server import ApiServer
from rollout.sandbox.node.agent import run_node
from rollout.sandbox.node.logs import log_source
from rollout.sandbox.storage import Storage
from rollout.sandbox.workloads.controllers import run_workloads

pytestmark = [
    pytest.mark.sandbox,
    pytest.mark.skipif(shutil.which("kubectl") is None, reason="needs kubectl on PATH"),
]

DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  progressDeadlineSeconds: 30
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 2
      containers:
      - name: web
        image: web-frontend:v1
        ports: [{containerPort: 8080}]
        env: [{name: DRAIN_SECONDS, value: "0"}]
        readinessProbe: {httpGet: {path: /ready, port: 8080}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: batch/v1
kind: Job
metadata: {name: sum}
spec:
  template:
    spec:
      restartPolicy: Never
      containers: [{name: main, image: busybox, command: [sh, -c, "echo the answer is $((40+2))"]}]
"""


class Kubectl:
    def __init__(self, config: Path) -> None:
        self._env = {**os.environ, "KUBECONFIG": str(config), "HOME": str(config.parent)}

    async def __call__(self, *args: str, stdin: str = "", code: int = 0) -> str:
        process = await asyncio.create_subprocess_exec(
            "kubectl",
            *args,
            env=self._env,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        async with asyncio.timeout(60):
            out, _ = await process.communicate(stdin.encode())
        assert process.returncode == code, f"kubectl {args}: {out.decode()}"
        return out.decode()


@pytest.fixture
async def kubectl(tmp_path: Path) -> AsyncIterator[Kubectl]:
    clock = SystemClock()
    node_state = tmp_path / "node"
    server = ApiServer(Storage(clock), tmp_path / "api", clock, logs=log_source(node_state, clock))
    await server.start()
    server.write_kubeconfig(tmp_path / "kubeconfig")
    kube = HttpKube(config.load(kubeconfig=str(tmp_path / "kubeconfig")), clock=clock)
    tasks = [
        asyncio.create_task(run_workloads(kube, clock)),
        asyncio.create_task(run_node(kube, clock, state_dir=node_state)),
    ]
    try:
        yield Kubectl(tmp_path / "kubeconfig")
        for task in tasks:
            assert not task.done(), task.exception()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        await kube.close()
        await server.stop()


async def test_kubectl_rolls_a_deployment_out_and_back_reads_logs_and_waits_for_a_job(
    kubectl: Kubectl,
) -> None:
    await kubectl("apply", "-f", "-", stdin=DEPLOYMENT)
    assert "successfully rolled out" in await kubectl("rollout", "status", "deployment/web")
    assert "condition met" in await kubectl("wait", "--for=condition=Complete", "job/sum", "--timeout=20s")
    assert await kubectl("logs", "job/sum") == "the answer is 42\n"
    assert "listening on 127." in await kubectl("logs", "-l", "app=web", "--timestamps")

    await kubectl("set", "image", "deployment/web", "web=web-frontend:v2")
    assert "successfully rolled out" in await kubectl("rollout", "status", "deployment/web")
    images = "jsonpath={.items[*].spec.containers[0].image}"
    assert set((await kubectl("get", "pods", "-l", "app=web", "-o", images)).split()) <= {
        "web-frontend:v1",  # still terminating
        "web-frontend:v2",
    }
    assert "2" in (await kubectl("rollout", "history", "deployment/web")).split()

    assert "rolled back" in await kubectl("rollout", "undo", "deployment/web")
    assert "successfully rolled out" in await kubectl("rollout", "status", "deployment/web")
    image = "jsonpath={.spec.template.spec.containers[0].image}"
    assert await kubectl("get", "deployment", "web", "-o", image) == "web-frontend:v1"

    await kubectl("scale", "deployment/web", "--replicas=1")
    assert "successfully rolled out" in await kubectl("rollout", "status", "deployment/web")
    described = await kubectl("describe", "deployment", "web")
    assert "Scaled down replica set" in described
    endpoints = "jsonpath={.items[0].endpoints[?(@.conditions.ready==true)].addresses[0]}"
    ready = await kubectl("get", "endpointslices", "-l", "kubernetes.io/service-name=web", "-o", endpoints)
    assert len(ready.split()) == 1

    await kubectl("delete", "deployment", "web", "--wait=true")
    await kubectl("wait", "--for=delete", "pod", "-l", "app=web", "--timeout=20s")
    assert "No resources found" in await kubectl("get", "pods", "-l", "app=web")


async def test_a_version_that_crashes_is_reported_by_rollout_status_and_the_old_one_stays(
    kubectl: Kubectl,
) -> None:
    await kubectl(
        "apply",
        "-f",
        "-",
        stdin=DEPLOYMENT.replace("progressDeadlineSeconds: 30", "progressDeadlineSeconds: 3"),
    )
    assert "successfully rolled out" in await kubectl("rollout", "status", "deployment/web")
    await kubectl("set", "env", "deployment/web", "CRASH=0:3")
    said = await kubectl("rollout", "status", "deployment/web", code=1)
    assert 'deployment "web" exceeded its progress deadline' in said
    columns = await kubectl("get", "deployment", "web")
    assert "2/2" in columns
    assert "Error" in (pods := await kubectl("get", "pods")) or "CrashLoopBackOff" in pods
