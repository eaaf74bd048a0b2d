"""A sandbox with our controllers for the tests of releases."""

from __future__ import annotations

import re
import zlib
from collections.abc import AsyncIterator, Iterator

import pytest

from rollout.cli.sandbox_parts import controller_command, our_crds
from rollout.sandbox.prometheus.install import find_prometheus
from rollout.sandbox.supervisor import SandboxConfig, down, processes_of, up
from tests.sandbox.release_support import Ground, World, world_in


@pytest.fixture(scope="session")
def prometheus() -> None:
    """Skips where Prometheus was not fetched beforehand: no test downloads anything."""
    if find_prometheus() is None:
        pytest.skip("Prometheus is missing; get it with tools/get_prometheus.sh")


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory, prometheus: None) -> Iterator[Ground]:
    """One sandbox with the controllers for a module. No process is left afterwards."""
    root = tmp_path_factory.mktemp("ground")
    config = SandboxConfig(
        name="releases",
        state=str(root / "state"),
        crds=(str(our_crds()),),
        commands=(controller_command(),),
    )
    try:
        yield Ground(config, up(config, lambda _line: None))
    finally:
        down(config.directory())
        assert processes_of(config.directory()) == []


@pytest.fixture
async def world(ground: Ground, request: pytest.FixtureRequest) -> AsyncIterator[World]:
    """A namespace of its own, watched."""
    words = re.sub("[^a-z0-9]+", "-", request.node.name.lower().removeprefix("test_"))
    name = f"{words[:40].strip('-')}-{zlib.crc32(request.node.name.encode()):08x}"
    async with world_in(ground, name) as found:
        yield found
