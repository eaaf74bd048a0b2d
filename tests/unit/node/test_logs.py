from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from rollout.errors import BadRequest, NotFound
from rollout.runtime.clock import LoopClock
from rollout.sandbox.http.logs import LogQuery
from rollout.sandbox.node.logs import LogFile, pod_directory, read_log
from tests import virtual


def new_log(state: Path, clock: LoopClock, run: int = 0, **more: Any) -> LogFile:
    return LogFile(pod_directory(state, "shop", "web", "u1") / "main" / f"{run}.log", clock, **more)


async def read(state: Path, clock: LoopClock, **options: Any) -> bytes:
    query = LogQuery(namespace="shop", name="web", **options)
    return b"".join([chunk async for chunk in read_log(state, query, clock)])


def test_lines_carry_their_time_and_long_ones_come_back_whole(tmp_path: Path) -> None:
    async def story(clock: LoopClock) -> None:
        log = new_log(tmp_path, clock)
        log.write("stdout", b"one")
        await clock.sleep(10)
        log.write("stderr", b"tw", partial=True)
        log.write("stderr", b"o")
        assert await read(tmp_path, clock) == b"one\ntwo\n"
        assert (await read(tmp_path, clock, timestamps=True)).startswith(
            b"2026-01-05T09:00:00.000000000Z one\n"
        )
        assert await read(tmp_path, clock, since_seconds=5) == b"two\n"
        assert await read(tmp_path, clock, since_time=clock.now()) == b"two\n"

    virtual.run(story)


def test_a_full_file_is_rotated_once_and_read_with_its_predecessor(tmp_path: Path) -> None:
    async def story(clock: LoopClock) -> None:
        log = new_log(tmp_path, clock, limit=200)
        for number in range(20):
            log.write("stdout", b"line %d" % number)
        lines = (await read(tmp_path, clock)).decode().split("\n")[:-1]
        assert lines == [f"line {n}" for n in range(20)][-len(lines) :]
        assert 4 <= len(lines) < 20

    virtual.run(story)


def test_following_ends_with_the_container_and_survives_a_rotation(tmp_path: Path) -> None:
    async def story(clock: LoopClock) -> None:
        log = new_log(tmp_path, clock, limit=150)
        log.write("stdout", b"before")
        following = asyncio.create_task(read(tmp_path, clock, follow=True))
        for number in range(8):
            await clock.sleep(1)
            log.write("stdout", b"%d" % number)
        await clock.sleep(1)
        assert not following.done()
        log.close()
        assert await following == b"before\n" + b"".join(b"%d\n" % n for n in range(8))

    virtual.run(story)


def test_previous_is_the_run_before_the_last(tmp_path: Path) -> None:
    async def story(clock: LoopClock) -> None:
        for run in (0, 1, 10):
            new_log(tmp_path, clock, run).write("stdout", b"run %d" % run)
        assert await read(tmp_path, clock) == b"run 10\n"
        assert await read(tmp_path, clock, previous=True) == b"run 1\n"

    virtual.run(story)


def test_what_has_no_log_is_told_apart(tmp_path: Path) -> None:
    async def story(clock: LoopClock) -> None:
        with pytest.raises(NotFound):
            await read(tmp_path, clock)
        new_log(tmp_path, clock)
        with pytest.raises(BadRequest, match="previous terminated container"):
            await read(tmp_path, clock, previous=True)
        with pytest.raises(BadRequest, match="waiting to start"):
            await read(tmp_path, clock, container="side")
        (pod_directory(tmp_path, "shop", "web", "u1") / "side").mkdir()
        with pytest.raises(BadRequest, match=r"choose one of: \[main side\]"):
            await read(tmp_path, clock)

    virtual.run(story)
