"""Archives: the same inputs give the same bytes, and every digest is that of what it names."""

from __future__ import annotations

import hashlib
import os
import tarfile
from pathlib import Path

import pytest

from tests.images.support import blob, read
from tools.images.archive import EPOCH, Config, Image, below, write_archive, write_layer


def tree(folder: Path, *, time: int, backwards: bool = False) -> Path:
    """A small root file system, made at some time and in some order."""
    names = ["usr/bin/tool", "usr/share/b", "usr/share/a"]
    for name in reversed(names) if backwards else names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"content of {name}")
        os.utime(folder / name, (time, time))
    (folder / "usr/bin/tool").chmod(0o4755)
    (folder / "usr/bin/link").symlink_to("tool")
    os.link(folder / "usr/share/a", folder / "usr/share/c")
    return folder


def layer(tmp_path: Path, name: str, **how: int) -> Path:
    root = tree(tmp_path / name, **how)
    write_layer(tmp_path / f"{name}.tar", root, below(root))
    return tmp_path / f"{name}.tar"


def test_the_same_files_give_the_same_layer_whenever_they_were_made(tmp_path: Path):
    one = layer(tmp_path, "one", time=1)
    other = layer(tmp_path, "other", time=1_000_000, backwards=True)
    assert one.read_bytes() == other.read_bytes()


def test_a_changed_file_gives_another_layer(tmp_path: Path):
    one = layer(tmp_path, "one", time=1)
    root = tree(tmp_path / "other", time=1)
    (root / "usr/share/b").write_text("changed")
    write_layer(tmp_path / "other.tar", root, below(root))
    assert one.read_bytes() != (tmp_path / "other.tar").read_bytes()


def test_a_layer_has_every_file_with_its_mode_but_no_setuid_bit(tmp_path: Path):
    with tarfile.open(layer(tmp_path, "one", time=1)) as tar:
        assert tar.getnames() == sorted(tar.getnames())
        assert set(tar.getnames()) == {
            *("usr", "usr/bin", "usr/share", "usr/bin/tool", "usr/bin/link"),
            *("usr/share/a", "usr/share/b", "usr/share/c"),
        }
        assert tar.getmember("usr/bin/tool").mode == 0o755
        assert tar.getmember("usr/bin/link").linkname == "tool"
        assert tar.getmember("usr/share/c").linkname == "usr/share/a"
        assert {member.mtime for member in tar} == {EPOCH}


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Two images that share a layer."""
    layers = (layer(tmp_path, "one", time=1),)
    config = Config(
        ("tool",), ("--quick",), {"PATH": "/usr/bin", "A": "b"}, "7:8", "/tmp", {"l": "m"}, ("80",)
    )
    images = [Image("docker.io/x/one:v1", layers, config), Image("docker.io/x/two:v2", layers, Config())]
    write_archive(tmp_path / "images.tar", images, "amd64")
    return tmp_path / "images.tar"


def test_every_blob_is_what_its_digest_says_and_is_there_once(archive: Path):
    with tarfile.open(archive) as tar:
        names = tar.getnames()
        assert len(names) == len(set(names))
        blobs = [name for name in names if name.startswith("blobs/")]
        for name in blobs:
            file = tar.extractfile(name)
            assert file is not None
            assert hashlib.sha256(file.read()).hexdigest() == name.rpartition("/")[2]
        assert len(blobs) == 1 + 2 + 2  # the layer, two configurations, two manifests
        assert read(tar, "oci-layout") == {"imageLayoutVersion": "1.0.0"}


def test_descriptors_lead_from_the_index_to_the_layers(archive: Path, tmp_path: Path):
    with tarfile.open(archive) as tar:
        entries = read(tar, "index.json")["manifests"]
        names = [one["annotations"]["io.containerd.image.name"] for one in entries]
        assert names == ["docker.io/x/one:v1", "docker.io/x/two:v2"]
        for entry in entries:
            manifest = read(tar, blob(entry["digest"]))
            assert entry["size"] == tar.getmember(blob(entry["digest"])).size
            config = read(tar, blob(manifest["config"]["digest"]))
            # The layers are not compressed: what a layer is called is what it contains.
            assert config["rootfs"]["diff_ids"] == [one["digest"] for one in manifest["layers"]]
            for one in manifest["layers"]:
                assert one["size"] == tar.getmember(blob(one["digest"])).size


def test_a_configuration_says_how_the_image_starts(archive: Path):
    with tarfile.open(archive) as tar:
        first, second = (read(tar, blob(one["digest"])) for one in read(tar, "index.json")["manifests"])
        assert read(tar, blob(first["config"]["digest"]))["config"] == {
            "Entrypoint": ["tool"],
            "Cmd": ["--quick"],
            "Env": ["PATH=/usr/bin", "A=b"],
            "User": "7:8",
            "WorkingDir": "/tmp",
            "Labels": {"l": "m"},
            "ExposedPorts": {"80/tcp": {}},
        }
        assert read(tar, blob(second["config"]["digest"]))["config"] == {}


def test_the_same_images_give_the_same_archive(archive: Path, tmp_path: Path):
    again = tmp_path / "again.tar"
    config = Config(
        ("tool",), ("--quick",), {"PATH": "/usr/bin", "A": "b"}, "7:8", "/tmp", {"l": "m"}, ("80",)
    )
    layers = (tmp_path / "one.tar",)
    images = [Image("docker.io/x/one:v1", layers, config), Image("docker.io/x/two:v2", layers, Config())]
    write_archive(again, images, "amd64")
    assert again.read_bytes() == archive.read_bytes()
