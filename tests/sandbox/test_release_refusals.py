"""What `rollout sandbox` and the API server's end say to a person: clear lines, exit codes, nothing left behind."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path

import msgspec
import pytest

from rollout.api.meta import time_of
from rollout.api.resources import PODS
from rollout.cli.sandbox_parts import controller_command, our_crds
from rollout.runtime.clock import SystemClock
from rollout.runtime.kube import Object
from rollout.sandbox.mesh.binary import envoy_path
from rollout.sandbox.prometheus.install import find_prometheus
from rollout.sandbox.supervisor import SandboxConfig, down, processes_of, status, up
from tests.sandbox.release_support import (
    APP,
    GATE,
    PATIENCE,
    Ground,
    Load,
    Said,
    canary,
    command,
    pause,
    processes_naming,
    template,
    until,
    world_in,
)

pytestmark = [pytest.mark.sandbox, pytest.mark.usefixtures("prometheus")]


async def refused(tmp_path: Path, *options: str, **env: str) -> Said:
    """`rollout sandbox up` that must fail: with one line of error, and nothing left."""
    state = tmp_path / "state"
    if "--state" not in options:
        options = (*options, "--state", str(state))
    said = await command("sandbox", "up", *options, **env)
    assert said.code not in {0, -9}, said
    assert said.out == ""
    assert [line for line in said.err.splitlines() if line.startswith("error: ")] == said.err.splitlines()[
        -1:
    ]
    assert "Traceback" not in said.err
    assert processes_naming(str(tmp_path)) == []
    looked = await command("sandbox", "status", "--state", str(state))
    assert looked.code == 6
    return said


@pytest.mark.parametrize("option", ["--port", "--gateway-port", "--mesh-port", "--prometheus-port"])
async def test_a_taken_port_is_said_with_the_option_that_names_another(tmp_path: Path, option: str):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = await refused(tmp_path, option, str(port))
    assert f"port {port} ({option})" in said.err
    assert f"choose another with {option}" in said.err


async def test_a_missing_envoy_is_said_with_the_way_out(tmp_path: Path):
    said = await refused(tmp_path, ENVOY_PATH=str(tmp_path / "none"))
    assert f"ENVOY_PATH is {tmp_path / 'none'}, which cannot be run; correct or unset it" in said.err


async def test_a_missing_prometheus_is_said_with_the_way_out(tmp_path: Path):
    path = f"{Path(sys.executable).parent}"
    said = await refused(tmp_path, PATH=path, XDG_CACHE_HOME=str(tmp_path / "cache"), PROMETHEUS_PATH="")
    assert "Prometheus is missing" in said.err
    assert "PROMETHEUS_PATH" in said.err


async def test_a_state_directory_that_cannot_be_made_is_said_with_the_way_out(tmp_path: Path):
    file = tmp_path / "file"
    file.write_text("")
    said = await refused(tmp_path, "--state", str(file / "below"))
    assert f"cannot use {file / 'below'}: Not a directory; choose another place with --state" in said.err


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("- {image: web", "while parsing a flow mapping"),
        ("- {picture: web}", "image"),
        ("images: 7", "images.yaml"),
    ],
)
async def test_an_images_file_that_makes_no_sense_is_said_with_its_path(
    tmp_path: Path, text: str, words: str
):
    images = tmp_path / "images.yaml"
    images.write_text(text)
    said = await refused(tmp_path, "--images", str(images))
    assert str(images) in said.err.splitlines()[-1]
    assert words in said.err.splitlines()[-1]


async def test_an_images_file_that_is_not_there_is_said_with_its_path(tmp_path: Path):
    said = await refused(tmp_path, "--images", str(tmp_path / "none.yaml"))
    assert str(tmp_path / "none.yaml") in said.err


# --- the API server ends ------------------------------------------------------------------------------


@asynccontextmanager
async def ended_by_its_api(config: SandboxConfig) -> AsyncIterator[str]:
    """A canary in the middle of its steps when the API server is killed; what the sandbox says of its end."""
    ground = Ground(config, up(config, lambda _line: None))
    try:
        async with world_in(ground, "shop") as world:
            await world.apply(template(), *canary({"setWeight": 40}, pause(), {"analysis": GATE}))
            await world.phase("Healthy")
            await world.set_image("v2")
            await world.phase("Paused", step=1)
        await ground.kill("api-server", signal.SIGKILL)
        await until(lambda: not status(config.directory()).running, "the sandbox ends")
        await until(lambda: processes_of(config.directory()) == [], "no process is left")
        yield status(config.directory()).ended
    finally:
        down(config.directory())


def config_in(tmp_path: Path) -> SandboxConfig:
    return SandboxConfig(
        name="ends",
        state=str(tmp_path / "state"),
        crds=(str(our_crds()),),
        commands=(controller_command(),),
    )


async def test_the_end_of_the_api_server_is_said_in_one_line(tmp_path: Path):
    config = config_in(tmp_path)
    async with ended_by_its_api(config) as said:
        assert said.startswith("api-server was killed by SIGKILL; ")
        assert "gone with it unless --data is used: start the sandbox again" in said
        assert "\n" not in said
        looked = await command("sandbox", "status", "--state", config.state)
        assert looked.code == 6
        assert said in looked.out


def runs_since(moment: datetime, pod: Object) -> bool:
    """Whether all containers of a pod are ready, and were started then or later."""
    states = pod["status"]["containerStatuses"]
    times = [time_of(((one.get("state") or {}).get("running") or {}).get("startedAt")) for one in states]
    return all(one["ready"] for one in states) and all(one is not None and one >= moment for one in times)


@pytest.mark.slow
async def test_with_data_a_release_goes_on_in_the_next_sandbox_where_it_was(tmp_path: Path):
    config = msgspec.structs.replace(config_in(tmp_path), data=str(tmp_path / "data"))
    async with ended_by_its_api(config):
        began = SystemClock().now().replace(microsecond=0)
        ground = Ground(config, up(config, lambda _line: None))
        async with world_in(ground, "shop") as world:
            assert world.step() == 1
            assert world.weight() == 40
            assert len(world.sizes()) == 2
            # Until its node has started it again, a pod is on record as it was before, and nobody answers for it.
            async with asyncio.timeout(PATIENCE):
                while not all(runs_since(began, pod) for pod in (await world.kube.list(PODS, "shop")).items):
                    await asyncio.sleep(0.2)
            load = Load(ground.sandbox.gateway, f"{APP}.shop")
            async with load.running():
                await load.begun("v1", "v2")
                await world.phase("Paused", step=1)
                assert (await world.rollout("promote", APP)).code == 0
                await world.phase("Healthy", step=3)
                await world.until(lambda: world.sizes() == {"v1": 0, "v2": 3}, "the old pods are gone")
            assert load.lost == {}
            world.steps_never_fell()


def test_the_programs_that_are_hidden_above_are_here() -> None:
    assert Path(envoy_path()).exists()
    assert find_prometheus()
