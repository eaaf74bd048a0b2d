"""The controller as a process: who leads, who refuses to start, what it serves."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from rollout.api.meta import Key, micro_timestamp
from rollout.api.resources import ANALYSIS_RUNS, EVENTS, LEASES, ROLLOUTS
from rollout.cli.sandbox_parts import our_crds
from rollout.runtime.clock import SystemClock
from rollout.runtime.kube import Object
from rollout.sandbox.supervisor import SandboxConfig, down, processes_of, up
from tests.sandbox.release_support import (
    APP,
    GATE,
    ROOT,
    Ground,
    Load,
    World,
    canary,
    command,
    pause,
    template,
    until,
)

pytestmark = pytest.mark.sandbox
FOREIGN = "argo-rollouts-controller-lock"


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory, prometheus: None) -> Iterator[Ground]:
    """A sandbox without controllers: the tests start their own."""
    root = tmp_path_factory.mktemp("ground")
    config = SandboxConfig(name="controllers", state=str(root / "state"), crds=(str(our_crds()),))
    try:
        yield Ground(config, up(config, lambda _line: None))
    finally:
        down(config.directory())
        assert processes_of(config.directory()) == []


class Controller:
    """One `rollout controller run`, and what it logged."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process, self._log = process, log

    def said(self, event: str) -> list[dict[str, Any]]:
        """The log's records of an event."""
        lines = [line for line in self._log.read_text().splitlines() if line.startswith("{")]
        return [one for one in map(json.loads, lines) if one["message"] == event]

    @property
    def words(self) -> str:
        """What it said that is no record of the log."""
        lines = self._log.read_text().splitlines()
        return "\n".join(line for line in lines if not line.startswith("{"))

    async def says(self, event: str, seconds: float = 30.0) -> dict[str, Any]:
        def there() -> bool:
            assert self.process.poll() is None, self._log.read_text()
            return bool(self.said(event))

        await until(there, f"the controller says {event!r}", seconds)
        return self.said(event)[0]

    async def ended(self) -> int:
        await until(lambda: self.process.poll() is not None, "the controller ends")
        return int(self.process.returncode)


@asynccontextmanager
async def controller(ground: Ground, log: Path, *options: str) -> AsyncIterator[Controller]:
    """A controller on a sandbox; killed at the end of the block, should it still run."""
    argv = [sys.executable, "-m", "rollout.cli.main", "controller", "run"]
    argv += ["--kubeconfig", ground.sandbox.kubeconfig, "--context", "surefoot-sandbox", *options]
    env = {"HTTP_PROXY": ground.sandbox.mesh_proxy, "SUREFOOT_METRICS_ON_LOOPBACK": "true"}
    with log.open("wb") as output:
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=ROOT, env={**_environ(), **env}
        )
    try:
        yield Controller(process, log)
    finally:
        process.kill()
        process.wait()


def _environ() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "KUBECONFIG"}


STEPS = tuple(
    step
    for weight, long in ((20, pause("1s")), (40, pause()), (60, pause("1s")), (80, pause("1s")))
    for step in ({"setWeight": weight}, long)
)
"""The second pause waits for a person: however slow the machine is, the release is under way when a leader ends."""


@asynccontextmanager
async def release_under_way(world: World) -> AsyncIterator[Load]:
    """A canary in the middle of its steps, under load."""
    await world.apply(template(), *canary(*STEPS, {"analysis": GATE}))
    await world.phase("Healthy")
    async with Load(world.ground.sandbox.gateway, f"{APP}.{world.namespace}").running() as load:
        await load.begun("v1")
        await world.set_image("v2")
        await world.phase("Paused", step=3)
        yield load


async def finished(world: World, load: Load) -> None:
    await world.phase("Healthy", step=len(STEPS) + 1)
    await world.until(lambda: world.sizes() == {"v1": 0, "v2": 3}, "the old pods are gone")
    assert load.lost == {}
    assert [run["status"]["phase"] for run in world.runs()] == ["Successful"]
    world.steps_never_fell()


def tell(text: str) -> None:
    """For whoever reads the test's output; timings are not asserted."""
    sys.stdout.write(f"{text}\n")


async def promoted(world: World) -> None:
    said = await command(
        "promote", APP, "-n", world.namespace, KUBECONFIG=str(world.ground.config.directory().kubeconfig)
    )
    assert said.code == 0, said.err


def holder(world: World) -> str:
    """Who has the turn of the Rollout (docs/decisions/006): the first write of whoever goes on."""
    found = world.informers[ROLLOUTS].store.get(Key(world.namespace, APP))
    assert found is not None
    return str(found["metadata"]["annotations"]["surefoot.dev/turn"]).partition(" ")[2]


@asynccontextmanager
async def next_write(world: World, what: str) -> AsyncIterator[None]:
    """What is done inside ends the leader: until somebody else has written, and the release has gone on."""
    before, step, started = holder(world), world.step(), time.perf_counter()
    yield
    await promoted(world)
    await world.until(lambda: holder(world) != before, "somebody else has the turn")
    tell(f"{what}: the next write came after {time.perf_counter() - started:.1f} s")
    await world.until(lambda: world.step() > step, "the release goes on")
    tell(f"{what}: the next step came after {time.perf_counter() - started:.1f} s")


async def test_a_leader_that_is_told_to_stop_hands_over_at_once(ground: Ground, world: World, tmp_path: Path):
    options = ("--lease-namespace", world.namespace, "--metrics-address", "127.0.0.1:0")
    async with (
        controller(ground, tmp_path / "first", *options) as first,
        first_leads(first),
        controller(ground, tmp_path / "second", *options) as second,
    ):
        await second.says("serving metrics and health")
        async with release_under_way(world) as load:
            assert second.said("leading") == []
            async with next_write(world, "handed over"):
                first.process.send_signal(signal.SIGTERM)
                assert await first.ended() == 0
                await second.says("leading")
                assert first.said("could not release the lease; a standby takes it when it runs out") == []
            await finished(world, load)


@asynccontextmanager
async def first_leads(first: Controller) -> AsyncIterator[None]:
    await first.says("leading")
    yield


@pytest.mark.slow
async def test_after_a_killed_leader_the_standby_goes_on(ground: Ground, world: World, tmp_path: Path):
    options = ("--lease-namespace", world.namespace)
    async with (
        controller(ground, tmp_path / "first", *options) as first,
        first_leads(first),
        controller(ground, tmp_path / "second", *options) as second,
        release_under_way(world) as load,
    ):
        async with next_write(world, "taken over"):
            first.process.kill()
            await second.says("leading")
        await finished(world, load)


@pytest.mark.slow
async def test_a_leader_that_was_frozen_beyond_its_lease_ends_instead_of_writing(
    ground: Ground, world: World, tmp_path: Path
):
    options = ("--lease-namespace", world.namespace)
    async with (
        controller(ground, tmp_path / "first", *options) as first,
        first_leads(first),
        controller(ground, tmp_path / "second", *options) as second,
        release_under_way(world) as load,
    ):
        first.process.send_signal(signal.SIGSTOP)
        await second.says("leading")
        first.process.send_signal(signal.SIGCONT)
        assert await first.ended() == 1
        assert f"the lease {world.namespace}/surefoot-controller was lost" in first.words
        assert "Traceback" not in first.words
        await promoted(world)
        await finished(world, load)


def lease(holder: str, seconds: int) -> Object:
    spec = {"holderIdentity": holder, "leaseDurationSeconds": seconds}
    spec["renewTime"] = micro_timestamp(SystemClock().now())
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": FOREIGN},
        "spec": spec,
    }


@asynccontextmanager
async def renewed(world: World) -> AsyncIterator[None]:
    """Somebody renews the other controller's Lease."""

    async def renew() -> None:
        while True:
            spec = {"renewTime": micro_timestamp(SystemClock().now())}
            await world.kube.patch(LEASES, world.namespace, FOREIGN, {"spec": spec})
            await asyncio.sleep(0.5)

    await world.kube.create(LEASES, world.namespace, lease("them-1", 10))
    task = asyncio.create_task(renew())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await world.kube.delete(LEASES, world.namespace, FOREIGN)


async def test_it_refuses_to_start_beside_another_live_controller_unless_told_to(
    ground: Ground, world: World, tmp_path: Path
):
    async with renewed(world):
        async with controller(ground, tmp_path / "refused") as refused:
            assert await refused.ended() == 2
            assert "another controller of argoproj.io is at work in this cluster: them-1" in refused.words
            assert f"{world.namespace}/{FOREIGN}" in refused.words
            assert "--take-over" in refused.words
            assert "Traceback" not in refused.words
        async with controller(ground, tmp_path / "told", "--take-over") as told:
            await told.says("controllers start")
            told.process.send_signal(signal.SIGTERM)
            assert await told.ended() == 0


async def test_the_lease_of_a_controller_that_is_gone_holds_nobody_up(
    ground: Ground, world: World, tmp_path: Path
):
    # Its clock is hours ahead of ours: only what it does counts, not what it wrote.
    gone = lease("them-1", 2)
    gone["spec"]["renewTime"] = "2222-02-02T02:02:02.000000Z"
    await world.kube.create(LEASES, world.namespace, gone)
    try:
        async with controller(ground, tmp_path / "log") as one:
            await one.says("controllers start")
    finally:
        await world.kube.delete(LEASES, world.namespace, FOREIGN)


async def test_outside_a_cluster_it_wants_to_be_told_the_context(ground: Ground):
    said = await command("controller", "run", KUBECONFIG=ground.sandbox.kubeconfig)
    assert said.code == 2
    assert "this would control the rollouts of context 'surefoot-sandbox'" in said.err
    assert "rollout controller run --context surefoot-sandbox" in said.err
    assert "Traceback" not in said.err


async def test_metrics_and_health_of_the_real_process(ground: Ground, world: World, tmp_path: Path):
    async with (
        controller(
            ground, tmp_path / "log", "--no-leader-election", "--metrics-address", "127.0.0.1:0"
        ) as one,
        aiohttp.ClientSession() as session,
    ):
        port = (await one.says("serving metrics and health"))["port"]

        async def page(path: str) -> tuple[int, str]:
            async with session.get(f"http://127.0.0.1:{port}{path}") as answer:
                return answer.status, await answer.text()

        await one.says("controllers start")
        await world.apply(template(), *canary({"setWeight": 50}, {"analysis": GATE}))
        await world.phase("Healthy")
        await world.set_image("v2")
        await world.phase("Healthy", step=2)
        assert (await page("/healthz"))[0] == 200
        assert (await page("/readyz"))[0] == 200
        code, text = await page("/metrics")
        assert code == 200
        values = samples(text)
        who = {"namespace": world.namespace, "name": APP}
        info = {**who, "strategy": "canary", "traffic_router": "istio", "phase": "Healthy"}
        assert values["rollout_info", labels(info)] == 1
        assert values["rollout_info_replicas_desired", labels(who)] == 3
        (run,) = world.runs()
        run_who = {"namespace": world.namespace, "name": run["metadata"]["name"]}
        assert values["analysis_run_info", labels({**run_who, "phase": "Successful"})] == 1
        metric = {**run_who, "metric": "value", "type": "prometheus"}
        assert values["analysis_run_metric_type", labels(metric)] == 1
        assert values["analysis_run_metric_phase", labels({**metric, "phase": "Successful"})] == 1
        completed = {"type": "Normal", "reason": "RolloutCompleted"}
        assert values["rollout_events_total", labels(completed)] == 2
        reconciles = {"controller": "rollout", "result": "success"}
        assert values["controller_runtime_reconcile_total", labels(reconciles)] > 0
        assert served_names(text) == documented_names()
        one.process.send_signal(signal.SIGTERM)
        assert await one.ended() == 0


def served_names(text: str) -> set[str]:
    """The metrics of an exposition, without those of each process."""
    found = set(re.findall(r"^# TYPE (\w+)", text, re.MULTILINE))
    return {
        name for name in found if not name.startswith(("process_", "python_")) and name[-8:] != "_created"
    }


def documented_names() -> set[str]:
    """The first column of the tables in docs/metrics.md."""
    return set(re.findall(r"^\| `(\w+)` \|", (ROOT / "docs/metrics.md").read_text(), re.MULTILINE))


async def test_the_configuration_changes_while_the_controller_runs_and_a_wrong_one_is_refused(
    ground: Ground, world: World, tmp_path: Path
):
    file = tmp_path / "config.yaml"
    file.write_text("workers: 3\nmetricsAddress: 127.0.0.1:0\nfeatures: [core, decisions, events, istio]\n")
    started = file.read_text()

    def write(more: str) -> None:
        new = tmp_path / "new"
        new.write_text(started + more)
        new.replace(file)

    options = ("--config", str(file), "--lease-namespace", world.namespace, "--instance-id", "apart")
    async with (
        controller(ground, tmp_path / "log", *options) as one,
        aiohttp.ClientSession() as session,
    ):
        port = (await one.says("serving metrics and health"))["port"]
        without = (await one.says("controllers start"))["without"]
        assert {"chaos", "jobs", "gateway", "workloadRef"} <= set(without)

        async def page(path: str) -> str:
            async with session.get(f"http://127.0.0.1:{port}{path}") as answer:
                return await answer.text()

        async def told(*reasons: str) -> None:
            async with asyncio.timeout(60):
                while True:
                    events = (await world.kube.list(EVENTS, world.namespace)).items
                    if set(reasons) <= {event["reason"] for event in events}:
                        return
                    await asyncio.sleep(0.2)

        assert "surefoot_chaos_runs" not in await page("/metrics")
        write("analysis: {providers: [web]}\nlogLevel: debug\n")
        changed = await one.says("the configuration has changed")
        assert changed["fields"] == ["logLevel", "analysis"]
        write("analysis: {providers: [shell]}\n")
        assert (
            "shell"
            in (await one.says("the new configuration is refused; the old one stays in force"))["error"]
        )
        assert samples(await page("/metrics"))["surefoot_config_refused", frozenset()] == 1
        await told("ConfigApplied", "ConfigRefused")
        ready = await page("/readyz")
        assert "[i]kinds httproutes.gateway.networking.k8s.io: the controller runs without" in ready
        # The provider that is not allowed any more measures nothing, and the run says why.
        run = {"apiVersion": "argoproj.io/v1alpha1", "kind": "AnalysisRun", "spec": {"metrics": [PROMETHEUS]}}
        meta = {"name": "refused", "labels": {"argo-rollouts.argoproj.io/controller-instance-id": "apart"}}
        await world.kube.create(ANALYSIS_RUNS, world.namespace, {**run, "metadata": meta})

        def said() -> str:
            return "".join(str((one.get("status") or {}).get("message", "")) for one in world.runs())

        await world.until(lambda: bool(said()), "the run is refused")
        assert f"the operator does not allow it in namespace {world.namespace}" in said()
        one.process.send_signal(signal.SIGTERM)
        assert await one.ended() == 0


PROMETHEUS = {"name": "m", "provider": {"prometheus": {"address": "http://127.0.0.1:1", "query": "up"}}}


def labels(wanted: dict[str, str]) -> frozenset[tuple[str, str]]:
    return frozenset(wanted.items())


def samples(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """(name, labels) -> value of everything in an exposition."""
    families = text_string_to_metric_families(text)
    return {(one.name, labels(one.labels)): one.value for family in families for one in family.samples}


async def test_a_metrics_address_that_is_taken_is_said_in_one_line(ground: Ground):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        said = await command(
            "controller", "run", "--context", "surefoot-sandbox", "--metrics-address", address,
            KUBECONFIG=ground.sandbox.kubeconfig,
        )  # fmt: skip
    assert said.code == 2
    lines = [line for line in said.err.splitlines() if not line.startswith("{")]
    assert len(lines) == 1
    assert f"cannot serve metrics and health on {address}: " in lines[0]
    assert "address already in use" in lines[0]
