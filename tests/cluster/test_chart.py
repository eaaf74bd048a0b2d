"""The chart in a real cluster: two pods of its own image under the standard "restricted", and releases under its roles."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

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
SELECTED = "app.kubernetes.io/component=controller"
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
    own_cluster.kubectl(
        "rollout", "status", "deployment/surefoot", "-n", chart.NAMESPACE, "--timeout=300s", timeout=330
    )
    yield own_cluster
    sys.stdout.write(logs(own_cluster)[-4000:])
    chart.uninstall(own_cluster)


def pods(cluster: Cluster) -> list[dict[str, Any]]:
    return list(cluster.get("pods", "-n", chart.NAMESPACE, "-l", SELECTED)["items"])


def logs(cluster: Cluster) -> str:
    return cluster.kubectl("logs", "-n", chart.NAMESPACE, "-l", SELECTED, "--tail=-1", "--prefix")


def leader(cluster: Cluster) -> dict[str, Any] | None:
    """The pod that holds the Lease, if there is one."""
    lease = cluster.get("lease", LEASE_NAME, "-n", chart.NAMESPACE)
    holder = lease["spec"].get("holderIdentity") or ""
    return next((one for one in pods(cluster) if holder.startswith(one["metadata"]["name"])), None)


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
    found = pods(installed)
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
        first = until("one of them leads", lambda: leader(installed))
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
    second = until("one of them leads", lambda: leader(installed))
    assert second["metadata"]["uid"] != first["metadata"]["uid"]
