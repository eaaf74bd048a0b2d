"""The users' Litmus engines, converted by the command line and applied with kubectl: they run here, and say what is so."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from rollout.api.resources import CHAOS_RUNS, DEPLOYMENTS, ENVOY_FILTERS, JOBS, PODS
from rollout.cli.sandbox_parts import controller_command, our_crds
from rollout.runtime.client import HttpKube
from rollout.runtime.config import load
from rollout.runtime.kube import Object
from rollout.sandbox.supervisor import SandboxConfig, down, processes_of, up
from tests.sandbox.release_support import PATIENCE, Ground, Said, command, example

pytestmark = [
    pytest.mark.sandbox,
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("kubectl") is None, reason="needs kubectl on PATH"),
    pytest.mark.skipif(shutil.which("curl") is None, reason="the users' probe is curl"),
]
APPROXIMATE = 10
SHORT = {"60s": "6s", "120s": "6s", "10s": "3s"}
"""What the users' minutes become here: durations and the interval between rounds, nothing else."""
RUNS = ("pod-delete-chaos", "network-latency-chaos")
BROKEN = "myapp:broken"
IMAGES = [
    # Answers everything with its files: there is a page at /, and none at /health.
    {"image": BROKEN, "command": ["python3", "-m", "http.server", "--bind", "$POD_IP", "$PORT"]},
]


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory, prometheus: None) -> Iterator[Ground]:
    """A sandbox that knows an application whose health endpoint is broken."""
    root = tmp_path_factory.mktemp("litmus")
    images = root / "images.yaml"
    images.write_text(yaml.safe_dump(IMAGES), encoding="utf-8")
    config = SandboxConfig(
        name="litmus",
        state=str(root / "state"),
        images=str(images),
        crds=(str(our_crds()),),
        commands=(controller_command(),),
    )
    try:
        yield Ground(config, up(config, lambda _line: None))
    finally:
        down(config.directory())
        assert processes_of(config.directory()) == []


@pytest.fixture
async def kube(ground: Ground) -> AsyncIterator[HttpKube]:
    client = HttpKube(load(kubeconfig=ground.sandbox.kubeconfig))
    try:
        yield client
    finally:
        await client.close()


async def kubectl(ground: Ground, *arguments: str) -> Said:
    said = await command(*arguments, program=("kubectl",), KUBECONFIG=ground.sandbox.kubeconfig)
    assert said.code == 0, said
    return said


async def applied(ground: Ground, path: Path, documents: list[Any]) -> None:
    path.write_text(yaml.safe_dump_all(documents, sort_keys=False), encoding="utf-8")
    await kubectl(ground, "apply", "-f", str(path))


async def imported() -> list[Object]:
    """What `rollout import` writes, with short durations."""
    said = await command("import", "litmus", "-f", "examples/litmus-chaosengines.yaml")
    assert said.code == APPROXIMATE, said
    runs = list(yaml.safe_load_all(said.out))
    for run in runs:
        spec = run["spec"]
        spec["duration"] = SHORT[spec["duration"]]
        for fault in spec["steps"][0]["faults"]:
            if "podDelete" in fault:
                fault["podDelete"]["interval"] = SHORT[fault["podDelete"]["interval"]]
    return runs


async def at_work(ground: Ground, tmp_path: Path, image: str = "myapp:1.2.3") -> None:
    """The application of the example, with this image, and its visitors: all pods ready."""
    documents = example("myapp.yaml")
    for one in documents:
        if one["metadata"]["name"] == "myapp" and one["kind"] == "Deployment":
            one["spec"]["template"]["spec"]["containers"][0]["image"] = image
    await applied(ground, tmp_path / "myapp.yaml", documents)
    for name in ("myapp", "visitors"):
        await kubectl(ground, "rollout", "status", f"deployment/{name}", "--timeout=50s")


async def ended(ground: Ground, kube: HttpKube, name: str) -> Object:
    """The status of a run at its end."""
    path = "jsonpath={.status.phase}=Completed"
    await kubectl(ground, "wait", f"--for={path}", f"chaosrun/{name}", "--timeout=55s")
    async with asyncio.timeout(PATIENCE):  # until nothing is owed any more
        while (run := await kube.get(CHAOS_RUNS, "default", name))["metadata"].get("finalizers"):
            await asyncio.sleep(0.1)
    return dict(run["status"])


def rounds(status: Object) -> dict[int, list[str]]:
    """The pods that each round took."""
    found: dict[int, list[str]] = {}
    for one in status["receipts"]:
        found.setdefault(int(one.get("round", 0)), []).append(one["victim"]["name"])
    return found


async def nothing_left(kube: HttpKube) -> None:
    """No filter, no Job, no pod but those of the two Deployments, which are whole."""
    filters = (await kube.list(ENVOY_FILTERS, "default")).items
    assert not filters, yaml.safe_dump(filters)
    assert not (await kube.list(JOBS, "default")).items
    async with asyncio.timeout(PATIENCE):
        while not await _whole(kube):
            await asyncio.sleep(0.1)


async def _whole(kube: HttpKube) -> bool:
    wanted = {one["metadata"]["name"]: one for one in (await kube.list(DEPLOYMENTS, "default")).items}
    ready = {name: (one.get("status") or {}).get("readyReplicas") for name, one in wanted.items()}
    pods = (await kube.list(PODS, "default")).items
    apps = sorted((one["metadata"].get("labels") or {}).get("app", "") for one in pods)
    return ready == {"myapp": 4, "visitors": 1} and apps == ["myapp"] * 4 + ["visitors"]


async def test_both_engines_run_as_converted_are_proved_and_leave_nothing(
    ground: Ground, kube: HttpKube, tmp_path: Path
) -> None:
    await at_work(ground, tmp_path)
    await applied(ground, tmp_path / "chaos.yaml", await imported())
    statuses = {name: await ended(ground, kube, name) for name in RUNS}
    said = yaml.safe_dump(statuses)
    assert [one["verdict"] for one in statuses.values()] == ["Successful", "Successful"], said

    deleted, late = statuses.values()
    assert len(rounds(deleted)) >= 2, said
    assert all(len(pods) == 2 for pods in rounds(deleted).values()), "half of four, again and again"
    for status in statuses.values():
        assert {one["state"] for one in status["receipts"]} == {"Reverted"}, said
        assert all(one["proof"] and one["gone"] for one in status["receipts"]), said
    assert [one["kind"] for one in late["receipts"]] == ["httpLatency"], said

    (health,) = deleted["probes"]
    assert (health["name"], health["mode"]) == ("app-health-check", "Continuous")
    assert health["good"] >= 3, said
    assert health.get("bad", 0) == 0, said
    # curl ran before and after, and the number that it wrote was below 5.0.
    curls = [(one["name"], one["mode"], one["good"]) for one in late["probes"]]
    assert curls == [("latency-check", "Start", 1), ("latency-check", "End", 1)], said
    await nothing_left(kube)


async def test_an_application_that_is_not_healthy_fails_the_same_engine(
    ground: Ground, kube: HttpKube, tmp_path: Path
) -> None:
    await at_work(ground, tmp_path, BROKEN)
    run = (await imported())[0]
    run["metadata"]["name"] = "unhealthy"
    await applied(ground, tmp_path / "chaos.yaml", [run])
    status = await ended(ground, kube, "unhealthy")
    said = yaml.safe_dump(status)
    assert status["verdict"] == "Failed", said
    assert "app-health-check" in status["message"], said
    assert status["probes"][0]["bad"] >= 3, "never three bad ones in a row is what it tolerates"
    await nothing_left(kube)
