"""Our own chart in a test cluster, by helm, as an operator installs it."""

from __future__ import annotations

from tests.cluster.ground.api import AnyCluster
from tests.cluster.ground.commands import run
from tests.cluster.ground.needs import ROOT, built, required

RELEASE, NAMESPACE = "surefoot", "surefoot-system"


def missing() -> list[str]:
    """What is missing and how to get it, a line each."""
    return [] if built("get_helm.sh") else ["helm has not been built: tools/get_helm.sh"]


def install(cluster: AnyCluster, *values: str) -> None:
    """Installs the chart with these values (`name=value`), or changes what is installed; waits for nothing."""
    flags = [f"--set={one}" for one in values]
    helm(
        cluster, "upgrade", "--install", RELEASE, str(ROOT / "charts/surefoot"), "--create-namespace", *flags
    )


def uninstall(cluster: AnyCluster) -> None:
    """Uninstalls it. What `crds.keep` keeps stays: the CRDs, and all objects of our kinds."""
    helm(cluster, "uninstall", RELEASE, "--wait", "--ignore-not-found", "--timeout=300s")


def helm(cluster: AnyCluster, *arguments: str) -> str:
    """helm in the chart's namespace; its output. Raises Failed."""
    common = (f"--kubeconfig={cluster.kubeconfig}", f"--namespace={NAMESPACE}")
    return run(required("get_helm.sh"), *arguments, *common, timeout=600)
