"""The chart in a real cluster: two pods of its own image under the standard "restricted", and releases under its roles."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rollout.api.meta import time_of
from rollout.manager import LEASE_NAME
from rollout.runtime.clock import SystemClock
from tests.cluster import chart
from tests.cluster.gateway.install import archives
from tests.cluster.ground.cluster import Cluster
from tests.cluster.ground.commands import Failed
from tests.cluster.ground.waiting import until
from tests.cluster.releases import Releases, releases_in, rollout
from tests.sandbox.release_support import pause
from tools.images.recipes import version

pytestmark = pytest.mark.cluster
CLOCK = SystemClock()
RESTRICTED = {
    "apiVersion": "v1",
    "kind": "Namespace",
    "metadata": {
        "name": chart.NAMESPACE,
        "labels": {"pod-security.kubernetes.io/enforce": "restricted"},
    },
}
PRIVILEGED = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "privileged", "namespace": chart.NAMESPACE},
    "spec": {"containers": [{"name": "c", "image": "any", "securityContext": {"privileged": True}}]},
}


@pytest.fixture(scope="module")
def installed(own_cluster: Cluster) -> Iterator[Cluster]:
    """The chart, its two pods Ready, in a namespace that lets no other than restricted pods in."""
    if lacks := chart.missing():
        pytest.skip("; ".join(lacks))
    if (images := archives(("controller", "demo"))) is None:
        pytest.skip("images have not been built: python -m tools.images controller demo")
    for archive in images:
        own_cluster.import_image(archive)
    own_cluster.kubectl("apply", "--server-side", "-f", "-", stdin=RESTRICTED)
    chart.install(own_cluster, "replicas=2")
    chart.ready(own_cluster)
    yield own_cluster
    sys.stdout.write(logs(own_cluster)[-4000:])
    chart.uninstall(own_cluster)


def logs(cluster: Cluster) -> str:
    return cluster.kubectl("logs", "-n", chart.NAMESPACE, "-l", chart.SELECTED, "--tail=-1", "--prefix")


def canary(*steps: dict[str, Any]) -> dict[str, Any]:
    """A canary by the share of its pods."""
    return rollout({"canary": {"steps": list(steps)}}, version="v1")


async def released(releases: Releases, version: str) -> None:
    await releases.release(version)
    await releases.until(lambda: releases.sizes().get(version) == 2, f"{version} has two pods")
    await releases.phase("Healthy")


def test_two_controllers_of_its_own_image_are_ready_where_only_restricted_pods_may_be(
    installed: Cluster,
) -> None:
    with pytest.raises(Failed, match="violates PodSecurity"):
        installed.kubectl("create", "-f", "-", stdin=PRIVILEGED)
    found = chart.pods(installed)
    assert len(found) == 2
    for pod in found:
        assert {one["type"]: one["status"] for one in pod["status"]["conditions"]}["Ready"] == "True"
        assert pod["spec"]["serviceAccountName"] == "surefoot"
        [container] = pod["spec"]["containers"]
        assert container["image"] == f"surefoot/controller:{version()}"
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        [status] = pod["status"]["containerStatuses"]
        for process in installed.processes(status["containerID"]):
            assert Path(f"/proc/{process}").stat().st_uid == 65532


async def test_a_release_passes_under_the_roles_of_the_chart(installed: Cluster, namespace: str) -> None:
    async with releases_in(installed, namespace) as releases:
        await releases.create(canary({"setWeight": 50}, pause("1s")))
        await releases.phase("Healthy")
        await released(releases, "v2")
    assert "forbidden" not in logs(installed).lower()


async def test_the_standby_goes_on_with_a_release_when_the_leader_is_killed_by_kill_9(
    installed: Cluster, namespace: str
) -> None:
    async with releases_in(installed, namespace) as releases:
        await releases.create(canary({"setWeight": 50}, pause()))
        await releases.phase("Healthy")
        await releases.release("v2")
        await releases.phase("Paused", step=1)
        first = until("one of them leads", lambda: chart.leader(installed))
        [status] = first["status"]["containerStatuses"]
        for process in installed.processes(status["containerID"]):
            os.kill(process, signal.SIGKILL)
        killed = CLOCK.monotonic()
        await releases.promote()
        await releases.until(
            lambda: int(releases.status().get("currentStepIndex") or 0) >= 2, "a controller writes"
        )
        sys.stdout.write(
            f"the next write came {CLOCK.monotonic() - killed:.1f} s after kill -9 of the leader\n"
        )
        await releases.until(lambda: releases.sizes() == {"v1": 0, "v2": 2}, "the release is through")
        await releases.phase("Healthy")
    second = until("one of them leads", lambda: chart.leader(installed))
    assert second["metadata"]["uid"] != first["metadata"]["uid"]


def evict(cluster: Cluster, pod: dict[str, Any]) -> None:
    """As `kubectl drain` does it. Raises Failed where a budget does not allow it."""
    name = pod["metadata"]["name"]
    eviction = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": name, "namespace": chart.NAMESPACE},
    }
    path = f"/api/v1/namespaces/{chart.NAMESPACE}/pods/{name}/eviction"
    cluster.kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps(eviction))


def allows(cluster: Cluster, healthy: int, disruptions: int) -> bool:
    """Whether the budget knows of so many ready controllers, and lets so many go."""
    budget = cluster.get("poddisruptionbudget", chart.RELEASE, "-n", chart.NAMESPACE)
    status = budget.get("status") or {}
    return (status.get("currentHealthy"), status.get("disruptionsAllowed")) == (healthy, disruptions)


async def test_a_drain_takes_one_controller_and_the_other_goes_on_at_once_and_cannot_be_taken(
    installed: Cluster, namespace: str
) -> None:
    chart.ready(installed)
    async with releases_in(installed, namespace) as releases:
        await releases.create(canary({"setWeight": 50}, pause()))
        await releases.phase("Healthy")
        await releases.release("v2")
        await releases.phase("Paused", step=1)
        first = until("one of them leads", lambda: chart.leader(installed))
        until("the budget lets one go", lambda: allows(installed, 2, 1))
        # On a node that takes no pods the evicted one has no successor until the end of the drain.
        node = first["spec"]["nodeName"]
        installed.kubectl("cordon", node)
        try:
            evict(installed, first)
            evicted = CLOCK.now()
            second = until("the other one leads", lambda: next_leader(installed, first))
            lease = installed.get("lease", LEASE_NAME, "-n", chart.NAMESPACE)
            taken = time_of(lease["spec"]["acquireTime"])
            assert taken is not None
            sys.stdout.write(
                f"the Lease was taken {(taken - evicted).total_seconds():.1f} s after the eviction\n"
            )
            await releases.promote()
            await releases.until(
                lambda: int(releases.status().get("currentStepIndex") or 0) >= 2, "the other one writes"
            )
            until("the budget lets none go", lambda: allows(installed, 1, 0))
            with pytest.raises(Failed, match="disruption budget"):
                evict(installed, second)
        finally:
            installed.kubectl("uncordon", node)
        await releases.until(lambda: releases.sizes() == {"v1": 0, "v2": 2}, "the release is through")
        await releases.phase("Healthy")
    chart.ready(installed)
    assert second["metadata"]["uid"] in {one["metadata"]["uid"] for one in chart.pods(installed)}


def next_leader(cluster: Cluster, before: dict[str, Any]) -> dict[str, Any] | None:
    found = chart.leader(cluster)
    return found if found and found["metadata"]["uid"] != before["metadata"]["uid"] else None
