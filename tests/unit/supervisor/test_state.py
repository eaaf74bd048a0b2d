"""State directories, records, base objects, gaps."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rollout.errors import SandboxError
from rollout.sandbox.base import CRD_DIRECTORIES, prometheus_objects, read_crds
from rollout.sandbox.config import SandboxConfig
from rollout.sandbox.gaps import gaps
from rollout.sandbox.state import Lock, Part, Record, StateDirectory, is_alive, is_held, state_directory
from rollout.sandbox.supervisor import status


def test_the_usual_place_is_below_the_users_state_directory(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert state_directory("blue").root == tmp_path / "surefoot" / "blue"
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", "/home/eve")
    assert state_directory().root == Path("/home/eve/.local/state/surefoot/default")


@pytest.mark.parametrize("name", ["", "..", "a/b", "Big", "x" * 41, "-a"])
def test_names_that_could_lead_elsewhere_are_refused(name):
    with pytest.raises(SandboxError, match="cannot be a sandbox's name"):
        state_directory(name)


def test_one_holder_per_directory(tmp_path):
    state = StateDirectory(tmp_path)
    assert not is_held(state)
    first, second = Lock(state), Lock(state)
    assert first.acquire()
    assert not second.acquire()
    assert is_held(state)
    first.release()
    assert not is_held(state)


def test_a_record_is_read_as_it_was_written_and_garbage_is_none(tmp_path):
    state = StateDirectory(tmp_path)
    assert state.read() is None
    record = Record("x", 1, "2026-01-01T00:00:00Z", parts=(Part("envoy", pid=7),))
    state.write(record)
    assert state.read() == record
    state.record.write_bytes(b"{")
    assert state.read() is None


def test_the_status_of_what_was_never_there_is_not_running(tmp_path):
    assert not status(StateDirectory(tmp_path / "none")).running


def test_a_killed_sandbox_says_so(tmp_path):
    state = StateDirectory(tmp_path)
    state.write(Record("x", 1, "2026-01-01T00:00:00Z", ready=True))
    assert status(state).ended == "it was killed"


def test_paths_are_made_absolute_for_a_process_elsewhere(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    config = SandboxConfig(state="s", images="i.yaml", crds=("c",)).absolute()
    assert (config.state, config.images, config.crds, config.data) == (
        str(tmp_path / "s"),
        str(tmp_path / "i.yaml"),
        (str(tmp_path / "c"),),
        "",
    )


def test_every_sandbox_knows_the_kinds_that_rollouts_touch():
    names = {crd["metadata"]["name"] for crd in read_crds(CRD_DIRECTORIES)}
    assert {
        "virtualservices.networking.istio.io",
        "destinationrules.networking.istio.io",
        "httproutes.gateway.networking.k8s.io",
        "rollouts.argoproj.io",
    } <= names


def test_a_directory_without_crds_or_with_something_else_is_refused(tmp_path):
    with pytest.raises(SandboxError, match=r"no \*\.yaml"):
        read_crds([tmp_path])
    (tmp_path / "x.yaml").write_text("kind: Service\n")
    with pytest.raises(SandboxError, match="something else"):
        read_crds([tmp_path])


def test_prometheus_is_a_service_with_its_real_address():
    (_, service), (_, piece) = prometheus_objects("127.0.0.1", 40123)
    assert service["spec"]["ports"][0]["port"] == 9090
    assert piece["ports"][0]["port"] == 40123
    assert piece["metadata"]["labels"]["kubernetes.io/service-name"] == "prometheus"


def test_gaps_are_grouped_by_area():
    areas = [gap.area for gap in gaps()]
    assert {"mesh", "node", "network", "metrics", "security", "api"} <= set(areas)
    assert len([area for area, before in zip(areas, [None, *areas], strict=False) if area != before]) == len(
        set(areas)
    )


def test_asking_for_status_imports_no_machinery():
    """`rollout sandbox status` has to be quick."""
    code = (
        "import sys; from rollout.sandbox.supervisor import status, state_directory; "
        "status(state_directory('nothing-here')); "
        "bad = {'asyncio', 'aiohttp', 'yaml', 'structlog', 'uvicorn'} & set(sys.modules); sys.exit(str(bad) if bad else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="only Linux tells the states of processes")
def test_a_process_that_has_ended_but_was_not_collected_is_not_alive():
    child = subprocess.Popen([sys.executable, "-c", ""])
    try:
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and stays uncollected
        os.kill(child.pid, 0)
        assert not is_alive(child.pid)
    finally:
        child.wait()
    assert is_alive(os.getpid())
