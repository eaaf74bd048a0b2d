"""The layer that all images stand on: Python and CA certificates of Debian, without Perl, apt and manuals."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tools.images import cache
from tools.images.archive import CODE, EPOCH, below, write_layer

SUITE = "bookworm"
"""The Debian release, the one that BASE of the Dockerfile names."""
# libstdc++6: greenlet, and so locust, is linked with it. BASE of the Dockerfile has it, too.
PACKAGES = ("ca-certificates", "libstdc++6", "python3")
_SOURCES = (Path("/etc/apt/sources.list.d/debian.sources"), Path("/etc/apt/sources.list"))
# perl-base is essential because maintainer scripts may use it: nothing is installed in a finished image any more.
_NOT_NEEDED = ("perl", "perl-*", "libperl*", "*-perl", "usrmerge")
_LEFT_OUT = (
    "--dpkgopt=path-exclude=/usr/share/man/*",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
    "--dpkgopt=path-exclude=/usr/share/info/*",
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    "--dpkgopt=path-include=/usr/share/doc/*/copyright",
)
_MOUNTED = ("dev", "proc", "run", "sys", "tmp")
"""What every container has of its own: empty in the layer."""
SECONDS = 900


class Missing(Exception):
    """Something that building needs is not on this machine; says how to get it."""


def require() -> None:
    """Raises Missing where no root file system can be made."""
    if not shutil.which("mmdebstrap"):
        raise Missing("mmdebstrap is missing: apt-get install mmdebstrap (Debian, Ubuntu)")
    if os.geteuid() != 0:
        raise Missing("only root can make a root file system and change into it: run as root")
    if not any(path.exists() for path in _SOURCES):
        raise Missing(f"no package sources: {' and '.join(map(str, _SOURCES))} are both missing")


def name() -> str:
    """The folder of the base in the cache: `root`, and the layer made of it."""
    return f"base-{cache.key(SUITE, *PACKAGES, *_NOT_NEEDED, *_LEFT_OUT, CODE, Path(__file__).read_bytes())}"


def base() -> Path:
    """The folder with `root` and `layer.tar`, made if need be: a minute, and the only step that downloads from Debian."""
    return cache.made(name(), _make)


def _make(target: Path) -> None:
    require()
    cache.say(f"images: making the base root file system of Debian {SUITE} (a minute)")
    target.mkdir()
    root = target / "root"
    sources = next(path for path in _SOURCES if path.exists())
    run(
        [
            "mmdebstrap",
            "--mode=root",
            "--variant=essential",
            "--format=directory",
            f"--include={','.join(PACKAGES)}",
            *_LEFT_OUT,
            SUITE,
            str(root),
            str(sources),
        ],
        # The caller's environment, for a proxy may be in it.
        environment={**os.environ, "SOURCE_DATE_EPOCH": str(EPOCH)},
    )
    _trim(root)
    # In layers all files have one time, so Python must not compare times: without this it compiles at every start.
    inside(root, ["python3", "-m", "compileall", *COMPILED, "-f", "/usr/lib/python3", "/usr/lib/python3.11"])
    names = {one for one in below(root) if "/" not in one or one.partition("/")[0] not in _MOUNTED}
    write_layer(target / "layer.tar", root, names)


COMPILED = ("-q", "-j", "0", "--invalidation-mode", "unchecked-hash")
"""Arguments of compileall: files that are never compared with their sources."""


def _trim(root: Path) -> None:
    wanted = inside(
        root, ["dpkg-query", "--show", "--showformat", r"${db:Status-Status} ${Package}\n", *_NOT_NEEDED]
    )
    found = [line.split()[1] for line in wanted.splitlines() if line.startswith("installed ")]
    inside(root, ["dpkg", "--purge", "--force-depends", "--force-remove-essential", *found])
    # Written by the installation, with its time of day in it, and of no use afterwards.
    for left in ("var/log", "var/cache", "var/lib/apt"):
        for entry in (root / left).iterdir():
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    for backup in (*(root / "var/lib/dpkg").glob("*-old"), *(root / "etc").glob("*-")):
        backup.unlink()


def inside(root: Path, argv: Sequence[str]) -> str:
    """Runs a command in `root`, without a network and with processes of its own; what it said on standard output."""
    shell = [
        "unshare",
        "--mount",
        "--net",
        "--pid",
        "--fork",
        "--kill-child",
        f"--root={root}",
        "--wd=/",
        "--",
    ]
    path = "/usr/sbin:/usr/bin:/sbin:/bin"
    return run(shell + list(argv), {"PATH": path, "HOME": "/tmp", "LC_ALL": "C.UTF-8"})


def run(argv: Sequence[str], environment: dict[str, str] | None = None, folder: Path | None = None) -> str:
    """Runs a command; what it said on standard output. RuntimeError with the end of what it said, if it fails."""
    done = subprocess.run(
        argv,
        env=environment,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(
            f"{' '.join(argv[:6])} ... ended with {done.returncode}:\n{(done.stderr or done.stdout)[-2000:]}"
        )
    return done.stdout
