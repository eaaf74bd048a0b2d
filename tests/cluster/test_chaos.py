"""Chaos on a real cluster, by what needs no mesh: what the real kubelet, eviction and network say, and nothing is left."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from rollout.api.chaos import FINALIZER, OPT_IN
from rollout.api.meta import Key, metadata
from rollout.api.resources import (
    CHAOS_RUNS,
    CHAOS_SCHEDULES,
    DEPLOYMENTS,
    NETWORK_POLICIES,
    PDBS,
    PODS,
    SERVICES,
)
from rollout.runtime.kube import Object
from tests.cluster import ours
from tests.cluster.ground.cluster import Cluster
from tests.cluster.ground.examples import container
from tests.cluster.releases import APP, Releases, stage, template
from tests.sandbox.release_support import service

pytestmark = pytest.mark.cluster
INJECTOR = "docker.io/surefoot-test/injector:local"
KINDS = (PODS, DEPLOYMENTS, PDBS, NETWORK_POLICIES, CHAOS_RUNS, CHAOS_SCHEDULES)


@pytest.fixture(scope="module")
def prepared(own_cluster: Cluster) -> Iterator[Cluster]:
    with ours.prepared(own_cluster, "demo", "injector"):
        yield own_cluster


class Place:
    """A namespace that has consented to chaos, with the Deployment `web` behind a Service."""

    def __init__(self, releases: Releases, cluster: Cluster) -> None:
        self.releases, self.cluster = releases, cluster

    async def ready(self, name: str, replicas: int) -> None:
        def holds() -> bool:
            found = self.releases.find(DEPLOYMENTS, name)
            return bool(found) and (found.get("status") or {}).get("readyReplicas") == replicas

        await self.releases.until(holds, f"{replicas} pods of {name} are ready")

    def pods(self, name: str = APP) -> dict[str, Object]:
        """By uid."""
        found = self.releases.seen.store[PODS].values()
        return {metadata(one)["uid"]: one for one in found if metadata(one)["labels"].get("app") == name}

    async def completed(self, name: str, fault: Object, **spec: Any) -> Object:
        """Make a run, and see it to its end: its status."""
        run = {
            "apiVersion": "surefoot.dev/v1alpha1",
            "kind": "ChaosRun",
            "metadata": {"name": name},
            "spec": {
                "duration": "10s",
                "recoveryTimeout": "180s",
                "target": {"workloadRef": {"kind": "Deployment", "name": APP}},
                "limits": {"maxPercent": 100},
                "steps": [{"faults": [{"name": "fault", **fault}]}],
                "probes": [self.probe()],
                **spec,
            },
        }
        await self.releases.create(run)
        return await self.over(name)

    async def over(self, name: str) -> Object:
        def holds() -> bool:
            run = self.releases.find(CHAOS_RUNS, name)
            return (run.get("status") or {}).get("phase") == "Completed" and FINALIZER not in (
                metadata(run).get("finalizers") or ()
            )

        await self.releases.seen.until(
            holds,
            f"run {name} is over",
            told=lambda: yaml.safe_dump(self.releases.find(CHAOS_RUNS, name).get("status")),
        )
        assert self.releases.seen.store[NETWORK_POLICIES] == {}
        status = self.releases.find(CHAOS_RUNS, name)["status"]
        return status if isinstance(status, dict) else {}

    def probe(self) -> Object:
        """At the end the application answers."""
        url = f"http://{self.releases.address(APP)}/"
        return {
            "name": "answers",
            "mode": "End",
            "provider": {"http": {"url": url, "timeout": "30s"}},
            "successCondition": "result.status == 200",
        }


@asynccontextmanager
async def place(
    cluster: Cluster, namespace: str, folder: Path, *options: str, replicas: int = 3
) -> AsyncIterator[Place]:
    cluster.kubectl("label", "namespace", namespace, f"{OPT_IN}=enabled")
    cluster.kubectl("apply", "-n", namespace, "-f", "-", stdin=[service(), deployment(APP, replicas)])
    cluster.kubectl("rollout", "status", f"deployment/{APP}", "-n", namespace, "--timeout=240s")
    surroundings = {"SUREFOOT_INJECTOR_IMAGE": INJECTOR}
    async with stage(cluster, namespace, folder, *options, more=KINDS, **surroundings) as releases:
        found = Place(releases, cluster)
        await found.ready(APP, replicas)
        yield found


def deployment(name: str, replicas: int, pod: Object | None = None) -> Object:
    made = pod or template("v1", name=name)
    # Here a pod that ends shall be gone soon.
    made["spec"]["terminationGracePeriodSeconds"] = 2
    for one in made["spec"]["containers"][0].get("env", ()):
        one["value"] = "0" if one["name"] == "DRAIN_SECONDS" else one["value"]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": made},
    }


def budget(least: int) -> Object:
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": APP},
        "spec": {"minAvailable": least, "selector": {"matchLabels": {"app": APP}}},
    }


def receipts(status: Object) -> list[Object]:
    return list(status.get("receipts") or ())


def reverted(status: Object) -> Object:
    """The one receipt: proved, and gone."""
    [one] = receipts(status)
    assert one["state"] == "Reverted", yaml.safe_dump(status)
    assert one["proof"], yaml.safe_dump(status)
    assert one["gone"], yaml.safe_dump(status)
    return one


async def test_an_eviction_is_refused_as_long_as_the_budget_allows_none_and_carried_out_when_it_does(
    prepared: Cluster, namespace: str, tmp_path: Path
) -> None:
    async with place(prepared, namespace, tmp_path) as here:
        releases = here.releases
        await releases.create(budget(3))

        def allows(pods: int) -> bool:
            found = releases.find(PDBS).get("status") or {}
            return found.get("disruptionsAllowed") == pods and found.get("currentHealthy") == 3

        await releases.until(lambda: allows(0), "the budget allows nothing")
        before = set(here.pods())
        refused = await here.completed("refused", {"podDelete": {"method": "evict"}})
        assert refused["verdict"] == "Error", yaml.safe_dump(refused)
        assert "PodDisruptionBudget web allows no disruption now" in refused["message"]
        assert receipts(refused) == []
        assert set(here.pods()) == before

        await releases.kube.patch(PDBS, namespace, APP, {"spec": {"minAvailable": 2}})
        await releases.until(lambda: allows(1), "the budget allows one")
        allowed = await here.completed("allowed", {"podDelete": {"method": "evict"}})
        assert allowed["verdict"] == "Successful", yaml.safe_dump(allowed)
        one = reverted(allowed)
        assert "EvictionByEvictionAPI" in one["proof"] or "has gone" in one["proof"]
        assert before - set(here.pods()) == {one["victim"]["uid"]}
        await here.ready(APP, 3)


async def test_a_container_is_killed_and_the_kubelet_starts_it_again(
    prepared: Cluster, namespace: str, tmp_path: Path
) -> None:
    async with place(prepared, namespace, tmp_path, replicas=2) as here:
        fault = {"containerKill": {"container": "app", "signal": "TERM"}}
        status = await here.completed("killed", fault, duration="40s")
        assert status["verdict"] == "Successful", yaml.safe_dump(status)
        one = reverted(status)
        assert one["proof"].startswith("container app was started again: restartCount 0 -> 1")
        victim = here.pods()[one["victim"]["uid"]]
        counts = [each["restartCount"] for each in victim["status"]["containerStatuses"]]
        assert counts == [1]


async def test_a_process_that_does_not_heed_the_signal_proves_nothing_and_the_run_says_so(
    prepared: Cluster, namespace: str, tmp_path: Path
) -> None:
    deaf = {
        "metadata": {"labels": {"app": "deaf"}},
        "spec": {"containers": [container("exec sleep 3600")]},
    }
    async with place(prepared, namespace, tmp_path, replicas=1) as here:
        await here.releases.create(deployment("deaf", 2, deaf))
        await here.ready("deaf", 2)
        status = await here.completed(
            "deaf",
            {"containerKill": {"container": "main", "signal": "TERM"}},
            duration="25s",
            target={"workloadRef": {"kind": "Deployment", "name": "deaf"}},
        )
        assert status["verdict"] == "Error", yaml.safe_dump(status)
        assert "no proof" in status["message"], yaml.safe_dump(status)
        assert "ignores" in status["message"], yaml.safe_dump(status)
        for pod in here.pods("deaf").values():
            assert [one["restartCount"] for one in pod["status"]["containerStatuses"]] == [0]


async def test_a_network_policy_that_nobody_enforces_is_never_a_success(
    prepared: Cluster, namespace: str, tmp_path: Path
) -> None:
    async with place(prepared, namespace, tmp_path, replicas=1) as here:
        await here.releases.create(deployment("payments", 1), service("payments"))
        await here.ready("payments", 1)
        await here.releases.seen.complete()
        assert here.releases.find(SERVICES, "payments")
        status = await here.completed(
            "cut-off",
            {"dependencyOutage": {"host": "payments", "method": "networkPolicy"}},
            duration="20s",
            target={"workloadRef": {"kind": "Deployment", "name": APP}, "percent": 100},
            limits={"maxPercent": 100, "allowTotal": True},
        )
        assert status["verdict"] == "Error", yaml.safe_dump(status)
        assert "no proof" in status["message"], yaml.safe_dump(status)
        made = [one.key for one in here.releases.seen.happenings if one.resource == NETWORK_POLICIES]
        assert made, "a policy was made, and taken away"


async def test_a_deployment_is_scaled_down_and_up_again(
    prepared: Cluster, namespace: str, tmp_path: Path
) -> None:
    async with place(prepared, namespace, tmp_path, replicas=4) as here:
        status = await here.completed("half", {"scaleDown": {"percent": 50}})
        assert status["verdict"] == "Successful", yaml.safe_dump(status)
        one = reverted(status)
        assert "replicas 4 -> 2" in one["proof"]
        assert one["gone"] == "replicas are 4 again"
        await here.ready(APP, 4)


async def test_a_schedule_makes_a_run_at_its_time(prepared: Cluster, namespace: str, tmp_path: Path) -> None:
    schedule = {
        "apiVersion": "surefoot.dev/v1alpha1",
        "kind": "ChaosSchedule",
        "metadata": {"name": "each-minute"},
        "spec": {
            "schedule": "* * * * *",
            "concurrencyPolicy": "Forbid",
            "run": {
                "spec": {
                    "duration": "2s",
                    "recoveryTimeout": "180s",
                    "target": {"workloadRef": {"kind": "Deployment", "name": APP}},
                    "steps": [{"faults": [{"name": "kill-one", "podDelete": {"method": "delete"}}]}],
                },
            },
        },
    }
    # A minute of the schedule lasts three seconds.
    async with place(prepared, namespace, tmp_path, "--schedule-speed", "20") as here:
        releases = here.releases
        schedule["spec"]["run"]["spec"]["probes"] = [here.probe()]
        await releases.create(schedule)
        await releases.until(lambda: bool(releases.seen.store[CHAOS_RUNS]), "a run is made")
        name = min(key.name for key in releases.seen.store[CHAOS_RUNS])
        owners = metadata(releases.find(CHAOS_RUNS, name))["ownerReferences"]
        assert [one["name"] for one in owners] == ["each-minute"]
        status = await here.over(name)
        assert status["verdict"] == "Successful", yaml.safe_dump(status)
        await releases.kube.delete(CHAOS_SCHEDULES, namespace, "each-minute")
        key = Key(namespace, "each-minute")
        await releases.until(lambda: key not in releases.seen.store[CHAOS_SCHEDULES], "the schedule is gone")
        # The garbage collector takes its runs, each when all of it is undone.
        await releases.until(lambda: not releases.seen.store[CHAOS_RUNS], "its runs are gone")
        await here.ready(APP, 3)
