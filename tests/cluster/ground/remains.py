"""What a cluster leaves when its keeper died, and its removal. Everything else went with its first process."""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path

from rollout.runtime.clock import SystemClock
from tests.cluster.ground import cgroups, network
from tests.cluster.ground.commands import Failed
from tests.cluster.ground.place import MARKER, cgroup_of, name_of

PATIENCE = 60.0
CLOCK = SystemClock()


def found(folder: Path) -> list[str]:
    """All that is there of the cluster in that folder, a line each; nothing after `down`."""
    name, group = name_of(folder), cgroup_of(folder)
    left = [f"process {pid} {_command(pid)}" for pid in sorted(cgroups.processes(group))]
    left += [f"cgroup {group}" for group in cgroups.groups(group)]
    left += [f"network device {device}" for device in network.cables(name)]
    mounts = Path("/proc/self/mounts").read_text().splitlines()
    left += [f"mount {line.split()[1]}" for line in mounts if str(folder) in line]
    left += [f"folder {folder}"] if folder.exists() else []
    return left


def remove(folder: Path, *, files: bool = True) -> None:
    """Removes it all. Raises Failed for what will not go; a folder that is no cluster's is never deleted."""
    name, group = name_of(folder), cgroup_of(folder)
    end_processes(group)
    cgroups.remove(group)
    network.disconnect(name)
    if files and folder.exists():
        if not (folder / MARKER).exists():
            raise Failed(f"{folder} has no {MARKER}, so it is not a cluster's; it stays")
        # The marker last: what was interrupted can be taken up again.
        for one in folder.iterdir():
            if one.name != MARKER:
                _delete(one)
        shutil.rmtree(folder)


def end_processes(group: str) -> None:
    """SIGKILL for all that is left in the group, until nothing is."""
    until = CLOCK.monotonic() + PATIENCE
    while left := cgroups.processes(group):
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        if CLOCK.monotonic() > until:
            raise Failed(f"processes that do not end: {[f'{pid} {_command(pid)}' for pid in left]}")
        time.sleep(0.05)


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ").strip()
    except (FileNotFoundError, ProcessLookupError):
        return "(gone)"
