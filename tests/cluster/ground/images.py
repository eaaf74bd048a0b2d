"""Images as files: made here from static programs, brought into the node from a tar archive."""

from __future__ import annotations

import hashlib
import io
import json
import platform
import shutil
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.cluster.ground.commands import Failed, run
from tests.cluster.ground.settings import SOCKET

MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}


def write_image(
    archive: Path,
    reference: str,
    files: Mapping[str, Path],
    entrypoint: Sequence[str],
    links: Mapping[str, str] | None = None,
) -> None:
    """An image of one layer in the format of `docker save`.

    `files` are programs by their paths in the image; `links` symbolic links by theirs, with their targets.
    """
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as inner:
        _folders(inner, [*files, *(links or {}), "/tmp/x"])
        for path, source in files.items():
            _add(inner, path, source.read_bytes(), mode=0o755)
        for path, target in (links or {}).items():
            one = tarfile.TarInfo(path.lstrip("/"))
            one.type, one.linkname = tarfile.SYMTYPE, target
            inner.addfile(one)
    content = layer.getvalue()
    config = {
        "architecture": MACHINES[platform.machine()],
        "os": "linux",
        "config": {"Entrypoint": list(entrypoint), "Env": ["PATH=/bin:/usr/bin"], "WorkingDir": "/"},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(content).hexdigest()}"]},
        "history": [{"created_by": "surefoot tests"}],
    }
    text = json.dumps(config).encode()
    name = f"{hashlib.sha256(text).hexdigest()}.json"
    manifest = [{"Config": name, "RepoTags": [reference], "Layers": ["layer.tar"]}]
    with tarfile.open(archive, "w") as outer:
        _add(outer, name, text)
        _add(outer, "layer.tar", content)
        _add(outer, "manifest.json", json.dumps(manifest).encode())


BUSYBOX = "surefoot.test/busybox:1"
APPLETS = ("cat", "echo", "env", "false", "hostname", "httpd", "id", "kill", "ls", "mkdir", "nslookup", "printf", "ps",
           "rm", "sh", "sleep", "test", "touch", "true", "wget")  # fmt: skip


def busybox(archive: Path) -> Path:
    """An image with a shell and a small web server (Debian's busybox-static), for pods of tests."""
    program = shutil.which("busybox")
    if program is None:
        raise Failed("there is no busybox on PATH: apt-get install busybox-static")
    links = {f"/bin/{applet}": "busybox" for applet in APPLETS}
    write_image(archive, BUSYBOX, {"/bin/busybox": Path(program)}, ["/bin/sh"], links)
    return archive


def import_archive(archive: Path, within: Sequence[str] = ()) -> None:
    """Into containerd, where pods find it. `within` is the command that enters the node, when called from outside."""
    run(*within, "ctr", f"--address={SOCKET}", "--namespace=k8s.io", "images", "import", archive, timeout=600)


def tag_image(image: str, name: str, within: Sequence[str] = ()) -> None:
    """Give an image that is there another name, which may be taken."""
    ctr = ("ctr", f"--address={SOCKET}", "--namespace=k8s.io")
    run(*within, *ctr, "images", "tag", "--force", image, name)


def _folders(archive: tarfile.TarFile, paths: Sequence[str]) -> None:
    parents = {parent for path in paths for parent in Path(path.lstrip("/")).parents if parent != Path()}
    for folder in sorted(parents):
        one = tarfile.TarInfo(str(folder))
        one.type, one.mode = tarfile.DIRTYPE, 0o1777 if folder == Path("tmp") else 0o755
        archive.addfile(one)


def _add(archive: tarfile.TarFile, path: str, content: bytes, mode: int = 0o644) -> None:
    one = tarfile.TarInfo(path.lstrip("/"))
    one.size, one.mode = len(content), mode
    archive.addfile(one, io.BytesIO(content))
