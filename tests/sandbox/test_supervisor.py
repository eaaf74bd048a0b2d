"""A whole sandbox: up, used, hurt, down."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import aiohttp
import msgspec
import pytest

from rollout.api.resources import NAMESPACES, PODS, REPLICA_SETS, SERVICES
from rollout.errors import SandboxError
from rollout.runtime.client import HttpKube
from rollout.runtime.config import load
from rollout.sandbox.state import Part, is_alive, processes_of
from rollout.sandbox.supervisor import (
    ExtraCommand,
    Sandbox,
    SandboxConfig,
    SandboxStatus,
    StateDirectory,
    down,
    status,
    up,
)

pytestmark = pytest.mark.sandbox

PATIENCE = 30.0


def until(condition: Callable[[], bool]) -> None:
    for _ in range(int(PATIENCE / 0.05)):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("waited too long")


def silent(_line: str) -> None:
    """Progress that nobody reads."""


@pytest.fixture
def config(tmp_path: Path) -> Iterator[SandboxConfig]:
    wanted = SandboxConfig(name="test", state=str(tmp_path / "state"))
    yield wanted
    down(wanted.directory())


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[SandboxConfig, Sandbox, list[str]]]:
    """A sandbox for tests that leave it as it is."""
    root = tmp_path_factory.mktemp("shared")
    script = "import os, time; print(os.environ['KUBECONFIG'], os.environ['HTTP_PROXY'], flush=True); time.sleep(600)"
    wanted = SandboxConfig(
        name="test",
        state=str(root / "state"),
        commands=(ExtraCommand("helper", (sys.executable, "-c", script)),),
    )
    lines: list[str] = []
    try:
        yield wanted, up(wanted, lines.append), lines
    finally:
        down(wanted.directory())


def part(found: SandboxStatus, name: str) -> Part:
    return next(item for item in found.parts if item.name == name)


def test_up_says_what_it_does_and_status_shows_every_part_with_its_address(shared):
    config, sandbox, lines = shared
    assert lines
    found = status(config.directory())
    assert found.running
    assert found.ready
    assert {item.name for item in found.parts} == {
        "api-server",
        "envoy",
        "prometheus",
        "workloads",
        "node",
        "mesh",
        "targets",
        "helper",
    }
    assert {item.state for item in found.parts} == {"running"}
    assert part(found, "envoy").version
    assert part(found, "prometheus").version
    assert part(found, "api-server").address == sandbox.api
    assert sandbox.export_line == f"export KUBECONFIG={sandbox.kubeconfig}"


def test_only_its_owner_can_look_into_the_state(shared):
    config, sandbox, _ = shared
    assert config.directory().root.stat().st_mode & 0o777 == 0o700
    assert Path(sandbox.kubeconfig).stat().st_mode & 0o777 == 0o600


def test_up_again_says_that_it_is_up_and_changes_nothing(shared):
    config, sandbox, _ = shared
    again = up(config, silent)
    assert again.already
    assert msgspec.structs.replace(again, already=False) == sandbox


def test_an_extra_command_gets_the_sandboxs_environment(shared):
    config, sandbox, _ = shared
    log = config.directory().logs / "helper.log"
    until(lambda: log.read_text().endswith("\n"))
    assert log.read_text() == f"{sandbox.kubeconfig} {sandbox.mesh_proxy}\n"


async def test_pods_run_and_answer_by_name_and_prometheus_is_found_by_its_name(shared):
    _, sandbox, _ = shared
    kube = HttpKube(load(kubeconfig=sandbox.kubeconfig))
    template = {
        "metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [{"name": "web", "image": "web:v7", "ports": [{"containerPort": 8080}]}]},
    }
    await kube.create(
        NAMESPACES, None, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}
    )
    await kube.create(
        SERVICES,
        "shop",
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "web"},
            "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]},
        },
    )
    await kube.create(
        REPLICA_SETS,
        "shop",
        {
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "metadata": {"name": "web"},
            "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "web"}}, "template": template},
        },
    )
    proxy = sandbox.mesh_proxy
    async with aiohttp.ClientSession() as session, asyncio.timeout(PATIENCE):
        while True:
            async with session.get("http://web.shop/", proxy=proxy) as answer:
                if answer.status == 200:
                    assert '"v7"' in await answer.text()
                    break
            await asyncio.sleep(0.05)
        async with session.get(f"{sandbox.gateway}/", headers={"Host": "web.shop"}) as answer:
            assert answer.status == 200
        async with session.get("http://prometheus.monitoring:9090/-/ready", proxy=proxy) as answer:
            assert answer.status == 200
        (pod, _) = (await kube.list(PODS, "shop", labels="app=web")).items
        query = f'istio_requests_total{{reporter="source",destination_workload="web",destination_service_namespace="{pod["metadata"]["namespace"]}"}}'
        while True:
            url = f"{sandbox.prometheus}/api/v1/query"
            async with session.get(url, params={"query": query}) as answer:
                if (await answer.json())["data"]["result"]:
                    break
            await asyncio.sleep(0.1)
    await kube.close()


def test_down_leaves_no_process_and_can_be_said_twice(config):
    sandbox = up(config, silent)
    assert len(processes_of(config.directory())) >= 4
    assert down(config.directory()).was_running
    assert processes_of(config.directory()) == []
    assert not is_alive(sandbox.pid)
    assert not down(config.directory()).was_running
    assert not status(config.directory()).running


def test_a_supervisor_that_is_killed_takes_everything_with_it(config):
    sandbox = up(config, silent)
    os.kill(sandbox.pid, signal.SIGKILL)
    until(lambda: processes_of(config.directory()) == [])
    assert status(config.directory()).ended == "it was killed"
    assert not up(config, silent).already


def test_a_dead_envoy_is_started_again_on_its_ports(config):
    sandbox = up(config, silent)
    first = part(status(config.directory()), "envoy")
    os.kill(first.pid, signal.SIGKILL)

    def answers() -> bool:
        found = part(status(config.directory()), "envoy")
        if found.pid in {0, first.pid}:
            return False
        port = int(sandbox.gateway.rpartition(":")[2])
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    until(answers)
    again = part(status(config.directory()), "envoy")
    assert again.restarts == 1
    assert "envoy was killed by SIGKILL" in again.message


def test_the_end_of_the_api_server_ends_the_sandbox_and_says_why(config):
    up(config, silent)
    os.kill(part(status(config.directory()), "api-server").pid, signal.SIGKILL)
    until(lambda: not status(config.directory()).running)
    assert "api-server was killed by SIGKILL" in status(config.directory()).ended
    until(lambda: processes_of(config.directory()) == [])


def test_an_extra_command_that_dies_is_started_again(tmp_path, config):
    count = tmp_path / "count"
    script = f"open({str(count)!r}, 'a').write('x'); raise SystemExit('no good')"
    wanted = msgspec.structs.replace(
        config, commands=(ExtraCommand("helper", (sys.executable, "-c", script)),)
    )
    up(wanted, silent)
    until(lambda: count.exists() and len(count.read_text()) >= 3)
    until(lambda: part(status(config.directory()), "helper").restarts >= 2)
    message = part(status(config.directory()), "helper").message
    assert "helper ended with exit code 1" in message
    assert "no good" in message


@pytest.mark.parametrize("option", ["api_port", "mesh_port", "gateway_port", "prometheus_port"])
def test_a_taken_port_is_said_with_its_number_and_nothing_is_left(config, option):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SandboxError, match=f"port {port} .* is taken by another process; choose another"):
            up(msgspec.structs.replace(config, **{option: port}), silent)
    assert processes_of(config.directory()) == []
    assert not status(config.directory()).running


@pytest.mark.parametrize("variable", ["ENVOY_PATH", "PROMETHEUS_PATH"])
def test_a_missing_program_is_said_with_the_way_out(config, monkeypatch, variable):
    monkeypatch.setenv(variable, "/nonexistent/program")
    with pytest.raises(SandboxError, match=f"{variable} is /nonexistent/program, which cannot be run"):
        up(config, silent)
    assert processes_of(config.directory()) == []


def test_a_program_that_dies_at_once_is_said_with_its_last_words(config, monkeypatch, tmp_path):
    broken = tmp_path / "prometheus"
    broken.write_text("#!/bin/sh\necho 'out of luck' >&2\nexit 7\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PROMETHEUS_PATH", str(broken))
    with pytest.raises(SandboxError, match=r"prometheus ended with exit code 7.*out of luck"):
        up(config, silent)
    assert processes_of(config.directory()) == []


def test_in_the_foreground_ctrl_c_ends_everything_and_is_no_error(config):
    code = (
        "import sys; from rollout.sandbox.supervisor import *; "
        f"run_foreground(SandboxConfig(name='test', state={config.state!r}), print, lambda s: print('READY', s.pid, flush=True))"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert any(line == f"READY {process.pid}\n" for line in process.stdout)
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE) == 0
    assert processes_of(config.directory()) == []


def test_an_unreadable_images_file_is_said_and_nothing_is_left(config, tmp_path):
    images = tmp_path / "images.yaml"
    images.write_text("- image: [")
    with pytest.raises(SandboxError, match=r"images\.yaml cannot be read"):
        up(msgspec.structs.replace(config, images=str(images)), silent)
    assert processes_of(config.directory()) == []


async def test_with_data_a_sandbox_goes_on_where_it_was(config, tmp_path):
    wanted = msgspec.structs.replace(config, data=str(tmp_path / "data"))
    before = await asyncio.to_thread(up, wanted, silent)
    kube = HttpKube(load(kubeconfig=before.kubeconfig))
    kept = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kept"}}
    uid = (await kube.create(NAMESPACES, None, kept))["metadata"]["uid"]
    await kube.close()
    await asyncio.to_thread(down, wanted.directory())
    after = await asyncio.to_thread(up, wanted, silent)
    kube = HttpKube(load(kubeconfig=after.kubeconfig))
    assert (await kube.get(NAMESPACES, None, "kept"))["metadata"]["uid"] == uid
    await kube.close()
    async with aiohttp.ClientSession() as session:
        url = "http://prometheus.monitoring:9090/-/ready"  # its port is another one now
        async with session.get(url, proxy=after.mesh_proxy) as answer:
            assert answer.status == 200


def test_two_ups_at_once_make_one_sandbox(config):
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(2) as pool:
        one, two = pool.map(lambda _: up(config, silent), range(2))
    assert one.pid == two.pid


def test_a_directory_that_is_not_ours_to_use_is_refused(tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(SandboxError, match="choose another place with --state"):
        up(SandboxConfig(state=str(file)), silent)
    assert StateDirectory(file).read() is None
