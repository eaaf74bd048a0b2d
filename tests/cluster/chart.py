"""Our own chart in a test cluster, by helm, as an operator installs it; its pods, and which of them writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rollout.manager import LEASE_NAME
from tests.cluster.ground.api import AnyCluster
from tests.cluster.ground.commands import run
from tests.cluster.ground.needs import ROOT, built, required

RELEASE, NAMESPACE = "surefoot", "surefoot-system"
ACCOUNT = f"system:serviceaccount:{NAMESPACE}:{RELEASE}"
"""The controller, as the API server knows it."""
SELECTED = "app.kubernetes.io/component=controller"
CHANGES = frozenset({"create", "update", "patch", "delete"})
_POD = "authentication.kubernetes.io/pod-name"


def missing() -> list[str]:
    """What is missing and how to get it, a line each."""
    return [] if built("get_helm.sh") else ["helm has not been built: tools/get_helm.sh"]


def install(cluster: AnyCluster, *values: str) -> None:
    """Installs the chart with these values (`name=value`), or changes what is installed; waits for nothing."""
    flags = [f"--set={one}" for one in values]
    helm(
        cluster, "upgrade", "--install", RELEASE, str(ROOT / "charts/surefoot"), "--create-namespace", *flags
    )


def ready(cluster: AnyCluster) -> None:
    """Waits until all controllers that the Deployment asks for are ready, and no other is there."""
    status = ("rollout", "status", f"deployment/{RELEASE}", "-n", NAMESPACE, "--timeout=300s")
    cluster.kubectl(*status, timeout=330)


def uninstall(cluster: AnyCluster) -> None:
    """Uninstalls it. What `crds.keep` keeps stays: the CRDs, and all objects of our kinds."""
    helm(cluster, "uninstall", RELEASE, "--wait", "--ignore-not-found", "--timeout=300s")


def pods(cluster: AnyCluster) -> list[dict[str, Any]]:
    """The controllers."""
    return list(cluster.get("pods", "-n", NAMESPACE, "-l", SELECTED)["items"])


def leader(cluster: AnyCluster) -> dict[str, Any] | None:
    """The pod that holds the Lease, if there is one."""
    lease = cluster.get("lease", LEASE_NAME, "-n", NAMESPACE)
    holder = lease["spec"].get("holderIdentity") or ""
    return next((one for one in pods(cluster) if holder.startswith(one["metadata"]["name"])), None)


def terms(cluster: AnyCluster) -> int:
    """How often the Lease has gone over to another one."""
    return int(cluster.get("lease", LEASE_NAME, "-n", NAMESPACE)["spec"]["leaseTransitions"])


def asked(audit: Path, since: int = 0, account: str = ACCOUNT) -> list[dict[str, Any]]:
    """What the controllers (or another account) have asked of the API, in the order in which it came.

    `audit` is the audit log, read from the byte `since`.
    """
    with audit.open("rb") as log:
        log.seek(since)
        lines = [line for line in log if line.endswith(b"\n")]
    events = [event for event in map(json.loads, lines) if event["user"].get("username") == account]
    return sorted(events, key=lambda event: str(event["requestReceivedTimestamp"]))


def turns(audit: Path, namespace: str, since: int = 0) -> list[str]:
    """The pods that have changed objects of a namespace, each once for every time that it took over from another."""
    found: list[str] = []
    for event in asked(audit, since):
        about = event.get("objectRef") or {}
        # Events trail behind what they tell of.
        if event["verb"] not in CHANGES or about.get("resource") == "events":
            continue
        if about.get("namespace") == namespace and event["responseStatus"]["code"] < 300:
            [pod] = event["user"]["extra"][_POD]
            if found[-1:] != [pod]:
                found.append(pod)
    return found


def helm(cluster: AnyCluster, *arguments: str) -> str:
    """helm in the chart's namespace; its output. Raises Failed."""
    common = (f"--kubeconfig={cluster.kubeconfig}", f"--namespace={NAMESPACE}")
    return run(required("get_helm.sh"), *arguments, *common, timeout=600)
