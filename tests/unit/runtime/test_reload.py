"""A configuration file that changes: what can change live does, what is wrong is refused and said once."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from rollout.runtime.clock import LoopClock
from rollout.runtime.reload import LOOK_SECONDS, Reloader
from rollout.runtime.settings import ControllerConfig, load
from tests import virtual


class Place:
    """A file as a ConfigMap is mounted (a link that is swapped), and who reads it."""

    def __init__(self, folder: Path, clock: LoopClock, **given: Any) -> None:
        self.folder, self.number = folder, 0
        self.path = folder / "config.yaml"
        self.write("workers: 3")
        self.applied: list[ControllerConfig] = []
        self.told: list[tuple[str, str, str]] = []
        self.reloader = Reloader(
            str(self.path),
            given,
            load(str(self.path), given),
            clock,
            apply=self.applied.append,
            tell=lambda *event: self.told.append(event),
        )

    def write(self, text: str) -> None:
        self.number += 1
        version = self.folder / f"version-{self.number}"
        version.write_text(text)
        new = self.folder / "new"
        new.symlink_to(version)
        new.replace(self.path)

    def reasons(self) -> list[str]:
        return [reason for _, reason, _ in self.told]


def test_what_can_change_live_takes_effect_and_is_told(tmp_path: Path) -> None:
    async def main(clock: LoopClock) -> None:
        place = Place(tmp_path, clock)
        task = asyncio.create_task(place.reloader.run())
        await clock.sleep(1)
        assert place.applied == []
        place.write("workers: 4\nlogLevel: debug")
        await clock.sleep(2 * LOOK_SECONDS)
        assert [(one.workers, one.log_level) for one in place.applied] == [(4, "debug")]
        assert place.told == [("Normal", "ConfigApplied", "in force now: workers, logLevel")]
        await clock.sleep(100)
        assert len(place.applied) == 1
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    virtual.run(main)


@pytest.mark.parametrize("wrong", ["workers: none", "a: [", "workerz: 1", ""])
def test_a_file_that_is_wrong_or_gone_leaves_the_old_one_in_force(tmp_path: Path, wrong: str) -> None:
    async def main(clock: LoopClock) -> None:
        place = Place(tmp_path, clock)
        place.reloader.look()
        if wrong:
            place.write(wrong)
        else:
            place.path.unlink()
        for _ in range(3):
            place.reloader.look()
        assert (place.applied, place.reloader.config.workers) == ([], 3)
        assert place.reloader.refused
        assert place.reasons() == ["ConfigRefused"]
        assert "stays in force" in place.told[0][2]
        assert place.reloader.counts["refused"] == 1
        place.write("workers: 9")
        place.reloader.look()
        assert (place.reloader.refused, place.reloader.config.workers) == ("", 9)

    virtual.run(main)


def test_what_needs_a_restart_is_named_once_and_the_rest_takes_effect(tmp_path: Path) -> None:
    async def main(clock: LoopClock) -> None:
        place = Place(tmp_path, clock)
        place.write("workers: 4\nnamespaces: [shop]\nlogFormat: console")
        place.reloader.look()
        assert place.reloader.pending == ("namespaces", "logFormat")
        assert (place.reloader.config.workers, place.reloader.config.namespaces) == (4, ())
        assert place.told[1][1:] == (
            "ConfigNeedsRestart",
            "only a restart brings these into force: namespaces, logFormat",
        )
        place.write("workers: 5\nnamespaces: [shop]\nlogFormat: console")
        place.reloader.look()
        assert place.reasons() == ["ConfigApplied", "ConfigNeedsRestart", "ConfigApplied"]
        place.write("workers: 5")
        place.reloader.look()
        assert place.reloader.pending == ()

    virtual.run(main)


def test_options_of_the_command_line_win_over_the_new_file_as_well(tmp_path: Path) -> None:
    async def main(clock: LoopClock) -> None:
        place = Place(tmp_path, clock, workers=7)
        place.write("workers: 4")
        place.reloader.look()
        assert (place.reloader.config.workers, place.applied) == (7, [])

    virtual.run(main)
