"""One whole real cluster for the session, for the tests that are marked `cluster`.

They are run by `make test-cluster`, which says where by CLUSTER: `own`, on this machine, or `kind`. Without it, or
where something is missing, they are skipped with the reason; no test builds or downloads anything.
"""

from __future__ import annotations

import os
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.gateway import install
from tests.cluster.gateway.install import Public
from tests.cluster.ground import cluster as own
from tests.cluster.ground import kind, needs
from tests.cluster.ground.api import AnyCluster
from tests.cluster.ground.cluster import Cluster
from tests.cluster.ground.images import busybox

WHERE = {"own": (needs.missing, own.running), "kind": (kind.missing, kind.running)}


@pytest.fixture(scope="session")
def where() -> str:
    chosen = os.environ.get("CLUSTER", "")
    if chosen not in WHERE:
        pytest.skip("needs a cluster: make test-cluster, or CLUSTER=own (or kind) in the environment")
    if lacks := WHERE[chosen][0]():
        pytest.skip("; ".join(lacks))
    return chosen


@pytest.fixture(scope="session")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="surefoot-cluster-") as path:
        yield Path(path)


@pytest.fixture(scope="session")
def cluster(where: str, folder: Path) -> Iterator[AnyCluster]:
    """The cluster, with an image that has a shell (`images.BUSYBOX`)."""
    with WHERE[where][1](folder / "cluster") as one:
        one.import_image(busybox(folder / "busybox.tar"))
        yield one


@pytest.fixture(scope="session")
def own_cluster(where: str, cluster: AnyCluster) -> Cluster:
    """The cluster, where a test looks into the node or reaches pods from this machine."""
    if not isinstance(cluster, Cluster):
        pytest.skip("looks into the node, which is in a container of its own on kind")
    return cluster


@pytest.fixture(scope="session")
def public(own_cluster: Cluster) -> Public:
    """Envoy Gateway, with the Gateway `public`."""
    if lacks := install.missing():
        pytest.skip("; ".join(lacks))
    return install.install(own_cluster)


@pytest.fixture
def namespace(cluster: AnyCluster) -> Iterator[str]:
    """A namespace of the test's own, with its default service account."""
    name = f"case-{uuid.uuid4().hex[:8]}"
    cluster.kubectl("create", "namespace", name)
    cluster.kubectl("wait", "-n", name, "--for=create", "serviceaccount/default", "--timeout=240s")
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")
