"""The control groups of a cluster, in every hierarchy of this machine (version 1, 2 or both)."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from rollout.runtime.clock import SystemClock

OURS = "system"
"""Where the cluster's own programs are; the kubelet makes its pods' groups beside it."""
CLOCK = SystemClock()


def hierarchies() -> list[Path]:
    """Where the hierarchies are mounted."""
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        place, _, source = line.partition(" - ")
        if source.split()[0] in ("cgroup", "cgroup2"):
            found.append(Path(place.split()[4]))
    return found


def make(name: str) -> None:
    """The cluster's group and the one for its own programs. In cpuset, none takes a process before it has processors."""
    for hierarchy in hierarchies():
        group = hierarchy / name
        for made in (group, group / OURS):
            made.mkdir(exist_ok=True)
            for file in ("cpuset.cpus", "cpuset.mems"):
                if (made / "cgroup.clone_children").exists() and (made / file).exists():
                    (made / file).write_text((made.parent / file).read_text())


def join(name: str) -> None:
    """Moves this process, and so what it will start, into the group of the cluster's own programs."""
    for hierarchy in hierarchies():
        (hierarchy / name / OURS / "cgroup.procs").write_text(str(os.getpid()))


def groups(name: str) -> list[Path]:
    """What there is of them, the innermost first."""
    found = []
    for hierarchy in hierarchies():
        for folder, _, _ in os.walk(hierarchy / name, topdown=False):
            found.append(Path(folder))
    return found


def processes(name: str, chosen: Callable[[Path], bool] = lambda _group: True) -> set[int]:
    """Who is in any of them, or of those that are chosen."""
    found: set[int] = set()
    for group in filter(chosen, groups(name)):
        try:
            found.update(int(pid) for pid in (group / "cgroup.procs").read_text().split())
        except OSError:
            continue  # it went while we looked
    return found - {0}


def remove(name: str) -> None:
    """Removes those that are there. Raises OSError for one that still has processes."""
    for group in groups(name):
        group.rmdir()
