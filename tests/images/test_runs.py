"""The images run without a cluster: by runc, read-only, as nobody, without capabilities."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.images.support import built
from tools.images import runtime, start_up

pytestmark = pytest.mark.slow


class Unpacked:
    """An image as a root file system."""

    def __init__(self, archive: Path, folder: Path) -> None:
        self._folder, self.root = folder, folder / "root"
        self.config: dict[str, Any] = runtime.image_config(archive)["config"]
        runtime.unpack(archive, self.root)
        self._bundles = count()

    def running(self, *arguments: str) -> Any:
        where = self._folder / f"bundle-{next(self._bundles)}"
        return runtime.running(self.root, self.config, arguments, where)

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


async def test_the_controller_is_healthy_and_ready_before_an_api_server_and_ends_when_it_is_told(
    unpacked: Any, tmp_path: Path
):
    image = unpacked("controller")
    async with (
        start_up.api_server(tmp_path / "api") as kubeconfig,
        start_up.controller(image.root, image.config, kubeconfig, tmp_path / "bundle") as (
            container,
            seconds,
        ),
    ):
        assert seconds.keys() == {"healthz", "readyz", "processor"}
        container.signal("TERM")
        code, output = await asyncio.to_thread(container.wait)
        assert code == 0, output
