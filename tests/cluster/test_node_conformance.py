"""The same pods on a real kubelet and on the sandbox's node agent: the same to be seen of them."""

from __future__ import annotations

import asyncio
import json
import subprocess
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from rollout.api.resources import EVENTS, PODS
from rollout.sandbox.node.probes import BackOff
from tests.cluster.ground.api import AnyCluster, kubectl_path
from tests.cluster.ground.waiting import PATIENCE, until
from tests.cluster.node_cases import CASES, Case, Json, seen
from tests.sandbox.node_world import World

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def on_a_kubelet(cluster: AnyCluster, request: pytest.FixtureRequest) -> Iterator[dict[str, Future[Json]]]:
    """What a kubelet made of each case that is asked for; they are under way side by side."""
    chosen = [item.callspec.params["case"] for item in request.session.items if item.module is request.module]
    with ThreadPoolExecutor(4) as workers:
        futures = {case.name: workers.submit(real, cluster, case) for case in chosen}
        yield futures
        for future in futures.values():
            future.cancel()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name.replace(" ", "-"))
async def test_a_pod_looks_the_same_to_the_sandbox(
    case: Case, on_a_kubelet: dict[str, Future[Json]], tmp_path: Path
) -> None:
    ours = await in_the_sandbox(case, tmp_path)
    theirs = await asyncio.wrap_future(on_a_kubelet[case.name])
    if different := differences(theirs, ours):
        pytest.fail("\n".join(different), pytrace=False)


def differences(theirs: Any, ours: Any, path: str = "pod") -> list[str]:
    """Where they differ, a line each."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        keys = sorted(theirs.keys() | ours.keys())
        return [line for key in keys for line in differences(theirs.get(key), ours.get(key), f"{path}.{key}")]
    if isinstance(theirs, list) and isinstance(ours, list) and len(theirs) == len(ours):
        pairs = enumerate(zip(theirs, ours, strict=True))
        return [line for index, (a, b) in pairs for line in differences(a, b, f"{path}[{index}]")]
    return [] if theirs == ours else [f"{path}: a kubelet says {theirs!r}, the sandbox {ours!r}"]


def real(cluster: AnyCluster, case: Case) -> Json:
    namespace = f"node-{uuid.uuid4().hex[:8]}"
    cluster.kubectl("create", "namespace", namespace)
    cluster.kubectl("wait", "-n", namespace, "--for=create", "serviceaccount/default", "--timeout=240s")
    cluster.kubectl("create", "-n", namespace, "-f", "-", stdin=case.pod())
    with watched(cluster, namespace) as pods:
        for step in case.steps:
            following(pods, step.when)
            if step.action == "delete":
                cluster.kubectl("delete", "pod", "web", "-n", namespace, "--wait=false")
            else:
                tool = {"make": "touch", "remove": "rm"}[step.action]
                cluster.kubectl("exec", "web", "-n", namespace, "--", tool, step.file)
        found = following(pods, case.until)

    def reasons() -> set[str]:
        told = {one["reason"] for one in cluster.get("events", "-n", namespace)["items"]}
        return told if told >= case.awaited else set()

    result = seen(found, until(f"events {case.awaited}", reasons))
    if case.finalizers:
        patch = '{"metadata": {"finalizers": null}}'
        cluster.kubectl("patch", "pod", "web", "-n", namespace, "--type=merge", "-p", patch)
    cluster.kubectl("delete", "namespace", namespace, "--wait=false")
    return result


def following(pods: Iterator[Json], holds: Any) -> Json:
    last: Json = {}
    for pod in pods:
        if holds(pod):
            return pod
        last = pod
    raise TimeoutError(f"never seen; the last of the pod was: {json.dumps(last.get('status'))}")


@contextmanager
def watched(cluster: AnyCluster, namespace: str) -> Iterator[Iterator[Json]]:
    """Every state of the pod, one after the other, for as long as one is patient."""
    argv = [kubectl_path(), f"--kubeconfig={cluster.kubeconfig}", "get", "pod", "web", "-n", namespace]
    process = subprocess.Popen([*argv, "--watch", "-o", "json"], stdout=subprocess.PIPE, text=True)
    enough = threading.Timer(PATIENCE, process.kill)
    enough.start()
    try:
        assert process.stdout is not None
        yield _objects(process.stdout)
    finally:
        enough.cancel()
        process.kill()
        process.communicate()


def _objects(lines: Iterator[str]) -> Iterator[Json]:
    """kubectl writes each object over several lines and ends it with a closing brace of its own."""
    text = ""
    for line in lines:
        text += line
        if line.startswith("}"):
            yield json.loads(text)
            text = ""


async def in_the_sandbox(case: Case, folder: Path) -> Json:
    world = World(folder)
    async with world.node(backoff=BackOff()):
        await world.kube.create(PODS, "default", case.pod())
        for step in case.steps:
            await world.until(lambda step=step: step.when(world.pod()))
            if step.action == "delete":
                await world.kube.delete(PODS, "default", "web")
                continue
            [directory] = (folder / "pods").iterdir()
            if step.action == "make":
                (directory / step.file).touch()
            else:
                (directory / step.file).unlink()
        found = await world.until(lambda: case.until(world.pod()) and world.pod())

        def reasons() -> set[str]:
            told = {one["reason"] for one in world.storage.list(EVENTS, "default").items}
            return told if told >= case.awaited else set()

        return seen(found, await world.until(reasons))
