"""The rendered objects before real programs: kubectl and an API server take them, Prometheus takes the queries."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

import pytest
import yaml

from rollout.sandbox.prometheus.install import find_prometheus
from tests.chart.support import CRD_CHART, NAMESPACE, of_kind, rendered, run

pytestmark = pytest.mark.sandbox

NOT_SERVED = {
    # Kinds that the sandbox's API server does not have (it has no RBAC, and `rollout sandbox gaps` says so).
    "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding", "CronJob", "ServiceMonitor", "PrometheusRule",
}  # fmt: skip
PATIENCE = 60


@pytest.fixture(scope="module")
def kubectl(tmp_path_factory):
    """`kubectl` before an API server of its own, which ends with the module."""
    state = tmp_path_factory.mktemp("state")
    argv = [sys.executable, "-m", "rollout.sandbox.http", "--state", state, "--port", "0"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        try:
            ready = json.loads(server.stdout.readline())
            yield lambda *args: run("kubectl", "--kubeconfig", ready["kubeconfig"], *args)
        finally:
            server.stdin.close()
            server.wait(PATIENCE)


def apply(kubectl, tmp_path, objects, *more):
    file = tmp_path / "objects.yaml"
    file.write_text(yaml.safe_dump_all(objects))
    done = kubectl("apply", "--server-side", "--force-conflicts", "-f", str(file), *more)
    assert done.returncode == 0, done.stderr
    return done.stdout


def served(objects):
    return [one for one in objects if one["kind"] not in NOT_SERVED]


def test_an_api_server_takes_an_installation_and_its_upgrade(kubectl, tmp_path):
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    definitions = rendered(chart=CRD_CHART, release="crds")
    apply(kubectl, tmp_path, [namespace, *definitions])
    said = apply(kubectl, tmp_path, served(rendered("least")), "--dry-run=server")
    assert "deployment.apps/surefoot serverside-applied (server dry run)" in said
    apply(kubectl, tmp_path, served(rendered("least")))
    # The upgrade changes everything that can be changed of an installation with the least values.
    apply(kubectl, tmp_path, served(rendered("everything")))
    got = kubectl("get", "deployment", "surefoot", "-n", NAMESPACE, "-o", "json")
    live = json.loads(got.stdout)
    (wanted,) = of_kind(rendered("everything"), "Deployment")
    assert live["metadata"]["generation"] == 2
    assert live["spec"]["selector"] == wanted["spec"]["selector"]
    assert (
        live["spec"]["template"]["spec"]["containers"][0]["args"]
        == wanted["spec"]["template"]["spec"]["containers"][0]["args"]
    )
    rolled_out = kubectl("get", "rollouts.argoproj.io,chaosruns.surefoot.dev", "-A")
    assert rolled_out.returncode == 0, rolled_out.stderr


def test_the_definitions_are_the_same_whichever_chart_brings_them(kubectl, tmp_path):
    definitions = of_kind(rendered(), "CustomResourceDefinition")
    apply(kubectl, tmp_path, definitions)
    before = kubectl("get", "crd", "-o", "jsonpath={.items[*].metadata.generation}").stdout
    apply(kubectl, tmp_path, of_kind(rendered(chart=CRD_CHART, release="crds"), "CustomResourceDefinition"))
    assert kubectl("get", "crd", "-o", "jsonpath={.items[*].metadata.generation}").stdout == before


# --- Prometheus ---------------------------------------------------------------------------------------


def free_port():
    import socket

    with socket.create_server(("127.0.0.1", 0)) as sock:
        return sock.getsockname()[1]


def get(url):
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=5) as answer:
        return json.load(answer)


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory):
    """The base URL of a Prometheus that has loaded the chart's alerts."""
    program = find_prometheus()
    if program is None:
        pytest.skip("Prometheus is missing; get it with tools/get_prometheus.sh")
    folder = tmp_path_factory.mktemp("prometheus")
    (rule,) = of_kind(rendered("everything"), "PrometheusRule")
    (folder / "rules.yaml").write_text(yaml.safe_dump(rule["spec"]))
    (folder / "prometheus.yaml").write_text(yaml.safe_dump({"rule_files": ["rules.yaml"]}))
    url = f"http://127.0.0.1:{free_port()}"
    argv = [
        program,
        f"--config.file={folder / 'prometheus.yaml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={url.removeprefix('http://')}",
    ]
    with (folder / "log").open("w") as log, subprocess.Popen(argv, stdout=log, stderr=log) as server:
        try:
            end = time.monotonic() + PATIENCE  # noqa: TID251 - a real program is waited for
            while True:
                assert server.poll() is None, (folder / "log").read_text()
                assert time.monotonic() < end, (folder / "log").read_text()  # noqa: TID251
                with contextlib.suppress(urllib.error.URLError, OSError, ValueError):
                    get(f"{url}/api/v1/rules")
                    break
                time.sleep(0.05)
            yield url
        finally:
            os.kill(server.pid, signal.SIGTERM)
            server.wait(PATIENCE)


def test_prometheus_loads_every_alert(prometheus):
    groups = get(f"{prometheus}/api/v1/rules")["data"]["groups"]
    (rule,) = of_kind(rendered("everything"), "PrometheusRule")
    loaded = [one["name"] for group in groups for one in group["rules"]]
    assert loaded == [one["alert"] for group in rule["spec"]["groups"] for one in group["rules"]]


def test_prometheus_understands_every_query_of_the_dashboard(prometheus):
    boards = [one for one in of_kind(rendered("everything"), "ConfigMap") if "surefoot.json" in one["data"]]
    panels = json.loads(boards[0]["data"]["surefoot.json"])["panels"]
    queries = [target["expr"] for panel in panels for target in panel.get("targets", ())]
    assert queries
    for query in queries:
        asked = urllib.parse.urlencode({"query": query.replace("$namespace", ".*").replace("$job", ".*")})
        assert get(f"{prometheus}/api/v1/query?{asked}")["status"] == "success", query
