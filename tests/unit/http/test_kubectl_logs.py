"""`kubectl logs` against the server with a log source of the test's own."""

import asyncio
import shutil

import pytest

from tests.unit.http.conftest import PODS
from tests.unit.http.test_server import pod
from tests.unit.http.test_streaming import until

pytestmark = pytest.mark.skipif(shutil.which("kubectl") is None, reason="there is no kubectl on PATH")


@pytest.fixture
async def kubectl(api, tmp_path):
    """Starts kubectl; what still runs at the end is killed."""
    config = tmp_path / "kubeconfig"
    api.server.write_kubeconfig(config)
    running = []

    async def start(*args):
        process = await asyncio.create_subprocess_exec(
            "kubectl",
            f"--kubeconfig={config}",
            *args,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(tmp_path)},
        )
        running.append(process)
        return process

    yield start
    for process in running:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def test_logs_prints_the_log_with_the_options_asked_for(api, kubectl):
    await api.http.post(PODS, json=pod())
    process = await kubectl("logs", "web", "--tail=7")
    out, err = await process.communicate()
    assert (process.returncode, out, err) == (0, b"web tail=7\n", b"")


async def test_logs_of_a_container_that_is_not_there_fails(api, kubectl):
    await api.http.post(PODS, json=pod())
    process = await kubectl("logs", "web", "-c", "other")
    _, err = await process.communicate()
    assert process.returncode == 1
    assert b"container other is not valid for pod web" in err


async def test_logs_follow_goes_on_until_its_reader_ends(api, kubectl):
    await api.http.post(PODS, json=pod())
    process = await kubectl("logs", "-f", "web")
    assert await process.stdout.readline() == b"web tail=None\n"
    assert await process.stdout.readline() == b"following\n"
    process.terminate()
    await until(lambda: api.server.open_streams == 0)
