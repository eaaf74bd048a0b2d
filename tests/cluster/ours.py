"""The chart's rights for `rollout controller run` on this machine, and images by their names in tools/images."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cluster import chart
from tests.cluster.gateway.install import archives
from tests.cluster.ground.api import AnyCluster

FEATURES = ("jobs", "loadTest", "chaos", "chaosNetwork")
"""What the chart grants only when it is asked to, and these tests use."""


@contextmanager
def prepared(cluster: AnyCluster, *images: str) -> Iterator[None]:
    """Our CRDs, roles and service account by the chart, without controllers of its own; and these images.

    Skips where something has not been built.
    """
    if lacks := chart.missing():
        pytest.skip("; ".join(lacks))
    found = archives(images)
    if found is None:
        pytest.skip(f"images have not been built: python -m tools.images {' '.join(images)}")
    for archive in found:
        cluster.import_image(archive)
    features = [f"features.{one}=true" for one in FEATURES]
    chart.install(cluster, "replicas=0", "reaper.enabled=false", *features)
    try:
        yield
    finally:
        chart.uninstall(cluster)


def token(cluster: AnyCluster) -> str:
    """A token of the controller's service account, for longer than any test."""
    account = ("token", chart.RELEASE, "-n", chart.NAMESPACE)
    return cluster.kubectl("create", *account, "--duration=4h").strip()


def kubeconfig(cluster: AnyCluster, folder: Path) -> Path:
    """For a controller with that token."""
    config = json.loads(cluster.kubectl("config", "view", "--raw", "-o", "json"))
    config["users"][0]["user"] = {"token": token(cluster)}
    path = folder / "controller.kubeconfig"
    path.touch(mode=0o600)
    path.write_text(json.dumps(config))
    return path
