"""A control plane for tests that need no node, or the reason why there is none."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cluster.control_plane import ControlPlane, Missing, control_plane, programs


@contextmanager
def plane_or_skip(
    folder: Path, *, manager: bool = True, manager_flags: Sequence[str] = ()
) -> Iterator[ControlPlane]:
    """`control_plane`; skips where its programs have not been built."""
    try:
        programs()
    except Missing as missing:
        pytest.skip(str(missing))
    with control_plane(folder, manager=manager, manager_flags=manager_flags) as plane:
        yield plane
