"""The chart for one namespace, on a real API server: the controller works there, and asks for nothing anywhere else.
And the reaper that is installed with it, as the Job that its CronJob makes.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from rollout.api.chaos import EXPIRES_AT, OPT_IN, RECEIPT, RUN_LABEL, RUN_UID
from rollout.api.meta import metadata, timestamp
from rollout.runtime.clock import SystemClock
from tests.cluster import chart
from tests.cluster.gateway.install import archives
from tests.cluster.ground.cluster import Cluster
from tests.cluster.ground.waiting import until
from tests.cluster.releases import APP, releases_in, rollout
from tests.sandbox.release_support import pause

pytestmark = pytest.mark.cluster
FEATURES = ("jobs", "loadTest", "secrets", "chaos", "chaosNetwork")
"""With those that are on by default: all of them."""
REAPER = f"{chart.ACCOUNT}-reaper"
EVERYWHERE = {"clusteranalysistemplates", "chaosswitches", "namespaces", "nodes"}
"""Kinds without a namespace that are read all the same (docs/install.md)."""


class Installed:
    """`here` is the namespace that the controller is for, `there` another; `since` is the audit log's end before."""

    def __init__(self, cluster: Cluster, here: str, there: str) -> None:
        self.cluster, self.here, self.there = cluster, here, there
        self.since = cluster.audit.stat().st_size

    def asked(self, account: str) -> list[dict[str, Any]]:
        return chart.asked(self.cluster.audit, self.since, account)


@pytest.fixture(scope="module")
def installed(own_cluster: Cluster) -> Iterator[Installed]:
    if lacks := chart.missing():
        pytest.skip("; ".join(lacks))
    if (images := archives(("controller", "demo"))) is None:
        pytest.skip("images have not been built: python -m tools.images controller demo")
    for archive in images:
        own_cluster.import_image(archive)
    here, there = (f"{name}-{uuid.uuid4().hex[:8]}" for name in ("here", "there"))
    for name in (here, there):
        own_cluster.kubectl("create", "namespace", name)
        own_cluster.kubectl("wait", "-n", name, "--for=create", "serviceaccount/default", "--timeout=240s")
        own_cluster.kubectl("label", "namespace", name, f"{OPT_IN}=enabled")
    found = Installed(own_cluster, here, there)
    features = [f"features.{one}=true" for one in FEATURES]
    chart.install(own_cluster, f"namespaces={{{here}}}", "replicas=1", "reaper.schedule=0 0 1 1 *", *features)
    chart.ready(own_cluster)
    yield found
    chart.uninstall(own_cluster)
    own_cluster.kubectl("delete", "namespace", here, there, "--wait=false")


async def test_a_controller_of_one_namespace_works_there_and_is_refused_nothing_because_it_asks_for_nothing_else(
    installed: Installed,
) -> None:
    cluster, canary = installed.cluster, {"canary": {"steps": [{"setWeight": 50}, pause("1s")]}}
    cluster.kubectl("create", "-n", installed.there, "-f", "-", stdin=rollout(canary, version="v1"))
    async with releases_in(cluster, installed.here) as releases:
        await releases.create(rollout(canary, version="v1"))
        await releases.phase("Healthy")
        await releases.release("v2")
        await releases.until(lambda: releases.sizes() == {"v1": 0, "v2": 2}, "v2 is released")
        await releases.phase("Healthy", step=2)
    elsewhere = cluster.get("rollout", APP, "-n", installed.there)
    assert "status" not in elsewhere

    # The reaper of the controller has had its turn by then, too: it looks half a minute after the start.
    def asked() -> list[dict[str, Any]]:
        return installed.asked(chart.ACCOUNT)

    def reaped() -> bool:
        lists = [one["requestURI"] for one in asked() if one["verb"] == "list"]
        return any("networkpolicies" in one and "labelSelector=" in one for one in lists)

    until("it has looked for what faults left behind", reaped)
    refused = [one for one in asked() if one["responseStatus"].get("code") == 403]
    assert [(one["verb"], one["requestURI"]) for one in refused] == []
    where = {
        (about.get("namespace", ""), about["resource"])
        for about in (one.get("objectRef") or {} for one in asked())
        if "resource" in about
    }
    assert {kind for namespace, kind in where if not namespace} <= EVERYWHERE
    assert {namespace for namespace, _ in where} <= {"", installed.here, chart.NAMESPACE, "istio-system"}
    assert {kind for namespace, kind in where if namespace == "istio-system"} <= {"configmaps"}
    assert {kind for namespace, kind in where if namespace == chart.NAMESPACE} <= {"leases", "events"}
    bound = [
        one["metadata"]["name"]
        for one in cluster.get("clusterrolebindings")["items"]
        if {"kind": "ServiceAccount", "name": "surefoot", "namespace": chart.NAMESPACE}
        in (one.get("subjects") or ())
    ]
    for name in bound:
        rules = cluster.get("clusterrole", name)["rules"]
        granted = {
            kind.partition("/")[0]
            for rule in rules
            for kind in rule["resources"]
            if "resourceNames" not in rule
        }
        assert granted <= EVERYWHERE, name


def policy(name: str, run: dict[str, Any] | None, expires: datetime) -> dict[str, Any]:
    """A NetworkPolicy that selects nobody: of a run's fault, or of somebody else's."""
    meta: dict[str, Any] = {"name": name}
    if run is not None:
        meta["labels"] = {RUN_LABEL: metadata(run)["name"], RUN_UID: metadata(run)["uid"]}
    meta["annotations"] = {EXPIRES_AT: timestamp(expires), RECEIPT: f"receipt-{name}"}
    spec = {"podSelector": {"matchLabels": {"app": "nobody"}}, "policyTypes": ["Ingress"]}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": meta, "spec": spec}


RUN = {
    "apiVersion": "surefoot.dev/v1alpha1",
    "kind": "ChaosRun",
    "metadata": {"name": "cut-off"},
    "spec": {
        "duration": "1h",
        "target": {"workloadRef": {"kind": "Deployment", "name": "nobody"}},
        "steps": [{"faults": [{"name": "out", "podDelete": {}}]}],
    },
}


def test_the_reapers_job_deletes_what_is_expired_and_nothing_else(installed: Installed) -> None:
    # In the other namespace, where the controller neither looks nor may.
    cluster, there = installed.cluster, installed.there
    cluster.kubectl("create", "-n", there, "-f", "-", stdin=RUN)
    run, now = cluster.get("chaosrun", "cut-off", "-n", there), SystemClock().now().astimezone(UTC)
    policies = [
        policy("expired", run, now - timedelta(minutes=1)),
        policy("live", run, now + timedelta(hours=1)),
        policy("foreign", None, now - timedelta(minutes=1)),
    ]
    cluster.kubectl("create", "-n", there, "-f", "-", stdin=policies)
    made = ("create", "job", "reap-now", "--from=cronjob/surefoot-reaper", "-n", chart.NAMESPACE)
    job = cluster.kubectl(*made, "--dry-run=client", "-o", "yaml")
    assert "--for=50s" in job
    cluster.kubectl("create", "-f", "-", stdin=job.replace("--for=50s", "--for=10s"))
    wait = ("wait", "job/reap-now", "-n", chart.NAMESPACE, "--for=condition=Complete", "--timeout=240s")
    cluster.kubectl(*wait, timeout=300)
    said = cluster.kubectl("logs", "job/reap-now", "-n", chart.NAMESPACE)
    assert said.splitlines() == [f"deleted NetworkPolicy {there}/expired: its lease is over"]
    left = {one["metadata"]["name"] for one in cluster.get("networkpolicies", "-n", there)["items"]}
    assert left == {"live", "foreign"}
    asked = installed.asked(REAPER)
    assert {one["responseStatus"]["code"] for one in asked} <= {200, 404}, "404: a kind that is not served"
    about = [(one["verb"], one["objectRef"]["name"]) for one in asked if one["verb"] != "list"]
    assert about == [("delete", "expired")]
