"""The server as a process: its ready line, its end, its errors."""

import json
import signal
import socket
import ssl
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.unit.http.conftest import CONFIG_MAPS, config_map


def start(state, *arguments, stdin=subprocess.PIPE):
    return subprocess.Popen(
        [sys.executable, "-m", "rollout.sandbox.http", "--state", str(state), *arguments],
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def process(tmp_path):
    started = start(tmp_path / "state")
    yield started
    started.kill()
    started.wait()
    for pipe in (started.stdin, started.stdout, started.stderr):
        pipe.close()


def test_the_ready_line_says_how_to_get_in_and_the_token_is_not_in_it(process, tmp_path):
    ready = json.loads(process.stdout.readline())
    assert ready["pid"] == process.pid
    assert ready["kubeconfig"] == str(tmp_path / "state" / "kubeconfig")
    token = (tmp_path / "state" / "token").read_text()
    assert token not in json.dumps(ready)
    with socket.create_connection(("127.0.0.1", int(ready["address"].rpartition(":")[2]))):
        pass


def test_it_ends_when_its_standard_input_closes(process):
    process.stdout.readline()
    process.stdin.close()
    assert process.wait(timeout=20) == 0


def test_it_ends_on_sigterm(process):
    process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=20) == 0


def test_a_taken_port_is_one_line_and_an_exit_code(tmp_path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        failed = start(tmp_path, "--port", str(other.getsockname()[1]))
        out, err = failed.communicate(timeout=20)
    assert (failed.returncode, out) == (1, "")
    assert err.startswith("error: port ")
    assert err.count("\n") == 1


def test_a_standard_input_that_cannot_close_is_refused_unless_detached(tmp_path):
    refused = start(tmp_path, stdin=subprocess.DEVNULL)
    _, err = refused.communicate(timeout=20)
    assert (refused.returncode, "--detached" in err) == (1, True)
    detached = start(tmp_path, "--detached", stdin=subprocess.DEVNULL)
    assert json.loads(detached.stdout.readline())["pid"] == detached.pid
    detached.terminate()
    detached.communicate(timeout=20)
    assert detached.returncode == 0


def client_of(process):
    ready = json.loads(process.stdout.readline())
    tls = ssl.create_default_context(cafile=ready["certificateAuthority"])
    headers = {"authorization": f"Bearer {Path(ready['tokenFile']).read_text()}"}
    return httpx.Client(base_url=ready["address"], verify=tls, headers=headers)


def test_what_was_acknowledged_survives_kill_nine(tmp_path):
    arguments = (tmp_path / "state", "--data", str(tmp_path / "data"))
    first = start(*arguments)
    with client_of(first) as client:
        client.post(CONFIG_MAPS, json=config_map("kept")).raise_for_status()
        first.kill()
    first.communicate()
    second = start(*arguments)
    with client_of(second) as client:
        found = client.get(CONFIG_MAPS).json()["items"]
    second.communicate(timeout=20)
    # The server's own kube-root-ca.crt may be there, too.
    assert [item["metadata"]["name"] for item in found if item["metadata"]["name"] != "kube-root-ca.crt"] == [
        "kept"
    ]
