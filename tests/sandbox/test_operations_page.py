"""Every command of docs/operations.md, in its order, on real releases; the controller stands still where it is dead."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.pages import scripts
from tests.sandbox.release_support import (
    GATE,
    Ground,
    World,
    by_route,
    canary,
    pause,
    rollout,
    service,
    template,
    world_in,
)
from tests.shell import bash, with_rollout

pytestmark = [pytest.mark.sandbox, pytest.mark.slow]
STEPS = ({"setWeight": 20}, {"analysis": GATE}, pause())
NAMES = ("web", "api", "pay")
LONG = 300.0
"""Seconds for a chapter, or a release, on a busy machine."""


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
        self._env = {**with_rollout(folder), "KUBECONFIG": world.ground.sandbox.kubeconfig}

    async def run(self, chapter: str) -> str:
        """All blocks of a chapter as one script, and what it said."""
        text = "\n".join(one.text for one in scripts("operations.md") if one.heading == chapter and one.runs)
        assert text, chapter
        script = ("-c", f"set -euo pipefail\n{text}")
        code, said = await bash(*script, environment={**os.environ, **self._env}, seconds=LONG)
        assert code == 0, (chapter, said)
        return said


async def released(world: World, tag: str) -> None:
    """A new version of all three, as far as it goes without a person."""
    for name in NAMES:
        await world.set_image(tag, name)
    for name in NAMES:
        await world.phase("Paused", name, seconds=LONG)


async def test_every_command_of_the_page_does_what_it_says(ground: Ground, tmp_path: Path) -> None:
    async with world_in(ground, "shop") as world:
        page = Page(world, tmp_path)
        host = "api.example"
        await world.apply(
            template(), *canary(*STEPS, name="web"), *by_route(*STEPS, name="api", host=host), *pay()
        )
        for name in NAMES:
            await world.phase("Healthy", name, seconds=LONG)
        stable = {name: world.status(name)["stableRS"] for name in NAMES}
        await released(world, "v2")

        said = await page.run("2. Which release is stuck, and why?")
        assert "Paused - CanaryPauseStep" in said
        await page.run("3. Stop one release")
        await world.until(lambda: world.status("web").get("abort") is True, "the abort is asked for", LONG)
        await world.until(lambda: world.weight("web") == 0, "the weight is back", LONG)
        said = await page.run("4. Stop everything")
        for name in NAMES:
            await world.phase("Degraded", name, seconds=LONG)
        await page.run("6. Afterwards")
        await world.phase("Paused", "web", seconds=LONG)
        for name in ("api", "pay"):
            assert (await world.rollout("retry", name)).code == 0
            await world.phase("Paused", name, seconds=LONG)
        await world.until(lambda: world.weight("web") == 20, "v2 has its share again", LONG)
        await world.until(lambda: world.shares("api") == [80, 20], "v2 has its share again", LONG)

        pid = await ground.kill("controller", signal.SIGSTOP)
        try:
            await page.run("5. Traffic back by hand, when the controller is dead")
            assert world.status("web")["phase"] == "Paused", "nobody is there to say otherwise"
            await world.until(lambda: world.weight("web") == 0, "the weight was written by hand", LONG)
            await world.until(lambda: world.shares("api") == [100, 0], "the route was written by hand", LONG)
        finally:
            os.kill(pid, signal.SIGCONT)
        for name in NAMES:
            await world.phase("Degraded", name, seconds=LONG)
            assert world.status(name)["stableRS"] == stable[name]
        await world.until(lambda: world.weight("web") == 0, "the controller leaves it so", LONG)
        await world.until(lambda: world.shares("api") == [100, 0], "the controller leaves it so", LONG)


def test_every_chapter_with_commands_that_are_run_is_in_the_test() -> None:
    chapters = {one.heading for one in scripts("operations.md") if one.runs}
    text = Path(__file__).read_text(encoding="utf-8")
    assert {one for one in chapters if f'page.run("{one}")' not in text} == set()
