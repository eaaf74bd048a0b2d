"""Child processes end with their parent, whatever happens to it."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from rollout.runtime.process import ProcessError, Supervisor

pytestmark = pytest.mark.sandbox

FAMILY = ["sh", "-c", 'echo "$$"; sleep 1000 & echo "$!"; wait']


def alive(pid: int) -> bool:
    """Whether a process runs (zombies, which nobody may be there to collect, do not)."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    try:
        return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)


async def numbers(file: Path, count: int) -> list[int]:
    await until(lambda: file.exists() and len(file.read_text().split()) >= count)
    return [int(word) for word in file.read_text().split()]


async def test_output_and_exit_code_are_kept(tmp_path: Path) -> None:
    async with Supervisor() as children:
        child = await children.start(["sh", "-c", "echo out; echo err >&2; exit 7"], log=tmp_path / "log")
        assert await child.wait() == 7
        assert child.returncode == 7
        assert children.children == set()
    assert sorted((tmp_path / "log").read_text().split()) == ["err", "out"]


async def test_arguments_environment_and_folder_reach_the_program_as_they_are(tmp_path: Path) -> None:
    async with Supervisor() as children:
        program = 'printf "%s|" "$@"; echo "$X|$(pwd)|$(cat)"'
        argv = ["/bin/sh", "-c", program, "x", "a b", "$HOME; exit 1", "'\"`"]
        child = await children.start(
            argv, env={"X": "y z", "PATH": os.defpath}, cwd=tmp_path, log=tmp_path / "log"
        )
        assert await child.wait() == 0
    assert (tmp_path / "log").read_text() == f"a b|$HOME; exit 1|'\"`|y z|{tmp_path}|\n"


async def test_the_pipe_of_the_guard_is_not_open_in_children(tmp_path: Path) -> None:
    if not Path("/proc/self/fd").exists():
        pytest.skip("needs /proc")
    async with Supervisor() as children:
        child = await children.start(["sh", "-c", "ls -l /proc/$$/fd"], log=tmp_path / "log")
        await child.wait()
    assert "pipe:" not in (tmp_path / "log").read_text()


async def test_stop_ends_the_whole_group(tmp_path: Path) -> None:
    async with Supervisor() as children:
        child = await children.start(FAMILY, log=tmp_path / "log")
        pids = await numbers(tmp_path / "log", 2)
        assert pids[0] == child.pid
        assert await child.stop() == -signal.SIGTERM
        await until(lambda: not any(map(alive, pids)))


async def test_a_child_that_ignores_sigterm_is_killed_after_its_grace(tmp_path: Path) -> None:
    async with Supervisor() as children:
        child = await children.start(
            ["sh", "-c", "trap '' TERM; echo 1; while :; do sleep 1; done"], log=tmp_path / "log"
        )
        await numbers(tmp_path / "log", 1)
        assert await child.stop(grace=0.05) == -signal.SIGKILL


async def test_what_a_child_leaves_behind_in_its_group_is_killed_when_it_ends(tmp_path: Path) -> None:
    async with Supervisor() as children:
        child = await children.start(["sh", "-c", 'sleep 1000 & echo "$!"'], log=tmp_path / "log")
        assert await child.wait() == 0
        (left,) = await numbers(tmp_path / "log", 1)
        await until(lambda: not alive(left))


async def test_close_stops_everything_and_the_guard(tmp_path: Path) -> None:
    children = Supervisor()
    started = [await children.start(["sleep", "1000"]) for _ in range(3)]
    guard = children._guard
    assert guard is not None
    await children.close()
    assert [child.returncode for child in started] == [-signal.SIGTERM] * 3
    assert guard.returncode == 0


PARENT = """
import asyncio, sys
from pathlib import Path
from rollout.runtime.process import Supervisor

async def main():
    children = Supervisor()
    for n in range(3):
        await children.start({family!r}, log=Path(sys.argv[1]))
    await asyncio.sleep(1000)

asyncio.run(main())
"""


async def test_all_descendants_end_when_the_parent_is_killed(tmp_path: Path) -> None:
    program, log = PARENT.format(family=FAMILY), tmp_path / "log"
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", program, str(log))
    pids = await numbers(log, 6)
    assert all(map(alive, pids))
    parent.kill()
    await parent.wait()
    await until(lambda: not any(map(alive, pids)))


async def test_a_guard_that_was_killed_is_replaced_and_knows_the_running_children(tmp_path: Path) -> None:
    async with Supervisor() as children:
        child = await children.start(FAMILY, log=tmp_path / "log")
        await numbers(tmp_path / "log", 2)
        guard = children._guard
        assert guard is not None
        guard.kill()
        await guard.wait()
        other = await children.start(["sleep", "1000"])
        replaced, children._guard = children._guard, None
        assert replaced not in {None, guard}
        os.close(children._pipe)  # what the guard sees when this process dies
        children._pipe = -1
        assert await child.wait() == -signal.SIGKILL
        assert await other.wait() == -signal.SIGKILL


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ([], "no command"),
        (["surefoot-no-such-program"], "no such command in PATH"),
        (["./absent"], "no such file"),
        (["./plain"], "not executable"),
    ],
)
async def test_what_cannot_be_started_is_said(argv: list[str], said: str, tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("no program")
    async with Supervisor() as children:
        with pytest.raises(ProcessError, match=said):
            await children.start(argv, cwd=tmp_path)
