"""Where Envoy's admin socket lies: never at a path that the kernel refuses."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from rollout.sandbox.mesh.envoy import files_in, remove_socket


def test_a_short_root_holds_its_socket_itself(monkeypatch: pytest.MonkeyPatch):
    with tempfile.TemporaryDirectory(dir="/tmp") as short:
        assert files_in(Path(short)).admin_socket == Path(short) / "admin.sock"


@pytest.mark.parametrize("long_temporary", [False, True])
def test_the_socket_of_a_long_root_lies_in_a_private_directory_that_goes_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, long_temporary: bool
):
    root = tmp_path / ("x" * 100)
    temporary = tmp_path / ("y" * 100) if long_temporary else Path("/tmp")
    temporary.mkdir(exist_ok=True)
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    files = files_in(root)
    folder = files.admin_socket.parent
    assert len(os.fsencode(files.admin_socket)) <= 100
    assert folder.stat().st_mode & 0o777 == 0o700
    assert files_in(root).admin_socket == files.admin_socket
    files.admin_socket.touch()
    remove_socket(files)
    assert not folder.exists()
    assert root.exists()
