"""The controller before a real API server with RBAC: what is not granted is said, done without, and healed by granting it.

Needs Kubernetes' programs and etcd (tools/get_kubernetes.sh, tools/get_etcd.sh) and helm, and no node; skipped without them.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from rollout.api import crds
from tests.chart.support import NAMESPACE, ROOT, of_kind, rendered, run
from tests.cluster.control_plane import ControlPlane
from tests.cluster.planes import plane_or_skip

pytestmark = [pytest.mark.sandbox, pytest.mark.slow]

USER = f"system:serviceaccount:{NAMESPACE}:surefoot"
PATIENCE = 240.0
"""What is not granted is looked at every 30 s; a busy machine is slow."""
ROUTES = ("virtualservices.networking.istio.io", "httproutes.gateway.networking.k8s.io")


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with plane_or_skip(tmp_path_factory.mktemp("plane"), manager=False) as started:
        apply(started, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        apply(started, *crds.crds())
        yield started


def apply(plane: ControlPlane, *objects: Any) -> None:
    file = plane.folder / "objects.yaml"
    file.write_text(yaml.safe_dump_all(objects))
    done = run("kubectl", "--kubeconfig", plane.kubeconfig(), "apply", "--server-side", "-f", file)
    assert done.returncode == 0, done.stderr


def roles(*features: str) -> list[Any]:
    """The chart's roles with these features and no others, for the account that our client has."""
    switches = yaml.safe_load((ROOT / "charts/surefoot/values.yaml").read_text())["features"]
    objects = rendered(more={f"features.{name}": name in features for name in switches})
    return of_kind(objects, "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding")


class Running:
    """One `rollout controller run`."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process, self.log = process, log

    def records(self, event: str) -> list[dict[str, Any]]:
        lines = [line for line in self.log.read_text().splitlines() if line.startswith("{")]
        return [one for one in map(json.loads, lines) if one["message"] == event]

    def until(self, holds: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + PATIENCE  # noqa: TID251 - a real process is waited for
        while not holds():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < end, f"in vain until {what}\n{self.log.read_text()}"  # noqa: TID251
            time.sleep(0.2)

    def page(self, path: str) -> tuple[int, str]:
        port = self.records("serving metrics and health")[0]["port"]
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(f"http://127.0.0.1:{port}{path}", timeout=60) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as refused:
            return refused.code, refused.read().decode()

    def state(self, resource: str) -> str:
        lines = [line for line in self.page("/metrics")[1].splitlines() if "surefoot_watch_state{" in line]
        (found,) = [line for line in lines if f'resource="{resource}"' in line]
        return found.partition('state="')[2].partition('"')[0]


@contextmanager
def controller(plane: ControlPlane, log: Path, user: str = USER) -> Iterator[Running]:
    config = plane.kubeconfig(user, ("system:authenticated",))
    argv = [sys.executable, "-m", "rollout.cli.main", "controller", "run", "--kubeconfig", str(config)]
    argv += ["--metrics-address", "127.0.0.1:0", "--lease-namespace", NAMESPACE]
    with log.open("wb") as output:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=ROOT)
    try:
        found = Running(process, log)
        found.until(lambda: bool(found.records("serving metrics and health")), "it serves")
        yield found
    finally:
        process.kill()
        process.wait()


def test_kinds_that_are_not_granted_are_done_without_and_followed_once_they_are(plane, tmp_path):
    apply(plane, *roles("decisions", "events"))
    with controller(plane, tmp_path / "log") as one:
        one.until(lambda: one.page("/readyz")[0] == 200, "it is ready")
        assert {one.state(route) for route in ROUTES} == {"not granted"}
        assert one.state("rollouts.argoproj.io") == "followed"
        ready = one.page("/readyz")[1]
        for route, role in zip(ROUTES, ("istio", "gateway"), strict=True):
            assert f"the controller may not watch {route}; the role '{role}' grants it" in ready
        # Granted, but not installed: the same server says 404 then.
        apply(plane, *roles("decisions", "events", "istio", "gateway"))
        one.until(lambda: {one.state(route) for route in ROUTES} == {"not served"}, "they are granted")
        for name in ("istio.yaml", "gateway.yaml"):
            documents = yaml.safe_load_all((ROOT / "rollout/sandbox/crds" / name).read_text())
            apply(plane, *(document for document in documents if document))
        one.until(lambda: {one.state(route) for route in ROUTES} == {"followed"}, "they are served")
        said = [record["resource"] for record in one.records("not granted")]
        assert sorted(set(said)) == sorted(said), "each is said once"


def test_a_controller_without_the_core_role_lives_unready_and_names_verb_resource_and_role(plane, tmp_path):
    with controller(plane, tmp_path / "log", "nobody") as one:
        one.until(lambda: len(one.records("not granted")) >= 5, "it has looked")
        code, ready = one.page("/readyz")
        assert code == 503
        assert "the controller may not watch rollouts.argoproj.io; the role 'core' grants it" in ready
        assert 'User "nobody" cannot watch resource "rollouts" in API group "argoproj.io"' in ready
        assert one.page("/healthz")[0] == 200
        assert one.process.poll() is None
        assert "Traceback" not in one.log.read_text()
