"""What Prometheus scrapes, as values."""

from __future__ import annotations

from pathlib import Path

import pytest

from rollout.errors import SandboxError
from rollout.sandbox.prometheus import install
from rollout.sandbox.prometheus.config import command, configuration, label_name, targets
from tests.unit.mesh.objects import endpoint_slice, pod, service


def test_a_services_endpoints_are_targets_with_its_name_as_job_and_the_pods_labels():
    one = pod("web-1", owner="web-abc", app="web", rollouts_pod_template_hash="abc", job="mine")
    one["metadata"]["labels"]["app.kubernetes.io/name"] = "shop"
    (found,) = targets([service("web")], endpoint_slice("web", {"web-1": ("127.0.1.1", 8080)}), [one])
    assert found == {
        "targets": ["127.0.1.1:8080"],
        "labels": {
            "app": "web",
            "app_kubernetes_io_name": "shop",
            "rollouts_pod_template_hash": "abc",
            "job": "web",
            "service": "web",
            "namespace": "shop",
            "pod": "web-1",
            "workload": "web",
        },
    }


def test_a_pod_behind_two_services_is_a_target_of_both():
    slices = [
        *endpoint_slice("web", {"web-1": ("127.0.1.1", 8080)}),
        *endpoint_slice("canary", {"web-1": ("127.0.1.1", 8080)}),
    ]
    found = targets([service("web"), service("canary")], slices, [pod("web-1")])
    assert [group["labels"]["job"] for group in found] == ["canary", "web"]


def test_a_port_for_metrics_is_preferred():
    svc = service("web")
    svc["spec"]["ports"] = [{"port": 80, "name": "http-80"}, {"port": 9102, "name": "metrics"}]
    (piece,) = endpoint_slice("web", {"web-1": ("127.0.1.1", 8080)})
    piece["ports"] = [{"name": "http-80", "port": 8080}, {"name": "metrics", "port": 9102}]
    (found,) = targets([svc], [piece], [pod("web-1")])
    assert found["targets"] == ["127.0.1.1:9102"]


def test_annotations_of_the_pod_decide():
    quiet, other = pod("a"), pod("b")
    quiet["metadata"]["annotations"] = {"prometheus.io/scrape": "false"}
    other["metadata"]["annotations"] = {"prometheus.io/port": "1234", "prometheus.io/path": "/m"}
    slices = endpoint_slice("web", {"a": ("127.0.1.1", 1), "b": ("127.0.1.2", 1)})
    (found,) = targets([service("web")], slices, [quiet, other])
    assert found["targets"] == ["127.0.1.2:1234"]
    assert found["labels"]["__metrics_path__"] == "/m"


def test_an_endpoint_without_a_pod_is_a_target_too():
    (found,) = targets([service("db")], endpoint_slice("db", {"": ("127.0.0.1", 9090)}), [])
    assert found["labels"] == {"job": "db", "service": "db", "namespace": "shop"}


def test_label_names_are_what_prometheus_allows():
    assert label_name("app.kubernetes.io/part-of") == "app_kubernetes_io_part_of"
    assert label_name("2nd") == "_2nd"


def test_everything_is_scraped_every_second_and_served_on_loopback_only():
    config = configuration(Path("/x/targets.json"), "127.0.0.1:15020")
    assert config["global"]["scrape_interval"] == "1s"
    assert config["scrape_configs"][0]["static_configs"] == [{"targets": ["127.0.0.1:15020"]}]
    assert "--web.listen-address=127.0.0.1:9090" in command(Path("/p"), Path("/x"), 9090)


def test_a_missing_server_is_said_with_the_way_out(monkeypatch, tmp_path):
    monkeypatch.delenv("PROMETHEUS_PATH", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert install.find_prometheus() is None
    with pytest.raises(SandboxError, match="PROMETHEUS_PATH"):
        install.ensure_prometheus()
    monkeypatch.setenv("PROMETHEUS_PATH", str(tmp_path / "nothing"))
    with pytest.raises(SandboxError, match="cannot be run"):
        install.find_prometheus()


def test_a_failing_download_is_said_with_its_reason(monkeypatch, tmp_path):
    for name in ("apt-get", "dpkg-deb"):
        tool = tmp_path / name
        tool.write_text("#!/bin/sh\necho 'E: Unable to locate package' >&2\nexit 100\n")
        tool.chmod(0o755)
    monkeypatch.delenv("PROMETHEUS_PATH", raising=False)
    monkeypatch.setenv("PATH", f"{tmp_path}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(SandboxError, match=r"Unable to locate package.*apt-get update"):
        install.ensure_prometheus()
