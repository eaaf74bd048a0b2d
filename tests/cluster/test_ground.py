"""The cluster itself: it is a real one, and nothing of it stays."""

from __future__ import annotations

import json
import os
import re
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.ground import cluster as own
from tests.cluster.ground import remains
from tests.cluster.ground.api import AnyCluster, kubectl_path
from tests.cluster.ground.cluster import Cluster
from tests.cluster.ground.commands import Failed, run
from tests.cluster.ground.examples import pod, read, web
from tests.cluster.ground.node import KERNEL_SETTINGS
from tests.cluster.ground.waiting import until

pytestmark = pytest.mark.cluster


def test_the_node_is_ready_and_says_what_it_runs(cluster: AnyCluster) -> None:
    for node in cluster.get("nodes")["items"]:
        conditions = {one["type"]: one["status"] for one in node["status"]["conditions"]}
        assert conditions["Ready"] == "True"
        assert node["status"]["nodeInfo"]["containerRuntimeVersion"].startswith("containerd://")
        assert node["status"]["nodeInfo"]["kubeletVersion"].startswith("v1.34.")


def test_three_pods_behind_a_service_answer_to_this_machine_and_to_a_pod(
    own_cluster: Cluster, namespace: str
) -> None:
    own_cluster.kubectl("apply", "-n", namespace, "-f", "-", stdin=web())
    own_cluster.kubectl("rollout", "status", "deployment/web", "-n", namespace, "--timeout=240s")
    pods = own_cluster.get("pods", "-n", namespace, "-l", "app=web")["items"]
    names = {one["metadata"]["name"] for one in pods}
    address = own_cluster.get("service", "web", "-n", namespace)["spec"]["clusterIP"]
    heard: set[str] = set()

    def all_have_answered() -> bool:
        heard.add(read(f"http://{address}/"))
        return heard - {""} == names

    until("each pod answers behind the Service", all_have_answered)
    assert len(names) == 3
    for one in pods:
        assert read(f"http://{one['status']['podIP']}:8080/") == one["metadata"]["name"]
    asked = ("exec", "deployment/web", "-n", namespace, "--", "wget", "-q", "-O-", f"http://{address}/")
    assert own_cluster.kubectl(*asked).strip() in names


def test_pods_find_services_by_name_and_no_name_of_the_world(cluster: AnyCluster, namespace: str) -> None:
    cluster.kubectl("apply", "-n", namespace, "-f", "-", stdin=[*web(), pod("asking", "exec sleep 3600")])
    cluster.kubectl("rollout", "status", "deployment/web", "-n", namespace, "--timeout=240s")
    cluster.kubectl("wait", "-n", namespace, "pod/asking", "--for=condition=Ready", "--timeout=240s")
    for name in ("web", f"web.{namespace}", f"web.{namespace}.svc.cluster.local"):
        asked = ("exec", "asking", "-n", namespace, "--", "wget", "-q", "-O-", f"http://{name}/")
        assert until(f"{name} answers", lambda asked=asked: heard(cluster, *asked)).startswith("web-")
    with pytest.raises(Failed, match=r"bad address|NXDOMAIN"):
        cluster.kubectl("exec", "asking", "-n", namespace, "--", "wget", "-O-", "http://web.invalid/")


def heard(cluster: AnyCluster, *args: str) -> str:
    """Its output; empty when it failed."""
    try:
        return cluster.kubectl(*args)
    except Failed:
        return ""


def test_logs_and_exec_reach_a_container(cluster: AnyCluster, namespace: str) -> None:
    script = "echo out; echo err >&2; touch /tmp/ready; exec sleep 3600"
    ready = {"exec": {"command": ["test", "-e", "/tmp/ready"]}, "periodSeconds": 1}
    cluster.kubectl("apply", "-n", namespace, "-f", "-", stdin=pod("one", script, readinessProbe=ready))
    cluster.kubectl("wait", "-n", namespace, "pod/one", "--for=condition=Ready", "--timeout=240s")
    assert sorted(cluster.kubectl("logs", "one", "-n", namespace).split()) == ["err", "out"]
    said = cluster.kubectl("exec", "one", "-n", namespace, "--", "sh", "-c", "echo from inside; id -u")
    assert said.splitlines() == ["from inside", "0"]
    with pytest.raises(Failed, match="exit code 7"):
        cluster.kubectl("exec", "one", "-n", namespace, "--", "sh", "-c", "exit 7")


def test_a_container_whose_process_is_killed_is_started_again(own_cluster: Cluster, namespace: str) -> None:
    own_cluster.kubectl("apply", "-n", namespace, "-f", "-", stdin=pod("one", "exec sleep 3600"))
    own_cluster.kubectl("wait", "-n", namespace, "pod/one", "--for=condition=Ready", "--timeout=240s")
    [status] = own_cluster.get("pod", "one", "-n", namespace)["status"]["containerStatuses"]
    [pid] = own_cluster.processes(status["containerID"])
    os.kill(pid, signal.SIGKILL)

    def started_again() -> dict[str, Any] | None:
        [now] = own_cluster.get("pod", "one", "-n", namespace)["status"]["containerStatuses"]
        return now if now["restartCount"] and now["state"].get("running") else None

    again = until("the container runs again", started_again)
    assert again["restartCount"] == 1
    assert again["lastState"]["terminated"]["exitCode"] == 137
    assert own_cluster.processes(again["containerID"]) not in (set(), {pid})


def test_a_service_account_without_a_role_may_not_read(
    cluster: AnyCluster, namespace: str, tmp_path: Path
) -> None:
    config = json.loads(cluster.kubectl("config", "view", "--raw", "-o", "json"))
    token = cluster.kubectl("create", "token", "default", "-n", namespace).strip()
    config["users"][0]["user"] = {"token": token}
    theirs = tmp_path / "kubeconfig"
    theirs.write_text(json.dumps(config))
    user = f"system:serviceaccount:{namespace}:default"
    with pytest.raises(Failed, match=f'(?s)Forbidden.*User "{user}" cannot list resource "secrets"'):
        run(kubectl_path(), f"--kubeconfig={theirs}", "get", "secrets", "-n", namespace)


def test_a_privileged_pod_is_refused_where_restricted_is_enforced(
    cluster: AnyCluster, namespace: str
) -> None:
    label = "pod-security.kubernetes.io/enforce=restricted"
    cluster.kubectl("label", "namespace", namespace, label)
    refused = pod("one", "exec sleep 3600", securityContext={"privileged": True})
    with pytest.raises(Failed, match='violates PodSecurity "restricted:latest": privileged'):
        cluster.kubectl("apply", "-n", namespace, "-f", "-", stdin=refused)


def test_the_audit_log_says_who_asked_for_what(own_cluster: Cluster, namespace: str) -> None:
    own_cluster.kubectl("create", "configmap", "one", "-n", namespace)

    def told() -> list[dict[str, Any]]:
        lines = [json.loads(one) for one in own_cluster.audit.read_text().splitlines() if namespace in one]
        return [
            one
            for one in lines
            if (one["verb"], one["objectRef"]["resource"], one["user"]["username"])
            == ("create", "configmaps", "admin")
        ]

    [line] = until("the request is in the audit log", told)
    assert line["objectRef"]["name"] == "one"
    assert line["responseStatus"]["code"] == 201
    assert "requestObject" not in line


def test_there_is_no_way_out_of_the_node(own_cluster: Cluster) -> None:
    assert run(*own_cluster.inside("--net"), "ip", "route", "show", "default") == ""
    assert str(own_cluster.place.pods) in run("ip", "route")


@pytest.fixture
def folders(where: str) -> Iterator[tuple[Path, Path]]:
    if where != "own":
        pytest.skip("is about the cluster that we make ourselves")
    with tempfile.TemporaryDirectory(prefix="surefoot-cluster-") as base:
        both = Path(base) / "one", Path(base) / "two"
        yield both
        for folder in both:
            own.down(folder)


def of_the_machine() -> tuple[dict[str, str], list[str]]:
    """The kernel's settings that the kubelet would change, and the rules of the machine's own network."""
    rules = re.sub(r"\[\d+:\d+\]", "", run("iptables-save")).splitlines()
    settings = {one: Path("/proc/sys", one).read_text() for one in KERNEL_SETTINGS}
    return settings, [rule for rule in rules if not rule.startswith("#")]


def test_nothing_is_left_after_down_and_after_a_kill_of_its_keeper(folders: tuple[Path, Path]) -> None:
    first, second = folders
    before = of_the_machine()
    killed = own.up(first)
    kinds = {line.split()[0] for line in remains.found(first)}
    assert kinds == {"process", "cgroup", "network", "folder"}
    os.kill(killed.mark.keeper, signal.SIGKILL)
    until("the kernel ends all of it", lambda: not any("process" in one for one in remains.found(first)))
    assert own.phase(first) == "Dead"
    assert remains.found(first) != []

    cluster = own.up(second)
    assert remains.found(first) == [], "up removes what dead ones left"
    assert own.find(second) is not None
    assert cluster.get("nodes")["items"] != []
    own.down(second)
    assert remains.found(second) == []
    assert own.phase(second) == "Absent"
    assert of_the_machine() == before


def test_a_folder_that_is_no_clusters_is_refused(where: str, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("precious")
    for act in (own.up, own.down):
        with pytest.raises(Failed, match="not empty and not a cluster's"):
            act(tmp_path)
    with pytest.raises(Failed, match="cannot be a cluster's folder"):
        own.up(Path("/run/anything"))
    assert (tmp_path / "mine").read_text() == "precious"
