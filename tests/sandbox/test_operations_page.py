"""Every command of docs/operations.md, in its order, on real releases; the controller stands still where it is dead."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from tests.pages import scripts
from tests.sandbox.release_support import (
    GATE,
    ROOT,
    Ground,
    World,
    by_route,
    canary,
    command,
    pause,
    rollout,
    service,
    template,
    world_in,
)

pytestmark = [pytest.mark.sandbox, pytest.mark.slow]
STEPS = ({"setWeight": 20}, {"analysis": GATE}, pause())
NAMES = ("web", "api", "pay")


def pay() -> list[dict[str, object]]:
    """A blue/green Rollout that waits for a person."""
    strategy = {"activeService": "pay-active", "previewService": "pay-preview", "autoPromotionEnabled": False}
    return [
        *(service(name, app="pay") for name in ("pay-active", "pay-preview")),
        rollout({"blueGreen": strategy}, name="pay"),
    ]


class Page:
    """Runs the page's blocks, one chapter after the other."""

    def __init__(self, world: World, folder: Path) -> None:
        self._world, self.said = world, dict[str, str]()
        program = folder / "rollout"
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m rollout.cli.main "$@"\n')
        program.chmod(0o755)
        self._env = {
            "PATH": f"{folder}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "KUBECONFIG": world.ground.sandbox.kubeconfig,
        }

    async def run(self, chapter: str) -> str:
        """All blocks of a chapter as one script, and what it said."""
        text = "\n".join(one.text for one in scripts("operations.md") if one.heading == chapter and one.runs)
        assert text, chapter
        said = await command("-c", f"set -euo pipefail\n{text}", program=("bash",), **self._env)
        assert said.code == 0, (chapter, said)
        self.said[chapter] = said.out
        return said.out + said.err


async def released(world: World, tag: str) -> None:
    """A new version of all three, as far as it goes without a person."""
    for name in NAMES:
        await world.set_image(tag, name)
    for name in NAMES:
        await world.phase("Paused", name)


async def test_every_command_of_the_page_does_what_it_says(ground: Ground, tmp_path: Path) -> None:
    async with world_in(ground, "shop") as world:
        page = Page(world, tmp_path)
        host = "api.example"
        await world.apply(
            template(), *canary(*STEPS, name="web"), *by_route(*STEPS, name="api", host=host), *pay()
        )
        for name in NAMES:
            await world.phase("Healthy", name)
        stable = {name: world.status(name)["stableRS"] for name in NAMES}
        await released(world, "v2")

        said = await page.run("2. Which release is stuck, and why?")
        assert "Paused - CanaryPauseStep" in said
        await page.run("3. Stop one release")
        assert world.status("web")["abort"] is True
        await world.until(lambda: world.weight("web") == 0, "the weight is back")
        said = await page.run("4. Stop everything")
        for name in NAMES:
            await world.phase("Degraded", name)
        await page.run("6. Afterwards")
        await world.phase("Paused", "web")
        for name in ("api", "pay"):
            assert (await world.rollout("retry", name)).code == 0
            await world.phase("Paused", name)
        assert world.weight("web") == 20
        assert world.shares("api") == [80, 20]

        pid = await ground.kill("controller", signal.SIGSTOP)
        try:
            await page.run("5. Traffic back by hand, when the controller is dead")
            assert world.status("web")["phase"] == "Paused", "nobody is there to say otherwise"
            await world.until(lambda: world.weight("web") == 0, "the weight was written by hand")
            await world.until(lambda: world.shares("api") == [100, 0], "the route was written by hand")
        finally:
            os.kill(pid, signal.SIGCONT)
        for name in NAMES:
            await world.phase("Degraded", name)
            assert world.status(name)["stableRS"] == stable[name]
        assert world.weight("web") == 0
        assert world.shares("api") == [100, 0]


def test_every_chapter_with_commands_that_are_run_is_in_the_test() -> None:
    chapters = {one.heading for one in scripts("operations.md") if one.runs}
    text = Path(__file__).read_text(encoding="utf-8")
    assert {one for one in chapters if f'page.run("{one}")' not in text} == set()
