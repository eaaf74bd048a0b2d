"""What the conformance cases stand on: an API server, a namespace of one's own, and the real kubectl.

The cases say what a Kubernetes API does, so they run against our server and (marker `cluster`) against a real
kube-apiserver. Its controller manager runs the garbage collector and the controllers of namespaces only: the cases
write the status of workloads themselves, and no pod of theirs can start.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import httpx
import pytest
import yaml

from rollout.api.crds import crds
from tests.cluster.ground.needs import built
from tests.cluster.planes import plane_or_skip
from tests.conformance.answers import MANAGER_FLAGS
from tests.conformance.examples import MESH
from tests.conformance.exchanges.play import connect, new_namespace

SERVERS = ("sandbox", "kubernetes")
ATTEMPTS = 300
TIMEOUT = 300
"""Seconds for one call of kubectl: a busy machine is slow."""


@dataclass(frozen=True)
class Server:
    """`kind`: one of SERVERS; `kubeconfig` is its administrator's."""

    kind: str
    kubeconfig: Path


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        return yaml.safe_load(self.out)


@pytest.fixture(scope="session")
def kubectl_binary() -> str:
    """The user's, or else the one that was built for the cluster tests."""
    kubernetes = built("get_kubernetes.sh")
    found = shutil.which("kubectl") or (kubernetes and str(kubernetes / "kubectl"))
    if not found:
        pytest.skip("there is no kubectl on PATH, and none was built (tools/get_kubernetes.sh)")
    return found


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "cluster: runs against a real Kubernetes (tools/get_kubernetes.sh, tools/get_etcd.sh)"
    )


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What runs against a real kube-apiserver is of the cluster tier."""
    for item in items:
        asked = getattr(item, "callspec", None)
        if "kubernetes" in getattr(item, "fixturenames", ()) or (
            asked is not None and asked.params.get("server") == "kubernetes"
        ):
            item.add_marker("cluster")


@contextmanager
def sandbox_server(state: Path) -> Iterator[Server]:
    """Our API server as a process, without nodes."""
    command = [sys.executable, "-m", "rollout.sandbox.http", "--state", str(state)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        yield Server("sandbox", Path(ready["kubeconfig"]))
    finally:
        process.communicate(timeout=30)  # closes its standard input, which ends it


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with sandbox_server(tmp_path_factory.mktemp("state")) as server:
        yield server


@pytest.fixture(scope="session")
def kubernetes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with plane_or_skip(tmp_path_factory.mktemp("kubernetes"), manager_flags=MANAGER_FLAGS) as plane:
        yield Server("kubernetes", plane.kubeconfig())


@pytest.fixture(scope="session", params=SERVERS)
def server(request: pytest.FixtureRequest) -> Server:
    found: Server = request.getfixturevalue(request.param)
    return found


class Kubectl:
    """Runs kubectl in one namespace. Each call says which exit code it expects."""

    def __init__(self, binary: str, server: Server, namespace: str, home: Path) -> None:
        self.server = server
        self.namespace = namespace
        self._prefix = [binary, f"--kubeconfig={server.kubeconfig}", f"--namespace={namespace}"]
        self._environment = {"PATH": os.environ["PATH"], "HOME": str(home)}

    def __call__(self, *args: str, stdin: Any = None, code: int = 0, **environment: str) -> Result:
        done = subprocess.run(
            [*self._prefix, *args],
            input=as_text(stdin),
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            env=self._environment | environment,
            check=False,
        )
        assert done.returncode == code, (
            f"kubectl {args}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        )
        return Result(done.returncode, done.stdout, done.stderr)

    def start(self, *args: str) -> Background:
        """kubectl in the background, its output line by line."""
        process = subprocess.Popen(
            [*self._prefix, *args],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=self._environment,
        )
        return Background(process)

    def until(self, *args: str) -> None:
        """Runs kubectl until it succeeds: for what a server does in its own time."""
        for _ in range(ATTEMPTS):
            done = subprocess.run(
                [*self._prefix, *args],
                capture_output=True,
                timeout=TIMEOUT,
                env=self._environment,
                check=False,
            )
            if done.returncode == 0:
                return
            time.sleep(0.2)
        raise AssertionError(f"kubectl {args} has not succeeded once in {ATTEMPTS} times: {done.stderr!r}")

    def get(self, *args: str) -> Any:
        return json.loads(self("get", *args, "-o", "json").out)


class Background:
    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().rstrip("\n")

    def lines_until(self, matches: Callable[[str], bool]) -> list[str]:
        """Lines up to and with the first that matches; fails when the output ends before."""
        seen: list[str] = []
        stdout: IO[str] | None = self.process.stdout
        assert stdout is not None
        for line in stdout:
            seen.append(line.rstrip("\n"))
            if matches(seen[-1]):
                return seen
        raise AssertionError(f"the output ended without the line that was expected: {seen}")

    def finish(self, code: int = 0) -> str:
        out, _ = self.process.communicate(timeout=TIMEOUT)
        assert self.process.returncode == code, f"exit {self.process.returncode}\n{out}"
        return out

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


def as_text(manifests: Any) -> str | None:
    """YAML of one object or of several."""
    if manifests is None or isinstance(manifests, str):
        return manifests
    return yaml.safe_dump_all(manifests if isinstance(manifests, list) else [manifests])


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="session")
def client(server: Server) -> Iterator[httpx.Client]:
    """For what tests begin with: one request takes a hundredth of the time of one kubectl."""
    with connect(server.kubeconfig) as connected:
        yield connected


@pytest.fixture
def kubectl(kubectl_binary: str, server: Server, client: httpx.Client, home: Path) -> Kubectl:
    """kubectl in a namespace of this test's own."""
    return Kubectl(kubectl_binary, server, new_namespace(client), home)


@pytest.fixture(scope="session")
def definitions(kubectl_binary: str, server: Server, home: Path) -> None:
    """All definitions, ours and the mesh's, once for each server."""
    run = Kubectl(kubectl_binary, server, "default", home)
    for file in MESH:
        run("apply", "--server-side", "-f", str(file))
    run("apply", "--server-side", "-f", "-", stdin=crds())
    run("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")


@pytest.fixture
def defined(definitions: None, kubectl: Kubectl) -> Kubectl:
    return kubectl
