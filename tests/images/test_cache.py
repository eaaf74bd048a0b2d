"""The cache: made once, under the checksum of what it is made of, and nothing half-made is ever seen."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tools.images import cache


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return cache.folder()


def test_a_key_is_of_all_parts_in_their_order_and_of_where_one_ends():
    keys = [
        cache.key("a", "b"),
        cache.key("b", "a"),
        cache.key("ab"),
        cache.key("a"),
        cache.key("a", "b", ""),
    ]
    assert len(set(keys)) == len(keys)
    assert cache.key("a", b"b") == cache.key("a", "b")


def test_sources_count_by_name_and_content_but_not_compiled_files(tmp_path: Path):
    (tmp_path / "p/q").mkdir(parents=True)
    (tmp_path / "p/q/a.py").write_text("1")
    before = cache.sources(tmp_path, ["p"])
    (tmp_path / "p/q/a.pyc").write_text("compiled")
    assert cache.sources(tmp_path, ["p"]) == before
    (tmp_path / "p/q/a.py").write_text("2")
    assert cache.sources(tmp_path, ["p"]) != before


def test_what_is_there_is_not_made_again(folder: Path):
    assert cache.made("x-1.tar", lambda target: target.write_text("first") and None).read_text() == "first"
    assert cache.made("x-1.tar", lambda target: target.write_text("again") and None).read_text() == "first"


def test_what_fails_half_way_is_not_there(folder: Path):
    def fails(target: Path) -> None:
        target.write_text("half")
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        cache.made("x-1.tar", fails)
    assert not list(folder.glob("[!.]*"))


def test_only_the_newest_of_a_name_are_kept(folder: Path):
    folder.mkdir(parents=True)
    for number in range(cache.KEPT + 2):
        path = folder / f"x-{number:016x}.tar"
        path.write_text("")
        os.utime(path, (number, number))
    (folder / f"x-own-{0:016x}.tar").write_text("")
    cache.prune("x", ".tar")
    kept = {f"x-{number:016x}.tar" for number in range(2, cache.KEPT + 2)}
    assert {one.name for one in folder.iterdir()} == {*kept, f"x-own-{0:016x}.tar"}


def test_what_killed_builders_left_is_swept_when_it_is_old(folder: Path):
    for name in ("partial-old", "work-old", "partial-new", "base-0"):
        (folder / name).mkdir(parents=True)
        (folder / name / "file").write_text("")
    for name in ("partial-old", "work-old", "base-0"):
        os.utime(folder / name, (1, 1))
    cache.sweep()
    assert {one.name for one in folder.iterdir()} == {"partial-new", "base-0"}
