"""The controller is killed with -9 while five kinds of faults are at work in a sandbox, at every moment of their runs.

By the receipts' deadline and 30 s no fault has any effect, and no object, label, finalizer or process is left: with a
controller that is started again, and for faults of the mesh also without one.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
import yaml

from chaos.faults.receipts import object_name
from rollout.api.chaos import FINALIZER, OPT_IN, RUN_LABEL
from rollout.api.meta import Key, key_of, time_of
from rollout.api.resources import (
    ANALYSIS_RUNS,
    CHAOS_RUNS,
    CHAOS_SWITCHES,
    DEPLOYMENTS,
    ENVOY_FILTERS,
    NAMESPACES,
    NETWORK_POLICIES,
    PODS,
    SERVICES,
)
from rollout.cli.sandbox_parts import controller_command, our_crds
from rollout.runtime.client import HttpKube
from rollout.runtime.clock import SystemClock
from rollout.runtime.config import load
from rollout.runtime.informer import Informer, wait_synced
from rollout.runtime.kube import Object
from rollout.sandbox.supervisor import Sandbox, SandboxConfig, down, processes_of, up
from tests.sandbox.release_support import PATIENCE, ROOT, command, processes_naming

pytestmark = [pytest.mark.sandbox, pytest.mark.slow]
SPACE = "chaos-kills"
GRACE = timedelta(seconds=30)
SIZES = {"evicted": 3, "killed": 8, "scaled": 3, "payments": 2, "caller": 1}
MESH = ("slow", "slow-dependency")
FAULTS: dict[str, tuple[str, dict[str, Any]]] = {
    "evict": ("evicted", {"podDelete": {}}),
    "kill": ("killed", {"containerKill": {"container": "app"}}),
    "scale": ("scaled", {"scaleDown": {"replicas": 2}}),
    "slow": ("payments", {"httpLatency": {"delay": "200ms"}}),
    "slow-dependency": ("caller", {"dependencyLatency": {"host": "payments", "delay": "300ms"}}),
}
"""The name of a run -> its Deployment, and its fault."""
Moment = Callable[[Object], bool]


# --- the ground -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory, prometheus: None) -> Iterator[Sandbox]:
    """A sandbox without our controllers: the tests start and kill them."""
    state = str(tmp_path_factory.mktemp("kills") / "state")
    config = SandboxConfig(name="kills", state=state, crds=(str(our_crds()),))
    try:
        yield up(config, lambda _line: None)
    finally:
        down(config.directory())
        assert processes_of(config.directory()) == []


class Place:
    """The namespace with its five workloads, the controller's process, and what is seen of the runs."""

    def __init__(self, kube: HttpKube, sandbox: Sandbox) -> None:
        self.kube, self._sandbox = kube, sandbox
        self._process: asyncio.subprocess.Process | None = None
        self._clock = SystemClock()
        self.runs = Informer(kube, CHAOS_RUNS, clock=self._clock, namespaces=(SPACE,))
        self.runs.on_change(self._changed)
        self._woken = asyncio.Event()
        self._moment: Moment | None = None
        self._struck: set[str] = set()
        self.receipts: dict[str, Object] = {}

    # --- the controller ---

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            *controller_command().argv,
            env={**os.environ, "KUBECONFIG": self._sandbox.kubeconfig},
            cwd=ROOT,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=sys.stderr,
        )

    async def kill(self) -> None:
        if self._process is not None:
            if self._process.returncode is None:
                self._process.kill()
            await self._process.wait()
            self._process = None

    def kill_at(self, moment: Moment) -> None:
        """From now on the controller dies at once whenever one more run is seen at this moment."""
        self._moment, self._struck = moment, set()

    async def survive(self, seconds: float = PATIENCE) -> None:
        """Start it again whenever it was killed, until every run was seen at its moment, or is over."""
        async with asyncio.timeout(seconds):
            while not all(name in self._struck or is_over(self.run(name)) for name in FAULTS):
                if self._process is None or self._process.returncode is not None:
                    await self.kill()
                    await self.start()
                self._woken.clear()
                await self._soon()
        assert self._struck, "no run was ever seen at that moment"
        self._moment = None
        await self.kill()

    def _changed(self, _old: Object | None, new: Object | None) -> None:
        self._woken.set()
        for receipt in ((new or {}).get("status") or {}).get("receipts") or ():
            self.receipts[receipt["id"]] = receipt
        if new is None or self._moment is None or new["metadata"]["name"] in self._struck:
            return
        if self._moment(new.get("status") or {}):
            self._struck.add(new["metadata"]["name"])
            if self._process is not None and self._process.returncode is None:
                os.kill(self._process.pid, signal.SIGKILL)

    async def _soon(self) -> None:
        """Until something changes, or a little while."""
        try:
            async with asyncio.timeout(0.2):
                await self._woken.wait()
        except TimeoutError:
            return

    # --- runs ---

    def run(self, name: str) -> Object:
        return self.runs.store.get(Key(SPACE, name)) or {}

    async def begin(self, seconds: int) -> None:
        for name, (workload, fault) in FAULTS.items():
            run = a_run(name, workload, fault, seconds)
            if name == "kill":
                # A container that was killed before would be started again only after a while.
                pods = (await self.kube.list(PODS, SPACE, labels="app=killed")).items
                run["spec"]["target"]["podNames"] = [min(pods, key=restarts)["metadata"]["name"]]
            await self.kube.create(CHAOS_RUNS, SPACE, run)

    async def until(self, holds: Callable[[], bool], what: str, seconds: float = PATIENCE) -> None:
        try:
            async with asyncio.timeout(seconds):
                while not holds():
                    self._woken.clear()
                    await self._soon()
        except TimeoutError:
            said = {str(key_of(one)): one.get("status") for one in self.runs.store}
            raise AssertionError(f"waited in vain until {what}: {yaml.safe_dump(said)}") from None

    async def at_work(self) -> None:
        await self.until(
            lambda: all(any(is_proved(one) for one in receipts(self.run(name))) for name in FAULTS),
            "every fault is proved",
        )

    # --- what must hold afterwards ---

    async def clean_in_time(self) -> None:
        """No fault has an effect by the last deadline + 30 s; then nothing is left."""
        latest = max(filter(None, (time_of(one["deadline"]) for one in self.receipts.values()))) + GRACE
        while at_work := await self._at_work():
            late = f"still at work after deadline + 30 s: {at_work}"
            assert self._clock.now() <= latest, late
            await asyncio.sleep(0.1)
        await self.until(lambda: all(is_let_go(self.run(name)) for name in FAULTS), "all runs are over")
        for resource in (ENVOY_FILTERS, NETWORK_POLICIES, ANALYSIS_RUNS):
            left = (await self.kube.list(resource, labels=RUN_LABEL)).items
            assert not left, yaml.safe_dump([*left, *self.runs.store])
        for receipt in self.receipts.values():
            assert processes_naming(object_name(receipt["id"])) == [], receipt

    async def _at_work(self) -> list[str]:
        """The faults that can be seen in the world, whatever anybody's status says of them."""
        found = [
            f"EnvoyFilter {one['metadata']['name']}"
            for one in (await self.kube.list(ENVOY_FILTERS, SPACE)).items
            if ((one.get("status") or {}).get("surefoot") or {}).get("active")
        ]
        for one in (await self.kube.list(DEPLOYMENTS, SPACE)).items:
            name, status = one["metadata"]["name"], one.get("status") or {}
            if not one["spec"]["replicas"] == SIZES[name] == status.get("readyReplicas"):
                found.append(f"Deployment {name}: {status.get('readyReplicas')} of {SIZES[name]}")
        return found

    def reverted(self, *names: str) -> None:
        """All that these runs did was undone, and proved to be."""
        for name in names:
            for one in receipts(self.run(name)):
                assert one["state"] in {"Reverted", "Refused"}, yaml.safe_dump(one)
                assert one.get("gone") or one["state"] == "Refused", yaml.safe_dump(one)


@pytest.fixture
async def place(sandbox: Sandbox) -> AsyncIterator[Place]:
    kube = HttpKube(load(kubeconfig=sandbox.kubeconfig))
    found = Place(kube, sandbox)
    task = asyncio.create_task(found.runs.run())
    try:
        if not (await kube.list(NAMESPACES, fields=f"metadata.name={SPACE}")).items:
            await furnish(kube)
        await wait_synced(found.runs)
        while await found._at_work():
            await asyncio.sleep(0.1)
        yield found
        for name in FAULTS:
            if found.run(name):
                await kube.delete(CHAOS_RUNS, SPACE, name)
        await found.until(lambda: not list(found.runs.store), "the runs are away")
    finally:
        await found.kill()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await kube.close()


async def furnish(kube: HttpKube) -> None:
    await kube.create(NAMESPACES, None, {"metadata": {"name": SPACE, "labels": {OPT_IN: "enabled"}}})
    await kube.create(CHAOS_SWITCHES, None, switch())
    parts = [one for one in yaml.safe_load_all((ROOT / "examples/chaos/parts.yaml").read_text()) if one]
    examples = {one["metadata"]["name"]: one for one in parts if one["kind"] == "Deployment"}
    service = next(one for one in parts if one["kind"] == "Service" and one["metadata"]["name"] == "payments")
    await kube.create(SERVICES, SPACE, service | {"metadata": {"name": "payments", "namespace": SPACE}})
    for name, replicas in SIZES.items():
        shape = examples.get(name, examples["web"])["spec"]["template"]["spec"]
        spec = {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": shape},
        }
        made = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}
        await kube.create(DEPLOYMENTS, SPACE, made)


def switch() -> Object:
    return {
        "apiVersion": "surefoot.dev/v1alpha1",
        "kind": "ChaosSwitch",
        "metadata": {"name": "default"},
        "spec": {"caps": {"percentPerNamespace": 100, "runsPerNamespace": 10, "runsPerCluster": 10}},
    }


def a_run(name: str, workload: str, fault: Object, seconds: int) -> Object:
    return {
        "apiVersion": "surefoot.dev/v1alpha1",
        "kind": "ChaosRun",
        "metadata": {"name": name, "namespace": SPACE},
        "spec": {
            "duration": f"{seconds}s",
            "target": {
                "workloadRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": workload},
                **({"percent": 100} if name in MESH else {}),
            },
            "limits": {"maxPercent": 100 if name in MESH else 50},
            "steps": [{"faults": [{"name": name, **fault}]}],
        },
    }


def restarts(pod: Object) -> int:
    statuses = (pod.get("status") or {}).get("containerStatuses") or ()
    return sum(int(one.get("restartCount") or 0) for one in statuses)


def receipts(run: Object) -> list[Object]:
    return (run.get("status") or {}).get("receipts") or []


def is_proved(receipt: Object) -> bool:
    return bool(receipt.get("proof"))


def is_over(run: Object) -> bool:
    return not run or (run.get("status") or {}).get("phase") == "Completed"


def is_let_go(run: Object) -> bool:
    return is_over(run) and FINALIZER not in ((run.get("metadata") or {}).get("finalizers") or ())


# --- the tests ------------------------------------------------------------------------------------------


def has_receipt(state: str) -> Moment:
    return lambda status: any(one.get("state", "Planned") == state for one in status.get("receipts") or ())


def is_in(phase: str) -> Moment:
    return lambda status: status.get("phase") == phase


@pytest.mark.parametrize(
    "moment",
    [
        pytest.param(has_receipt("Planned"), id="before-the-injection"),
        pytest.param(has_receipt("Injected"), id="right-after-the-injection"),
        pytest.param(is_in("Reverting"), id="during-the-revert"),
        pytest.param(is_in("Recovering"), id="during-the-recovery"),
    ],
)
async def test_killed_at_this_moment_of_each_run_everything_is_undone_in_time(
    place: Place, moment: Moment
) -> None:
    await place.begin(seconds=5)
    place.kill_at(moment)
    await place.survive()
    await place.start()
    await place.clean_in_time()
    place.reverted(*FAULTS)


async def test_killed_for_good_the_mesh_ends_its_faults_and_the_next_controller_the_others(
    place: Place,
) -> None:
    await place.start()
    await place.begin(seconds=12)
    await place.at_work()
    await place.kill()
    deadlines = {one["id"]: time_of(one["deadline"]) for one in place.receipts.values()}
    async with asyncio.timeout(40):
        while left := [one for one in await place._at_work() if one.startswith("EnvoyFilter")]:
            await asyncio.sleep(0.1)
    assert left == []
    now = SystemClock().now()
    assert all(when is not None and now <= when + GRACE for when in deadlines.values())
    assert (await place.kube.get(DEPLOYMENTS, SPACE, "scaled"))["spec"]["replicas"] == 2
    await place.start()
    await place.clean_in_time()
    place.reverted(*FAULTS)
    for name in MESH:
        assert "the mesh says so" in receipts(place.run(name))[0]["gone"]


async def test_runs_deleted_while_nobody_is_there_are_undone_and_let_go(place: Place) -> None:
    await place.start()
    await place.begin(seconds=300)
    await place.at_work()
    await place.kill()
    for name in FAULTS:
        await place.kube.delete(CHAOS_RUNS, SPACE, name)
    assert len(list(place.runs.store)) == len(FAULTS)  # their finalizers hold them
    await place.start()
    await place.until(lambda: not list(place.runs.store), "all runs are gone")
    await place.clean_in_time()


async def test_the_switch_engaged_while_nobody_is_there_undoes_everything_at_the_start(
    place: Place, sandbox: Sandbox
) -> None:
    await place.start()
    await place.begin(seconds=300)
    await place.at_work()
    await place.kill()
    await engage(sandbox, engaged=True)
    try:
        await place.start()
        await place.until(lambda: all(is_let_go(place.run(name)) for name in FAULTS), "all runs are over")
        await place.clean_in_time()
        place.reverted(*FAULTS)
        for name in FAULTS:
            status = place.run(name)["status"]
            assert (status["verdict"], status["stopping"].split(":")[0]) == ("Inconclusive", "Switch")
    finally:
        await engage(sandbox, engaged=False)


async def engage(sandbox: Sandbox, *, engaged: bool) -> None:
    """As a person does it who has nothing but kubectl."""
    patch = f'{{"spec": {{"engaged": {str(engaged).lower()}, "reason": "a test"}}}}'
    argv = ("patch", "chaosswitch", "default", "--type=merge", "-p", patch)
    said = await command(*argv, program=("kubectl",), KUBECONFIG=sandbox.kubeconfig)
    assert said.code == 0, said
