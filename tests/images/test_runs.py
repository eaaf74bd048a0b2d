"""The images run without a cluster: by runc, read-only, as nobody, without capabilities."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from rollout.api.crds import crds
from rollout.api.resources import Resource
from rollout.runtime.client import HttpKube
from rollout.runtime.config import load
from tests.images.support import ROOT, built
from tools.images import runtime

pytestmark = pytest.mark.slow
PATIENCE = 120.0


class Unpacked:
    """An image as a root file system."""

    def __init__(self, archive: Path, folder: Path) -> None:
        self._folder, self.root = folder, folder / "root"
        self.config: dict[str, Any] = runtime.image_config(archive)["config"]
        self.root.mkdir(parents=True)
        runtime.unpack(archive, self.root)
        self._bundles = 0

    def running(self, *arguments: str, **files: Path) -> Any:
        self._bundles += 1
        where = self._folder / f"bundle-{self._bundles}"
        return runtime.running(
            self.root, self.config, arguments, where, {f"/mnt/{one}": path for one, path in files.items()}
        )

    def said(self, *arguments: str) -> str:
        """What a command says, which must succeed."""
        with self.running(*arguments) as container:
            code, output = container.wait()
        assert code == 0, output
        return str(output)


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Unpacks an image once; what is unpacked is deleted in the end."""
    if shutil.which(runtime.PROGRAM) is None:
        pytest.skip("runc is missing: apt-get install runc")
    there: dict[str, Unpacked] = {}
    folder = tmp_path_factory.mktemp("images")
    # Nobody has to get through to the root file system.
    for one in (folder, folder.parent):
        one.chmod(0o755)

    def get(image: str) -> Unpacked:
        if image not in there:
            there[image] = Unpacked(Path(built(image)["archive"]), folder / image)
        return there[image]

    yield get
    shutil.rmtree(folder)


def test_the_controller_says_its_version_and_its_help(unpacked: Any):
    image = unpacked("controller")
    assert "Surefoot" in image.said("version")
    assert "--metrics-address" in image.said("controller", "run", "--help")


def test_the_load_runner_is_locust(unpacked: Any):
    assert "locust 2." in unpacked("load").said("--version")


def test_a_path_that_is_not_there_fails(unpacked: Any):
    with unpacked("controller").running("no-such-command") as container:
        code, output = container.wait()
    assert code != 0
    assert "no-such-command" in output


@asynccontextmanager
async def api_server(folder: Path) -> AsyncIterator[Path]:
    """The sandbox's API server with our CRDs; the path of its kubeconfig, which anybody may read."""
    argv = [sys.executable, "-m", "rollout.sandbox.http", "--state", str(folder)]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*argv, cwd=ROOT, stdin=pipe, stdout=pipe)
    try:
        assert process.stdout is not None
        async with asyncio.timeout(PATIENCE):
            told = json.loads(await process.stdout.readline())
        kubeconfig = Path(told["kubeconfig"])
        kube = HttpKube(load(kubeconfig=str(kubeconfig)))
        definitions = Resource(
            "apiextensions.k8s.io",
            "v1",
            "customresourcedefinitions",
            "CustomResourceDefinition",
            namespaced=False,
        )
        try:
            for one in crds():
                await kube.create(definitions, None, one)
        finally:
            await kube.close()
        kubeconfig.chmod(0o644)
        yield kubeconfig
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


async def test_the_controller_is_healthy_and_ready_before_an_api_server_and_ends_when_it_is_told(
    unpacked: Any, tmp_path: Path
):
    port = free_port()
    options = ("--kubeconfig=/mnt/kubeconfig", f"--metrics-address=127.0.0.1:{port}", "--no-leader-election")
    async with api_server(tmp_path / "api") as kubeconfig, httpx.AsyncClient(timeout=20) as client:
        with unpacked("controller").running(
            "controller", "run", *options, kubeconfig=kubeconfig
        ) as container:
            async with asyncio.timeout(PATIENCE):
                for path in ("healthz", "readyz"):
                    while not await answers(client, f"http://127.0.0.1:{port}/{path}"):
                        assert container.alive, container.output.read_text()
                        await asyncio.sleep(0.05)
            container.signal("TERM")
            code, output = await asyncio.to_thread(container.wait)
            assert code == 0, output


async def answers(client: httpx.AsyncClient, url: str) -> bool:
    try:
        return (await client.get(url)).status_code == 200
    except httpx.TransportError:
        return False
