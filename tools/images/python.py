"""The layers of an image of ours: the locked packages, and our own wheel, both in the environment /opt/surefoot.

These are the steps of the Dockerfile. The wheels are downloaded on this side, by pip, which checks their hashes; they
are installed inside of the base, by its Python, which has no network.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pip

from tools.images import cache
from tools.images.archive import below, write_layer
from tools.images.base import COMPILED, base, inside, run
from tools.images.base import name as base_name

ROOT = Path(__file__).resolve().parent.parent.parent
ENVIRONMENT = "opt/surefoot"
_PYTHON = f"/{ENVIRONMENT}/bin/python"
SITE = f"{ENVIRONMENT}/lib/python3.11/site-packages"
WHEELS = "wheels.json"
"""The file beside the packages with the SHA-256 of each wheel that was installed."""
_RECIPE = Path(__file__).read_bytes()


def lock(image: str) -> Path:
    """The packages of an image, with their hashes."""
    return ROOT / "requirements" / f"{image}.lock"


def own_packages() -> list[str]:
    """The top-level packages of our wheel."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return list(project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"])


def packages_name(image: str) -> str:
    """The folder in the cache with the locked packages of an image."""
    return f"{image}-packages-{cache.key(base_name(), lock(image).read_bytes(), _RECIPE)}"


def own_name(image: str) -> str:
    """The file in the cache with the layer of our own wheel."""
    made_of = cache.sources(ROOT, [*own_packages(), "pyproject.toml", "README.md", "LICENSE", "NOTICE"])
    return f"{image}-own-{cache.key(packages_name(image), made_of)}.tar"


def packages(image: str) -> Path:
    """The folder with the environment of an image, without our own wheel: `opt/surefoot`, `layer.tar`, `wheels.json`."""
    return cache.made(packages_name(image), lambda target: _make_packages(image, target))


def own(image: str) -> Path:
    """The layer of our own wheel, which is laid upon the packages."""
    return cache.made(own_name(image), lambda target: _make_own(image, target))


def _make_packages(image: str, target: Path) -> None:
    cache.say(f"images: installing the locked packages of surefoot/{image}")
    target.mkdir()
    with _copied(base() / "root") as root:
        wheels = root / "tmp/wheels"
        _download(lock(image), wheels)
        sums = {path.name: cache.checksum(path) for path in sorted(wheels.iterdir())}
        (target / WHEELS).write_text(json.dumps(sums, indent=1))
        shutil.copyfile(lock(image), root / "tmp/image.lock")
        inside(root, ["python3", "-m", "venv", "--without-pip", f"/{ENVIRONMENT}"])
        _install(root, "--require-hashes", "--requirement", "/tmp/image.lock")
        inside(root, [_PYTHON, "-m", "compileall", *COMPILED, f"/{SITE}"])
        (target / ENVIRONMENT).parent.mkdir()
        shutil.move(root / ENVIRONMENT, target / ENVIRONMENT)
    write_layer(target / "layer.tar", target, below(target, ENVIRONMENT))


def _make_own(image: str, target: Path) -> None:
    cache.say(f"images: installing our own wheel into surefoot/{image}")
    with _copied(base() / "root") as root:
        run(
            ["cp", "--archive", "--reflink=auto", str(packages(image) / ENVIRONMENT), str(root / ENVIRONMENT)]
        )
        before = below(root, ENVIRONMENT)
        # The steps of the Dockerfile's stage `wheel`; hatchling is in our own environment by requirements.lock.
        run(
            [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(root / "tmp/wheels")],
            folder=ROOT,
        )
        _install(root, "--no-deps", "surefoot")
        inside(root, [_PYTHON, "-m", "compileall", *COMPILED, *(f"/{SITE}/{one}" for one in own_packages())])
        write_layer(target, root, below(root, ENVIRONMENT) - before)


def _download(lock: Path, wheels: Path) -> None:
    """All wheels of a lock file that the image's Python needs."""
    run(
        [
            *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"),
            *("--require-hashes", "--no-deps", "--only-binary", ":all:"),
            *("--implementation", "cp", "--python-version", "3.11"),
            *("--dest", str(wheels), "--requirement", str(lock)),
        ]
    )


@contextmanager
def _copied(source: Path) -> Iterator[Path]:
    """A copy of a root file system to work in, with our pip in it."""
    with tempfile.TemporaryDirectory(dir=cache.folder(), prefix="work-") as scratch:
        root = Path(scratch) / "root"
        run(["cp", "--archive", "--reflink=auto", str(source), str(root)])
        shutil.copytree(Path(pip.__file__).parent, root / "tmp/tools/pip")
        yield root


def _install(root: Path, *arguments: str) -> None:
    inside(
        root,
        [
            *(_PYTHON, "/tmp/tools/pip", "install", "--quiet", "--disable-pip-version-check"),
            *("--no-index", "--find-links", "/tmp/wheels", "--no-compile", "--no-cache-dir"),
            *("--no-warn-script-location", "--root-user-action=ignore", *arguments),
        ],
    )
